/** The memory is the fold of the log and nothing else: a node that is closed and opened at any point goes on as one that was not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { canonicalBytes, canonicalText } from '@lockstep/protocol/json/canonical';
import type { SigningRecord } from '@lockstep/protocol/signing/record';
import { formatRequest } from '@lockstep/protocol/signing/request';
import { timestampJson } from '@lockstep/protocol/tuf/samples';
import { type Memory, NOTHING, remember } from './memory.ts';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import {
  days,
  digestOf,
  NODE,
  NOW,
  openSampleNode,
  read,
  recordsOf,
  SampleFarm,
  type SampleNode,
  signedPolicy,
  temporaryFolder,
} from './samples.ts';

/** What is asked; all that a step needs follows from what both nodes have answered alike so far. */
type Step =
  | {
      readonly ask: 'release';
      readonly version: number;
      readonly line: string;
      readonly known: boolean;
      readonly time: number;
      readonly proved: boolean;
    }
  | { readonly ask: 'policy'; readonly version: number; readonly metadata: number }
  | { readonly ask: 'tuf'; readonly version: number }
  | { readonly ask: 'again'; readonly which: number }
  | { readonly ask: 'nonsense'; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      ask: fc.constant('release' as const),
      version: fc.integer({ min: 0, max: 3 }),
      line: fc.constantFrom('main', 'main', '1.x', 'foreign'),
      known: fc.boolean(),
      time: fc.integer({ min: 0, max: 2 }),
      proved: fc.boolean(),
    }),
  },
  fc.record({ ask: fc.constant('policy' as const), version: fc.integer({ min: 2, max: 5 }), metadata: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ ask: fc.constant('tuf' as const), version: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ ask: fc.constant('again' as const), which: fc.nat({ max: 9 }) }),
  fc.record({ ask: fc.constant('nonsense' as const), which: fc.nat({ max: 2 }) }),
);

const farm = new SampleFarm();
const BUILDS = ['1.0', '1.1', '1.2', '1.10'].map((version) => farm.build({ version }));
const USES = ['release-minisign', 'tuf-timestamp'] as const;

class Run {
  readonly one: SampleNode;
  readonly asked: Uint8Array[];
  readonly said: SigningRecord[];
  constructor(one: SampleNode, asked: Uint8Array[] = [], said: SigningRecord[] = []) {
    [this.one, this.asked, this.said] = [one, asked, said];
  }

  request(step_: Step): Uint8Array {
    const checkpoint = this.one.node.log.size() === 0 ? null : this.one.node.log.checkpoint();
    const last = this.said.findLast((record) => record.release !== null && step_.ask === 'release' && record.release.line === step_.line);
    const previous = last?.release == null ? null : digestOf(last.release);
    switch (step_.ask) {
      case 'release':
        return farm.ask(BUILDS[step_.version] ?? '', {
          line: step_.line,
          previous: step_.known ? previous : null,
          time: NOW + step_.time,
          from: step_.proved ? [farm.entries.length] : [],
          checkpoint,
        });
      case 'policy':
        return farm.ask(BUILDS[0] ?? '', { policy: signedPolicy({ version: step_.version }, step_.metadata), checkpoint });
      case 'tuf': {
        const value = timestampJson({ version: step_.version, expires: isoTime(NOW + days(3)) });
        return formatRequest({
          schema: 'lockstep-signing-request/v1',
          purpose: 'tuf',
          nodes: { [NODE]: checkpoint },
          time: isoTime(NOW),
          expected: [{ use: 'tuf-timestamp', file: null, bytes: toBase64(canonicalBytes(value)) }],
          role: 'timestamp',
          metadata: canonicalText({ signatures: [], signed: value }),
          files: {},
        });
      }
      case 'again':
        return this.asked[step_.which % Math.max(1, this.asked.length)] ?? toUtf8('first');
      case 'nonsense':
      default:
        return toUtf8(`nonsense ${step_.which}`);
    }
  }

  async take(step_: Step): Promise<SigningRecord> {
    const request = this.request(step_);
    const { record } = read(this.one.home, await this.one.node.answer(request));
    this.asked.push(request);
    this.said.push(record);
    return record;
  }
}

