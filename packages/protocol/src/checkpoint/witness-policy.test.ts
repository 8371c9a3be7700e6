import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatVerifierKey, makeVerifierKey, type NoteKeyType } from '../note/verifier-key.ts';
import { formatWitnessPolicy, parseWitnessPolicy, quorumIsMet, type WitnessGroup } from './witness-policy.ts';

const key = (number: number, type: NoteKeyType = 'cosignature-ed25519', name = `w${number}.example`): string =>
  formatVerifierKey(makeVerifierKey(name, type, new Uint8Array(type === 'cosignature-ml-dsa-44' ? 1312 : 32).fill(number)));
const logKey = key(100, 'ed25519', 'log.example');

const EXAMPLE = `log ${logKey}

witness X1 ${key(1)}
witness X2 ${key(2)}
witness X3 ${key(3, 'cosignature-ml-dsa-44')}
group X-witnesses 2 X1 X2 X3

witness Y1 ${key(4)}
witness Y2 ${key(5)}
witness Y3 ${key(6)}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

test('parseWitnessPolicy reads the example of c2sp.org/tlog-policy', () => {
  const policy = parseWitnessPolicy(EXAMPLE, 'policy');
  assert.deepEqual(
    policy.logs.map((one) => [one.key.name, one.url]),
    [['log.example', null]],
  );
  assert.deepEqual(
    policy.witnesses.map((one) => one.name),
    ['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'],
  );
  assert.deepEqual(policy.groups, [
    { name: 'X-witnesses', threshold: 2, members: ['X1', 'X2', 'X3'] },
    { name: 'Y-witnesses', threshold: 1, members: ['Y1', 'Y2', 'Y3'] },
    { name: 'X-and-Y', threshold: 2, members: ['X-witnesses', 'Y-witnesses'] },
  ]);
  const met = (...seen: string[]): boolean => quorumIsMet(policy, new Set(seen));
  assert.ok(met('X1', 'X3', 'Y2'));
  assert.ok(met('X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'));
  assert.equal(met('X1', 'X2', 'X3'), false);
  assert.equal(met('X1', 'Y1', 'Y2', 'Y3'), false);
  assert.equal(met(), false);
  assert.equal(met('X-and-Y'), false, 'the name of a group is no witness');
  assert.equal(met('X-witnesses', 'Y-witnesses'), false);
});

test('parseWitnessPolicy passes over comments, empty lines, spaces and tabs, and keeps addresses', () => {
  const policy = parseWitnessPolicy(
    `# ünïcode comment\n\n \t\n  # indented\n\tlog  ${logKey}\thttps://log.example/ \n witness a ${key(1)} https://w.example/é\nquorum a\n`,
    'policy',
  );
  assert.equal(policy.logs[0]?.url, 'https://log.example/');
  assert.equal(policy.witnesses[0]?.url, 'https://w.example/é');
  assert.equal(policy.quorum, 'a');
});

test('parseWitnessPolicy takes names that look like words of the language, and no witness at all', () => {
  const policy = parseWitnessPolicy(`witness all ${key(1)}\nwitness group ${key(2)}\ngroup any any all group\nquorum any\n`, 'policy');
  assert.ok(quorumIsMet(policy, new Set(['group'])));
  assert.deepEqual(parseWitnessPolicy('quorum none\n', 'policy'), { logs: [], witnesses: [], groups: [], quorum: 'none' });
  assert.ok(quorumIsMet({ groups: [], quorum: 'none' }, new Set()));
});

const a = `witness a ${key(1)}\n`;
const b = `witness b ${key(2)}\n`;
const none = 'quorum none\n';
const many = (count: number, make: (index: number) => string): string => Array.from({ length: count }, (_, index) => make(index)).join('');

