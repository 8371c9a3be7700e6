/**
 * `lockstep policy insert`: metadata of "lockstep policy request", with the signatures of the nodes' answers (with --sign also
 * of the keys that lie in the folder), into the repository. Nothing is written unless every verifier would take it.
 */
import { existsSync, readdirSync } from 'node:fs';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { POLICY_TARGET } from '@lockstep/protocol/policy/policy';
import { parseRequest, type TufRequest } from '@lockstep/protocol/signing/request';
import { requireSignatures } from '@lockstep/protocol/tuf/client-workflow';
import { formatMetadata, parseMetadata, type RootMetadata, tufKeyId } from '@lockstep/protocol/tuf/metadata';
import { writeDurably } from '@lockstep/store/durable';
import { readNamedFile } from '../../read-file.ts';
import { requireSigned, takeAnswer } from '../../release/ask.ts';
import { cardsOf, readApprover } from '../../release/group-card.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { currentRoot, openRoleKeys, signCurrency } from '../../trust/tuf-repository.ts';
import { tufKeyOf } from './request.ts';

interface Options extends CommonOptions {
  readonly node?: readonly string[];
  readonly sign?: boolean;
}

interface Signature {
  readonly keyid: string;
  readonly sig: Uint8Array;
}

export function policyInsert(folder: string, requestFile: string, answers: readonly string[], options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const bytes = new Uint8Array(readNamedFile(requestFile));
    const request = parseRequest(bytes);
    if (request.purpose !== 'tuf' || (request.role !== 'root' && request.role !== 'targets'))
      throw new LockstepError('USAGE', `${requestFile} is no request for metadata`, 'Give the file of "lockstep policy request".');
    const cards = cardsOf((options.node ?? []).map(readApprover));
    const said = answers.flatMap((file) => {
      const answer = new Uint8Array(readNamedFile(file));
      const card = cards.find((one) => (fromUtf8(answer) ?? '').includes(one.log.split('+')[0] ?? ''));
      if (card === undefined)
        throw new LockstepError('USAGE', `${file} is of none of the nodes that were named`, 'Give the card of the node with --node.');
      const asked = takeAnswer(answer, card, bytes, context.store.cells);
      requireSigned(asked);
      return asked.record.signatures.map(
        (one): Signature => ({
          keyid: tufKeyId(tufKeyOf(anyKeyFromPem(one.key.pem))),
          sig: fromBase64(one.signature) ?? new Uint8Array(0),
        }),
      );
    });
    if (options.sign === true) said.push(...keysHere(folder, request.role, parseMetadata(request.role, toUtf8(request.metadata)).bytes));
    const written = request.role === 'root' ? insertRoot(folder, request, said) : insertTargets(folder, request, said, context.now());
    print(written.join('\n'), { schema: 'lockstep-policy-insert/v1', role: request.role, written });
    return 0;
  });
}

/** @throws LockstepError POLICY_UNTRUSTED unless the old root and the new one have enough signatures */
function insertRoot(folder: string, request: TufRequest, said: readonly Signature[]): string[] {
  const before = currentRoot(folder);
  const { signed } = parseMetadata('root', toUtf8(request.metadata));
  if (signed.version !== before.version + 1) throw stale(`the root is at version ${before.version}`);
  const text = withSignatures(signed, said, [before, signed], 'root');
  const metadata = parseMetadata('root', toUtf8(text));
  requireSignatures('root', metadata, before);
  requireSignatures('root', metadata, signed);
  const path = `${folder}/repository/metadata/${signed.version}.root.json`;
  writeDurably(path, text);
  return [path];
}

/** @throws LockstepError POLICY_UNTRUSTED unless the present root has enough signatures */
function insertTargets(folder: string, request: TufRequest, said: readonly Signature[], now: number): string[] {
  const root = currentRoot(folder);
  const { signed } = parseMetadata('targets', toUtf8(request.metadata));
  const out = `${folder}/repository`;
  const path = `${out}/metadata/${signed.version}.targets.json`;
  if (existsSync(path) || !existsSync(`${out}/metadata/${signed.version - 1}.targets.json`))
    throw stale('the targets have another version by now');
  const policy = request.files[POLICY_TARGET] ?? '';
  const sha256 = signed.targets[POLICY_TARGET]?.hashes.sha256 ?? '';
  const text = withSignatures(signed, said, [root], 'targets');
  requireSignatures('targets', parseMetadata('targets', toUtf8(text)), root);
  const target = `${out}/targets/${sha256}.${POLICY_TARGET}`;
  writeDurably(target, policy);
  writeDurably(path, text);
  return [target, path, ...signCurrency(folder, signed.version, now)];
}

function stale(why: string): LockstepError {
  return new LockstepError('POLICY_INVALID', `The request is not for what comes next: ${why}`, 'Make it again: lockstep policy request.');
}

/** Signatures by keys that the role has, each once. */
function withSignatures(
  signed: Parameters<typeof formatMetadata>[0],
  signatures: readonly Signature[],
  roots: readonly RootMetadata[],
  role: 'root' | 'targets',
): string {
  const ids = new Set(roots.flatMap((root) => root.roles[role].keyids));
  const own = new Map(signatures.filter((one) => ids.has(one.keyid)).map((one) => [one.keyid, one]));
  return formatMetadata(signed, [...own.values()]);
}

function keysHere(folder: string, role: 'root' | 'targets', bytes: Uint8Array): Signature[] {
  const count = readdirSync(`${folder}/keys`).filter((file) => new RegExp(`^${role}-[0-9]+\\.pem$`).test(file)).length;
  return openRoleKeys(folder, role, count, 1).keys.map(({ id, signer }) => ({ keyid: id, sig: signer.sign(bytes) }));
}
