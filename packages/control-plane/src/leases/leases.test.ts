import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { definitionOf, fakeLog, type SampleFarm, sampleFarm, type SampleOptions } from '../samples.ts';
import { startReconciler } from '../reconcile/reconciler.ts';
import {
  about,
  built,
  commitmentBody,
  commitWork,
  leaseAll,
  leaseOf,
  revealWork,
  sha256Of,
  uploadBytes,
  type Work,
} from '../rounds/work-samples.ts';

const STALE = { code: 'LEASE_STALE', status: 409 };
const FAILURE = { who: 'farm', code: 'X', message: 'the disk is full', hint: '' } as const;

async function withFarm(options: SampleOptions, act: (sample: SampleFarm) => Promise<void>): Promise<void> {
  const sample = await sampleFarm(options);
  try {
    await act(sample);
  } finally {
    await sample.close();
  }
}

const attemptsOf = (sample: SampleFarm, job: string) =>
  sample.farm.database.reads.selectFrom('attempts').selectAll().where('job', '=', job).orderBy('attempt').execute();

describe('a lease', () => {
  test('is bound to token, attempt, name and key of the connection: one answer for every fault', () =>
    withFarm({}, async (sample) => {
      await sample.submit(definitionOf());
      await sample.settle();
      const [a, b] = await leaseAll(sample);
      const own = about(a!.lease);
      const tell = (client: typeof a extends undefined ? never : NonNullable<typeof a>['builder']['client'], call: typeof own) =>
        client.call('heartbeat', call);
      assert.ok((await tell(a!.builder.client, own)).expiresAt > sample.clock.time);
      const messages = new Set<string>();
      for (const [client, call] of [
        [b!.builder.client, own],
        [b!.builder.client, { ...about(b!.lease), params: own.params }],
        [a!.builder.client, { ...own, headers: { 'lockstep-lease': b!.lease.token } }],
        [a!.builder.client, { ...own, headers: { 'lockstep-lease': '' } }],
        [a!.builder.client, { ...own, headers: { 'lockstep-lease': `${a!.lease.token}x` } }],
        [a!.builder.client, { ...own, params: { attempt: '999' } }],
      ] as const)
        await assert.rejects(tell(client, call), (error: Error & { code: string }) => {
          messages.add(error.message.replace(/\d+/, 'N'));
          return error.code === 'LEASE_STALE';
        });
      assert.equal(messages.size, 1);
      // Joined anew with another key under the same name: what the old key leased is not its own.
      await sample.farm.database.write((tx) =>
        tx
          .updateTable('builders')
          .set({ transport_key: 'f'.repeat(64) })
          .where('name', '=', a!.builder.name)
          .execute(),
      );
      await assert.rejects(tell(a!.builder.client, own), { code: 'UNAUTHENTICATED' });
      await sample.farm.database.write((tx) =>
        tx
          .updateTable('attempts')
          .set({ transport_key: 'e'.repeat(64) })
          .where('attempt', '=', b!.lease.attempt)
          .execute(),
      );
      await assert.rejects(tell(b!.builder.client, about(b!.lease)), STALE);
    }));

  test('lives by heartbeats, ends without, and goes to a spare; everything stale is refused', () =>
    withFarm({ rule: { quorum: 1 }, builders: 2, limits: { leaseSeconds: 30, spares: 1, aliveSeconds: 10_000 } }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await sample.settle();
      const [first] = await leaseAll(sample);
      const call = about(first!.lease);
      const { client } = first!.builder;
      for (let beat = 0; beat < 5; beat++) {
        sample.clock.time += 20_000;
        await client.call('heartbeat', call);
        await sample.settle();
      }
      assert.equal((await attemptsOf(sample, job))[0]?.state, 'leased');
      await client.call('appendTranscript', { params: { ...call.params, offset: 0 }, headers: call.headers, body: Buffer.from('hello') });
      sample.clock.time += 30_001;
      await sample.settle();
      const spare = sample.builders.find((one) => one !== first!.builder)!;
      const second = await leaseOf(spare);
      assert.ok(second.attempt > first!.lease.attempt, 'the fencing number rises');
      const late = built(first!.builder, first!.lease, definition);
      await assert.rejects(client.call('heartbeat', call), STALE);
      await assert.rejects(client.call('fail', { ...call, body: FAILURE }), STALE);
      await assert.rejects(revealWork(late), STALE);
      await assert.rejects(client.call('definition', call), STALE);
      await assert.rejects(client.call('input', { ...call, params: { ...call.params, sha256: 'e'.repeat(64) } }), STALE);
      await assert.rejects(
        client.call('appendTranscript', { params: { ...call.params, offset: 5 }, headers: call.headers, body: Buffer.from('x') }),
        STALE,
      );
      await assert.rejects(uploadBytes(late, Buffer.from('good')), STALE);
      await assert.rejects(
        client.call('uploadState', { ...call, params: { ...call.params, sha256: sha256Of(Buffer.from('good')) } }),
        STALE,
      );
      const work = built(spare, second, definition);
      await revealWork(work);
      await uploadBytes(work, Buffer.from('good'));
      await sample.settle();
      const rows = await attemptsOf(sample, job);
      assert.deepEqual(
        rows.map((one) => one.state),
        ['expired', 'revealed'],
      );
      const view = await sample.client(await sample.token('r', 'observer')).call('job', { params: { job } });
      assert.deepEqual([view.state, view.attempts[0]?.failure?.code, view.flaky], ['decided', 'BUILDER_SILENT', false]);
    }));

  test('that has expired is offered to the same builder again after a pause, when nobody else is there', () =>
    withFarm({ rule: { quorum: 2 }, builders: 2, limits: { aliveSeconds: 10_000, backoffSeconds: 5 } }, async (sample) => {
      const definition = definitionOf();
      await sample.submit(definition);
      await sample.settle();
      const [a, b] = await leaseAll(sample);
      sample.clock.time += 20_000;
      await b!.builder.client.call('heartbeat', about(b!.lease));
      sample.clock.time += 10_001;
      await sample.settle();
      await assert.rejects(leaseOf(a!.builder), TypeError);
      await assert.rejects(leaseOf(b!.builder), TypeError, 'it has its own');
      sample.clock.time += 5001;
      const again = await leaseOf(a!.builder);
      assert.equal(again.round, a!.lease.round);
      // What was built for the lost lease can be given for the new one.
      await revealWork({ ...built(a!.builder, a!.lease, definition), lease: again });
    }));

  test('duplicates are answered as the first time', () =>
    withFarm({ rule: { commitments: 'required' } }, async (sample) => {
      const definition = definitionOf();
      await sample.submit(definition);
      await sample.settle();
      const [a, b] = await leaseAll(sample);
      const { client } = a!.builder;
      const call = about(a!.lease);
      const append = (offset: number, text: string) =>
        client.call('appendTranscript', { params: { ...call.params, offset }, headers: call.headers, body: Buffer.from(text) });
      assert.deepEqual(
        [await append(0, 'abc'), await append(0, 'abc'), await append(3, 'def'), await append(3, 'def')],
        [{ next: 3 }, { next: 6 }, { next: 6 }, { next: 6 }].map((one, at) => (at === 1 ? { next: 3 } : one)),
      );
      await assert.rejects(append(7, 'x'), { code: 'REQUEST_INVALID' });
      const one = built(a!.builder, a!.lease, definition);
      const body = commitmentBody(one);
      await Promise.all(Array.from({ length: 10 }, () => client.call('commit', { ...call, body })));
      await commitWork(built(b!.builder, b!.lease, definition));
      await sample.settle();
      const wanted = await Promise.all(Array.from({ length: 10 }, () => revealWork(one)));
      assert.equal(new Set(wanted.map((list) => list.join())).size, 1);
      await uploadBytes(one, Buffer.from('good'));
      await uploadBytes(one, Buffer.from('good'));
      await assert.rejects(client.call('fail', { ...call, body: FAILURE }), STALE, 'it has revealed');
    }));

  test('of a build that failed goes to a spare at once; said again it is the same', () =>
    withFarm({ rule: { quorum: 1 }, builders: 2 }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await sample.settle();
      const [first] = await leaseAll(sample);
      const body = { ...FAILURE, who: 'build' as const, message: 'make: \u001b[31merror\u0000' };
      await first!.builder.client.call('fail', { ...about(first!.lease), body });
      await first!.builder.client.call('fail', { ...about(first!.lease), body });
      await assert.rejects(first!.builder.client.call('heartbeat', about(first!.lease)), STALE);
      await sample.settle();
      const spare = sample.builders.find((one) => one !== first!.builder)!;
      const work = built(spare, await leaseOf(spare), definition);
      await revealWork(work);
      await uploadBytes(work, Buffer.from('good'));
      await sample.settle();
      const view = await sample.client(await sample.token('r', 'observer')).call('job', { params: { job } });
      assert.deepEqual([view.state, view.flaky], ['decided', true], 'it failed here and not there');
      assert.equal(view.attempts[0]?.failure?.message, body.message);
    }));

  test('a job that was cancelled stops its builders at the next heartbeat', () =>
    withFarm({}, async (sample) => {
      const job = await sample.submit(definitionOf(), 'me');
      await sample.settle();
      const [a] = await leaseAll(sample);
      await sample.client(await sample.token('op', 'operator')).call('cancelJob', { params: { job } });
      await assert.rejects(a!.builder.client.call('heartbeat', about(a!.lease)), STALE);
      await sample.settle();
      assert.deepEqual(await leaseAll(sample), []);
      const { duties } = await a!.builder.client.call('lease', { body: { free: 1, waitSeconds: 0, holds: [a!.lease.attempt] } });
      assert.ok(duties.every((one) => one.wants === 'drop'));
    }));

  test('drained and unlisted builders get nothing new', () =>
    withFarm({ rule: { quorum: 2 }, builders: 2 }, async (sample) => {
      await sample.submit(definitionOf());
      await sample.settle();
      const operator = sample.client(await sample.token('op', 'operator'));
      const [a, b] = sample.builders;
      await operator.call('setBuilder', { params: { builder: a!.name }, body: { state: 'draining' } });
      await assert.rejects(leaseOf(a!), TypeError);
      await leaseOf(b!);
      await operator.call('setBuilder', { params: { builder: a!.name }, body: { state: 'active' } });
      await leaseOf(a!);
      const builders = (await operator.call('listBuilders')).builders;
      assert.deepEqual(
        builders.map((one) => [one.listed, one.alive, one.running]),
        [
          [true, true, 1],
          [true, true, 1],
        ],
      );
    }));
});

