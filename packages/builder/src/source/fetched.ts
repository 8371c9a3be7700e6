/** What fetching a source gives: files in the content store, and where SOURCE_DATE_EPOCH comes from. */
import type { Lock, LockedFile } from '@lockstep/protocol/lock/lock';

export interface FetchedSource {
  /** The reference with everything resolved: a version for a package, a commit for a branch. */
  readonly ref: string;
  readonly files: readonly LockedFile[];
  readonly date: number;
  readonly dateFrom: string;
  readonly git: Lock['source']['git'];
  /** null where there is no tag. */
  readonly annotatedTag: boolean | null;
  readonly warnings: readonly string[];
}
