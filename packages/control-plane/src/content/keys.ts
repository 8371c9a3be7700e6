/**
 * Names in the farm's storage. Three namespaces, so that a digest alone opens nothing: what submitters gave can be read by
 * the builders of their jobs, results by readers once they are agreed on, parts by nobody.
 */
import { createHash } from 'node:crypto';

export const definitionKey = (job: string): string => `definitions/${job}`;
/** Written before the database knows of it: what a reindex begins from. */
export const submissionKey = (submission: string): string => `submissions/${submission}`;
export const inputKey = (sha256: string): string => `inputs/${sha256}`;
export const resultKey = (sha256: string): string => `results/${sha256}`;
/** With the time of the lease: a database that was restored gives the same numbers again. */
export const transcriptKey = (attempt: { readonly attempt: number; readonly leased_at: number }): string =>
  `transcripts/${attempt.attempt}-${attempt.leased_at}`;
export const pinKey = (job: string): string => `pins/${job}`;

/** Whose upload a part belongs to: others neither see it nor can complete it. */
export type PartScope = `a-${string}` | `s-${string}`;
export const attemptScope = (attempt: number): PartScope => `a-${attempt}`;
export const submitterScope = (submitter: string): PartScope => `s-${createHash('sha256').update(submitter).digest('hex').slice(0, 32)}`;
export const partsPrefix = (scope: PartScope): string => `parts/${scope}/`;
export const partKey = (scope: PartScope, sha256: string, part: string): string => `${partsPrefix(scope)}${sha256}/${part}`;