test('a farm that was away gives builders time to come back before it ends their leases', async () => {
  const clock = { time: 1_770_000_000_000 };
  const log = fakeLog();
  const first = await sampleFarm({ clock, log });
  const folder = first.folder;
  const kept: SampleOptions = { clock, log, folder, limits: { leaseSeconds: 3, aliveSeconds: 10_000 } };
  const definition = definitionOf();
  const job = await first.submit(definition);
  await first.settle();
  const works = (await leaseAll(first)).map(({ builder, lease }) => built(builder, lease, definition));
  await first.farm.database.close();
  clock.time += 1_200_000;
  const again = await sampleFarm(kept);
  const reconciler = startReconciler(again.farm);
  const states = async () => (await attemptsOf(again, job)).map((one) => one.state).toSorted();
  /** Looks at everything, and then some. */
  const sweep = async () => {
    for (let at = 0; at < 5; at++) {
      again.farm.database.notify('jobs');
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  };
  try {
    await sweep();
    assert.deepEqual(await states(), ['leased', 'leased']);
    const builder = again.builders.find((one) => one.name === works[0]!.builder.name)!;
    await revealWork({ ...works[0]!, builder });
    clock.time += 29_000;
    await sweep();
    assert.deepEqual(await states(), ['leased', 'revealed']);
    clock.time += 2000;
    for (let at = 0; at < 50 && (await states()).includes('leased'); at++) await sweep();
    assert.deepEqual(await states(), ['expired', 'revealed']);
  } finally {
    await reconciler.close();
    await again.close();
    (await import('node:fs')).rmSync(folder, { recursive: true, force: true });
  }
});

const RACES = Number(process.env['LOCKSTEP_RACES'] ?? 2000);

test(`of ${RACES} duplicate and late completions exactly one wins`, async () => {
  const sample = await sampleFarm({
    rule: { quorum: 1 },
    builders: 3,
    limits: { leaseSeconds: 30, spares: 2, aliveSeconds: 100_000, rounds: 100 },
  });
  const definition = definitionOf();
  const job = await sample.submit(definition);
  await sample.settle();
  // A chain of leases, each lost to silence but the last: all of them are completed at once, many times.
  const works: Work[] = [];
  for (let round = 0; round < 6; round++) {
    const [one] = await leaseAll(sample);
    works.push(built(one!.builder, one!.lease, definition, `result ${round}`));
    if (round === 5) break;
    sample.clock.time += 36_000;
    await sample.settle();
    sample.clock.time += 6000;
  }
  let accepted = 0;
  const refused = new Map<string, number>();
  const race = async (at: number): Promise<void> => {
    const work = works[at % works.length]!;
    const { client } = work.builder;
    const call = about(work.lease);
    try {
      // Every signature that is checked takes milliseconds: most are cheaper ways to write late.
      if (work !== works.at(-1) && at % 4 !== 0) await client.call('fail', { ...call, body: FAILURE });
      else if (work !== works.at(-1) && at % 8 === 0) await uploadBytes(work, work.outputs[0]!);
      else await client.call('reveal', { ...call, body: { reveal: null, statement: work.statement } });
      accepted++;
      assert.equal(work, works.at(-1), 'only the last lease stands');
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === undefined) throw error;
      refused.set(code, (refused.get(code) ?? 0) + 1);
    }
  };
  for (let at = 0; at < RACES; at += 250) await Promise.all(Array.from({ length: Math.min(250, RACES - at) }, (_, one) => race(at + one)));
  await uploadBytes(works.at(-1)!, works.at(-1)!.outputs[0]!);
  await sample.settle();
  assert.deepEqual([...refused.keys()], ['LEASE_STALE']);
  assert.equal(accepted + (refused.get('LEASE_STALE') ?? 0), RACES);
  assert.ok(accepted >= Math.floor(RACES / works.length) - 1);
  assert.equal(sample.log.entries.filter((one) => one.payloadType === 'application/vnd.in-toto+json').length, 1);
  assert.equal((await attemptsOf(sample, job)).filter((one) => one.state === 'revealed').length, 1);
  const view = await sample.client(await sample.token('r', 'observer')).call('job', { params: { job } });
  assert.deepEqual([view.state, view.outputs[0]?.sha256], ['decided', sha256Of(Buffer.from('result 5'))]);
  await sample.close();
});
