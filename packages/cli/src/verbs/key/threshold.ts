/**
 * `lockstep key threshold`: begins making a key of which several nodes hold shares, together or dealt; `lockstep key split`
 * deals one that there is. `lockstep signer join-ceremony` is each holder's part, `lockstep key group` the end.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyFromPem, anyKeyToPem, rawEd25519 } from '@lockstep/protocol/key/any-key';
import { fingerprints } from '@lockstep/protocol/key/fingerprint';
import { isKeyUse, KEY_USES, type KeyUse } from '@lockstep/protocol/key/key-use';
import { noCoreDumps } from '@lockstep/signer/custody/core-dumps';
import { openPkcs8, readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { ed25519Seed } from '@lockstep/signer/custody/seeded-pkcs8';
import { sealToFile } from '@lockstep/signer/custody/sealed-file';
import { decodeGroup } from '@lockstep/signer/frost/group';
import { encodeShare } from '@lockstep/signer/frost/share-file';
import { readNamedFile } from '../../read-file.ts';
import { readApprover } from '../../release/group-card.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { openCeremony, takePart, writeGroupCard } from '../../signer/ceremony.ts';
import { confirmOnTerminal } from '../../signer/confirm.ts';
import { openSignerHome } from '../../signer/home.ts';
import type { NodeCard } from '../../signer/node-card.ts';
import { askPassphrase, newPassphrase, type SecretOptions } from '../../signer/secret-options.ts';
import { requesterKey } from '../release/approve.ts';

interface Options extends CommonOptions, SecretOptions {
  readonly at: string;
  readonly threshold: string;
  readonly holder: readonly string[];
  readonly use: string;
  readonly dealer?: boolean;
}

export function keyThreshold(name: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const use = options.use;
    if (!isKeyUse(use)) throw new LockstepError('USAGE', `--use ${use} is none`, `One of ${Object.keys(KEY_USES).join(', ')}.`);
    requireOneSignature(use);
    noCoreDumps();
    const dealer = options.dealer === true ? { seed: null, existing: null } : null;
    const initiator = requesterKey(context.settings.keyFile);
    await openCeremony(
      options.at,
      { name, use, threshold: numberOf(options.threshold), holders: cards(options.holder), dealer },
      initiator,
    );
    return begun(name, options, anyKeyToPem(initiator.public), print);
  });
}

export function keySplit(file: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    noCoreDumps();
    const header = readFileKeyHeader(file);
    requireOneSignature(header.use);
    const { pkcs8 } = await openPkcs8(file, askPassphrase(`Passphrase of ${header.name}`, options));
    // A view of it: wiped with the whole, when it has been dealt.
    const seed = ed25519Seed(pkcs8);
    if (seed === null)
      throw new LockstepError(
        'KEY_INVALID',
        `${file} is no Ed25519 key`,
        'Only Ed25519 keys can be split; make a threshold key and rotate to it.',
      );
    const initiator = requesterKey(context.settings.keyFile);
    try {
      await openCeremony(
        options.at,
        {
          name: header.name,
          use: header.use satisfies KeyUse,
          threshold: numberOf(options.threshold),
          holders: cards(options.holder),
          dealer: { seed, existing: rawEd25519(header.public) },
        },
        initiator,
      );
    } finally {
      pkcs8.fill(0);
    }
    print(`when all holders have confirmed, destroy ${file} and every copy of it: until then one thief is enough`, {});
    return begun(header.name, options, anyKeyToPem(initiator.public), () => undefined);
  });
}

/** Before anybody has taken part: holders sign what follows from the evidence, and minisign's second signature follows from its first. */
function requireOneSignature(use: KeyUse): void {
  if (use === 'release-minisign')
    throw new LockstepError(
      'USAGE',
      'minisign signs twice, the second time its first signature',
      'Give minisign a key of its own in another custody.',
    );
}

function begun(
  name: string,
  { at, holder, threshold }: Options,
  pem: string,
  print: (text: string, data: Record<string, unknown>) => void,
): number {
  print(
    [
      `${at}: a key ${name} for ${threshold} of ${holder.length} holders has been begun`,
      `each holder: lockstep signer join-ceremony FOLDER --at ${at} --initiator PEM`,
      `then: lockstep key group --at ${at} --holder CARD[@VIA]… --out GROUP.json`,
      'the initiator is known by',
      pem.trimEnd(),
    ].join('\n'),
    { schema: 'lockstep-key-threshold/v1', name, at, initiator: pem },
  );
  return 0;
}

interface JoinOptions extends CommonOptions, SecretOptions {
  readonly at: string;
  readonly initiator: string;
  readonly confirm?: boolean;
  readonly timeout: string;
}

export function joinCeremony(folder: string, options: JoinOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    noCoreDumps();
    const home = openSignerHome(folder);
    const passphrase = await newPassphrase('Passphrase of the share', options);
    const share = await takePart(
      home,
      [anyKeyFromPem(readNamedFile(options.initiator).toString('utf8'))],
      { folder: options.at, patience: numberOf(options.timeout, 86_400), cancelled: context.cancelled },
      (ceremony) => {
        const text = [
          `HOLD A SHARE of the key ${ceremony.keyName} for ${ceremony.use}: ${ceremony.threshold} of ${ceremony.participants.length}, ${ceremony.mode === 'dkg' ? 'made together' : 'dealt by one who knew all of it'}`,
          ...ceremony.participants.map((one) => `  ${one.name}  ${fingerprints(one.nodeKey, one.name).words}`),
        ].join('\n');
        return options.confirm === true ? confirmOnTerminal(text) : Promise.resolve(true);
      },
    );
    const { group } = share;
    const path = `${folder}/shares/${group.ceremony.keyName}.share.json`;
    await sealToFile(path, 'share', encodeShare(share), passphrase);
    passphrase?.fill(0);
    const pem = anyKeyToPem(group.publicKey);
    print(
      `${home.config.name} holds a share of ${group.ceremony.keyName}: ${path}\n${pem}words  ${fingerprints(group.publicKey, '').words}: all holders have to see the same`,
      {
        schema: 'lockstep-signer-join/v1',
        share: path,
        key: group.publicKey.id,
        pem,
      },
    );
    return 0;
  });
}

/** Made of what lies in the ceremony's folder; everything in it is verified again. */
export function keyGroup(
  options: CommonOptions & { readonly at: string; readonly holder: readonly string[]; readonly out: string },
): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) => {
    const holders = cards(options.holder);
    const group = decodeGroup(new Uint8Array(readNamedFile(`${options.at}/group`)));
    writeGroupCard(options.out, group, holders);
    const pem = anyKeyToPem(group.publicKey);
    print(`${options.out}\n${pem}words  ${fingerprints(group.publicKey, '').words}`, {
      schema: 'lockstep-key-group/v1',
      group: options.out,
      key: group.publicKey.id,
      pem,
    });
    return 0;
  });
}

function cards(specs: readonly string[]): NodeCard[] {
  return specs.map((spec) => {
    const { node } = readApprover(spec);
    if (node === null) throw new LockstepError('USAGE', `${spec} is no card of a node`, 'Give the card.json of each holder.');
    return node;
  });
}

function numberOf(text: string, max = 32): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new LockstepError('USAGE', `${text} is no number from 1 to ${max}`, 'See --help.');
  return value;
}
