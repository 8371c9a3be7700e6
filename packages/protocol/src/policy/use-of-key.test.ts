/** One key, one role: what a policy refuses, and what it says that a key is for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../json/parse.ts';
import { anyKeyToPem } from '../key/any-key.ts';
import { KEY_USES } from '../key/key-use.ts';
import { formatVerifierKey, makeVerifierKey } from '../note/verifier-key.ts';
import {
  A,
  B,
  C,
  CHECKER,
  edKey,
  formatsJson,
  p256Key,
  R1,
  R3,
  releaseJson,
  releasePolicy,
  type SampleKey,
  STRANGER,
  sampleRoot,
} from '../signing/samples.ts';
import { rawEd25519 } from '../key/any-key.ts';
import { toHex } from '../bytes/hex.ts';
import type { RootMetadata } from '../tuf/metadata.ts';
import { FORMAT_USES, type Policy } from './policy.ts';
import { ARBITERS, COORDINATOR, sampleBuilder, samplePem } from './samples.ts';
import { requireOwnRoleKeys, useOfKey } from './use-of-key.ts';

const LOG = { operator: 'Org log', site: 'site-log' };
const verifierKey = ({ key }: SampleKey, name: string, type: 'ed25519' | 'cosignature-ed25519'): string =>
  formatVerifierKey(makeVerifierKey(name, type, rawEd25519(key)));
const log = (key: SampleKey): Json => ({ key: verifierKey(key, 'log.example/farm', 'ed25519'), ...LOG });
const witness = (key: SampleKey): Json => ({
  name: 'w1',
  keys: [verifierKey(key, 'witness.example/1', 'cosignature-ed25519')],
  operator: 'Org witness',
  site: 'site-witness',
});
const pem = ({ key }: SampleKey): string => anyKeyToPem(key);
const release = (key: SampleKey): Json => releaseJson(1, [{ name: 'r', key: pem(key) }]);
const format = (use: string, key: SampleKey): Json =>
  releaseJson(1, [{ name: 'r', key: pem(p256Key(51)) }], [{ name: 'f', use, key: pem(key) }]);

/** Each place of a policy that takes a P-256 key, with the fields that put it there. */
const P256_PLACES: Readonly<Record<string, (key: SampleKey) => Record<string, Json>>> = {
  builder: (key) => ({ builders: [{ ...sampleBuilder('a', A), key: pem(key) }, sampleBuilder('b', B)] }),
  checker: (key) => ({ checkers: [{ ...sampleBuilder('k', CHECKER), key: pem(key) }] }),
  coordinator: (key) => ({ coordinators: [{ name: 'c', key: pem(key) }] }),
  arbiter: (key) => ({
    arbiters: {
      threshold: 2,
      members: [
        { name: 'x', key: pem(key) },
        { name: 'y', key: samplePem(ARBITERS[1]) },
      ],
    },
  }),
  'release key': (key) => ({ release: release(key) }),
};
const ED25519_PLACES: Readonly<Record<string, (key: SampleKey) => Record<string, Json>>> = {
  log: (key) => ({ logs: [log(key)] }),
  'log of': (key) => ({ checkers: [{ ...sampleBuilder('k', CHECKER), log: verifierKey(key, 'log.example/k', 'ed25519') }] }),
  witness: (key) => ({ witnesses: [witness(key)] }),
  'release key': (key) => ({ release: release(key) }),
  ...Object.fromEntries(
    FORMAT_USES.filter((use) => use !== 'secure-boot').map((use) => [use, (key: SampleKey) => ({ release: format(use, key) })]),
  ),
};

test('parsePolicy refuses one key in two places, for every two of them, whatever the key is written as', () => {
  for (const [places, key, another] of [
    [P256_PLACES, p256Key(70), p256Key(71)],
    [ED25519_PLACES, edKey(70), edKey(71)],
  ] as const)
    for (const [one, place] of Object.entries(places))
      for (const [other, second] of Object.entries(places)) {
        const [a, b, c] = [place(key), second(key), second(another)];
        // Two places in one field cannot both be there by this; formats among themselves are below.
        if (one === other || Object.keys(a).some((field) => Object.hasOwn(b, field))) continue;
        releasePolicy({ release: null, ...a, ...c });
        assert.throws(() => releasePolicy({ release: null, ...a, ...b }), /have the same key/, `${one} and ${other}`);
      }
});

