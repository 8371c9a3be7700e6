/** Package URLs (purl-spec) of the two kinds that are sources here: Debian source packages and npm packages. */

export interface PackageUrl {
  readonly type: 'deb' | 'npm';
  /** `debian`, `ubuntu`, … for deb; the scope with `@` or '' for npm. */
  readonly namespace: string;
  readonly name: string;
  readonly version: string | null;
  readonly qualifiers: Readonly<Record<string, string>>;
}

const DEB_NAME = /^[a-z0-9][a-z0-9+.-]+$/;
const DEB_VERSION = /^[0-9][A-Za-z0-9.+:~-]*$/;
const NPM_NAME = /^[a-z0-9-~][a-z0-9-._~]*$/;
const NPM_VERSION = /^[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

/** null when `text` is not a package URL of a known type, or not a well-formed one. */
export function parsePackageUrl(text: string): PackageUrl | null {
  const match = /^pkg:(deb|npm)\/([^?#]+?)(?:\?([^#]*))?$/.exec(text);
  if (match === null) return null;
  const [, type, path = '', query = ''] = match;
  const at = path.lastIndexOf('@');
  const hasVersion = at > 0 && path[at - 1] !== '/';
  const nameParts = decodeAll((hasVersion ? path.slice(0, at) : path).split('/'));
  const version = hasVersion ? decode(path.slice(at + 1)) : null;
  const qualifiers = parseQualifiers(query);
  if (nameParts === null || qualifiers === null || (hasVersion && version === null)) return null;
  const name = nameParts.at(-1) ?? '';
  const namespace = nameParts.slice(0, -1).join('/');
  if (type === 'deb') {
    const ok =
      nameParts.length === 2 &&
      /^[a-z][a-z0-9-]*$/.test(namespace) &&
      DEB_NAME.test(name) &&
      (version === null || DEB_VERSION.test(version));
    return ok ? { type: 'deb', namespace, name, version, qualifiers } : null;
  }
  const scopeOk = namespace === '' || (nameParts.length === 2 && /^@[a-z0-9-~][a-z0-9-._~]*$/.test(namespace));
  return scopeOk && NPM_NAME.test(name) && (version === null || NPM_VERSION.test(version))
    ? { type: 'npm', namespace, name, version, qualifiers }
    : null;
}

export function formatPackageUrl(url: PackageUrl): string {
  const namespace = url.namespace === '' ? '' : `${encode(url.namespace)}/`;
  const version = url.version === null ? '' : `@${encode(url.version)}`;
  const query = Object.keys(url.qualifiers)
    .sort()
    .map((key) => `${key}=${encode(url.qualifiers[key] ?? '')}`)
    .join('&');
  return `pkg:${url.type}/${namespace}${encode(url.name)}${version}${query === '' ? '' : `?${query}`}`;
}

/** purl percent-encoding: everything but unreserved characters and the colon. */
function encode(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%3A', ':');
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function decodeAll(parts: readonly string[]): string[] | null {
  const decoded = parts.map(decode);
  return decoded.every((part): part is string => part !== null && part !== '' && !part.includes('/')) ? decoded : null;
}

function parseQualifiers(query: string): Record<string, string> | null {
  const out: Record<string, string> = {};
  for (const pair of query === '' ? [] : query.split('&')) {
    const match = /^([a-z][a-z0-9._-]*)=(.*)$/.exec(pair);
    const value = match === null ? null : decode(match[2] ?? '');
    if (match?.[1] === undefined || value === null || Object.hasOwn(out, match[1])) return null;
    out[match[1]] = value;
  }
  return out;
}