/** What is refused, the line that is named, and a part of what is said. */
const REFUSED: Readonly<Record<string, readonly [text: string, line: number, says: RegExp]>> = {
  'an empty file': ['', 1, /no quorum/],
  'no quorum': [a, 1, /no quorum/],
  'two quorums': [`${none}${none}`, 2, /already/],
  'no newline at the end': [`${a}quorum a`, 2, /newline/],
  'a carriage return': [`${a}quorum a\r\n`, 1, /control/],
  'a NUL in a comment': [`# \u0000\n${none}`, 1, /control/],
  'a DEL': [`# \u007f\n${none}`, 1, /control/],
  'half a surrogate pair': [`# \ud800\n${none}`, 1, /control/],
  'a word that is not known': [`${a}\nwitnesses b ${key(2)}\n${none}`, 3, /"witnesses" is none of/],
  'a word in capitals': [`QUORUM none\n`, 1, /none of/],
  'a no-break space instead of a space': [`quorum\u00a0none\n`, 1, /none of/],
  'a log without a key': [`log\n${none}`, 1, /VKEY/],
  'a log with a word too many': [`log ${logKey} https://a b\n${none}`, 1, /VKEY/],
  'a log with no key but a word': [`log log.example\n${none}`, 1, /Not a verifier key/],
  'a log with the key of a witness': [`log ${key(1)}\n${none}`, 1, /0x01/],
  'a log twice': [`log ${logKey}\n${a}log ${logKey} https://x/\n${none}`, 3, /there already/],
  'a log twice under two names': [`log ${logKey}\nlog ${key(100, 'ed25519', 'other')}\n${none}`, 2, /there already/],
  'a witness without a key': [`witness a\n${none}`, 1, /witness NAME VKEY/],
  'a witness without anything': [`witness\n${none}`, 1, /witness NAME VKEY/],
  'a witness with a word too many': [`${a.trimEnd()} https://a b\n${none}`, 1, /witness NAME VKEY/],
  'a witness with the key of a log': [`witness a ${logKey}\n${none}`, 1, /0x04 or 0x06/],
  'a witness with a broken key': [`${a}witness b ${key(2).slice(0, -1)}\n${none}`, 2, /Not a verifier key/],
  'a witness called none': [`witness none ${key(1)}\n${none}`, 1, /none is taken/],
  'two witnesses with one name': [`${a}witness a ${key(2)}\n${none}`, 2, /a is taken/],
  'two witnesses with one key': [`${a}witness b ${key(1)}\n${none}`, 2, /there already/],
  'two witnesses with one key under two key names': [`${a}witness b ${key(1, 'cosignature-ed25519', 'x')}\n${none}`, 2, /there already/],
  'a witness with the name of a group': [`${a}group g any a\nwitness g ${key(2)}\n${none}`, 3, /g is taken/],
  'a group with the name of a witness': [`${a}${b}group a any b\n${none}`, 3, /a is taken/],
  'a group called none': [`${a}group none any a\n${none}`, 2, /none is taken/],
  'two groups with one name': [`${a}${b}group g any a\ngroup g any b\n${none}`, 4, /g is taken/],
  'a group without members': [`group g all\n${none}`, 1, /group NAME/],
  'a group with only a name': [`group g\n${none}`, 1, /group NAME/],
  'a threshold of 0': [`${a}group g 0 a\n${none}`, 2, /threshold/],
  'a threshold above the members': [`${a}${b}group g 3 a b\n${none}`, 3, /threshold/],
  'a threshold with a leading zero': [`${a}group g 01 a\n${none}`, 2, /threshold/],
  'a threshold with a sign': [`${a}group g +1 a\n${none}`, 2, /threshold/],
  'a threshold that is a fraction': [`${a}group g 1.0 a\n${none}`, 2, /threshold/],
  'a threshold in capitals': [`${a}group g ANY a\n${none}`, 2, /threshold/],
  'a member that comes later': [`${a}group g any a b\n${b}${none}`, 2, /b is not defined/],
  'a group in itself': [`${a}group g any a g\n${none}`, 2, /g is not defined/],
  'none as a member': [`group g any none\n${none}`, 1, /none is not defined/],
  'a member twice': [`${a}group g 2 a a\n${none}`, 2, /a is a member already/],
  'a member of two groups': [`${a}${b}group g any a\ngroup h any b a\n${none}`, 4, /a is a member already/],
  'a quorum that is not defined': [`${a}quorum b\n`, 2, /b is not defined/],
  'a quorum that comes later': [`quorum a\n${a}`, 1, /a is not defined/],
  'a quorum without a name': [`quorum\n`, 1, /quorum NAME/],
  'a quorum of two': [`${a}${b}quorum a b\n`, 3, /quorum NAME/],
  'a log’s name as quorum': [`log ${logKey}\nquorum log.example\n`, 2, /not defined/],
  'more than 100 witnesses': [`${many(101, (index) => `witness w${index} ${key(index)}\n`)}${none}`, 101, /more than 100/],
  'more than a megabyte': [`#${'x'.repeat(1 << 20)}\n${none}`, 1, /1 MiB/],
};

