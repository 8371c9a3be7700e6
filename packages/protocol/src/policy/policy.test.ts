import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { sampleEd25519Witness, sampleLogSigner, sampleMlDsaWitness } from '../bundle/samples.ts';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { Json } from '../json/parse.ts';
import { formatVerifierKey, makeVerifierKey } from '../note/verifier-key.ts';
import { parsePolicy } from './parse-policy.ts';
import { isTrustedSource, matches, type Policy, requireCurrentPolicy, ruleFor } from './policy.ts';
import {
  ARBITERS,
  COORDINATOR,
  LOG_SIGNER,
  sampleBuilder,
  sampleKeyId,
  samplePem,
  samplePolicy,
  samplePolicyJson,
  sampleRule,
  WITNESS_ED25519,
} from './samples.ts';

type Table = Record<string, Json>;

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

function parse(value: unknown): Policy | LockstepError {
  try {
    return parsePolicy(toUtf8(typeof value === 'string' ? value : JSON.stringify(value, null, 1)), 'policy.json');
  } catch (error) {
    assert.ok(error instanceof LockstepError && ['POLICY_INVALID', 'JSON_INVALID'].includes(error.code), String(error));
    return error;
  }
}

function refuses(change: Table, why: RegExp, what = JSON.stringify(change).slice(0, 200)): void {
  const parsed = parse(samplePolicyJson(change));
  assert.ok(parsed instanceof LockstepError, what);
  assert.match(parsed.message, why, what);
  assert.equal(parsed.code, 'POLICY_INVALID', what);
  assert.ok(parsed.at?.file === 'policy.json' && parsed.at.line > 0 && parsed.at.column > 0, what);
}

function accepts(change: Table): Policy {
  const parsed = parse(samplePolicyJson(change));
  if (parsed instanceof LockstepError) throw parsed;
  return parsed;
}

const person = (name: string, number: number): Table => ({ name, key: samplePem(number) });
const vkey = formatVerifierKey;
const keeper = (operator: string, site: string): Table => ({ operator, site });
const witnessOf = (name: string, number: number, operator: string, site: string): Table => ({
  name,
  keys: [vkey(sampleEd25519Witness(`${name}.example`, number).key)],
  ...keeper(operator, site),
});

test('parsePolicy reads who counts, and names the policy by the SHA-256 of its bytes', () => {
  const bytes = toUtf8(JSON.stringify(samplePolicyJson()));
  const policy = parsePolicy(bytes, 'policy.json');
  assert.equal(policy.sha256, sha256Hex(bytes));
  assert.deepEqual(
    policy.builders.map(({ name, key }) => [name, key.id]),
    ['a', 'b', 'c', 'd', 'e', 'f'].map((name, index) => [name, sampleKeyId(11 + index)]),
  );
  assert.deepEqual(
    policy.arbiters?.members.map((one) => one.key.id),
    ARBITERS.map(sampleKeyId),
  );
  assert.deepEqual([policy.version, policy.witnessQuorum, policy.checkpointMaxAgeDays, policy.release], [3, 'w1', 90, null]);
  assert.deepEqual(policy.logs[0]?.key, LOG_SIGNER.key);
  const { commitments: _left, ...rule } = sampleRule();
  assert.equal(samplePolicy({ rules: [rule] }).rules[0]?.commitments, 'required', 'unless said otherwise, where two are asked for');
  assert.equal(samplePolicy({ rules: [{ ...rule, quorum: 1 }] }).rules[0]?.commitments, 'none');
});

