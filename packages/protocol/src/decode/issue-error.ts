/** Turns what a decoder found into the one error that a user reads. */
import { type ErrorCode, LockstepError, type Location } from '../error/lockstep-error.ts';
import type { JsonPath } from '../json/parse.ts';
import type { Issue } from './decode.ts';

/** The first issue becomes the error; the others are counted and listed in its hint. */
export function issueError(code: ErrorCode, issues: readonly Issue[], at: (path: JsonPath) => Location | null): LockstepError {
  const [first, ...others] = issues;
  if (first === undefined) throw new TypeError('no issue');
  const name = formatPath(first.path);
  const more = others.slice(0, 5).map((one) => `also ${formatPath(one.path)}: expected ${one.expected}`);
  const hint = [first.hint === '' ? `Set ${name} to ${first.expected}.` : first.hint, ...more].join('\n  ');
  return new LockstepError(code, `${name}: expected ${first.expected}, found ${first.found}`, hint, { at: at(first.path) });
}

export function formatPath(path: JsonPath): string {
  if (path.length === 0) return 'the document';
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** One issue as a clause of a sentence. */
export function formatIssue(one: Issue): string {
  return `${formatPath(one.path)}: expected ${one.expected}, found ${one.found}`;
}