test('parsePolicy refuses one key for two formats, or for a format and approval', () => {
  const uses = FORMAT_USES.filter((use) => use !== 'secure-boot');
  const key = edKey(70);
  for (const one of uses) {
    for (const other of uses) {
      const formats = (second: SampleKey): Json =>
        releaseJson(2, undefined, [
          { name: 'f', use: one, key: pem(key) },
          { name: 'g', use: other, key: pem(second) },
        ]);
      releasePolicy({ release: formats(edKey(71)) });
      assert.throws(() => releasePolicy({ release: formats(key) }), /have the same key/, `${one} and ${other}`);
    }
    assert.throws(
      () => releasePolicy({ release: releaseJson(2, undefined, [{ name: 'f', use: one, key: pem(R3) }]) }),
      /have the same key/,
    );
    assert.throws(
      () => releasePolicy({ release: releaseJson(2, undefined, [{ name: 'f', use: one, key: pem(p256Key(70)) }]) }),
      /cannot be signed with that/,
    );
    assert.throws(() => releasePolicy({ release: releaseJson(2, undefined, [{ name: 'r1', use: one, key: pem(key) }]) }), /called r1/);
  }
  assert.throws(
    () => releasePolicy({ release: releaseJson(2, undefined, [{ name: 'f', use: 'secure-boot', key: pem(key) }]) }),
    /cannot be signed with that/,
  );
  for (const use of Object.keys(KEY_USES))
    if (!(FORMAT_USES as readonly string[]).includes(use))
      assert.throws(() => releasePolicy({ release: format(use, key) }), { code: 'POLICY_INVALID' }, use);
});

test('useOfKey says for each key of a policy what it is for, and null for one that it does not name', () => {
  const policy: Policy = releasePolicy({
    release: releaseJson(2, undefined, formatsJson()),
    builders: [
      { ...sampleBuilder('a', A), log: verifierKey(edKey(80), 'log.example/a', 'ed25519') },
      sampleBuilder('b', B),
      sampleBuilder('c', C),
    ],
  });
  const stated: readonly (readonly [SampleKey, string])[] = [
    [p256Key(A), 'attestation'],
    [p256Key(CHECKER), 'checker'],
    [p256Key(COORDINATOR), 'coordinator'],
    [p256Key(ARBITERS[2]), 'arbiter'],
    [p256Key(R1), 'release-dsse'],
    [R3, 'release-dsse'],
    ...formatsJson().map((one, index): [SampleKey, string] => [edKey(110 + index), (one as { use: string }).use]),
    [edKey(1), 'log'],
    [edKey(80), 'log'],
    [edKey(2), 'witness'],
  ];
  for (const [key, use] of stated) assert.equal(useOfKey(policy, key.key), use);
  assert.equal(new Set(stated.map(([, use]) => use)).size, 13);
  assert.equal(useOfKey(policy, p256Key(STRANGER).key), null);
  assert.equal(useOfKey(policy, edKey(99).key), null);
  assert.equal(useOfKey(releasePolicy({ release: null, arbiters: null }), p256Key(R1).key), null);
});

test('requireOwnRoleKeys refuses a root whose keys the policy lists for something else', () => {
  const root = (number: number): RootMetadata => ({
    ...sampleRoot(),
    keys: { ['a'.repeat(64)]: { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: toHex(rawEd25519(edKey(number).key)) } } },
  });
  const policy = releasePolicy({ release: releaseJson(2, undefined, formatsJson()) });
  assert.doesNotThrow(() => requireOwnRoleKeys(policy, root(201)));
  for (const [number, use] of [
    [1, 'log'],
    [2, 'witness'],
    [110, 'release-'],
  ] as const)
    assert.throws(() => requireOwnRoleKeys(policy, root(number)), new RegExp(`listed in it for ${use}`), use);
});
