/** The folder of a witness: its two keys, the logs that it follows, and what it has cosigned. Never the folder of a log. */
import { existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { list, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { formatVerifierKey, isKeyName, makeVerifierKey, parseVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { folderCells } from '@lockstep/store/cells';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import { openEd25519Key, openMlDsaKey } from '../key/log-key.ts';
import type { Witness } from './witness.ts';

const decode = table({
  schema: oneOf(['lockstep-witness/v1'] as const),
  name: text('a key name', isKeyName, 255),
  logs: list(
    text('a verifier key', () => true, 3000),
    10_000,
  ),
});

/** Makes the folder where there is none. @param follow verifier keys of logs to follow from now on */
export function openWitness(root: string, name: string | null, follow: readonly VerifierKey[], now: () => number): Witness {
  refuseFolderOfLog(root);
  const file = `${root}/witness.json`;
  if (!existsSync(file)) {
    if (name === null || !isKeyName(name))
      throw new LockstepError(
        'USAGE',
        `${root} has no witness yet`,
        'Name it: lockstep witness DIR --name witness.example.org/w1 --log VKEY.',
      );
    mkdirSync(root, { recursive: true, mode: 0o700 });
    createDurably(file, `${JSON.stringify({ schema: 'lockstep-witness/v1', name, logs: [] })}\n`);
  }
  const decoded = decode(parseJson(readFileSync(file), file), []);
  if (!decoded.ok) throw issueError('LOG_UNUSABLE', decoded.issues, () => ({ file, line: 1, column: 1 }));
  if (name !== null && decoded.value.name !== name)
    throw new LockstepError('USAGE', `This witness is called ${decoded.value.name}`, 'A witness keeps its name; leave --name out.');
  const known = decoded.value.logs.map(parseVerifierKey);
  const added = follow.filter((key) => !known.some((one) => one.name === key.name && one.keyId === key.keyId));
  if (added.some((key) => key.type !== 'ed25519'))
    throw new LockstepError('KEY_INVALID', 'The key of a log has signature type 0x01', 'Give what "lockstep log show" prints.');
  const all = [...known, ...added];
  const own = decoded.value.name;
  if (added.length > 0)
    writeDurably(file, `${JSON.stringify({ schema: 'lockstep-witness/v1', name: own, logs: all.map(formatVerifierKey) })}\n`);
  const ed25519 = openEd25519Key(`${root}/keys/ed25519.pem`);
  const mlDsa = openMlDsaKey(`${root}/keys/ml-dsa-44.seed`);
  return {
    cells: folderCells(`${root}/cells`),
    logs: new Map(all.map((key) => [key.name, all.filter((one) => one.name === key.name)])),
    ed25519: { key: makeVerifierKey(own, 'cosignature-ed25519', ed25519.publicKey), signer: ed25519 },
    mlDsa: { key: makeVerifierKey(own, 'cosignature-ml-dsa-44', mlDsa.publicKey), signer: mlDsa },
    now,
  };
}

/** What shares a folder with a log is restored with it, and then witnesses nothing. */
function refuseFolderOfLog(root: string): void {
  for (const folder of ancestors(root))
    if (existsSync(`${folder}/log.json`))
      throw new LockstepError(
        'LOG_UNUSABLE',
        `${folder} is the folder of a log`,
        'A witness that is restored from the log’s backup counts as none: run it elsewhere, best on another operator’s machine.',
      );
}

/** The folder and all that it lies in, by their real names; what is not there yet is made where its parent is. */
function ancestors(root: string): string[] {
  let path = resolve(root);
  const found = [path];
  while (!existsSync(path)) path = dirname(path);
  path = realpathSync(path);
  while (path !== dirname(path)) {
    found.push(path);
    path = dirname(path);
  }
  return found;
}
