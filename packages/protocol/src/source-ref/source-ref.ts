/**
 * `source_ref`: where source comes from, resolvable by a machine and sufficient by itself: scheme, URL and an exact ref.
 * Anything that a fetcher could mistake for an option or a command is refused here, before any tool sees it.
 */
import { formatPackageUrl, type PackageUrl, parsePackageUrl } from './package-url.ts';

export type SourceRef =
  | { readonly kind: 'git'; readonly transport: 'https' | 'ssh' | 'file'; readonly url: string; readonly ref: string }
  | { readonly kind: 'https'; readonly url: string }
  | { readonly kind: 'package'; readonly purl: PackageUrl }
  | { readonly kind: 'directory'; readonly path: string };

export interface RefProblem {
  readonly expected: string;
  readonly hint: string;
}

const problem = (expected: string, hint: string): RefProblem => ({ expected, hint });

/** Longest URL that servers commonly take is 8 KiB; real refs are far shorter. */
const MAX_LENGTH = 2048;
const FORMS = 'git+https://HOST/PATH#REF, git+ssh://…#REF, git+file:///PATH#REF, https://…, pkg:deb/…, pkg:npm/… or a directory';

export function parseSourceRef(text: string): SourceRef | RefProblem {
  // biome-ignore lint: control characters are exactly what is looked for
  if (/[\u0000-\u0020\u007f\u0080-\u00a0\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/.test(text) || !text.isWellFormed())
    return problem('a source reference without white space or control characters', 'Percent-encode what the URL really holds.');
  if (text === '' || text.length > MAX_LENGTH) return problem(`a source reference of 1 to ${MAX_LENGTH} characters`, FORMS);
  if (text.startsWith('-')) return problem('a source reference that does not begin with "-"', 'A leading dash would be read as an option.');
  if (/^git\+/i.test(text)) return parseGit(text);
  if (/^pkg:/i.test(text)) {
    const purl = parsePackageUrl(text);
    return purl === null
      ? problem('a package URL such as pkg:deb/debian/hello@2.10-3?arch=source or pkg:npm/NAME@VERSION', 'See spec/manifest.md.')
      : { kind: 'package', purl };
  }
  if (/^https:\/\//.test(text)) return parseHttps(text);
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(text))
    return problem(`one of the forms ${FORMS}`, `The scheme ${JSON.stringify(text.slice(0, text.indexOf(':')))} is not allowed.`);
  return { kind: 'directory', path: text };
}

export function isProblem(value: SourceRef | RefProblem): value is RefProblem {
  return 'expected' in value;
}

function parseHttps(text: string): SourceRef | RefProblem {
  const match = /^https:\/\/([^/?#@]+)(\/[^#]*)?(#.*)?$/.exec(text);
  if (match === null || !isHost(match[1] ?? ''))
    return problem('https://HOST/PATH without user name or password', 'Credentials do not belong into a manifest.');
  if (match[3] !== undefined) return problem('an https URL without a fragment', 'For git use git+https://….');
  return { kind: 'https', url: text };
}

function parseGit(text: string): SourceRef | RefProblem {
  const match = /^git\+(https|ssh|file):\/\/([^#]*)#(.+)$/.exec(text);
  if (match === null)
    return problem('git+https://, git+ssh:// or git+file:// with #REF', 'Name an exact ref: #refs/tags/v1.0 or a full commit id.');
  const transport = match[1] as 'https' | 'ssh' | 'file';
  const rest = match[2] ?? '';
  const ref = match[3] ?? '';
  const slash = rest.indexOf('/');
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? '' : rest.slice(slash);
  if (path.length < 2 || path.split('/').includes('..') || /[\\"'`$;|&<>*?[\]{}!]/.test(path))
    return problem('a plain path in the URL', 'Climbing paths and shell characters are refused.');
  if (transport === 'file') {
    if (authority !== '') return problem('git+file:///ABSOLUTE/PATH', 'A file URL has no host.');
  } else {
    const host = transport === 'ssh' ? authority.replace(/^[A-Za-z0-9_][A-Za-z0-9_.-]*@/, '') : authority;
    if (!isHost(host))
      return problem('a plain host name', transport === 'ssh' ? 'Use ssh://USER@HOST/PATH.' : 'Credentials do not belong into a manifest.');
  }
  const refProblem = problemOfRef(ref);
  return refProblem ?? { kind: 'git', transport, url: `${transport}://${rest}`, ref };
}

function isHost(text: string): boolean {
  return /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/.test(text);
}

/** git-check-ref-format(1), for full refs, or a full object id. */
function problemOfRef(ref: string): RefProblem | null {
  if (isObjectId(ref)) return null;
  const expected = 'an exact ref: refs/tags/NAME, refs/heads/NAME or a full commit id';
  if (!ref.startsWith('refs/'))
    return problem(
      expected,
      /^[0-9a-f]{7,39}$/.test(ref) ? 'Short commit ids are ambiguous; write all digits.' : `Write refs/tags/${ref} if it is a tag.`,
    );
  const bad =
    ref.includes('..') ||
    ref.includes('//') ||
    ref.includes('@{') ||
    ref.endsWith('/') ||
    ref.endsWith('.') ||
    /[~^:?*[\\]/.test(ref) ||
    ref.split('/').some((part) => part.startsWith('.') || part.endsWith('.lock') || part.startsWith('-'));
  return bad ? problem(expected, 'See git-check-ref-format(1).') : null;
}

export function isObjectId(ref: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(ref);
}

/** A branch, or any ref that is not a tag or a commit: what it names changes. */
export function isMoving(source: SourceRef): boolean {
  return source.kind === 'git' && !source.ref.startsWith('refs/tags/') && !isObjectId(source.ref);
}

export function formatSourceRef(source: SourceRef): string {
  if (source.kind === 'git') return `git+${source.url}#${source.ref}`;
  if (source.kind === 'https') return source.url;
  if (source.kind === 'package') return formatPackageUrl(source.purl);
  return source.path;
}

/** Whether `locked` is what `written` may resolve to: the same thing, with a version or a commit added. */
export function refFits(written: string, locked: string): boolean {
  if (written === locked) return true;
  const a = parseSourceRef(written);
  const b = parseSourceRef(locked);
  if (isProblem(a) || isProblem(b)) return false;
  if (a.kind === 'directory') return locked === 'directory';
  if (a.kind === 'git' && b.kind === 'git') return a.url === b.url && isMoving(a) && isObjectId(b.ref);
  if (a.kind === 'package' && b.kind === 'package') {
    const same = a.purl.type === b.purl.type && a.purl.namespace === b.purl.namespace && a.purl.name === b.purl.name;
    return same && (a.purl.version === null || a.purl.version === b.purl.version);
  }
  return false;
}

/** What people get wrong; advice, not errors. */
export function sourceRefWarnings(source: SourceRef, facts: { annotatedTag: boolean | null }): string[] {
  const warnings: string[] = [];
  if (source.kind === 'git') {
    if (isObjectId(source.ref))
      warnings.push('source_ref names a bare commit: people recognise a tag (refs/tags/…); prefer one where it exists.');
    else if (isMoving(source))
      warnings.push(
        'source_ref names a branch, which moves: the lock holds the commit, but a reader of source_ref alone cannot find it. Prefer a tag.',
      );
    else if (facts.annotatedTag === false)
      warnings.push('the tag is lightweight: it names no tagger and no date, and moves without a trace. Prefer an annotated tag.');
    if (source.transport === 'file')
      warnings.push('source_ref is a file URL: nobody else can resolve it. Use git+https for what you publish.');
    if (source.transport === 'ssh')
      warnings.push('source_ref is an ssh URL: strangers cannot resolve it. Use git+https for what you publish.');
  }
  if (source.kind === 'directory')
    warnings.push('the source is a local directory: nobody else can resolve it. Use git+https with a tag for what you publish.');
  return warnings;
}
