/** The folder of a log's operator: its key, what it is called, whom it asks to witness, and the public files. */
import { existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type WitnessPolicy, parseWitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { isOrigin } from '@lockstep/protocol/checkpoint/checkpoint';
import { nullable, oneOf, optional, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { isKeyName, makeVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { type Cells, folderCells } from '@lockstep/store/cells';
import { createDurably } from '@lockstep/store/durable';
import { folderFiles, type LogFiles } from '../files/log-files.ts';
import { folderStaging, type Staging } from '../files/staging.ts';
import { type NoteSigner, openEd25519Key } from '../key/log-key.ts';
import { folderSource, type LogSource } from '../source/log-source.ts';

export interface LogHome {
  readonly root: string;
  readonly origin: string;
  readonly key: VerifierKey;
  readonly signer: NoteSigner;
  /** null: nobody has to witness, and every verdict says so. */
  readonly witnesses: WitnessPolicy | null;
  readonly files: LogFiles;
  readonly staging: Staging;
  /** The store of its own: whoever swaps the checkpoint there goes on, everybody else starts again. */
  readonly cells: Cells;
  readonly source: LogSource;
}

const decode = table({
  schema: oneOf(['lockstep-log/v1'] as const),
  origin: text('an origin', isOrigin, 255),
  witness_policy: nullable(text('a witness policy', () => true, 1 << 20)),
  /** Folder of the store of its own; null: beside the log. */
  cells: optional(nullable(text('a folder', (value) => value.startsWith('/'), 4096)), null),
});

/**
 * @param cells another folder, best on another disk, for the one thing that must not be restored with the rest
 * @throws LockstepError LOG_UNUSABLE when there is a log already
 */
export function initLog(root: string, origin: string, witnessPolicy: string | null, cells: string | null = null): LogHome {
  if (!isKeyName(origin) || !isOrigin(origin))
    throw new LockstepError(
      'USAGE',
      `${JSON.stringify(origin)} is no origin for a log`,
      'Use an address without a scheme, which will not change: log.example.org/farm.',
    );
  if (witnessPolicy !== null) parseWitnessPolicy(witnessPolicy, 'the witness policy');
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const made = createDurably(
    `${root}/log.json`,
    `${JSON.stringify({ schema: 'lockstep-log/v1', origin, witness_policy: witnessPolicy, cells: cells === null ? null : resolve(cells) })}\n`,
  );
  if (!made) throw new LockstepError('LOG_UNUSABLE', `${root} has a log already`, 'Choose another folder; a log is never started again.');
  return openLogHome(root);
}

/** The public key of the log of a folder, for whoever only reads: makes and changes nothing there. @throws LockstepError LOG_UNUSABLE, KEY_INVALID */
export function readLogKey(root: string): VerifierKey {
  const file = `${root}/keys/log.pem`;
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new LockstepError('LOG_UNUSABLE', `${root} has no key of a log`, 'Give the log’s verifier key with --key.');
  return makeVerifierKey(readConfig(root).origin, 'ed25519', openEd25519Key(file).publicKey);
}

/** @throws LockstepError LOG_UNUSABLE, KEY_INVALID */
export function openLogHome(root: string): LogHome {
  const { origin, witness_policy: witnessPolicy, cells } = readConfig(root);
  const signer = openEd25519Key(`${root}/keys/log.pem`);
  return {
    root,
    origin,
    key: makeVerifierKey(origin, 'ed25519', signer.publicKey),
    signer,
    witnesses: witnessPolicy === null ? null : parseWitnessPolicy(witnessPolicy, `${root}/log.json`),
    files: folderFiles(`${root}/public`, `${root}/locks`),
    staging: folderStaging(`${root}/staging`),
    cells: folderCells(cells ?? `${root}/cells`),
    source: folderSource(`${root}/public`, root),
  };
}

function readConfig(root: string): TypeOf<typeof decode> {
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
