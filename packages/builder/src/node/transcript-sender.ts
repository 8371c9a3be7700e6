/** Sends what a build prints while it prints it. Never holds a build up: when the farm is away it is sent later, or not at all. */
import type { FarmClient } from '@lockstep/api/client';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** Milliseconds: what comes together is sent together. */
const TOGETHER = 150;
const MOST_AT_ONCE = 256 << 10;
/** A build that prints more while the farm is away loses the live view of the rest; the transcript itself is whole. */
const MOST_BEHIND = 32 << 20;
const RETRY = 2000;

export interface TranscriptSender {
  write(bytes: Buffer): void;
  /** Sends what is left; gives up after `milliseconds`. */
  finish(milliseconds: number): Promise<void>;
}

export function transcriptSender(client: FarmClient, attempt: number, token: string): TranscriptSender {
  let waiting: Buffer[] = [];
  let behind = 0;
  let offset = 0;
  let dead = false;
  let timer: NodeJS.Timeout | null = null;
  let sending: Promise<void> = Promise.resolve();

  const send = async (): Promise<void> => {
    while (waiting.length > 0 && !dead) {
      const bytes = Buffer.concat(waiting).subarray(0, MOST_AT_ONCE);
      try {
        const { next } = await client.call('appendTranscript', {
          params: { attempt: String(attempt), offset: String(offset) },
          body: bytes,
          headers: { 'lockstep-lease': token },
        });
        const all = Buffer.concat(waiting);
        // The farm says how far it is: more than was asked if an answer was lost.
        const rest = all.subarray(Math.max(0, next - offset));
        offset = next;
        waiting = rest.length === 0 ? [] : [rest];
        behind = rest.length;
      } catch (error) {
        if (error instanceof LockstepError && error.code === 'FARM_UNREACHABLE') {
          await new Promise((resolve) => setTimeout(resolve, RETRY).unref());
          continue;
        }
        // The lease is over, or the farm takes no more: nobody follows it any longer.
        dead = true;
      }
    }
  };
  const start = (): void => {
    timer = null;
    sending = sending.then(send);
  };
  return {
    write(bytes) {
      if (dead || behind > MOST_BEHIND) return;
      waiting.push(bytes);
      behind += bytes.length;
      timer ??= setTimeout(start, TOGETHER);
    },
    async finish(milliseconds) {
      if (timer !== null) clearTimeout(timer);
      start();
      await Promise.race([sending, new Promise((resolve) => setTimeout(resolve, milliseconds).unref())]);
      dead = true;
    },
  };
}
