/**
 * `lockstep policy request`: the policy's next TUF metadata, unsigned, for a signing node that holds the key of the role.
 * `lockstep policy insert` puts it into the repository when the answers are there.
 */
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromPem, rawEd25519 } from '@lockstep/protocol/key/any-key';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { POLICY_TARGET } from '@lockstep/protocol/policy/policy';
import { formatRequest } from '@lockstep/protocol/signing/request';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import {
  formatMetadata,
  metadataBytes,
  type RootMetadata,
  type TargetsMetadata,
  type TufKey,
  type TufRoleName,
} from '@lockstep/protocol/tuf/metadata';
import { writeDurably } from '@lockstep/store/durable';
import { readNamedFile } from '../../read-file.ts';
import { cardsOf, readApprover } from '../../release/group-card.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { knownCheckpoint } from '../../signer/known-checkpoints.ts';
import { nextRoot, nextTargets } from '../../trust/tuf-repository.ts';

interface Options extends CommonOptions {
  readonly role: string;
  readonly handOver?: readonly string[];
  readonly node: readonly string[];
  readonly out: string;
}

const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const satisfies readonly TufRoleName[];

export function policyRequest(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const { role } = options;
    const now = context.now();
    const file = `${folder}/policy.json`;
    const policy = readNamedFile(file);
    let next: RootMetadata | TargetsMetadata;
    if (role === 'targets') {
      parsePolicy(policy, file);
      next = nextTargets(folder, policy, now);
    } else if (role === 'root') next = nextRoot(folder, handedOver(options.handOver ?? []), now);
    else throw new LockstepError('USAGE', `--role ${role} is none that a node signs`, 'One of root, targets; the others stay online.');
    const cards = cardsOf(options.node.map(readApprover));
    const bytes = formatRequest({
      schema: 'lockstep-signing-request/v1',
      purpose: 'tuf',
      nodes: Object.fromEntries(cards.map((card) => [card.name, knownCheckpoint(context.store.cells, card)])),
      time: isoTime(now),
      expected: [{ use: `tuf-${role}`, file: null, bytes: toBase64(metadataBytes(next)) }],
      role,
      metadata: formatMetadata(next, []),
      files: role === 'targets' ? { [POLICY_TARGET]: policy.toString('utf8') } : {},
    });
    writeDurably(options.out, bytes);
    print(`${role} version ${next.version}, until ${next.expires}: ${options.out}, ${bytes.length} bytes`, {
      schema: 'lockstep-policy-request/v1',
      role,
      version: next.version,
      expires: next.expires,
      request: options.out,
    });
    return 0;
  });
}

/** Each ROLE=KEY: from the next root on, the role has these keys and no others. */
function handedOver(specs: readonly string[]): Map<TufRoleName, TufKey[]> {
  const roles = new Map<TufRoleName, TufKey[]>();
  for (const spec of specs) {
    const [name = '', ...rest] = spec.split('=');
    const role = ROLES.find((one) => one === name);
    if (role === undefined || rest.length === 0)
      throw new LockstepError(
        'USAGE',
        `--hand-over ${spec} is not ROLE=KEY`,
        `A role is one of ${ROLES.join(', ')}; a key is its public key’s file.`,
      );
    const key = anyKeyFromPem(readNamedFile(rest.join('=')).toString('utf8'));
    roles.set(role, [...(roles.get(role) ?? []), tufKeyOf(key)]);
  }
  return roles;
}

/** @throws LockstepError KEY_INVALID */
export function tufKeyOf(key: AnyKey): TufKey {
  if (key.algorithm !== 'ed25519')
    throw new LockstepError(
      'KEY_INVALID',
      `TUF metadata is signed with Ed25519, and this key is ${key.algorithm}`,
      'Make it with --use tuf-root or tuf-targets.',
    );
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: toHex(rawEd25519(key)) } };
}