test('parsePolicy refuses thresholds that nobody has to meet, or nobody can', () => {
  for (const quorum of [0, -1, 1.5, 101, '2', null]) refuses({ rules: [sampleRule({ quorum })] }, /rules\[0\]\.quorum/);
  refuses({ rules: [sampleRule(), sampleRule({ quorum: 7 })] }, /rule 2 .* asks for 7 builders .* there are 6/);
  const together = ['a', 'b', 'c'].map((name, index) => sampleBuilder(name, 11 + index, 'Org 1', `site-${name}`));
  refuses({ builders: together }, /asks for 2 builders from independent domains, and there are 1/);
  const square = [
    sampleBuilder('a', 11, 'Org 1', 'x'),
    sampleBuilder('b', 12, 'Org 1', 'y'),
    sampleBuilder('c', 13, 'Org 2', 'x'),
    sampleBuilder('d', 14, 'Org 2', 'y'),
  ];
  refuses({ builders: square, rules: [sampleRule({ quorum: 3 })] }, /asks for 3 .* there are 2/);
  accepts({ builders: square });
  const members = ARBITERS.map((number, index) => person('xyz'.charAt(index), number));
  for (const threshold of [0, 1, 4]) refuses({ arbiters: { threshold, members } }, /threshold/);
  refuses({ arbiters: { threshold: 2, members: members.slice(0, 1) } }, /arbiters\.members/);
  for (const threshold of [0, 2]) refuses({ release: { threshold, keys: [person('release', 51)] } }, /threshold/);
  accepts({ release: { threshold: 1, keys: [person('release', 51)] }, arbiters: null });
  refuses({ rules: [] }, /rules/);
  refuses({ builders: [] }, /builders/);
  refuses({ rules: [sampleRule({ sources: [] })] }, /sources/);
});

test('parsePolicy refuses commitments without a coordinator or a log', () => {
  const rules = [sampleRule({ commitments: 'required' })];
  accepts({ rules });
  refuses({ rules, coordinators: [] }, /no coordinator or no log/);
  refuses({ rules, logs: [], witnesses: [], witness_quorum: 'none' }, /no coordinator or no log/);
});

test('parsePolicy refuses one key under two names, in one role and across any two', () => {
  const { builders } = samplePolicyJson() as { builders: Json[] };
  refuses({ builders: [...builders, sampleBuilder('again', 11)] }, /builder a and builder again have the same key/);
  const roles: Record<string, (number: number) => Table> = {
    builder: (number) => ({ builders: [...builders, sampleBuilder('one', number)] }),
    checker: (number) => ({ checkers: [sampleBuilder('one', number)] }),
    coordinator: (number) => ({ coordinators: [person('one', number)] }),
    arbiter: (number) => ({ arbiters: { threshold: 2, members: [person('one', number), person('two', 52)] } }),
    'release key': (number) => ({ release: { threshold: 1, keys: [person('one', number)] } }),
  };
  for (const [role, make] of Object.entries(roles)) {
    accepts(make(60));
    for (const [other, makeOther] of Object.entries(roles))
      if (role !== other) refuses({ ...make(60), ...makeOther(60) }, /have the same key/, `${role} and ${other}`);
  }
  refuses({ arbiters: { threshold: 2, members: [person('x', 41), person('y', 41)] } }, /have the same key/);
});

test('parsePolicy refuses one Ed25519 key as two logs, as two witnesses and as a log and a witness', () => {
  const same = sampleLogSigner('log.example/two', 1).key;
  const logs = [LOG_SIGNER.key, same].map((key) => ({ key: vkey(key), ...keeper('Org log', 'site-log') }));
  refuses({ logs }, /have the same key/, 'two logs');
  const witnesses = [witnessOf('w1', 8, 'Org 1', 'x'), witnessOf('w2', 8, 'Org 2', 'y')];
  refuses({ witnesses }, /have the same key/, 'two witnesses');
  const twice = [
    { ...witnessOf('w1', 8, 'Org 1', 'x'), keys: [8, 8].map((number) => vkey(sampleEd25519Witness('w1.example', number).key)) },
  ];
  refuses({ witnesses: twice }, /have the same key/, 'one witness');
  const both = makeVerifierKey('w1.example', 'cosignature-ed25519', LOG_SIGNER.key.publicKey);
  refuses({ witnesses: [{ name: 'w1', keys: [vkey(both)], ...keeper('Org 1', 'x') }] }, /have the same key/, 'the log as a witness');
});

