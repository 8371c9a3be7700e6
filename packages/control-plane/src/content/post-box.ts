/** Messages for signing nodes and their answers, in the storage: any replica serves any node. Nothing of them is read here. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { MAX_SIGNING_MESSAGE } from '@lockstep/api/routes/signing';
import type { Farm } from '../farm.ts';

/** Seconds that an answer to "is there anything" may take: less than a client waits for any answer. */
const LONGEST_WAIT = 30;
const LOOK_AGAIN = 500;
/** More than a node has ever to answer at once. */
const MOST_WAITING = 100;

/** What waits, and what was answered, apart: a node that has answered much is asked as quickly as a new one. */
const boxOf = (node: string): string => `signing/waiting/${boxName(node)}/`;
const messageKey = (node: string, message: string): string => `${boxOf(node)}${message}`;
const answerKey = (node: string, message: string): string => `signing/answered/${boxName(node)}/${message}`;

/** A token's name may be more than a node's can. @throws LockstepError FORBIDDEN */
function boxName(node: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(node))
    throw new LockstepError(
      'FORBIDDEN',
      `${JSON.stringify(node.slice(0, 100))} is no name of a signing node`,
      'Make a token that is named as the node is.',
    );
  return node;
}

/** @throws LockstepError DIGEST_MISMATCH */
export async function putMessage(farm: Farm, node: string, message: string, bytes: Uint8Array): Promise<void> {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== message)
    throw new LockstepError(
      'DIGEST_MISMATCH',
      `The message has the SHA-256 ${found}, not ${message}`,
      'Send it again, under its own name.',
    );
  // Asked again, it is not handled again: the answer is there.
  if ((await farm.objects.size(answerKey(node, message))) === null) await farm.objects.create(messageKey(node, message), bytes);
}

export async function waitingFor(farm: Farm, node: string, seconds: number, signal: AbortSignal): Promise<string[]> {
  return waitFor(seconds, signal, async () => {
    const waiting: string[] = [];
    for await (const { key } of farm.objects.list(boxOf(node))) {
      waiting.push(key.slice(boxOf(node).length));
      if (waiting.length === MOST_WAITING) break;
    }
    return waiting.length === 0 ? null : waiting;
  }).then((found) => found ?? []);
}

/** @throws LockstepError NOT_FOUND */
export async function takeMessage(farm: Farm, node: string, message: string): Promise<Uint8Array> {
  return (await farm.objects.get(messageKey(node, message), MAX_SIGNING_MESSAGE)) ?? notFound('message for this node');
}

/** @throws LockstepError NOT_FOUND */
export async function putAnswer(farm: Farm, node: string, message: string, bytes: Uint8Array): Promise<void> {
  // The first answer stays; one that comes again, because its receipt was lost, is taken for the same.
  if ((await farm.objects.size(answerKey(node, message))) !== null) return;
  if ((await farm.objects.size(messageKey(node, message))) === null) notFound('message for this node');
  await farm.objects.create(answerKey(node, message), bytes);
  await farm.objects.remove(messageKey(node, message));
}

/** @throws LockstepError NOT_FOUND when there is none in time */
export async function answerTo(farm: Farm, node: string, message: string, seconds: number, signal: AbortSignal): Promise<Uint8Array> {
  return (await waitFor(seconds, signal, () => farm.objects.get(answerKey(node, message), MAX_SIGNING_MESSAGE))) ?? notFound('answer yet');
}

async function waitFor<T>(seconds: number, signal: AbortSignal, look: () => Promise<T | null>): Promise<T | null> {
  const end = performance.now() + Math.min(seconds, LONGEST_WAIT) * 1000;
  for (;;) {
    const found = await look();
    if (found !== null || signal.aborted || performance.now() >= end) return found;
    await pause(LOOK_AGAIN, undefined, { signal }).catch(() => undefined);
  }
}

function notFound(what: string): never {
  throw new LockstepError('NOT_FOUND', `There is no ${what}`, 'Ask again; the node may be busy, or asking a person.');
}
