/**
 * Files carried by hand, or a folder that two programs share: requests in `in/`, named by their SHA-256, answers in `out/`
 * under the same name. Each file appears whole.
 */
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { answerTo } from './answer-to.ts';
import { writeDurably } from '@lockstep/store/durable';

/** The largest message of any kind (spec/frost.md "Bounds"). */
const MAX_MESSAGE = 16 << 20;
const POLL_MS = 100;
const NAME = /^([0-9a-f]{64})\.request$/;

/** @throws LockstepError LINK_FAILED when nobody answers in time */
export async function askFolder(folder: string, message: Uint8Array, timeoutSeconds: number): Promise<Uint8Array> {
  mkdirSync(`${folder}/in`, { recursive: true });
  mkdirSync(`${folder}/out`, { recursive: true });
  const name = sha256Hex(message);
  const answer = `${folder}/out/${name}.answer`;
  if (!existsSync(`${folder}/in/${name}.request`)) writeDurably(`${folder}/in/${name}.request`, message);
  const end = performance.now() + timeoutSeconds * 1000;
  while (!existsSync(answer)) {
    if (performance.now() > end)
      throw new LockstepError(
        'LINK_FAILED',
        `Nobody has answered in ${folder}/out for ${timeoutSeconds} s`,
        `Start the node: lockstep signer run FOLDER --folder ${folder}; or carry the request to it and its answer back.`,
      );
    await pause(POLL_MS);
  }
  return readBounded(answer);
}

/** Answers what is there and what comes. Ends when it is cancelled. */
export async function serveFolder(
  folder: string,
  handle: (message: Uint8Array) => Promise<Uint8Array>,
  cancelled: AbortSignal,
  trouble: (text: string) => void,
): Promise<void> {
  /** Not looked at again until the node is started again: one file ends nobody’s work. */
  const failed = new Set<string>();
  mkdirSync(`${folder}/in`, { recursive: true });
  mkdirSync(`${folder}/out`, { recursive: true });
  while (!cancelled.aborted) {
    for (const file of readdirSync(`${folder}/in`).sort()) {
      const name = NAME.exec(file)?.[1];
      if (name === undefined || existsSync(`${folder}/out/${name}.answer`)) continue;
      if (failed.has(file)) continue;
      const message = readPlain(`${folder}/in/${file}`, trouble);
      if (message === null) {
        failed.add(file);
        continue;
      }
      // Carried halfway, or changed on the way: it may be whole the next time.
      if (sha256Hex(message) !== name) continue;
      const answer = await answerTo(message, handle, trouble);
      if (answer === null) failed.add(file);
      else writeDurably(`${folder}/out/${name}.answer`, answer);
    }
    await pause(POLL_MS, undefined, { signal: cancelled }).catch(() => undefined);
  }
}

/** null, and told, when it is no plain file of a size that a message has: others may write into the folder. */
function readPlain(path: string, trouble: (text: string) => void): Uint8Array | null {
  try {
    return readBounded(path);
  } catch (error) {
    trouble(`${path} is left alone: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

/** Follows no link, waits for no pipe, and reads no device. @throws LockstepError LINK_FAILED */
function readBounded(path: string): Uint8Array {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > MAX_MESSAGE)
      throw new LockstepError('LINK_FAILED', `${path} is no file of at most 16 MiB`, 'No message to a node is anything else: remove it.');
    return new Uint8Array(readFileSync(fd)).slice(0, MAX_MESSAGE);
  } finally {
    closeSync(fd);
  }
}
