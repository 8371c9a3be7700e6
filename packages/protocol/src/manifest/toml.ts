/** `lockstep.toml` as text: parse, check, and point at line and column of what is wrong. */
import { parse, TomlError } from 'smol-toml';
import { getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { issueError } from '../decode/issue-error.ts';
import { LockstepError, type Location } from '../error/lockstep-error.ts';
import type { Json, JsonPath } from '../json/parse.ts';
import { decodeManifest, type Manifest } from './manifest.ts';

/** Real manifests are a few KiB. */
export const MAX_MANIFEST_BYTES = 1 << 20;

/** @throws LockstepError MANIFEST_* with file, line and column */
export function parseManifest(text: string, file: string): Manifest {
  if (text.length > MAX_MANIFEST_BYTES)
    throw new LockstepError('MANIFEST_TOO_LARGE', `${file} is larger than 1 MiB`, 'Move long scripts into files of the source.');
  const value = parseToml(text, file);
  const decoded = decodeManifest(value, []);
  if (!decoded.ok) throw issueError('MANIFEST_INVALID', decoded.issues, (path) => locate(text, file, path));
  return decoded.value;
}

function parseToml(text: string, file: string): Json {
  try {
    return toJson(parse(text, { integersAsBigInt: false }));
  } catch (error) {
    if (error instanceof TomlError) {
      const message = error.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '') ?? 'syntax error';
      throw new LockstepError('MANIFEST_SYNTAX', `not TOML: ${message}`, 'See https://toml.io for the syntax.', {
        at: { file, line: error.line, column: error.column },
      });
    }
    if (error instanceof LockstepError) throw error;
    throw new LockstepError(
      'MANIFEST_SYNTAX',
      `not TOML: ${error instanceof Error ? error.message : 'syntax error'}`,
      'See https://toml.io for the syntax.',
      { at: { file, line: 1, column: 1 } },
    );
  }
}

/** TOML's own types that JSON lacks become text with a NUL, which no field of the manifest accepts. */
function toJson(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : `\0${value}`;
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Date) return `\0a date: ${value.toISOString()}`;
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, toJson(one)]));
  return `a ${typeof value}`;
}

/** Where `path` stands, or the nearest table above it that is written down. */
export function locate(text: string, file: string, path: JsonPath): Location {
  try {
    const places = positions(text);
    for (let length = path.length; length >= 0; length--) {
      const found = places.get(JSON.stringify(path.slice(0, length)));
      if (found !== undefined) return { file, ...found };
    }
  } catch {
    // This parser is stricter than the first one in places: then say the file only.
  }
  return { file, line: 1, column: 1 };
}

interface Position {
  readonly line: number;
  readonly column: number;
}

type Ast = ReturnType<typeof parseTOML>;
type AnyNode = { readonly type: string; readonly loc: { readonly start: Position } } & Readonly<Record<string, unknown>>;

function positions(text: string): Map<string, Position> {
  const out = new Map<string, Position>();
  const ast: Ast = parseTOML(text);
  const note = (path: JsonPath, node: AnyNode): void => {
    const key = JSON.stringify(path);
    if (!out.has(key)) out.set(key, { line: node.loc.start.line, column: node.loc.start.column + 1 });
  };
  const visit = (node: AnyNode, path: JsonPath): void => {
    if (node.type === 'TOMLTable') {
      const resolved = (node['resolvedKey'] as readonly (string | number)[] | undefined) ?? [];
      note(resolved, node);
      for (const child of node['body'] as AnyNode[]) visit(child, resolved);
      return;
    }
    if (node.type === 'TOMLKeyValue') {
      const key = node['key'] as AnyNode;
      const names = (key['keys'] as AnyNode[]).map((one) =>
        String(one['type'] === 'TOMLBare' ? one['name'] : getStaticTOMLValue(one as never)),
      );
      const full = [...path, ...names];
      note(full, key);
      visit(node['value'] as AnyNode, full);
      return;
    }
    if (node.type === 'TOMLInlineTable') for (const child of node['body'] as AnyNode[]) visit(child, path);
    if (node.type === 'TOMLArray') {
      for (const [index, element] of (node['elements'] as AnyNode[]).entries()) {
        note([...path, index], element);
        visit(element, [...path, index]);
      }
    }
  };
  for (const top of ast.body[0].body) visit(top as unknown as AnyNode, []);
  return out;
}