for (const [what, [text, line, says]] of Object.entries(REFUSED))
  test(`parseWitnessPolicy refuses ${what}, and says in which line`, () => {
    assert.throws(
      () => parseWitnessPolicy(text, 'witnesses.txt'),
      (error: unknown) => {
        assert.ok(error instanceof LockstepError, String(error));
        assert.equal(error.code, 'WITNESS_POLICY_INVALID');
        assert.deepEqual(error.at, { file: 'witnesses.txt', line, column: 1 });
        assert.match(error.message, says);
        return true;
      },
    );
  });

test('parseWitnessPolicy takes 100 witnesses, 100 logs and 100 groups', () => {
  const text = [
    many(100, (index) => `log ${key(index, 'ed25519', 'log.example')}\n`),
    many(100, (index) => `witness w${index} ${key(index)}\n`),
    many(100, (index) => `group g${index} any w${index}\n`),
    none,
  ].join('');
  assert.equal(parseWitnessPolicy(text, 'policy').groups.length, 100);
});

test('formatWitnessPolicy writes what parseWitnessPolicy reads', () => {
  const policy = parseWitnessPolicy(EXAMPLE, 'policy');
  assert.deepEqual(parseWitnessPolicy(formatWitnessPolicy(policy), 'policy'), policy);
});

/** By the words of "Defining a witness group": counts for every subset what is witnessed, group after group. */
function witnessed(groups: readonly WitnessGroup[], seen: ReadonlySet<string>): Set<string> {
  const found = new Set(seen);
  for (const group of groups) {
    let count = 0;
    for (const member of group.members) count += found.has(member) ? 1 : 0;
    if (count >= group.threshold) found.add(group.name);
  }
  return found;
}

test('quorumIsMet agrees with counting, for every subset of the witnesses of random policies', () => {
  const random = fc.tuple(
    fc.integer({ min: 1, max: 7 }),
    fc.array(fc.tuple(fc.nat(), fc.array(fc.nat(), { minLength: 1, maxLength: 5 })), { maxLength: 5 }),
    fc.nat(),
  );
  let met = 0;
  fc.assert(
    fc.property(random, ([count, shapes, chosen]) => {
      const witnesses = Array.from({ length: count }, (_, index) => `w${index}`);
      const free = [...witnesses];
      const groups: WitnessGroup[] = [];
      for (const [threshold, picks] of shapes) {
        const members = picks.flatMap((pick) => (free.length === 0 ? [] : free.splice(pick % free.length, 1)));
        if (members.length === 0) break;
        groups.push({ name: `g${groups.length}`, threshold: (threshold % members.length) + 1, members });
        free.push(`g${groups.length - 1}`);
      }
      const names = [...witnesses, ...groups.map((group) => group.name)];
      const quorum = names[chosen % names.length]!;
      const text = [
        ...witnesses.map((name, index) => `witness ${name} ${key(index)}`),
        ...groups.map((group) => `group ${group.name} ${group.threshold} ${group.members.join(' ')}`),
        `quorum ${quorum}\n`,
      ].join('\n');
      const policy = parseWitnessPolicy(text, 'policy');
      assert.deepEqual(policy.groups, groups);
      for (let subset = 0; subset < 2 ** count; subset++) {
        const seen = new Set(witnesses.filter((_, index) => (subset >> index) & 1));
        const expected = witnessed(groups, seen).has(quorum);
        assert.equal(quorumIsMet(policy, seen), expected, `${text}${[...seen].join(' ')}`);
        met += expected ? 1 : 0;
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(met > 0);
});
