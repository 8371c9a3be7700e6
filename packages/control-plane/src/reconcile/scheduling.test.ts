import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import { ARBITERS } from '@lockstep/protocol/policy/samples';
import { CAPABLE, definitionOf, type SampleFarm, sampleFarm, type SampleOptions, signedJson } from '../samples.ts';
import { about, buildAll, built, leaseAll, leaseOf, revealWork } from '../rounds/work-samples.ts';
import { dispatch } from './dispatch.ts';
import { openQueue } from './fair-share.ts';

async function withFarm(options: SampleOptions, act: (sample: SampleFarm) => Promise<void>): Promise<void> {
  const sample = await sampleFarm(options);
  try {
    await act(sample);
  } finally {
    await sample.close();
  }
}

const versions = (count: number, name: string, letter = '', memory = 512) =>
  Array.from({ length: count }, (_, at) => definitionOf({ version: `${letter}${at}`, name, memory }));
const jobRow = (sample: SampleFarm, job: string) =>
  sample.farm.database.reads.selectFrom('jobs').selectAll().where('job', '=', job).executeTakeFirstOrThrow();
const next = async (sample: SampleFarm, count: number): Promise<string[]> =>
  sample.farm.database.write(async (tx) => {
    const queue = await openQueue(sample.farm, tx, count);
    const jobs = [];
    while (jobs.length < count) {
      const job = queue.next();
      if (job === null) break;
      queue.charge(job);
      jobs.push(job);
      await tx.updateTable('jobs').set({ state: 'building' }).where('job', '=', job.job).execute();
    }
    await queue.keep();
    return jobs.map((one) => `${one.submitter} ${one.version}`);
  });

describe('who is next', () => {
  test('submitters take turns, whoever submitted more or first; each one’s oldest first', () =>
    withFarm({ builders: 0 }, async (sample) => {
      await sample.enqueue(versions(6, 'a', 'a'), 'many');
      await sample.enqueue(versions(2, 'b', 'b'), 'few');
      const order = [...(await next(sample, 3)), ...(await next(sample, 3)), ...(await next(sample, 9))];
      assert.deepEqual(
        order.filter((one) => one.startsWith('many')),
        [0, 1, 2, 3, 4, 5].map((at) => `many a${at}`),
      );
      assert.deepEqual(
        order.filter((one) => one.startsWith('few')),
        ['few b0', 'few b1'],
      );
      assert.ok(order.indexOf('few b1') <= 3, order.join());
    }));

  test('the more urgent goes first; a share of three gets three times as much', () =>
    withFarm({ builders: 0 }, async (sample) => {
      await sample.enqueue(versions(12, 'large'), 'large');
      await sample.enqueue(versions(12, 'small'), 'small');
      await sample.farm.database.write((tx) => tx.updateTable('shares').set({ share: 3 }).where('submitter', '=', 'large').execute());
      await sample.enqueue([definitionOf({ version: 'urgent', name: 'small' })], 'small', 5);
      await sample.enqueue([definitionOf({ version: 'whenever', name: 'large' })], 'large', -5);
      const order = await next(sample, 13);
      assert.equal(order[0], 'small urgent');
      const large = order.slice(1).filter((one) => one.startsWith('large')).length;
      assert.ok(large >= 8 && large <= 10, `${large} of 12`);
      const rest = await next(sample, 99);
      assert.equal(rest.at(-1), 'large whenever');
    }));

  test('who was away gets no credit for it', () =>
    withFarm({ builders: 0 }, async (sample) => {
      await sample.enqueue(versions(60, 'old'), 'old');
      for (let round = 0; round < 5; round++) await next(sample, 10);
      await sample.enqueue(versions(10, 'new'), 'newcomer');
      const order = await next(sample, 8);
      const newcomers = order.filter((one) => one.startsWith('newcomer')).length;
      assert.ok(newcomers >= 3 && newcomers <= 5, order.join());
    }));

  test('the same definition again is the same job, as urgent as the most urgent who asks', () =>
    withFarm({ builders: 0 }, async (sample) => {
      const [older, newer] = [definitionOf({ version: '9' }), definitionOf({ version: '8' })];
      const [job] = await sample.enqueue([older], 'a');
      await sample.enqueue([newer], 'a', 1);
      // Only an operator puts something before what others wait for.
      await assert.rejects(sample.submit(older, 'b', 2), { code: 'SUBMISSION_REFUSED', status: 403 });
      const operator = sample.client(await sample.token('op', 'operator'));
      const { definitionToJson } = await import('@lockstep/protocol/definition/definition');
      const told = await operator.call('submit', { body: { definition: definitionToJson(older) as never, priority: 2 } });
      assert.equal(told.job, job);
      assert.equal(await sample.submit(older, 'b', -9), job);
      assert.deepEqual(await next(sample, 2), ['a 9', 'a 8']);
    }));

  test('a submitter whose jobs nobody can build is not charged for them', () =>
    withFarm({ builders: 3 }, async (sample) => {
      await sample.submit(definitionOf({ name: 'huge', memory: 2 << 20 }), 'unlucky');
      for (let at = 0; at < 20; at++) {
        await dispatch(sample.farm);
        sample.clock.time += 5001;
      }
      const row = await sample.farm.database.reads
        .selectFrom('shares')
        .select('used')
        .where('submitter', '=', 'unlucky')
        .executeTakeFirst();
      assert.ok((row?.used ?? 0) <= 1, `charged ${row?.used} times for nothing`);
    }));

  test('jobs that nobody can build do not keep others from being built, however many and urgent they are', () =>
    withFarm({ builders: 3, limits: { aliveSeconds: 100_000 } }, async (sample) => {
      for (const { client } of sample.builders) await client.call('announce', { body: { ...CAPABLE, slots: 1 } });
      await sample.enqueue(versions(60, 'huge', '', 2 << 20), 'someone', 1);
      const [job = ''] = await sample.enqueue([definitionOf()], 'someone else');
      for (let sweep = 0; sweep < 60 && (await jobRow(sample, job)).state === 'queued'; sweep++) {
        await sample.settle();
        sample.clock.time += 2000;
      }
      assert.equal((await jobRow(sample, job)).state, 'building', 'two minutes, and the builders had nothing to do');
    }));
});

