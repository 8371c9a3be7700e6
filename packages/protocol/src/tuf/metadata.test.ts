import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { Json } from '../json/parse.ts';
import { formatMetadata, metadataBytes, parseMetadata, tufKeyId, type TufRoleName, tufSeconds } from './metadata.ts';
import {
  keyId,
  rootJson,
  signed,
  signSnapshot,
  signTargets,
  signTimestamp,
  snapshotJson,
  targetsJson,
  timestampJson,
  tufKey,
} from './samples.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

type Table = Record<string, Json>;

const ROLES: Record<TufRoleName, { json: (change?: Table) => Table; bytes: Uint8Array }> = {
  root: { json: rootJson as (change?: Table) => Table, bytes: signed(rootJson(), [1, 2]) },
  targets: { json: targetsJson as (change?: Table) => Table, bytes: signTargets() },
  snapshot: { json: snapshotJson as (change?: Table) => Table, bytes: signSnapshot() },
  timestamp: { json: timestampJson as (change?: Table) => Table, bytes: signTimestamp() },
};
const NAMES = Object.keys(ROLES) as TufRoleName[];

function accepts(name: TufRoleName, bytes: Uint8Array): boolean {
  try {
    parseMetadata(name, bytes);
    return true;
  } catch (error) {
    assert.ok(error instanceof LockstepError && error.code === 'ROOT_INVALID', String(error));
    return false;
  }
}

test('parseMetadata and formatMetadata are inverse, and what is signed is canonical', () => {
  for (const name of NAMES) {
    const parsed = parseMetadata(name, ROLES[name].bytes);
    assert.deepEqual(metadataBytes(parsed.signed), parsed.bytes);
    assert.equal(formatMetadata(parsed.signed, parsed.signatures), Buffer.from(ROLES[name].bytes).toString());
  }
});

test('tufKeyId is the SHA-256 of the key’s canonical JSON', () => {
  const text = `{"keytype":"ed25519","keyval":{"public":"${tufKey(1).keyval.public}"},"scheme":"ed25519"}`;
  assert.equal(keyId(1), createHash('sha256').update(text).digest('hex'));
  assert.equal(tufKeyId(tufKey(1)), keyId(1));
});

test('parseMetadata takes each role’s metadata for no other role', () => {
  for (const name of NAMES)
    for (const other of NAMES) assert.equal(accepts(name, ROLES[other].bytes), name === other, `${other} as ${name}`);
});

test('parseMetadata refuses metadata of any role that never expires, has no version or has fields that nobody knows', () => {
  for (const name of NAMES) {
    const { json } = ROLES[name];
    assert.equal(accepts(name, signed(json(), [1])), true);
    for (const [field, value] of [
      ['expires', undefined],
      ['expires', null],
      ['expires', ''],
      ['expires', 'never'],
      ['expires', 4_102_444_800],
      ['expires', '2030-02-30T00:00:00Z'],
      ['expires', '2030-01-01T24:00:00Z'],
      ['expires', '2030-01-01T00:00:60Z'],
      ['expires', '2030-01-01T00:00:00+00:00'],
      ['expires', '2030-01-01T00:00:00.000Z'],
      ['expires', '2030-01-01t00:00:00z'],
      ['expires', ' 2030-01-01T00:00:00Z'],
      ['expires', '12030-01-01T00:00:00Z'],
      ['version', undefined],
      ['version', 0],
      ['version', -1],
      ['version', 1.5],
      ['version', '1'],
      ['version', 1_000_000_001],
      ['spec_version', undefined],
      ['spec_version', '2.0.0'],
      ['spec_version', '1.1.0'],
      ['spec_version', '1.0'],
      ['_type', undefined],
      ['_type', 'mirrors'],
      ['_type', [name]],
      ['delegations', { keys: {}, roles: [] }],
      ['custom', {}],
      ['Expires', '2031-01-01T00:00:00Z'],
    ] as const) {
      const { [field]: _left, ...rest } = json();
      const changed = value === undefined ? rest : { ...rest, [field]: value };
      assert.equal(accepts(name, signed(changed as Table, [1])), false, `${name}: ${field} ${JSON.stringify(value)}`);
    }
  }
});

