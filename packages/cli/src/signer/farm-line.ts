/** The post box of a farm, over HTTPS: whoever asks puts a message down, the node pulls it and puts its answer down. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { FarmClient } from '@lockstep/api/client';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { answerTo } from './answer-to.ts';
import { MAX_SIGNING_MESSAGE } from '@lockstep/api/routes/signing';

/** Seconds that a farm may think about whether there is something. */
const WAIT = '25';
/** The farm is away, or has nothing: not asked more often than this. */
const PAUSE_MS = 2000;

/** @throws LockstepError LINK_FAILED when the node does not answer in time */
export async function askThroughFarm(client: FarmClient, node: string, message: Uint8Array, timeoutSeconds: number): Promise<Uint8Array> {
  const digest = createHash('sha256').update(message).digest('hex');
  await client.call('putSigningMessage', { params: { node, message: digest }, body: message });
  const end = performance.now() + timeoutSeconds * 1000;
  for (;;) {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    const answer = await answerOrNull(client, node, digest, String(Math.min(left, Number(WAIT))));
    if (answer !== null) return answer;
    if (performance.now() > end)
      throw new LockstepError(
        'LINK_FAILED',
        `${node} has not fetched or not answered the request for ${timeoutSeconds} s`,
        `Start it: lockstep signer run FOLDER --farm ADDRESS. Its token is of the role "signer", and named ${node}.`,
      );
  }
}

async function answerOrNull(client: FarmClient, node: string, message: string, wait: string): Promise<Uint8Array | null> {
  try {
    return await readAll(await client.call('signingAnswer', { params: { node, message }, query: { wait } }));
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

/** Pulls until it is cancelled; a farm that is away is asked again. */
export async function serveFarm(
  client: FarmClient,
  handle: (message: Uint8Array) => Promise<Uint8Array>,
  cancelled: AbortSignal,
  trouble: (text: string) => void,
): Promise<void> {
  /** Not handled again until the node is started again: one message ends nobody’s work. */
  const failed = new Set<string>();
  while (!cancelled.aborted) {
    try {
      const { messages } = await client.call('signingInbox', { query: { wait: WAIT } });
      // Nothing but what failed: asked again in a while, so that it does not spin.
      if (messages.length > 0 && messages.every((one) => failed.has(one)))
        await pause(PAUSE_MS, undefined, { signal: cancelled }).catch(() => undefined);
      for (const message of messages) {
        if (cancelled.aborted) return;
        if (failed.has(message)) continue;
        const bytes = await readAll(await client.call('takeSigningMessage', { params: { message } }));
        const answer = await answerTo(bytes, handle, trouble);
        if (answer === null) failed.add(message);
        else await client.call('putSigningAnswer', { params: { message }, body: answer });
      }
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
      // What will not get better by waiting: no token, the wrong one, or another kind of farm.
      if (['UNAUTHENTICATED', 'FORBIDDEN'].includes(error.code)) throw error;
      trouble(error.message);
      await pause(PAUSE_MS, undefined, { signal: cancelled }).catch(() => undefined);
    }
  }
}

async function readAll(response: Response): Promise<Uint8Array> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length > MAX_SIGNING_MESSAGE)
    throw new LockstepError('LINK_FAILED', 'The farm sends more than a message may have', 'Ask its operator.');
  return bytes;
}
