import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Objects } from '@lockstep/store/objects/objects';
import { definitionToJson } from '@lockstep/protocol/definition/definition';
import { inputKey, resultKey } from '../content/keys.ts';
import { about, buildAll, leaseAll, sha256Of } from '../rounds/work-samples.ts';
import { definitionOf, type SampleFarm, sampleFarm, type SampleOptions } from '../samples.ts';
import { keepTranscripts } from '../transcripts/read.ts';
import { collectGarbage } from './collect.ts';

const HOUR = 3_600_000;

/** The storage tells times by its own clock: the farm's is that one here, then moved on. */
async function withFarm(options: SampleOptions, act: (sample: SampleFarm) => Promise<void>): Promise<void> {
  const sample = await sampleFarm({ clock: { time: Date.now() }, limits: { aliveSeconds: 1e9, leaseSeconds: 1e9 }, ...options });
  try {
    await act(sample);
  } finally {
    await sample.close();
  }
}

async function keysOf({ farm }: SampleFarm): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of farm.objects.list('')) found.push(key);
  return found;
}

/** @returns the client of whoever did it */
async function uploadInput(sample: SampleFarm, by: string, content: Buffer): Promise<ReturnType<SampleFarm['client']>> {
  const client = sample.client(await sample.token(by, 'submitter'));
  const sha256 = sha256Of(content);
  await client.call('putInputPart', { params: { sha256, part: sha256 }, body: content });
  await client.call('finishInput', { params: { sha256 }, body: { size: content.length, parts: [sha256] } });
  await client.call('submit', { body: { definition: definitionToJson(definitionOf({ carried: content, version: by })) as never } });
  return client;
}

test('collectGarbage leaves what the log names, what is pinned and what open jobs need; takes the rest when it is old', () =>
  withFarm({ builders: 2 }, async (sample) => {
    const { farm } = sample;
    const operator = sample.client(await sample.token('op', 'operator'));
    // Decided: its output is named by the log.
    const definition = definitionOf();
    await sample.submit(definition);
    const works = await buildAll(sample, definition);
    // Cancelled with an input of its own: garbage, unless pinned.
    const [gone, pinned, open] = ['gone', 'pinned', 'open'].map((text) => Buffer.from(`input of ${text}`));
    for (const [by, content] of [
      ['a', gone],
      ['b', pinned],
    ] as const) {
      await uploadInput(sample, by, content!);
      const [job] = (await operator.call('listJobs', { query: { limit: '1' } })).jobs;
      await operator.call('cancelJob', { params: { job: job!.job } });
      if (content === pinned) await operator.call('pin', { params: { job: job!.job }, body: { reason: 'a customer has it' } });
    }
    await uploadInput(sample, 'c', open!);
    await sample.settle();
    // A transcript of an open job, and one that came to nothing; parts of uploads that nobody finished.
    const [lease] = await leaseAll(sample);
    const { params, headers } = about(lease!.lease);
    await lease!.builder.client.call('appendTranscript', { params: { ...params, offset: 0 }, headers, body: Buffer.from('x') });
    await farm.objects.put('transcripts/9999', Buffer.from('of nobody'));
    await farm.objects.put(`parts/s-${'0'.repeat(32)}/${'a'.repeat(64)}/${'b'.repeat(64)}`, Buffer.from('orphan'));
    await farm.objects.put(`parts/a-${lease!.lease.attempt}/${'a'.repeat(64)}/${'b'.repeat(64)}`, Buffer.from('under way'));
    await farm.objects.put(resultKey('c'.repeat(64)), Buffer.from('named by nobody'));
    const all = await keysOf(sample);

    assert.equal((await operator.call('collectGarbage', { body: { dryRun: false } })).collected.count, 0, 'nothing is old yet');
    sample.clock.time += 200 * HOUR;
    const dry = await operator.call('collectGarbage', { body: { dryRun: true } });
    assert.deepEqual(await keysOf(sample), all, 'a dry run removes nothing');
    const real = await operator.call('collectGarbage', { body: { dryRun: false } });
    assert.deepEqual({ ...real, dryRun: true }, dry);
    const left = await keysOf(sample);
    assert.deepEqual(
      all.filter((key) => !left.includes(key)).toSorted(),
      [
        inputKey(sha256Of(gone!)),
        'transcripts/9999',
        `parts/s-${'0'.repeat(32)}/${'a'.repeat(64)}/${'b'.repeat(64)}`,
        resultKey('c'.repeat(64)),
      ].toSorted(),
    );
    for (const work of works) for (const bytes of work.outputs) assert.ok(left.includes(resultKey(sha256Of(bytes))));
    // Whoever had uploaded what is gone is asked for it again.
    const a = sample.client(await sample.token('a2', 'submitter'));
    assert.equal((await a.call('inputState', { params: { sha256: sha256Of(gone!) } })).complete, false);
    assert.equal((await farm.database.reads.selectFrom('inputs').selectAll().execute()).length, 2);
    // Unpinned it goes too.
    const job = (await operator.call('listJobs', { query: { state: 'cancelled' } })).jobs.find((one) => one.version === 'b');
    await operator.call('unpin', { params: { job: job!.job } });
    assert.deepEqual((await collectGarbage(farm, false, 168)).objects, [inputKey(sha256Of(pinned!))]);
  }));