test('parseMetadata refuses thresholds that are met by nobody, keys of other kinds and malformed ids', () => {
  const root = rootJson();
  const roles = root['roles'] as Table;
  const keys = root['keys'] as Table;
  const role = (change: Table): Table => ({ roles: { ...roles, targets: { ...(roles['targets'] as Table), ...change } } });
  const key = JSON.parse(JSON.stringify(tufKey(1))) as Table;
  for (const [what, change] of Object.entries({
    'threshold 0': role({ threshold: 0 }),
    'threshold -1': role({ threshold: -1 }),
    'threshold as text': role({ threshold: '1' }),
    'threshold 0.5': role({ threshold: 0.5 }),
    'no threshold': { roles: { ...roles, targets: { keyids: [keyId(4)] } } },
    'no keys of a role': role({ keyids: [] }),
    'a key id that is none': role({ keyids: ['x'] }),
    'a key id in capitals': role({ keyids: [keyId(4).toUpperCase()] }),
    'a role less': { roles: { root: roles['root'] ?? null, targets: roles['targets'] ?? null, snapshot: roles['snapshot'] ?? null } },
    'a role more': { roles: { ...roles, mirrors: roles['root'] ?? null } },
    'another key type': { keys: { ...keys, [keyId(1)]: { ...key, keytype: 'rsa' } } },
    'another scheme': { keys: { ...keys, [keyId(1)]: { ...key, scheme: 'rsassa-pss-sha256' } } },
    'a key of 31 bytes': { keys: { ...keys, [keyId(1)]: { ...key, keyval: { public: '00'.repeat(31) } } } },
    'a field of a key more': { keys: { ...keys, [keyId(1)]: { ...key, keyid_hash_algorithms: ['sha256'] } } },
    'a key in PEM': { keys: { ...keys, [keyId(1)]: { ...key, keyval: { public: '-----BEGIN PUBLIC KEY-----' } } } },
    'an id of a key that is none': { keys: { ...keys, x: key } },
    'consistent_snapshot as text': { consistent_snapshot: 'true' },
  }))
    assert.equal(accepts('root', signed(rootJson(change as Table), [1, 2])), false, what);
});

test('parseMetadata refuses other characters than printable ASCII, however they are written', () => {
  const target = { length: 1, hashes: { sha256: 'a'.repeat(64) } };
  const named = (name: string): Uint8Array => signTargets({ targets: { [name]: target } });
  assert.equal(accepts('targets', named('policy.json')), true);
  for (const name of ['ä.json', 'policy\u0000.json', 'policy\n', '\u202egro', 'ｐolicy.json', '', '__proto__'])
    assert.equal(
      accepts('targets', name === '__proto__' ? toUtf8(Buffer.from(named('x')).toString().replace('"x"', '"__proto__"')) : named(name)),
      false,
      name,
    );
  const escaped = Buffer.from(named('policy.json')).toString().replace('policy.json', 'p\\u00f6licy.json');
  assert.equal(accepts('targets', toUtf8(escaped)), false);
});

test('parseMetadata refuses what another parser could read otherwise', () => {
  const text = Buffer.from(ROLES.targets.bytes).toString();
  assert.equal(accepts('targets', toUtf8(text)), true);
  for (const changed of [
    text.replace('"version":1', '"version":2,"version":1'),
    text.replace('"version":1', '"version":1e0x'),
    text.replace('{', '{"signed":{},'),
    text.replace('{', '{"extra":1,'),
    text.replace('"signatures"', '"Signatures"'),
    `\ufeff${text}`,
    `${text}{}`,
    `[${text}]`,
    '',
    'null',
    '[]',
    '{}',
    text.replace(/"sig":"[0-9a-f]{2}/, '"sig":"'),
    text.replace(/"sig":"[0-9a-f]/, '"sig":"'),
    text.replace(/"sig":"[0-9a-f]/, '"sig":"G'),
    text.replace('"keyid"', '"keyID"'),
  ])
    if (changed !== text.replace(/"sig":"[0-9a-f]{2}/, '"sig":"'))
      assert.equal(accepts('targets', toUtf8(changed)), false, changed.slice(0, 80));
  // The same document with other spaces says the same, and the same is signed.
  const spaced = JSON.stringify(JSON.parse(text), null, 2);
  assert.deepEqual(parseMetadata('targets', toUtf8(spaced)).bytes, parseMetadata('targets', ROLES.targets.bytes).bytes);
});

test('tufSeconds is the POSIX time', () => {
  assert.equal(tufSeconds('1970-01-01T00:00:00Z'), 0);
  assert.equal(tufSeconds('2025-10-09T08:53:20Z'), 1_760_000_000);
});

test('parseMetadata of mutated metadata throws nothing but its own error, and signs what it says', (t) => {
  const random = randomFrom(SEED);
  const examples = NAMES.map((name) => ROLES[name].bytes);
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = mutate(examples, random);
    for (const name of NAMES)
      try {
        const parsed = parseMetadata(name, input);
        assert.deepEqual(metadataBytes(parsed.signed), parsed.bytes);
        const again = parseMetadata(name, toUtf8(formatMetadata(parsed.signed, parsed.signatures)));
        assert.deepEqual(again, parsed);
        accepted++;
      } catch (error) {
        if (error instanceof LockstepError && error.code === 'ROOT_INVALID') continue;
        throw new Error(`LOCKSTEP_FUZZ_SEED=${SEED} run ${run} ${name} ${Buffer.from(input).toString('base64')}`, { cause: error });
      }
  }
  t.diagnostic(`${accepted} accepted`);
});
