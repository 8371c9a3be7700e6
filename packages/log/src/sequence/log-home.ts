/**
 * The folder of a log's operator: its key, what it is called, whom it asks to witness, and the public files. A shared log
 * has the public files and its state on objects instead, and every replica that sequences it has a copy of the rest.
 */
import { existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type WitnessPolicy, parseWitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { isOrigin } from '@lockstep/protocol/checkpoint/checkpoint';
import type { OpenedCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { nullable, oneOf, optional, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { isKeyName, makeVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { createDurably } from '@lockstep/store/durable';
import type { Objects } from '@lockstep/store/objects/objects';
import { folderFiles, type LogFiles } from '../files/log-files.ts';
import { objectFiles } from '../files/object-files.ts';
import { objectStaging } from '../files/object-staging.ts';
import { folderStaging, type Staging } from '../files/staging.ts';
import { folderStateCells, objectStateCells, type StateCells } from '../files/state-cells.ts';
import { type NoteSigner, openEd25519Key } from '../key/log-key.ts';
import { folderSource, type LogSource } from '../source/log-source.ts';
import { objectSource } from '../source/object-source.ts';

export interface LogHome {
  /** The folder with log.json and the key. Whether the public files are in it too is for `files` to know. */
  readonly root: string;
  readonly origin: string;
  readonly key: VerifierKey;
  readonly signer: NoteSigner;
  /** null: nobody has to witness, and every verdict says so. */
  readonly witnesses: WitnessPolicy | null;
  readonly files: LogFiles;
  readonly staging: Staging;
  /** The store of its own: whoever swaps the checkpoint there goes on, everybody else starts again. */
  readonly cells: StateCells;
  readonly source: LogSource;
  /** Notes that were opened lately, by their bytes. */
  readonly opened: Map<string, OpenedCheckpoint>;
}

const decode = table({
  schema: oneOf(['lockstep-log/v1'] as const),
  origin: text('an origin', isOrigin, 255),
  witness_policy: nullable(text('a witness policy', () => true, 1 << 20)),
  /** Folder of the store of its own; null: beside the log. */
  cells: optional(nullable(text('a folder', (value) => value.startsWith('/'), 4096)), null),
  /** Where the rest is: beside this file, or on objects. One key that signs in both places would fork. */
  place: optional(oneOf(['folder', 'objects'] as const), 'folder'),
});

type Config = TypeOf<typeof decode>;

/**
 * @param cells another folder, best on another disk, for the one thing that must not be restored with the rest
 * @throws LockstepError LOG_UNUSABLE when there is a log already
 */
export function initLog(root: string, origin: string, witnessPolicy: string | null, cells: string | null = null): LogHome {
  requireUsable(origin, witnessPolicy);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  createConfig(root, { schema: 'lockstep-log/v1', origin, witness_policy: witnessPolicy, cells: cells === null ? null : resolve(cells) });
  return openLogHome(root);
}

/**
 * Makes the key and the configuration of a log whose files will lie on objects. Every replica gets a copy of `root`.
 * @throws LockstepError LOG_UNUSABLE when there is a log already
 */
export function initSharedLog(root: string, origin: string, witnessPolicy: string | null): VerifierKey {
  requireUsable(origin, witnessPolicy);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  // The key first: log.json says that all of it is there.
  const { publicKey } = openEd25519Key(keyFile(root));
  createConfig(root, { schema: 'lockstep-log/v1', origin, witness_policy: witnessPolicy, place: 'objects' });
  return makeVerifierKey(origin, 'ed25519', publicKey);
}

function requireUsable(origin: string, witnessPolicy: string | null): void {
  if (!isKeyName(origin) || !isOrigin(origin))
    throw new LockstepError(
      'USAGE',
      `${JSON.stringify(origin)} is no origin for a log`,
      'Use an address without a scheme, which will not change: log.example.org/farm.',
    );
  if (witnessPolicy !== null) parseWitnessPolicy(witnessPolicy, 'the witness policy');
}

function createConfig(root: string, config: Partial<Config>): void {
  if (!createDurably(`${root}/log.json`, `${JSON.stringify(config)}\n`))
    throw new LockstepError('LOG_UNUSABLE', `${root} has a log already`, 'Choose another folder; a log is never started again.');
}

/** The public key of the log of a folder, for whoever only reads: makes and changes nothing there. @throws LockstepError LOG_UNUSABLE, KEY_INVALID */
export function readLogKey(root: string): VerifierKey {
  if (!hasKey(root)) throw new LockstepError('LOG_UNUSABLE', `${root} has no key of a log`, 'Give the log’s verifier key with --key.');
  return makeVerifierKey(readConfig(root).origin, 'ed25519', openEd25519Key(keyFile(root)).publicKey);
}

/** @throws LockstepError LOG_UNUSABLE, KEY_INVALID */
export function openLogHome(root: string): LogHome {
  const config = readConfig(root);
  if (config.place !== 'folder')
    throw new LockstepError(
      'LOG_UNUSABLE',
      `The log of ${root} lies on objects, not in this folder`,
      'Only the farm that has those objects writes to it. Read it over HTTP, or with lockstep log mirror.',
    );
  return {
    ...identityOf(root, config),
    files: folderFiles(`${root}/public`, `${root}/locks`),
    staging: folderStaging(`${root}/staging`),
    cells: folderStateCells(config.cells ?? `${root}/cells`),
    source: folderSource(`${root}/public`, root),
  };
}

/**
 * A log that any number of replicas sequence. Makes and changes nothing in the folder: a key made here would be of another log.
 * @param root with log.json and the key, as initSharedLog made them
 * @param prefix under which everything else lies on `objects`: `PREFIX/public/` may be served, the rest may not
 * @throws LockstepError LOG_UNUSABLE, KEY_INVALID
 */
export function openSharedLogHome(root: string, objects: Objects, prefix: string): LogHome {
  const config = readConfig(root);
  if (config.place !== 'objects')
    throw new LockstepError(
      'LOG_UNUSABLE',
      `The log of ${root} lies in that folder, not on objects`,
      'One key that signs in two places forks its log. Make a shared log in another folder, with a key and an origin of its own.',
    );
  if (!hasKey(root))
    throw new LockstepError('LOG_UNUSABLE', `${root} has no key of a log`, 'Copy keys/log.pem from the folder where the log was made.');
  return {
    ...identityOf(root, config),
    files: objectFiles(objects, `${prefix}/public`),
    staging: objectStaging(objects, `${prefix}/staging`),
    cells: objectStateCells(objects, `${prefix}/state`),
    source: objectSource(objects, `${prefix}/public`),
  };
}

function identityOf(root: string, config: Config): Pick<LogHome, 'root' | 'origin' | 'key' | 'signer' | 'witnesses' | 'opened'> {
  const { origin, witness_policy: witnessPolicy } = config;
  const signer = openEd25519Key(keyFile(root));
  return {
    root,
    origin,
    key: makeVerifierKey(origin, 'ed25519', signer.publicKey),
    signer,
    witnesses: witnessPolicy === null ? null : parseWitnessPolicy(witnessPolicy, `${root}/log.json`),
    opened: new Map(),
  };
}

function keyFile(root: string): string {
  return `${root}/keys/log.pem`;
}

function hasKey(root: string): boolean {
  return lstatSync(keyFile(root), { throwIfNoEntry: false })?.isFile() === true;
}

function readConfig(root: string): Config {
  const file = `${root}/log.json`;
  if (!existsSync(file))
    throw new LockstepError(
      'LOG_UNUSABLE',
      `${root} is not the folder of a log’s operator`,
      `Make one: lockstep log init ${root} --origin NAME.`,
    );
  const decoded = decode(parseJson(readFileSync(file), file), []);
  if (!decoded.ok) throw issueError('LOG_UNUSABLE', decoded.issues, () => ({ file, line: 1, column: 1 }));
  return decoded.value;
}
