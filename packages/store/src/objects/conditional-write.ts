/**
 * A conditional write over a network, with an answer that is right. A request that timed out may have been carried out:
 * asked again, the storage refuses, because of our own write. So each write has a random id, and carries the ids of what it
 * stands on, latest first. After a doubtful answer what lies there now tells:
 * - our id is among those: it was us, whoever came after;
 * - the id that we meant to replace is, and ours is not: others replaced it, and our condition can't hold any more;
 * - nothing has changed: ask again;
 * - anything else (a plain put, a removal, more writes than are remembered): not known, which is an error, never a guess.
 *
 * What this can't see: a name that was created by us, removed, and created by others is "not ours". And where a version is
 * known by the hash of its bytes (S3), a request that hangs in the network until the very same bytes are back still counts.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export interface Mark {
  readonly write: string;
  /** Ids of what it replaced, latest first. Empty for a plain put, which looks at nothing. */
  readonly over: readonly string[];
}

/** What came of one request: carried out, refused for its condition, or not known. */
export type Attempt = { readonly came: 'written' } | { readonly came: 'refused' } | { readonly came: 'doubt'; readonly error: unknown };

export interface ConditionalWrite {
  readonly mark: Mark;
  /** @throws what is certain: it was not carried out, and will not be */
  attempt(): Promise<Attempt>;
  /** The mark of what lies there now; null for nothing. */
  readMark(): Promise<Mark | null>;
  /** For the error when nobody can know: storage and key. */
  readonly where: string;
}

/** "There was none." */
const NOTHING = '0';
/** Ids in a mark: with 16 digits each they fit into what S3 takes as metadata (2 kB). */
const REMEMBERED = 32;
const ATTEMPTS = 5;
/** Milliseconds before the second attempt; doubled for each further one. */
const PAUSE = 100;

export function plainMark(): Mark {
  return { write: randomBytes(8).toString('hex'), over: [] };
}

/** @param there the mark of what is to be replaced; null for nothing */
export function markOver(there: Mark | null): Mark {
  return { ...plainMark(), over: there === null ? [NOTHING] : [there.write, ...there.over].slice(0, REMEMBERED) };
}

/** As metadata of an object, for every storage. */
export function markToMetadata(mark: Mark): Record<string, string> {
  return { 'lockstep-write': mark.write, ...(mark.over.length === 0 ? {} : { 'lockstep-over': mark.over.join(' ') }) };
}

/** @param otherwise what stands for the version when somebody else wrote it: its ETag or generation */
export function markFromMetadata(metadata: Readonly<Record<string, unknown>> | undefined, otherwise: string): Mark {
  const [write, over] = [metadata?.['lockstep-write'], metadata?.['lockstep-over']];
  if (typeof write !== 'string') return { write: otherwise, over: [] };
  return { write, over: typeof over === 'string' ? over.split(' ') : [] };
}

/** @returns whether this write was carried out. @throws LockstepError STORE_UNUSABLE when it cannot be known */
export async function writeOnce(write: ConditionalWrite): Promise<boolean> {
  let doubt: unknown = null;
  for (let at = 0; at < ATTEMPTS; at++) {
    if (at > 0) await sleep(PAUSE * 2 ** (at - 1) * (1 + Math.random()));
    const attempt = await write.attempt();
    if (attempt.came === 'written') return true;
    if (attempt.came === 'refused' && doubt === null) return false;
    if (attempt.came === 'doubt') doubt = attempt.error;
    const whose = whoseIs(await write.readMark(), write.mark);
    if (whose === 'ours' || whose === 'theirs') return whose === 'ours';
    if (whose === 'unknown' || attempt.came === 'refused') break;
  }
  throw new LockstepError(
    'STORE_UNUSABLE',
    `Whether ${write.where} was written is not known: ${doubt instanceof Error ? doubt.message : String(doubt)}`,
    'Read it again and decide anew; if it stays so, check the storage and what lies between.',
  );
}

function whoseIs(there: Mark | null, mark: Mark): 'ours' | 'theirs' | 'unchanged' | 'unknown' {
  const [replaced] = mark.over;
  if ((there?.write ?? NOTHING) === replaced) return 'unchanged';
  if (there === null || replaced === undefined) return 'unknown';
  if (there.write === mark.write || there.over.includes(mark.write)) return 'ours';
  return there.over.includes(replaced) ? 'theirs' : 'unknown';
}
