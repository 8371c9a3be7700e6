/** spec/errors.md has one heading for each code, and no other; and the exit code that it names is the one that is returned. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { ERROR_CODES } from '@lockstep/protocol/error/lockstep-error';
import { exitCodeOf } from './exit-code.ts';

const ROOT = `${import.meta.dirname}/../../..`;
const PAGE = 'spec/errors.md';

/** The page's sections by code, of the part under one first-level heading. */
function sections(part: string): Map<string, string> {
  const page = readFileSync(`${ROOT}/${PAGE}`, 'utf8');
  const found = page.split(/^# /m).find((one) => one.startsWith(`${part}\n`));
  assert.ok(found !== undefined, `${PAGE} has no part "# ${part}"`);
  const out = new Map<string, string>();
  for (const section of found.split(/^## /m).slice(1)) {
    const code = section.split('\n')[0]?.trim() ?? '';
    assert.ok(!out.has(code), `${PAGE} has the heading "## ${code}" twice in the part "# ${part}"`);
    out.set(code, section);
  }
  return out;
}

/** Read as text: the silo is spawned, never imported. */
function siloCodes(): string[] {
  const source = readFileSync(`${ROOT}/packages/silo/src/failure.ts`, 'utf8');
  const union = /export type FailureCode =([^;]*);/.exec(source)?.[1];
  assert.ok(union !== undefined, 'packages/silo/src/failure.ts has no union FailureCode; correct this test');
  return [...union.matchAll(/'([A-Z_]+)'/g)].flatMap((match) => match[1] ?? []);
}

function same(found: Iterable<string>, codes: readonly string[], where: string): void {
  const headings = [...found];
  const missing = codes.filter((code) => !headings.includes(code));
  const extra = headings.filter((code) => !codes.includes(code));
  assert.deepEqual(missing, [], `Add a heading "## CODE" to ${PAGE} for each of these codes of ${where}`);
  assert.deepEqual(extra, [], `Remove these headings from ${PAGE}, or add the codes to ${where}`);
}

test('spec/errors.md has exactly the codes of ERROR_CODES', () => {
  same(sections('Codes of the program').keys(), ERROR_CODES, 'packages/protocol/src/error/lockstep-error.ts');
});

test('spec/errors.md has exactly the codes of the silo', () => {
  const codes = siloCodes();
  assert.ok(codes.length > 0);
  same(sections('Codes of the silo').keys(), codes, 'packages/silo/src/failure.ts');
});

test('spec/errors.md names the exit code of every code', () => {
  const pages = sections('Codes of the program');
  for (const code of ERROR_CODES) {
    const named = /^Exit code: (\d) \(/m.exec(pages.get(code) ?? '')?.[1];
    assert.equal(named, String(exitCodeOf(code)), `Correct "Exit code:" under "## ${code}" in ${PAGE}`);
  }
});
