/** Many followers of one transcript share one reader: each new chunk is read once in this process, and handed to all. */
import type { Farm } from '../farm.ts';
import { readTranscript, transcriptState } from './read.ts';

export interface Follower {
  /** In order, without gaps. */
  readonly chunk: (start: number, bytes: Uint8Array) => void;
  readonly end: () => void;
}

export interface TranscriptHub {
  /** @param from offset to begin at. @returns stops following */
  follow(attempt: number, from: number, follower: Follower): () => void;
  close(): void;
}

interface Following {
  offset: number;
  readonly follower: Follower;
}

/** Milliseconds: in case an event was lost. */
const LOOK_AGAIN = 3000;

export function transcriptHub(farm: Farm): TranscriptHub {
  const watched = new Map<number, Set<Following>>();
  const reading = new Map<number, { again: boolean }>();

  const read = async (attempt: number): Promise<void> => {
    const state = await transcriptState(farm, attempt);
    for (;;) {
      const followers = watched.get(attempt);
      if (followers === undefined || followers.size === 0) return;
      // From the slowest on: who is further already is passed over until the others are there too.
      const from = Math.min(...[...followers].map((one) => one.offset));
      const part = await readTranscript(farm, attempt, from);
      if (part === null) break;
      for (const one of followers) {
        const skip = one.offset - part.start;
        if (skip < 0 || skip >= part.bytes.length) continue;
        one.follower.chunk(one.offset, part.bytes.subarray(skip));
        one.offset = part.start + part.bytes.length;
      }
    }
    if (!state.ended) return;
    for (const one of watched.get(attempt) ?? []) if (one.offset >= state.bytes) one.follower.end();
  };
  const poke = (attempt: number): void => {
    const busy = reading.get(attempt);
    if (busy !== undefined) {
      busy.again = true;
      return;
    }
    if (!watched.has(attempt)) return;
    const mine = { again: false };
    reading.set(attempt, mine);
    read(attempt)
      .catch((error: unknown) =>
        farm.journal('warn', 'a transcript could not be read', { attempt, error: error instanceof Error ? error.message : String(error) }),
      )
      .finally(() => {
        reading.delete(attempt);
        if (mine.again) poke(attempt);
      });
  };
  const stop = farm.database.onNotify((what) => {
    const attempt = /^transcript (\d+)$/.exec(what)?.[1];
    if (attempt !== undefined) poke(Number(attempt));
    // An attempt may have ended.
    else if (what === 'jobs') for (const one of watched.keys()) poke(one);
  });
  const timer = setInterval(() => {
    for (const attempt of watched.keys()) poke(attempt);
  }, LOOK_AGAIN);
  timer.unref();
  return {
    follow(attempt, from, follower) {
      const following = { offset: from, follower };
      const followers = watched.get(attempt) ?? new Set();
      watched.set(attempt, followers.add(following));
      poke(attempt);
      return () => {
        followers.delete(following);
        if (followers.size === 0) watched.delete(attempt);
      };
    },
    close() {
      stop();
      clearInterval(timer);
      for (const followers of watched.values()) for (const one of followers) one.follower.end();
      watched.clear();
    },
  };
}
