/** `lockstep key list`, `fingerprint` and `export-public`: the public halves of keys, in the forms that people compare and tools read. */
import { existsSync, readFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromPem, anyKeyToPem, rawEd25519 } from '@lockstep/protocol/key/any-key';
import { fingerprints } from '@lockstep/protocol/key/fingerprint';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { formatVerifierKey, makeVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { formatMinisignKey, minisignKeyId } from '@lockstep/protocol/signature/minisign-key';
import { formatNixKey } from '@lockstep/protocol/signature/nix-key';
import { formatAllowedSigners, formatSshPublicKey } from '@lockstep/protocol/signature/ssh-key';
import { formatSignifyKey, signifyKeyNumber } from '@lockstep/protocol/signature/signify';
import { SSH_NAMESPACE } from '@lockstep/protocol/signing/plan';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { type CommonOptions, runVerb } from '../../session.ts';
import { heldKeys, openHeldKey, openSignerHome } from '../../signer/home.ts';
import { ageOf, dueLine } from '../../signer/rotation-due.ts';
import { askOnce, type SecretOptions } from '../../signer/secret-options.ts';

export function keyList(options: CommonOptions & { readonly signer: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const keys = heldKeys(openSignerHome(options.signer)).map((held) => ({
      name: held.name,
      use: held.use,
      custody: held.custody,
      id: held.custody === 'file' ? readFileKeyHeader(held.path).public.id : null,
      encrypted: held.custody === 'file' ? readFileKeyHeader(held.path).protection !== 'none' : true,
      due: dueLine(held.name, ageOf(held), context.now()),
    }));
    print(
      keys
        .flatMap((one) => [
          `${one.name}  ${one.use}  ${one.custody}${one.encrypted ? '' : ' (not encrypted)'}  ${one.id ?? ''}`,
          ...(one.due === null ? [] : [one.due]),
        ])
        .join('\n') || 'no key',
      { schema: 'lockstep-key-list/v1', keys },
    );
    return 0;
  });
}

interface NamedKey {
  readonly name: string;
  readonly use: KeyUse | null;
  readonly key: AnyKey;
  /** minisign's own number, in hex. */
  readonly number: string | null;
}

/** @param what a public key in PEM, a key file, or the name of a key of --signer */
async function publicKeyOf(what: string, options: SecretOptions & { readonly signer?: string }): Promise<NamedKey> {
  if (existsSync(what)) {
    const text = readFileSync(what, 'utf8');
    if (text.includes('-----BEGIN PUBLIC KEY-----'))
      return { name: what.replace(/^.*\//, ''), use: null, key: anyKeyFromPem(text), number: null };
    const header = readFileKeyHeader(what);
    return { name: header.name, use: header.use, key: header.public, number: header.minisignKeyId };
  }
  const held = options.signer === undefined ? undefined : heldKeys(openSignerHome(options.signer)).find((one) => one.name === what);
  if (held === undefined)
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `There is no key ${what}`,
      'Give a file, or a name with --signer FOLDER ("lockstep key list" has them).',
    );
  if (held.custody === 'file') {
    const header = readFileKeyHeader(held.path);
    return { name: held.name, use: held.use, key: header.public, number: header.minisignKeyId };
  }
  const key = await openHeldKey(held, askOnce(`PIN of ${held.place.token}`, options));
  await key.close();
  return { name: held.name, use: held.use, key: key.public, number: null };
}

export function keyFingerprint(what: string, options: CommonOptions & SecretOptions & { readonly signer?: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const { name, key } = await publicKeyOf(what, options);
    const forms = fingerprints(key, name);
    print(
      [
        `hex       ${forms.hex}`,
        `words     ${forms.words}`,
        ...(forms.minisign === null ? [] : [`minisign  ${forms.minisign}`]),
        ...(forms.ssh === null ? [] : [`ssh       ${forms.ssh}`]),
        ...(forms.sshLine === null ? [] : [`          ${forms.sshLine}`]),
        'Publish them through channels that do not depend on each other: the repository, a card, a letter, another site.',
      ].join('\n'),
      { schema: 'lockstep-key-fingerprint/v1', name, algorithm: key.algorithm, ...forms },
    );
    return 0;
  });
}

export const PUBLIC_FORMATS = ['pem', 'minisign', 'signify', 'ssh', 'allowed-signers', 'note', 'nix'] as const;

export function keyExportPublic(
  what: string,
  options: CommonOptions &
    SecretOptions & { readonly signer?: string; readonly format: (typeof PUBLIC_FORMATS)[number]; readonly name?: string },
): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const found = await publicKeyOf(what, options);
    const name = options.name ?? found.name;
    const text = publicText({ ...found, name }, options.format);
    print(text.trimEnd(), { schema: 'lockstep-key-public/v1', name, format: options.format, key: text });
    return 0;
  });
}

function publicText({ name, key, number }: NamedKey, format: (typeof PUBLIC_FORMATS)[number]): string {
  if (format === 'pem') return anyKeyToPem(key);
  if (key.algorithm !== 'ed25519')
    throw new LockstepError('KEY_INVALID', `${format} knows Ed25519 keys only, and ${name} is ${key.algorithm}`, 'Use --format pem.');
  const raw = rawEd25519(key);
  const forms: Readonly<Record<Exclude<(typeof PUBLIC_FORMATS)[number], 'pem'>, () => string>> = {
    minisign: () => formatMinisignKey((number === null ? null : fromHex(number, 8)) ?? minisignKeyId(raw), raw),
    signify: () => formatSignifyKey({ keyNumber: signifyKeyNumber(raw), publicKey: raw }, `${name} public key`),
    ssh: () => formatSshPublicKey(raw, name),
    'allowed-signers': () => formatAllowedSigners(name, SSH_NAMESPACE, raw),
    note: () => formatVerifierKey(makeVerifierKey(name, 'ed25519', raw)),
    nix: () => formatNixKey({ name, publicKey: raw }),
  };
  return forms[format]();
}
