import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { parsePolicy, type Policy } from './policy.ts';

const pem = (curve = 'P-256'): string =>
  generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
const [one, two] = [pem(), pem()];
const schema = 'lockstep-policy/v0';

function tryParse(value: unknown): Policy | LockstepError {
  try {
    return parsePolicy(toUtf8(typeof value === 'string' ? value : JSON.stringify(value)), 'policy.json');
  } catch (error) {
    assert.ok(error instanceof LockstepError && ['POLICY_INVALID', 'JSON_INVALID', 'KEY_INVALID'].includes(error.code), String(error));
    return error;
  }
}

const codeOf = (value: unknown): string => {
  const parsed = tryParse(value);
  return parsed instanceof LockstepError ? parsed.code : 'accepted';
};

test('parsePolicy reads builders and sources', () => {
  const policy = tryParse({
    schema,
    builders: [
      { name: 'a', key: one },
      { name: 'b', key: two },
    ],
    sources: ['x'],
  });
  assert.ok(!(policy instanceof LockstepError));
  assert.deepEqual(
    policy.builders.map(({ name }) => name),
    ['a', 'b'],
  );
  assert.deepEqual(policy.sources, ['x']);
});

test('parsePolicy refuses one key under two names, however its PEM is written', () => {
  const builders = (second: string): unknown => ({
    schema,
    builders: [
      { name: 'a', key: one },
      { name: 'b', key: two },
      { name: 'c', key: second },
    ],
  });
  assert.equal(codeOf(builders(pem())), 'accepted');
  assert.equal(codeOf(builders(one)), 'POLICY_INVALID');
  assert.equal(codeOf(builders(`\n${one}\n`)), 'POLICY_INVALID');
  assert.equal(codeOf(builders(one.replaceAll('\n', '\r\n'))), 'POLICY_INVALID');
  const bare = one.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '');
  assert.equal(codeOf(builders(`-----BEGIN PUBLIC KEY-----${bare}-----END PUBLIC KEY-----`)), 'POLICY_INVALID');
});

test('parsePolicy refuses other schemas, unknown keys, no builders and other keys', () => {
  const builders = [{ name: 'a', key: one }];
  assert.equal(codeOf({ schema, builders }), 'accepted');
  assert.equal(codeOf({ schema: 'lockstep-policy/v1', builders }), 'POLICY_INVALID');
  assert.equal(codeOf({ schema, builders, threshold: 0 }), 'POLICY_INVALID');
  assert.equal(codeOf({ schema, builders: [] }), 'POLICY_INVALID');
  assert.equal(codeOf({ schema, builders: [{ name: '', key: one }] }), 'POLICY_INVALID');
  assert.equal(codeOf({ schema, builders: [{ name: 'a', key: pem('P-384') }] }), 'KEY_INVALID');
  assert.equal(codeOf({ schema, builders: [{ name: 'a', key: 'x' }] }), 'KEY_INVALID');
  assert.equal(codeOf('{'), 'JSON_INVALID');
  assert.equal(codeOf(JSON.stringify({ schema, builders }).replace('{', `{"schema":"${schema}",`)), 'JSON_INVALID');
});

test('parsePolicy of any JSON throws nothing but its own errors', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (builders, sources) => {
      tryParse({ schema, builders, sources });
      tryParse({ schema, builders: [{ name: 'a', key: builders }], sources });
    }),
    { numRuns: 1000 },
  );
});