/** Without what depends on the node’s own log and keys. */
const essence = (record: SigningRecord): unknown => ({
  ...record,
  request: '',
  signatures: record.signatures.map(({ use, file, message }) => ({ use, file, message })),
});

/** No two releases of one version on a line, none that goes back; no TUF version that goes back. */
function requireSound(records: readonly SigningRecord[]): void {
  const last = new Map<string, { version: number; digest: string; policy: number }>();
  const versions = ['1.0', '1.1', '1.2', '1.10'];
  let role = 0;
  for (const { release, tuf, result } of records) {
    if (result !== 'signed') continue;
    if (tuf !== null) {
      assert.ok(tuf.version >= role);
      role = tuf.version;
    }
    if (release === null) continue;
    const before = last.get(release.line);
    const [version, digest] = [versions.indexOf(release.version), digestOf(release)];
    const policy = release.policy.version;
    // One version is approved twice only when the policy was signed again meanwhile.
    if (before !== undefined && before.digest !== digest)
      assert.ok(version > before.version || (version === before.version && policy > before.policy), 'forward only');
    last.set(release.line, { version, digest, policy });
  }
}

test('openNode: a node that is closed and opened again between any two requests answers as one that was not (random sequences)', async () => {
  let [signed, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { minLength: 1, maxLength: 12 }), async (steps) => {
      const options = { lines: ['main', '1.x'] };
      const steady = new Run(await openSampleNode(temporaryFolder(), USES, options));
      const folder = temporaryFolder();
      let restarted = new Run(await openSampleNode(folder, USES, options));
      for (const [one, restart] of steps) {
        const [a, b] = [await steady.take(one), await restarted.take(one)];
        assert.deepEqual(essence(b), essence(a));
        if (!restart) continue;
        await restarted.one.node.close();
        restarted = new Run(await openSampleNode(folder, USES, options), restarted.asked, restarted.said);
      }
      for (const run of [steady, restarted]) {
        const records = await recordsOf(run.one);
        requireSound(records);
        signed += records.filter((record) => record.result === 'signed').length;
        refused += records.filter((record) => record.result === 'refused').length;
        // Every request has one entry that answers it, and the answer is that entry.
        for (const [at, request] of run.asked.entries()) {
          const { record } = read(run.one.home, await run.one.node.answer(request));
          assert.deepEqual(record, run.said[at]);
        }
        assert.equal(run.one.node.log.size(), records.length, 'nothing was added by asking again');
        await run.one.node.close();
      }
    }),
    { numRuns: 6 },
  );
  assert.ok(signed > 5 && refused > 5, `${signed} signed, ${refused} refused`);
});

test('remember: folding a log in two parts is folding it at once, time never goes back, and only what was signed counts', async () => {
  const one = await openSampleNode(temporaryFolder());
  const run = new Run(one);
  for (const each of [
    { ask: 'release', version: 0, line: 'main', known: true, time: 0, proved: true },
    { ask: 'release', version: 1, line: 'main', known: true, time: 0, proved: true },
    { ask: 'release', version: 0, line: 'main', known: true, time: 1, proved: true },
    { ask: 'nonsense', which: 0 },
  ] satisfies Step[])
    await run.take(each);
  const records = await recordsOf(one);
  assert.deepEqual(
    records.map((record) => record.result),
    ['signed', 'signed', 'refused', 'refused'],
  );
  const fold = (from: Memory, part: readonly SigningRecord[]): Memory => part.reduce(remember, from);
  const whole = fold(NOTHING, records);
  for (let cut = 0; cut <= records.length; cut++) assert.deepEqual(fold(fold(NOTHING, records.slice(0, cut)), records.slice(cut)), whole);
  assert.equal([...whole.releases.values()][0]?.version, '1.1');
  const refusedRelease = { ...records[1]!, result: 'refused' as const, step: 'version', time: '2020-01-01T00:00:00Z' };
  const later = remember(fold(NOTHING, records.slice(0, 1)), refusedRelease);
  assert.equal([...later.releases.values()][0]?.version, '1.0');
  assert.equal(later.time, NOW);
  assert.deepEqual(NOTHING.releases.size + NOTHING.logs.size, 0, 'the empty memory stays empty');
  await one.node.close();
});
