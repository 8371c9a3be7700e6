/**
 * Moves a log from its operator's folder onto objects, so that replicas can sequence it. Nothing may append meanwhile. The
 * state is the last thing that is written there, and the folder is told to be no log of its own before anybody signs: one
 * key never signs in two places.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import { writeDurably } from '@lockstep/store/durable';
import { eachAtMost, FILES_AT_ONCE } from '../files/each-at-most.ts';
import { objectStateCells } from '../files/state-cells.ts';
import { openLogHome } from './log-home.ts';
import { STATE_CELL } from './sequenced-state.ts';

/** @returns how many files were copied, each read back. @throws LockstepError LOG_UNUSABLE when there is a log already */
export async function moveLogToObjects(root: string, objects: Objects, prefix: string): Promise<number> {
  const home = openLogHome(root);
  const state = objectStateCells(objects, `${prefix}/state`);
  const cell = await home.cells.get(STATE_CELL);
  const there = await state.get(STATE_CELL);
  if (there !== null && there !== cell)
    throw new LockstepError(
      'LOG_UNUSABLE',
      `${objects.name} has another log under ${prefix}/`,
      'Choose an empty place; two logs cannot be put together.',
    );
  const files = ['public', 'staging'].flatMap((folder) => filesBelow(`${root}/${folder}`).map((path) => `${folder}/${path}`));
  await eachAtMost(FILES_AT_ONCE, files, async (path) => {
    const bytes = readFileSync(`${root}/${path}`);
    await objects.put(`${prefix}/${path}`, bytes);
    const back = await objects.get(`${prefix}/${path}`, Math.max(1, bytes.length));
    if (back === null || digestOf(back) !== digestOf(bytes))
      throw new LockstepError(
        'STORE_CORRUPT',
        `${objects.name} does not hold what was written as ${path}`,
        'Check the storage, then move the log again.',
      );
  });
  const config = JSON.parse(readFileSync(`${root}/log.json`, 'utf8')) as Record<string, unknown>;
  // From here on the folder is none to sequence from.
  writeDurably(
    `${root}/log.json`,
    `${JSON.stringify({ schema: config['schema'], origin: config['origin'], witness_policy: config['witness_policy'], place: 'objects' })}\n`,
  );
  if (cell !== null && there === null && !(await state.swap(STATE_CELL, null, cell)))
    throw new LockstepError(
      'LOG_UNUSABLE',
      'Somebody else has begun a log there meanwhile',
      'Find out who; nothing was signed by this one.',
    );
  return files.length;
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.part'))
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length + 1));
}