describe('what fails', () => {
  const FAILED = { who: 'build', code: 'BUILD_FAILED', message: 'make: *** [all] Error 2', hint: '' } as const;
  const fail = async (
    sample: SampleFarm,
    body: { who: 'build' | 'farm'; code: string; message: string; hint: string },
  ): Promise<number> => {
    const all = await leaseAll(sample);
    for (const { builder, lease } of all) await builder.client.call('fail', { ...about(lease), body });
    await sample.settle();
    return all.length;
  };

  test('a build that fails at two builders and works at none has failed: nobody tries again', () =>
    withFarm({ builders: 3 }, async (sample) => {
      const job = await sample.submit(definitionOf());
      await sample.settle();
      for (let at = 0; at < 3; at++) await fail(sample, FAILED);
      const row = await jobRow(sample, job);
      assert.deepEqual([row.state, row.failures], ['failed', 1]);
      assert.match(row.reason, /the build failed: make/);
    }));

  test('builders that fail by themselves are asked again, later and later, in so many rounds; history is kept', () =>
    withFarm({ builders: 2, limits: { rounds: 3, backoffSeconds: 5, aliveSeconds: 1e9, leaseSeconds: 1e6 } }, async (sample) => {
      const job = await sample.submit(definitionOf());
      const pauses: number[] = [];
      for (let round = 1; round <= 3; round++) {
        await sample.settle();
        assert.equal((await jobRow(sample, job)).round, round);
        await fail(sample, { ...FAILED, who: 'farm', message: 'the disk is full' });
        // Until the round's time is over they are asked again, each after its pause.
        sample.clock.time += 2_400_001;
        await sample.settle();
        const row = await jobRow(sample, job);
        if (round < 3) {
          assert.deepEqual([row.state, row.ready], ['queued', 0]);
          pauses.push(row.not_before - sample.clock.time);
          sample.clock.time = row.not_before;
        }
      }
      assert.deepEqual(pauses, [5000, 10_000]);
      const row = await jobRow(sample, job);
      assert.equal(row.state, 'failed');
      const view = await sample.client(await sample.token('r', 'observer')).call('job', { params: { job } });
      assert.equal(view.attempts.length, 6);
      assert.ok(view.attempts.every((one) => one.failure?.message === 'the disk is full'));
      const retried = await sample.client(await sample.token('op', 'operator')).call('retryJob', { params: { job } });
      assert.equal(retried.state, 'queued');
      await sample.settle();
      assert.deepEqual([(await jobRow(sample, job)).state, (await jobRow(sample, job)).failures], ['building', 0]);
    }));

  test('a build that waits its turn and then keeps its own time limit is not taken away', () =>
    withFarm({ builders: 2, limits: { leaseSeconds: 1e6, aliveSeconds: 1e9, prepareSeconds: 60 } }, async (sample) => {
      for (const { client } of sample.builders) await client.call('announce', { body: { ...CAPABLE, slots: 1 } });
      await sample.submit(definitionOf({ version: '1', timeout: 600 }));
      const second = await sample.submit(definitionOf({ version: '2', timeout: 600 }));
      await sample.settle();
      // The only slots are taken for ten minutes; then the second has its own ten.
      for (const builder of sample.builders) await leaseOf(builder);
      sample.clock.time += 590_000;
      for (const builder of sample.builders) await leaseOf(builder);
      sample.clock.time += 300_000;
      await sample.settle();
      const row = await jobRow(sample, second);
      assert.deepEqual([row.state, row.failures], ['building', 0]);
    }));

  test('a full queue is answered with 503 and Retry-After; what is known is let in', () =>
    withFarm({ builders: 0, limits: { queue: 2 } }, async (sample) => {
      await sample.submit(definitionOf({ version: '1' }));
      const job = await sample.submit(definitionOf({ version: '2' }));
      await assert.rejects(sample.submit(definitionOf({ version: '3' })), { code: 'QUEUE_FULL', status: 503, retryAfter: 30 });
      assert.equal(await sample.submit(definitionOf({ version: '2' })), job);
    }));

  test('cancel and retry: one’s own, an operator everything, others’ nothing, in the right states only', () =>
    withFarm({ builders: 2 }, async (sample) => {
      const [mine, shared] = [definitionOf({ version: '1' }), definitionOf({ version: '2' })];
      const me = sample.client(await sample.token('me', 'submitter'));
      const { definitionToJson } = await import('@lockstep/protocol/definition/definition');
      const job = (await me.call('submit', { body: { definition: definitionToJson(mine) as never } })).job;
      const both = (await me.call('submit', { body: { definition: definitionToJson(shared) as never } })).job;
      await sample.submit(shared, 'another');
      const other = sample.client(await sample.token('other', 'submitter'));
      const operator = sample.client(await sample.token('op', 'operator'));
      await assert.rejects(other.call('cancelJob', { params: { job } }), { code: 'FORBIDDEN', status: 403 });
      await assert.rejects(me.call('cancelJob', { params: { job: both } }), { code: 'FORBIDDEN' }, 'another one wants it too');
      await assert.rejects(me.call('retryJob', { params: { job } }), { code: 'JOB_STATE', status: 409 });
      assert.equal((await me.call('cancelJob', { params: { job } })).state, 'cancelled');
      assert.equal((await me.call('cancelJob', { params: { job } })).state, 'cancelled');
      assert.equal((await me.call('retryJob', { params: { job } })).state, 'queued');
      await operator.call('cancelJob', { params: { job: both } });
      // Whoever submits it again wants it after all.
      assert.equal(await sample.submit(shared, 'another'), both);
      assert.equal((await jobRow(sample, both)).state, 'queued');
      await operator.call('cancelJob', { params: { job: both } });
      await buildAll(sample, mine);
      assert.equal((await jobRow(sample, job)).state, 'decided');
      await assert.rejects(me.call('cancelJob', { params: { job } }), { code: 'JOB_STATE' });
      await assert.rejects(me.call('retryJob', { params: { job } }), { code: 'JOB_STATE' });
    }));
});