test('collectGarbage keeps what was revealed and is not in the log yet', () =>
  withFarm({ builders: 2 }, async (sample) => {
    const definition = definitionOf();
    await sample.submit(definition);
    await sample.settle();
    sample.log.failure = new Error('the witnesses are away');
    const works = await buildAll(sample, definition);
    sample.clock.time += 200 * HOUR;
    await collectGarbage(sample.farm, false, 1);
    for (const bytes of works[0]!.outputs) assert.notEqual(await sample.farm.objects.size(resultKey(sha256Of(bytes))), null);
  }));

test('an input that is removed while the database fails is not taken for uploaded ever after', () => {
  let failing = false;
  return withFarm(
    {
      between: { database: (real) => ({ ...real, write: (work) => (failing ? Promise.reject(new Error('away')) : real.write(work)) }) },
    },
    async (sample) => {
      const content = Buffer.from('an input');
      await uploadInput(sample, 'a', content);
      const [job] = await sample.farm.database.reads.selectFrom('jobs').select('job').execute();
      await sample.client(await sample.token('op', 'operator')).call('cancelJob', { params: { job: job!.job } });
      sample.clock.time += 200 * HOUR;
      failing = true;
      await collectGarbage(sample.farm, false, 1).catch(() => undefined);
      failing = false;
      const told = await sample.farm.database.reads.selectFrom('inputs').selectAll().execute();
      const isThere = (await sample.farm.objects.size(inputKey(sha256Of(content)))) !== null;
      assert.ok(isThere || told.length === 0, 'the farm says that it has what it has not');
    },
  );
});

for (const how of ['submitted', 'retried'] as const)
  test(`an input of a job that is ${how} again while garbage is collected stays`, () => {
    let between: (() => Promise<void>) | null = null;
    const slow = (real: Objects): Objects => ({
      ...real,
      async *list(prefix) {
        if (prefix === 'inputs/') await between?.();
        yield* real.list(prefix);
      },
    });
    return withFarm({ between: { objects: slow } }, async (sample) => {
      const content = Buffer.from('an input');
      const mine = await uploadInput(sample, 'a', content);
      const [job] = await sample.farm.database.reads.selectFrom('jobs').select('job').execute();
      const operator = sample.client(await sample.token('op', 'operator'));
      await operator.call('cancelJob', { params: { job: job!.job } });
      sample.clock.time += 200 * HOUR;
      let acted = 0;
      between = async () => {
        acted++;
        if (how === 'retried') await operator.call('retryJob', { params: { job: job!.job } });
        else
          await mine.call('submit', { body: { definition: definitionToJson(definitionOf({ carried: content, version: 'a' })) as never } });
      };
      await collectGarbage(sample.farm, false, 1);
      assert.equal(acted, 1);
      assert.notEqual(await sample.farm.objects.size(inputKey(sha256Of(content))), null);
    });
  });

test('a transcript that has moved to the storage reads as before', () =>
  withFarm({ builders: 2 }, async (sample) => {
    const definition = definitionOf();
    await sample.submit(definition);
    await sample.settle();
    const [lease] = await leaseAll(sample);
    const { params, headers } = about(lease!.lease);
    for (const [offset, text] of [
      [0, 'first '],
      [6, 'second'],
    ] as const)
      await lease!.builder.client.call('appendTranscript', { params: { ...params, offset }, headers, body: Buffer.from(text) });
    const operator = sample.client(await sample.token('op', 'operator'));
    const read = async (from: number) =>
      (await operator.call('transcript', { params: { attempt: lease!.lease.attempt }, query: { from } })).text();
    const before = [await read(0), await read(3), await read(12), await read(99)];
    assert.deepEqual(before, ['first second', 'st second', '', '']);
    assert.equal(await keepTranscripts(sample.farm, sample.clock.time + 1), 0, 'it goes on');
    await lease!.builder.client.call('fail', { params, headers, body: { who: 'farm', code: 'X', message: '', hint: '' } });
    assert.equal(await keepTranscripts(sample.farm, sample.clock.time + 1), 1);
    assert.deepEqual(await sample.farm.database.reads.selectFrom('transcript_chunks').selectAll().execute(), []);
    assert.deepEqual([await read(0), await read(3), await read(12), await read(99)], before);
  }));