test('parsePolicy refuses a builder’s own log that has the key of another log or of a witness', () => {
  const { builders } = samplePolicyJson() as { builders: Table[] };
  const withLog = (at: number, log: string): Table => ({ builders: builders.map((one, index) => (index === at ? { ...one, log } : one)) });
  accepts(withLog(0, vkey(sampleLogSigner('log.example/a', 9).key)));
  refuses(withLog(0, vkey(WITNESS_ED25519.key)), /have the same key/);
  refuses(withLog(0, vkey(makeVerifierKey('log.example/a', 'ed25519', WITNESS_ED25519.key.publicKey))), /have the same key/, 'a witness');
  refuses(withLog(0, vkey(sampleLogSigner('log.example/a', 1).key)), /have the same key/, 'the farm’s log');
});

test('parsePolicy refuses two of one role with the same name', () => {
  for (const change of [
    { builders: [sampleBuilder('a', 11), sampleBuilder('a', 12, 'Org 2', 'x')] },
    { checkers: [sampleBuilder('a', 60), sampleBuilder('a', 61)] },
    { coordinators: [person('a', 31), person('a', 32)] },
    { arbiters: { threshold: 2, members: [person('a', 41), person('a', 42)] } },
    { release: { threshold: 1, keys: [person('a', 51), person('a', 52)] } },
    { logs: [1, 9].map((number) => ({ key: vkey(sampleLogSigner('log.example/x', number).key), ...keeper('Org log', 'site-log') })) },
    { witnesses: [witnessOf('w1', 8, 'Org 1', 'x'), { ...witnessOf('w2', 9, 'Org 2', 'y'), name: 'w1' }] },
    { witness_groups: [{ name: 'w1', threshold: 1, members: ['w1'] }] },
  ] as Table[])
    refuses(change, /two .* are called/);
  // Names of different roles are names of different things.
  accepts({ checkers: [sampleBuilder('a', 60)], coordinators: [person('a', 31)] });
});

test('parsePolicy refuses witnesses that cannot be enough', () => {
  const far = witnessOf('far', 8, 'Org far', 'site-far');
  const near = witnessOf('near', 9, 'Org near', 'site-log');
  const own = witnessOf('own', 10, 'Org log', 'site-own');
  accepts({ witnesses: [far], witness_quorum: 'far' });
  for (const one of [near, own]) refuses({ witnesses: [far, one], witness_quorum: one['name'] ?? '' }, /are too few for witness_quorum/);
  const group = (threshold: number, ...members: string[]): Table => ({
    witnesses: [far, near, own],
    witness_groups: [{ name: 'group', threshold, members }],
    witness_quorum: 'group',
  });
  accepts(group(1, 'far', 'near', 'own'));
  refuses(group(2, 'far', 'near', 'own'), /are too few/);
  refuses(group(3, 'far', 'near'), /larger than the group/);
  refuses(group(0, 'far'), /threshold/);
  refuses(group(1, 'far', 'far'), /member of a group already/);
  refuses(group(1, 'nobody'), /not defined before it/);
  refuses(group(1, 'group'), /not defined before it/, 'itself');
  refuses({ witness_quorum: 'nobody' }, /which is not defined/);
  refuses({ logs: [] }, /there is no log/);
  const groups = [
    { name: 'one', threshold: 1, members: ['two'] },
    { name: 'two', threshold: 1, members: ['one'] },
  ];
  refuses({ witness_groups: groups }, /not defined before it/, 'two that name each other');
  const second = { key: vkey(sampleLogSigner('log.example/two', 7).key), ...keeper('Org far', 'elsewhere') };
  const { logs } = samplePolicyJson() as { logs: Json[] };
  refuses({ witnesses: [far], witness_quorum: 'far', logs: [...logs, second] }, /log\.example\/two .* are too few/, 'of one of two logs');
});

