import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalText } from './canonical.ts';
import { type Json, lineAndColumn, parseJson, parseJsonWithPositions } from './parse.ts';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../testdata/json/${name}/vectors.json`, import.meta.url), 'utf8'));
const isInvalid = (error: unknown): boolean => error instanceof LockstepError && error.code === 'JSON_INVALID' && error.at !== null;

/** null where the parser refused with its own error; anything else fails the test. */
function tryParse(text: string | Uint8Array): { value: Json } | null {
  try {
    return { value: parseJson(text) };
  } catch (error) {
    assert.ok(error instanceof LockstepError && error.code === 'JSON_INVALID', `${String(error)} is not the parser's own error`);
    return null;
  }
}

for (const text of read('accepted') as string[]) {
  test(`parseJson takes ${text} as JSON.parse does`, () => assert.deepEqual(parseJson(text), JSON.parse(text)));
}

for (const { why, text } of read('rejected') as { why: string; text: string }[]) {
  test(`parseJson refuses: ${why}`, () => {
    assert.throws(() => parseJson(text), isInvalid);
    assert.throws(() => parseJson(Buffer.from(text)), LockstepError);
  });
}

test('parseJson refuses bytes that are not UTF-8', () => {
  for (const hex of ['22ff22', '22c080' + '22', '22eda08022', '22f490808022', '22e28222'])
    assert.equal(tryParse(Buffer.from(hex, 'hex')), null, hex);
});

test('parseJson bounds depth', () => {
  assert.notEqual(tryParse('['.repeat(100) + ']'.repeat(100)), null);
  assert.equal(tryParse('['.repeat(102) + ']'.repeat(102)), null);
  assert.equal(tryParse('['.repeat(1_000_000)), null);
  assert.equal(tryParse('{"a":'.repeat(1_000_000)), null);
});

test('parseJson bounds size, and reads a string that is nearly as large', () => {
  const large = `"${'A'.repeat((64 << 20) - 2)}"`;
  assert.equal((parseJson(large) as string).length, large.length - 2);
  assert.equal(tryParse(`${large} `), null);
});

test('parseJson reads long runs of escapes', () => {
  assert.equal((parseJson(`"${'\\u0041\\n'.repeat(1_000_000)}"`) as string).length, 2_000_000);
});

test('parseJson names line and column, counted from 1', () => {
  for (const [text, line, column] of [
    ['', 1, 1],
    ['{\n  "a": tru\n}', 2, 8],
    ['[1,\n2,\n,]', 3, 1],
  ] as const) {
    try {
      parseJson(text, 'some.json');
      assert.fail('accepted');
    } catch (error) {
      assert.ok(error instanceof LockstepError);
      assert.deepEqual(error.at, { file: 'some.json', line, column });
    }
  }
});

test('offsetOf finds a value, the document, and 0 for what is not there', () => {
  const text = '{ "a": [10, {"b": "x"}] }';
  const { offsetOf } = parseJsonWithPositions(text);
  assert.equal(text.slice(offsetOf(['a', 1, 'b'])), '"x"}] }');
  assert.equal(text.slice(offsetOf(['a', 0])), '10, {"b": "x"}] }');
  assert.equal(offsetOf([]), 0);
  assert.equal(offsetOf(['nothing', 'here']), 0);
  assert.deepEqual(lineAndColumn('a\nbc', 3), { line: 2, column: 2 });
});

const json = fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' });

test('parseJson and canonicalText: canonical text is accepted, means the same, and is its own canonical form', () => {
  fc.assert(
    fc.property(json, (value) => {
      let text: string;
      try {
        text = canonicalText(value as Json);
      } catch (error) {
        assert.ok(error instanceof TypeError);
        return;
      }
      const parsed = tryParse(text);
      if (parsed === null) return;
      assert.deepEqual(parsed.value, JSON.parse(text));
      assert.equal(canonicalText(parsed.value), text);
    }),
    { numRuns: 3000 },
  );
});

test('parseJson accepts only what JSON.parse accepts, with the same meaning, and what it accepts survives canonical JSON', () => {
  const token = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '"b":',
      'true',
      'null',
      '0',
      '-',
      '1',
      '.',
      'e',
      '+',
      '16',
      '\\',
      '\\u',
      'd800',
      ' ',
      '\n',
      '__proto__',
    ),
    fc.double().map(String),
    fc.maxSafeInteger().map(String),
    fc.string({ maxLength: 3, unit: 'binary' }),
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(token, { maxLength: 8 }), (tokens) => {
      const parsed = tryParse(tokens.join(''));
      if (parsed === null) return;
      accepted++;
      assert.deepEqual(parsed.value, JSON.parse(tokens.join('')));
      const text = canonicalText(parsed.value);
      assert.deepEqual(tryParse(text), parsed, text);
    }),
    { numRuns: 10_000 },
  );
  assert.ok(accepted > 100, `only ${accepted} texts were accepted: the test shows nothing`);
});

test('parseJson: every number that it accepts has a canonical form that it accepts', () => {
  const spelling = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.tuple(fc.bigInt(), fc.integer({ min: -30, max: 30 })).map(([digits, exponent]) => `${digits}e${exponent}`),
    fc.tuple(fc.bigInt({ min: 0n, max: 1n << 70n }), fc.nat(1000)).map(([digits, fraction]) => `${digits}.${fraction}`),
  );
  fc.assert(
    fc.property(spelling, (text) => {
      const parsed = tryParse(text);
      if (parsed !== null) assert.deepEqual(tryParse(canonicalText(parsed.value)), parsed);
    }),
    { numRuns: 10_000 },
  );
});

test('parseJson of any bytes throws nothing but its own error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      tryParse(bytes);
    }),
    { numRuns: 2000 },
  );
});
