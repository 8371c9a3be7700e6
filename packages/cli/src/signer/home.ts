/**
 * The folder of a signing node: what it is called, the root that it pins, its own key and log, and the keys that it holds
 * (or where they are). Nothing else is its state.
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { list, nullable, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { isKeyUse, type KeyUse } from '@lockstep/protocol/key/key-use';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { RELEASE_LINE } from '@lockstep/protocol/release/release-record';
import { parseMetadata } from '@lockstep/protocol/tuf/metadata';
import { initLog, type LogHome, openLogHome } from '@lockstep/log/sequence/log-home';
import type { AskPassphrase } from '@lockstep/signer/custody/key-file-seal';
import { makeFileKey, openFileKey, readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { openPkcs11Key } from '@lockstep/signer/custody/pkcs11-key';
import { boxPublicKey } from '@lockstep/signer/frost/seal';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { createDurably } from '@lockstep/store/durable';
import type { NodeCard } from './node-card.ts';

export const NODE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

const decode = table({
  schema: oneOf(['lockstep-signer/v1'] as const),
  name: text('a name', (value) => NODE_NAME.test(value), 100),
  /** Lines of versions that it may begin to sign. */
  lines: list(
    text('a line', (value) => RELEASE_LINE.test(value), 40),
    100,
    1,
  ),
  /** PEM of those who may begin a session with a share that it holds; what is signed does not depend on them. */
  coordinators: list(
    text('a public key in PEM', (value) => value.startsWith('-----BEGIN PUBLIC KEY'), 2000),
    20,
  ),
  /** The public X25519 key for shares, in hex; null: it has none. */
  box: nullable(text('32 bytes in hex', (value) => /^[0-9a-f]{64}$/.test(value), 64)),
});
export type SignerConfig = TypeOf<typeof decode>;

const decodeToken = table({
  schema: oneOf(['lockstep-pkcs11/v1'] as const),
  name: text('a name', (value) => NODE_NAME.test(value), 100),
  use: text('what it is for', isKeyUse, 40),
  module: text('a path', (value) => value.startsWith('/'), 4096),
  token: text('a label', (value) => value !== '', 200),
  label: text('a label', (value) => value !== '', 200),
});
type TokenKeyFile = TypeOf<typeof decodeToken>;

export interface SignerHome {
  readonly folder: string;
  readonly config: SignerConfig;
  /** The root that it pins. */
  readonly root: Uint8Array;
  readonly log: LogHome;
}

/** @throws LockstepError ROOT_INVALID, KEY_INVALID */
export async function initSigner(
  folder: string,
  root: Uint8Array,
  wanted: Omit<SignerConfig, 'schema' | 'box'>,
  now: Date,
): Promise<SignerHome> {
  if (!NODE_NAME.test(wanted.name))
    throw new LockstepError('USAGE', `${JSON.stringify(wanted.name)} is no name for a node`, 'Use letters, digits, "-", "_" and ".".');
  parseMetadata('root', root);
  if (existsSync(`${folder}/signer.json`))
    throw new LockstepError('KEY_INVALID', `${folder} is a signing node already`, 'Choose another folder; a node is never made again.');
  mkdirSync(`${folder}/keys`, { recursive: true, mode: 0o700 });
  await makeFileKey({ path: `${folder}/node.json`, name: wanted.name, use: 'node', passphrase: null, now });
  initLog(`${folder}/log`, `${wanted.name}.signer`, null);
  createDurably(`${folder}/root.json`, root);
  // Shares of threshold keys are sealed to it.
  const { privateKey } = generateKeyPairSync('x25519');
  createDurably(`${folder}/box.pem`, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  // Last, so that it says that all of it is there.
  createDurably(
    `${folder}/signer.json`,
    `${JSON.stringify({ schema: 'lockstep-signer/v1', ...wanted, box: toHex(boxPublicKey(privateKey)) }, null, 2)}\n`,
  );
  const home = openSignerHome(folder);
  createDurably(`${folder}/card.json`, `${JSON.stringify(cardOf(home), null, 2)}\n`);
  return home;
}

/** @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, LOG_UNUSABLE */
export function openSignerHome(folder: string): SignerHome {
  const file = `${folder}/signer.json`;
  if (!existsSync(file))
    throw new LockstepError('FILE_NOT_FOUND', `${folder} is no folder of a signing node`, `Make one: lockstep signer init ${folder}.`);
  const decoded = decode(parseJson(readFileSync(file), file), []);
  if (!decoded.ok) throw issueError('KEY_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
  return { folder, config: decoded.value, root: readFileSync(`${folder}/root.json`), log: openLogHome(`${folder}/log`) };
}

export function nodeKeyOf(home: SignerHome): Promise<SigningKey> {
  return openFileKey(`${home.folder}/node.json`, () => Promise.resolve(null));
}

/** What others need to know of a node to ask it, and to believe its answers. */
export function cardOf(home: SignerHome): NodeCard {
  return {
    schema: 'lockstep-node/v1',
    name: home.config.name,
    key: anyKeyToPem(readFileKeyHeader(`${home.folder}/node.json`).public),
    log: formatVerifierKey(home.log.key),
    box: home.config.box,
    via: null,
  };
}

export type HeldKey =
  | { readonly custody: 'file'; readonly name: string; readonly use: KeyUse; readonly path: string }
  | { readonly custody: 'pkcs11'; readonly name: string; readonly use: KeyUse; readonly place: TokenKeyFile };

/** Keys that the folder names, secrets unopened. */
export function heldKeys(home: SignerHome): HeldKey[] {
  return readdirSync(`${home.folder}/keys`)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name): HeldKey => {
      const path = `${home.folder}/keys/${name}`;
      if (!name.endsWith('.pkcs11.json')) {
        const header = readFileKeyHeader(path);
        return { custody: 'file', name: header.name, use: header.use, path };
      }
      const decoded = decodeToken(parseJson(readFileSync(path), path), []);
      if (!decoded.ok) throw issueError('KEY_INVALID', decoded.issues, () => ({ file: path, line: 1, column: 1 }));
      return { custody: 'pkcs11', name: decoded.value.name, use: decoded.value.use as KeyUse, place: decoded.value };
    });
}

/** @param secret a passphrase for files, a PIN for tokens */
export async function openHeldKeys(home: SignerHome, secret: () => Promise<Uint8Array>): Promise<SigningKey[]> {
  const keys: SigningKey[] = [];
  for (const held of heldKeys(home)) keys.push(await openHeldKey(held, secret));
  return keys;
}

export function openHeldKey(held: HeldKey, secret: () => Promise<Uint8Array>): Promise<SigningKey> {
  const ask: AskPassphrase = secret;
  if (held.custody === 'file') return openFileKey(held.path, ask);
  const { module, token, label } = held.place;
  return openPkcs11Key({ module, tokenLabel: token, keyLabel: label, name: held.name, use: held.use, pin: secret });
}