test('parsePolicy refuses a witness or group that is called none, as that word asks for no witness', () => {
  refuses({ witnesses: [witnessOf('none', 8, 'Org 1', 'x')], witness_quorum: 'none' }, /none/);
  refuses({ witness_groups: [{ name: 'none', threshold: 1, members: ['w1'] }], witness_quorum: 'none' }, /none/);
});

test('parsePolicy refuses keys of the wrong kind', () => {
  const pemOf = (type: 'ed25519' | 'P-384'): string => {
    const pair = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: type });
    return pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  };
  for (const key of [pemOf('ed25519'), pemOf('P-384'), vkey(LOG_SIGNER.key), 'x', '', samplePem(11) + samplePem(12)])
    refuses({ coordinators: [{ name: 'c', key }] }, /the key of c: /);
  const log = (key: string): Table => ({ logs: [{ key, ...keeper('Org log', 'site-log') }] });
  refuses(log(vkey(WITNESS_ED25519.key)), /have the same key|is one of a witness/);
  refuses(log(vkey(sampleMlDsaWitness('log.example/x', 9).key)), /is one of a witness/);
  refuses(log(samplePem(11)), /the key of Org log: /);
  refuses(log(vkey(LOG_SIGNER.key).replace('log.example', 'lag.example')), /its key id is not/);
  const witness = { name: 'w1', keys: [vkey(sampleLogSigner('w1.example', 9).key)], ...keeper('Org 1', 'x') };
  refuses({ witnesses: [witness] }, /is one of a log/);
});

test('parsePolicy refuses unknown fields, pointing at line and column', () => {
  const text = JSON.stringify(samplePolicyJson(), null, 2);
  const at = (changed: string): unknown => {
    const parsed = parse(changed);
    assert.ok(parsed instanceof LockstepError && parsed.code === 'POLICY_INVALID');
    return [parsed.at?.line, parsed.at?.column, parsed.message.split(':')[0]];
  };
  assert.deepEqual(at(text.replace('{', '{\n  "threshold": 2,')), [2, 16, 'threshold']);
  const line = text.split('\n').findIndex((one) => one.includes('"quorum"')) + 1;
  assert.deepEqual(at(text.replace('"quorum": 2', '"quorum": 2, "Quorum": 1')), [line, 30, 'rules[0].Quorum']);
  for (const change of [
    { builder: [] },
    { builders: [{ ...sampleBuilder('a', 11), trusted: true }] },
    { builders: [{ ...sampleBuilder('a', 11), domain: { operator: 'x', site: 'y', lineage: 'z', region: 'r' } }] },
    { logs: [{ key: vkey(LOG_SIGNER.key), ...keeper('a', 'b'), url: 'https://x' }] },
    { coordinators: [{ ...person('c', COORDINATOR), log: null }] },
  ] as Table[])
    refuses(change, /unknown key|expected one of the keys/);
  refuses({ schema: 'lockstep-policy/v2' }, /schema/);
  for (const tier of ['vm', 'Container', null]) refuses({ rules: [sampleRule({ tier })] }, /tier/);
  for (const value of [['hostname'], ['umask'], ['Clock'], 'clock']) refuses({ rules: [sampleRule({ variations: value })] }, /variations/);
});

test('parsePolicy refuses a key that is there twice, other encodings and what never expires', () => {
  const text = JSON.stringify(samplePolicyJson());
  for (const changed of [
    text.replace('{', '{"version":9,'),
    text.slice(1),
    '',
    'null x',
    `${text}x`,
    text.replace('"sample"', '"\\ud800"'),
  ])
    assert.ok(parse(changed) instanceof LockstepError, changed.slice(0, 50));
  assert.throws(() => parsePolicy(Uint8Array.of(0xff), 'policy.json'), LockstepError);
  for (const expires of ['never', '2030-01-01', '2030-02-30T00:00:00Z', 4_102_444_800, null]) refuses({ expires }, /expires/);
  for (const version of [0, -1, 1.5, '3', 1_000_000_001]) refuses({ version }, /version/);
  refuses({ name: 'a\nb' }, /name/);
});

