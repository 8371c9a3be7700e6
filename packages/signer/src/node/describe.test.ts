/** What a person is shown: all that a decision needs, a line for each, and nothing that a name could do to the screen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sampleBuilder } from '@lockstep/protocol/policy/samples';
import { output } from '@lockstep/protocol/quorum/samples';
import type { ReleaseRecord } from '@lockstep/protocol/release/release-record';
import type { Derived } from '@lockstep/protocol/signing/check-evidence';
import { describeKeyDocument, describeRelease, describeTuf } from './describe.ts';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { askNode, digestOf, NOW, openSampleNode, SampleFarm, signedPolicy, temporaryFolder } from './samples.ts';

const SIMULATED = signedPolicy({
  version: 4,
  builders: [sampleBuilder('a', 11), sampleBuilder('b', 12), sampleBuilder('c', 13, 'Org c', 'site-c', { simulated: true })],
});

test('describeRelease shows name, version, digests and builders, and what changed since the last release', async () => {
  const shown: string[] = [];
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder(), ['release-dsse'], {
    confirm: (text) => {
      shown.push(text);
      return Promise.resolve(true);
    },
  });
  const [hello, other, fresh] = [output('hello', 'good'), output('other', 'the same everywhere'), output('fresh', 'new')];
  const first = farm.build({ outputs: [hello, other] });
  assert.equal((await askNode(one, farm.ask(first))).result, 'signed');
  const previous = digestOf(farm.release(first));
  const next = farm.build({ version: '1.1', outputs: [hello, fresh], builders: [11, 13] });
  const wish = { previous, policy: SIMULATED, checkpoint: one.node.log.checkpoint(), from: [2], time: NOW + 60 };
  const second = await askNode(one, farm.ask(next, wish));
  assert.equal(second.result, 'signed', second.reason);
  const records = [farm.release(first), farm.release(next, wish)] as const;
  const notes = (text: string): string[] => text.split('\n').filter((line) => !line.startsWith('note: '));
  assert.deepEqual(notes(shown[0] ?? ''), [
    'APPROVE A RELEASE: hello 1.0 (line main)',
    'source    git+https://host.example/hello.git#refs/tags/v1.0',
    `build id  ${first}`,
    'policy    sample, version 3',
    'builders  agreed, 2 of 6, 2 needed:',
    '          a of Org a, site-a',
    '          b of Org b, site-b',
    'levels    SLSA_BUILD_LEVEL_2, SLSA_BUILD_REPRODUCED',
    'files     2, by SHA-256 and size:',
    `          ${hello.sha256}  4  hello`,
    `          ${other.sha256}  19  other`,
    `record    ${digestOf(records[0])}`,
    'since     the first release of it that this node signs',
  ]);
  assert.deepEqual(notes(shown[1] ?? ''), [
    'APPROVE A RELEASE: hello 1.1 (line main)',
    'source    git+https://host.example/hello.git#refs/tags/v1.0',
    `build id  ${next}`,
    'policy    sample, version 4',
    'builders  agreed, 2 of 3, 2 needed:',
    '          a of Org a, site-a',
    '          c of Org c, site-c (SIMULATED)',
    'levels    SLSA_BUILD_LEVEL_1',
    'files     2, by SHA-256 and size:',
    `          ${fresh.sha256}  3  fresh`,
    `          ${hello.sha256}  4  hello`,
    `record    ${digestOf(records[1])}`,
    `since     1.0 (${isoTime(NOW)}):`,
    '          other builders: it was a of Org a, b of Org b',
    '          another policy: it was version 3',
    '          new file fresh',
    '          no longer: other',
  ]);
  assert.ok(
    shown.every((text) => text.includes('\nnote: ')),
    'what is not known is said too',
  );
  await one.node.close();
});

const farm = new SampleFarm();
const RECORD = farm.release(farm.build());

function shownOf(change: Partial<ReleaseRecord>, last: ReleaseRecord | null = null, notes: readonly string[] = []): string {
  const derived = { record: { ...RECORD, ...change }, digest: digestOf(RECORD), decision: { of: 6 } } as unknown as Derived;
  return describeRelease(derived, last, notes);
}

test('describeRelease tells another source from another tag of the same, and says when the definition is the same', () => {
  const since = (change: Partial<ReleaseRecord>, last: Partial<ReleaseRecord>): string[] =>
    shownOf(change, { ...RECORD, ...last })
      .split('\n')
      .slice(12);
  assert.deepEqual(since({}, {}), [`since     1.0 (${isoTime(NOW)}):`, '          the same build definition']);
  const tag: Partial<ReleaseRecord> = {
    build_id: 'f'.repeat(64) as ReleaseRecord['build_id'],
    source_ref: 'git+https://host.example/hello.git#refs/tags/v0.9',
  };
  assert.deepEqual(since({}, tag).slice(1), []);
  assert.deepEqual(since({}, { ...tag, source_ref: 'git+https://evil.example/hello.git#refs/tags/v1.0' }).slice(1), [
    '          ANOTHER SOURCE: it was git+https://evil.example/hello.git#refs/tags/v1.0',
  ]);
});

const HOSTILE = [
  '\u001b[2J\u001b[H',
  '\u009b31m',
  '\r\nAPPROVE',
  '\u2028\u2029\u0085',
  '\u202e\u202d\u2066\u2067\u2069',
  '\u200e\u200f\u061c',
  '\u200b\u200d\ufeff\u00ad',
  '\u05d0\u05d1',
  '\u0627\ufdf2\ufe8e',
  '\u{1e900}\u{10800}',
  '\u3164\u115f\uffa0',
  '\u0301\u0489',
  '\ud800',
  '\u{e0041}',
  '\t\v\f\b\u007f\0',
  '\u00a0\u2003',
];

/** Nothing but what stands where it is written and can be seen. */
function requireHarmless(text: string): void {
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{C}\p{M}\p{Zl}\p{Zp}]|(?! )\p{Zs}|\p{Default_Ignorable_Code_Point}/u);
  assert.doesNotMatch(text, /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u);
}