describe('what a job waits for', () => {
  const why = async (sample: SampleFarm, job: string): Promise<string> => {
    const reader = sample.client(await sample.token(`reader ${Math.random()}`.replaceAll(/[ .]/g, ''), 'observer'));
    const told = await reader.call('why', { params: { job } });
    assert.ok(told.waitsFor.length > 0 && told.waitsFor.every((one) => one.length > 3), `${told.state}: nothing`);
    return `${told.state}: ${told.waitsFor.join('; ')}`;
  };

  test('every job that has not ended can say it', () =>
    withFarm({ builders: 3, rule: { commitments: 'required' }, limits: { spares: 0, aliveSeconds: 100_000 } }, async (sample) => {
      const huge = await sample.submit(definitionOf({ name: 'huge', memory: 2 << 20 }));
      assert.match(await why(sample, huge), /queued: 2 builders.*0 of 3.*MiB of memory/);
      const definition = definitionOf();
      const job = await sample.submit(definition);
      assert.match(await why(sample, job), /queued: 1 jobs that are more urgent or older/);
      await sample.settle();
      assert.match(await why(sample, huge), /queued: not before .*; 2 builders/);
      assert.match(await why(sample, job), /building: b\d to lease it/);
      const works = (await leaseAll(sample)).map((one, at) => built(one.builder, one.lease, definition, `result ${at}`));
      assert.match(await why(sample, job), /building: b\d, which builds it \(attempt \d\)/);
      const { commitWork } = await import('../rounds/work-samples.ts');
      sample.log.failure = new Error('the witnesses are away');
      await commitWork(works[0]!);
      assert.match(await why(sample, job), /the others: b\d has committed; .*the log: 2 documents|the log: \d documents/);
      sample.log.failure = null;
      await commitWork(works[1]!);
      await sample.settle();
      assert.match(await why(sample, job), /revealing: b\d to reveal what it has committed to/);
      await revealWork(works[0]!);
      assert.match(await why(sample, job), /upload 1 files/);
      await revealWork(works[1]!);
      await sample.settle();
      assert.match(await why(sample, job), /disputed: .*2 of the arbiters x, y, z/);
    }));

  test('a job in back-off, without a rule, or without anybody says so', () =>
    withFarm({ builders: 2, limits: { aliveSeconds: 1e9, leaseSeconds: 1e9 } }, async (sample) => {
      const job = await sample.submit(definitionOf());
      await sample.settle();
      const body = { who: 'farm', code: 'HOST_CANNOT', message: 'the disk is full', hint: '' } as const;
      for (const { builder, lease } of await leaseAll(sample)) await builder.client.call('fail', { ...about(lease), body });
      sample.clock.time += 3_000_000;
      await sample.settle();
      assert.match(await why(sample, job), /queued: 1 rounds came to nothing: .*; not before/);
      const { samplePolicy, sampleRule, sampleBuilder } = await import('@lockstep/protocol/policy/samples');
      const builders = [0, 1].map((at) => sampleBuilder(`b${at}`, 100 + at));
      sample.policy = samplePolicy({ builders, rules: [sampleRule({ packages: 'other' })] });
      assert.match(await why(sample, job), /a rule of the policy/);
      await sample.settle();
      sample.policy = samplePolicy({ rules: [sampleRule()] });
      assert.match(await why(sample, job), /0 of 0 that are here/);
    }));

  test('with a policy that has expired it is told too, and so is the farm’s status', () =>
    withFarm({ builders: 2 }, async (sample) => {
      const job = await sample.submit(definitionOf());
      const { LockstepError } = await import('@lockstep/protocol/error/lockstep-error');
      const operator = sample.client(await sample.token('op', 'operator'));
      Object.defineProperty(sample, 'policy', {
        get() {
          throw new LockstepError('POLICY_UNTRUSTED', 'it expired', '');
        },
      });
      assert.match(await why(sample, job), /policy/);
      assert.match((await operator.call('status')).problems.join(), /expired/);
    }));
});

test('a retry of what arbiters rejected is another round, decided by its own facts', async () => {
  const sample = await sampleFarm({ builders: 2, limits: { aliveSeconds: 1e9 } });
  const definition = definitionOf();
  const job = await sample.submit(definition);
  await buildAll(sample, definition, (at) => `result ${at}`);
  const { dispute } = JSON.parse((await jobRow(sample, job)).decision!) as { dispute: string };
  const operator = sample.client(await sample.token('op', 'operator'));
  for (const arbiter of ARBITERS.slice(0, 2))
    await operator.call('submitDocument', {
      body: signedJson(arbiter, RESOLUTION, {
        schema: 'lockstep-resolution/v1',
        build_id: job,
        dispute,
        accept: null,
        reason: 'neither of them',
      }),
    });
  await sample.settle();
  assert.equal((await jobRow(sample, job)).state, 'failed');
  await operator.call('retryJob', { params: { job } });
  assert.equal((await operator.call('job', { params: { job } })).state, 'queued');
  await sample.settle();
  assert.equal((await jobRow(sample, job)).state, 'building');
  await sample.close();
});