test('requireCurrentPolicy refuses a policy that has expired, and one that is older than what was seen', () => {
  const policy = samplePolicy();
  const expires = Date.parse(policy.expires) / 1000;
  const untrusted = (now: number, seen: number) => () => requireCurrentPolicy(policy, now, seen);
  assert.doesNotThrow(untrusted(expires - 1, 3));
  for (const [now, seen, why] of [
    [expires, 0, /it expired at/],
    [expires + 1, 3, /it expired at/],
    [0, 4, /version 3 is older than version 4/],
  ] as const)
    assert.throws(
      untrusted(now, seen),
      (error) => error instanceof LockstepError && error.code === 'POLICY_UNTRUSTED' && why.test(error.message),
    );
});

test('ruleFor takes the first rule that fits, and none is none', () => {
  const packages = ['hello', 'lib*', '*-dev', 'libc'];
  const policy = samplePolicy({ rules: packages.map((one) => sampleRule({ packages: one })) });
  for (const [name, expected] of [
    ['hello', 0],
    ['hello2', null],
    ['libc', 1],
    ['libc-dev', 1],
    ['gcc-dev', 2],
    ['', null],
    ['Hello', null],
  ] as const)
    assert.equal(ruleFor(policy, name, 'container')?.index ?? null, expected, name);
  assert.equal(ruleFor(policy, 'hello', 'vm'), null);
  const [rule] = samplePolicy({ rules: [sampleRule({ sources: ['git+https://host.example/*#refs/tags/*', './*'] })] }).rules;
  assert.ok(rule !== undefined);
  assert.equal(isTrustedSource(rule, 'git+https://host.example/a#refs/tags/v1'), true);
  assert.equal(isTrustedSource(rule, 'git+https://host.example.evil/a#refs/tags/v1'), false);
});

test('matches agrees with a regular expression', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), maxLength: 8 });
  fc.assert(
    fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 10 }), (pattern, value) => {
      const parts = pattern.split('*').map((one) => one.replaceAll('.', '\\.'));
      assert.equal(matches(pattern, value), new RegExp(`^${parts.join('.*')}$`, 's').test(value), `${pattern} ${value}`);
    }),
    { numRuns: 20_000 },
  );
  const start = performance.now();
  assert.equal(matches('*a'.repeat(1000), `${'a'.repeat(100_000)}b`), false);
  assert.ok(performance.now() - start < 1000);
});

test('parsePolicy of mutated policies throws nothing but its own errors, and reads the same twice', (t) => {
  const random = randomFrom(SEED);
  const arbiters = { threshold: 2, members: ARBITERS.map((number, index) => person('xyz'.charAt(index), number)) };
  // Small ones, so that a change often hits something that means something.
  const small = { builders: [sampleBuilder('a', 11)], rules: [sampleRule({ quorum: 1 })], witnesses: [], witness_quorum: 'none' };
  const examples = [small, { ...small, arbiters: null }, { arbiters }].map((one) => toUtf8(JSON.stringify(samplePolicyJson(one as Table))));
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = mutate(examples, random);
    try {
      const policy = parsePolicy(input, 'policy.json');
      accepted++;
      assert.deepEqual(parsePolicy(Uint8Array.from(input), 'policy.json'), policy);
    } catch (error) {
      if (error instanceof LockstepError && ['POLICY_INVALID', 'JSON_INVALID'].includes(error.code)) continue;
      throw new Error(`LOCKSTEP_FUZZ_SEED=${SEED} run ${run} ${Buffer.from(input).toString('base64')}`, { cause: error });
    }
  }
  t.diagnostic(`${accepted} of ${RUNS} accepted`);
});