test('describeRelease: hostile names of anything stay on their line, and can hide or turn nothing', () => {
  const plain = shownOf({}, RECORD, ['a note']).split('\n').length;
  const [file] = RECORD.files;
  const [builder] = RECORD.quorum.builders;
  for (const hostile of HOSTILE) {
    const name = `x${hostile}y`;
    const change: Partial<ReleaseRecord> = {
      name,
      version: name,
      source_ref: name,
      policy: { ...RECORD.policy, name },
      files: [{ ...file!, name }, RECORD.files[1]!],
      quorum: { ...RECORD.quorum, builders: [{ ...builder!, name, operator: name, site: name }, RECORD.quorum.builders[1]!] },
    };
    const shown = shownOf(change, { ...RECORD, source_ref: `${name} before`, version: name }, [name]);
    requireHarmless(shown);
    // The same lines, and those that tell of what changed: source, builders, a new file, one that is gone.
    assert.equal(shown.split('\n').length, plain + 4, JSON.stringify(hostile));
    assert.ok(shown.startsWith('APPROVE A RELEASE: x'));
  }
});

test('describeRelease, describeKeyDocument, describeTuf: no text at all gets past (property)', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.constantFrom(...HOSTILE),
  );
  fc.assert(
    fc.property(nasty, (name) => {
      const shown = shownOf({ name, version: name, source_ref: name }, null, [name]);
      requireHarmless(shown);
      assert.equal(shown.split('\n').length, 14);
      const key = describeKeyDocument({ payload_type: name } as Parameters<typeof describeKeyDocument>[0], name);
      requireHarmless(key);
      assert.equal(key.split('\n').length, 2);
      const tuf = describeTuf('root', 1, isoTime(NOW), [name]);
      requireHarmless(tuf);
      assert.equal(tuf.split('\n').length, 2);
    }),
    { numRuns: 2000 },
  );
});

test('describeRelease shows letters of other scripts that stand where they are written', () => {
  assert.match(shownOf({ name: 'größe-包-пакет-∑' }), /APPROVE A RELEASE: größe-包-пакет-∑ 1\.0/u);
});
