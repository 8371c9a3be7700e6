import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import { ARBITERS } from '@lockstep/protocol/policy/samples';
import { definitionOf, type SampleFarm, sampleFarm, type SampleOptions, signedJson } from '../samples.ts';
import {
  about,
  buildAll,
  built,
  commitmentBody,
  commitWork,
  leaseAll,
  leaseOf,
  revealBody,
  revealWork,
  uploadBytes,
  type Work,
} from './work-samples.ts';

const REQUIRED = { rule: { commitments: 'required' }, limits: { spares: 0 } } as const;

async function withFarm(options: SampleOptions, act: (sample: SampleFarm) => Promise<void>): Promise<void> {
  const sample = await sampleFarm(options);
  try {
    await act(sample);
  } finally {
    await sample.close();
  }
}

async function jobOf(sample: SampleFarm, job: string) {
  const row = await sample.farm.database.reads.selectFrom('jobs').selectAll().where('job', '=', job).executeTakeFirstOrThrow();
  return row;
}

/** Two builders with work under way on the same job. */
async function twoAtWork(sample: SampleFarm): Promise<{ job: string; first: Work; second: Work }> {
  const definition = definitionOf();
  const job = await sample.submit(definition);
  await sample.settle();
  const [a, b] = await leaseAll(sample);
  return { job, first: built(a!.builder, a!.lease, definition), second: built(b!.builder, b!.lease, definition) };
}

describe('a round with commitments', () => {
  test('goes from commitments to reveals to a decision whose outputs can be read', () =>
    withFarm(REQUIRED, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      const works = await buildAll(sample, definition);
      assert.equal(works.length, 2);
      const reader = sample.client(await sample.token('reader', 'observer'));
      const view = await reader.call('job', { params: { job } });
      assert.equal(view.state, 'decided');
      assert.equal(view.outputs.length, 1);
      assert.equal(sample.log.entries[view.outcomeIndex!]?.payloadType, 'application/vnd.lockstep.outcome+json');
      const answer = await reader.call('output', { params: { job: job.slice(0, 12), sha256: view.outputs[0]!.sha256 } });
      assert.equal(await answer.text(), 'good');
      // In the log: the opening, both commitments, a closing, then what was revealed.
      const nouns = sample.log.entries.map((one) => /([a-z-]+)\+json$/.exec(one.payloadType)?.[1]);
      assert.deepEqual(nouns.slice(0, 3), ['opening', 'commitment', 'commitment']);
      assert.ok(nouns.lastIndexOf('commitment') < nouns.indexOf('reveal'));
      const { waitsFor } = await sample.client(await sample.token('again', 'operator')).call('why', { params: { job } });
      assert.deepEqual([waitsFor.length, /UNSIGNED until then/.test(waitsFor[0] ?? '')], [1, true], 'decided, and no release yet');
      assert.equal((await jobOf(sample, job)).flaky, 0);
    }));

  test('a decided definition is answered at once, without another round', () =>
    withFarm(REQUIRED, async (sample) => {
      const definition = definitionOf();
      await sample.submit(definition);
      await buildAll(sample, definition);
      const before = sample.log.entries.length;
      const token = await sample.token('later', 'submitter');
      const { definitionToJson } = await import('@lockstep/protocol/definition/definition');
      const told = await sample.client(token).call('submit', { body: { definition: definitionToJson(definition) as never } });
      assert.deepEqual([told.state, told.cached], ['decided', true]);
      await sample.settle();
      assert.equal(sample.log.entries.length, before);
    }));

  test('nothing is revealed before everybody has committed', () =>
    withFarm(REQUIRED, async (sample) => {
      const { first, second } = await twoAtWork(sample);
      await assert.rejects(revealWork(first), { code: 'ROUND_REFUSED', status: 409 });
      await commitWork(first);
      await sample.settle();
      await assert.rejects(revealWork(first), { code: 'ROUND_REFUSED' });
      await commitWork(second);
      // Accepted, and not in the log yet: still too early.
      await assert.rejects(revealWork(first), { code: 'ROUND_REFUSED' });
      await sample.settle();
      assert.equal((await revealWork(first)).length, 1);
    }));

  test('a commitment is taken once: the same again is the same, another is refused', () =>
    withFarm(REQUIRED, async (sample) => {
      const { first } = await twoAtWork(sample);
      const body = commitmentBody(first);
      const call = about(first.lease);
      await first.builder.client.call('commit', { ...call, body });
      await first.builder.client.call('commit', { ...call, body });
      // The same words under another signature are the same commitment.
      await first.builder.client.call('commit', { ...call, body: commitmentBody(first) });
      await assert.rejects(first.builder.client.call('commit', { ...call, body: commitmentBody(first, { commitment: '0'.repeat(64) }) }), {
        code: 'ROUND_REFUSED',
      });
      await sample.settle();
      assert.equal(sample.log.entries.filter((one) => one.payloadType.includes('commitment')).length, 1);
    }));

  test('who copies another’s commitment cannot open it, with any salt', () =>
    withFarm(REQUIRED, async (sample) => {
      const { job, first, second } = await twoAtWork(sample);
      const copied = commitmentBody(first);
      const { commitment } = JSON.parse(Buffer.from(copied.payload, 'base64').toString()) as { commitment: string };
      await commitWork(first);
      // Signed by the copier, with the other's value; and not even the other's own document.
      await assert.rejects(second.builder.client.call('commit', { ...about(second.lease), body: copied }), { code: 'ROUND_REFUSED' });
      await second.builder.client.call('commit', { ...about(second.lease), body: commitmentBody(second, { commitment }) });
      await sample.settle();
      await revealWork(first);
      for (const [salt, statement] of [
        [first.salt, first.digest],
        [first.salt, second.digest],
        [second.salt, second.digest],
      ] as const)
        await assert.rejects(
          second.builder.client.call('reveal', {
            ...about(second.lease),
            body: { reveal: revealBody(second, { salt, statement }), statement: second.statement },
          }),
          { code: 'ROUND_REFUSED' },
        );
      // Another's statement is signed by another's key.
      await assert.rejects(
        second.builder.client.call('reveal', { ...about(second.lease), body: { reveal: revealBody(second), statement: first.statement } }),
        { code: 'ROUND_REFUSED' },
      );
      // The round ends without the copier, and another one is tried.
      sample.clock.time += 601_000;
      await sample.settle();
      const row = await jobOf(sample, job);
      assert.deepEqual([row.state, row.failures, row.ready], ['queued', 1, 0]);
    }));

  test('a changed mind, another salt and a missing reveal do not open a commitment', () =>
    withFarm(REQUIRED, async (sample) => {
      const { first, second } = await twoAtWork(sample);
      await commitWork(first);
      await commitWork(second);
      await sample.settle();
      const call = about(first.lease);
      const changed = built(first.builder, first.lease, definitionOf(), 'something else');
      const { client } = first.builder;
      for (const body of [
        { reveal: revealBody(changed), statement: changed.statement },
        { reveal: revealBody(first, { salt: '0'.repeat(64) }), statement: first.statement },
        { reveal: null, statement: first.statement },
        { reveal: commitmentBody(first), statement: first.statement },
      ])
        await assert.rejects(client.call('reveal', { ...call, body }), { code: 'ROUND_REFUSED' });
      assert.equal((await revealWork(first)).length, 1);
      // Said again it is the same; said otherwise it is refused.
      assert.equal((await revealWork(first)).length, 1);
      await assert.rejects(client.call('reveal', { ...call, body: { reveal: revealBody(changed), statement: changed.statement } }), {
        code: 'ROUND_REFUSED',
      });
    }));

  test('a statement of another definition, by another key, or of nothing is refused', () =>
    withFarm(REQUIRED, async (sample) => {
      const { first, second } = await twoAtWork(sample);
      await commitWork(first);
      await commitWork(second);
      await sample.settle();
      const { client } = first.builder;
      const other = built(first.builder, first.lease, definitionOf({ version: '2.0' }));
      const foreign = built({ ...first.builder, signer: 200 }, first.lease, definitionOf());
      const tell = (statement: Work['statement'], reveal = revealBody(first)) =>
        client.call('reveal', { ...about(first.lease), body: { reveal, statement } });
      await assert.rejects(tell(other.statement), { code: 'ROUND_REFUSED' });
      await assert.rejects(tell(foreign.statement), { code: 'ROUND_REFUSED' });
      await assert.rejects(tell(commitmentBody(first)), { code: 'STATEMENT_INVALID', status: 400 });
      await assert.rejects(tell({ ...first.statement, signature: second.statement.signature }), { code: 'ENVELOPE_INVALID', status: 400 });
      await assert.rejects(tell({ ...first.statement, key: Buffer.alloc(91).toString('base64') }), { code: 'KEY_INVALID', status: 400 });
    }));

  test('a commitment to another round, job or opening is refused', () =>
    withFarm(REQUIRED, async (sample) => {
      const { first } = await twoAtWork(sample);
      const { client } = first.builder;
      for (const change of [{ round: 2 }, { job: 'a'.repeat(64) }, { opening: 'b'.repeat(64) }])
        await assert.rejects(
          client.call('commit', { ...about(first.lease), body: commitmentBody({ ...first, lease: { ...first.lease, ...change } }) }),
          { code: 'ROUND_REFUSED' },
        );
      await assert.rejects(client.call('commit', { ...about(first.lease), body: commitmentBody(first, { signer: 200 }) }), {
        code: 'ROUND_REFUSED',
      });
      await assert.rejects(client.call('commit', { ...about(first.lease), body: first.statement }), { code: 'ROUND_REFUSED' });
    }));

  test('after the time for commitments a late one is refused, and its lease is over', () =>
    withFarm({ ...REQUIRED, limits: { ...REQUIRED.limits, leaseSeconds: 100_000, aliveSeconds: 100_000 } }, async (sample) => {
      const { job, first, second } = await twoAtWork(sample);
      await commitWork(first);
      sample.clock.time += (600 + 1800) * 1000 + 1;
      await sample.settle();
      const row = await jobOf(sample, job);
      assert.deepEqual([row.state, row.failures], ['queued', 1]);
      await assert.rejects(commitWork(second), { code: 'LEASE_STALE', status: 409 });
      await assert.rejects(revealWork(first), { code: 'LEASE_STALE' });
    }));

  test('who commits and does not reveal is waited for, then another round is tried', () =>
    withFarm(REQUIRED, async (sample) => {
      const { job, first, second } = await twoAtWork(sample);
      await commitWork(first);
      await commitWork(second);
      await sample.settle();
      await revealWork(first);
      await sample.settle();
      assert.equal((await jobOf(sample, job)).state, 'revealing');
      const duties = await second.builder.client.call('lease', { body: { free: 0, waitSeconds: 0, holds: [second.lease.attempt, 999] } });
      assert.deepEqual(
        duties.duties.map((one) => [one.attempt, one.wants]),
        [
          [second.lease.attempt, 'reveal'],
          [999, 'drop'],
        ],
      );
      sample.clock.time += 601_000;
      await sample.settle();
      assert.equal((await jobOf(sample, job)).state, 'queued');
      await assert.rejects(revealWork(second), { code: 'LEASE_STALE' });
    }));
});

describe('builders that disagree', () => {
  async function disputed(sample: SampleFarm): Promise<{ job: string; works: Work[]; dispute: string; groups: readonly string[] }> {
    const definition = definitionOf();
    const job = await sample.submit(definition);
    const works = await buildAll(sample, definition, (at) => (at === 0 ? 'bad' : 'good'));
    const row = await jobOf(sample, job);
    assert.equal(row.state, 'disputed');
    const decision = JSON.parse(row.decision!) as { dispute: string; groups: { digest: string }[] };
    return { job, works, dispute: decision.dispute, groups: decision.groups.map((one) => one.digest) };
  }
  const resolution = (arbiter: number, job: string, dispute: string, accept: string | null) =>
    signedJson(arbiter, RESOLUTION, { schema: 'lockstep-resolution/v1', build_id: job, dispute, accept, reason: 'looked at both of them' });

  test('hold the job until a threshold of arbiters has said which result counts', () =>
    withFarm({ ...REQUIRED, rule: { ...REQUIRED.rule, quorum: 1 }, builders: 2 }, async (sample) => {
      // One is enough for this rule, so that a dissenter in a second round can lose by resolution.
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await buildAll(sample, definition, () => 'good');
      assert.equal((await jobOf(sample, job)).state, 'decided');
    }));

  test('are resolved through POST /v1/documents by two arbiters, not by one, nor by strangers', () =>
    withFarm({ rule: { quorum: 2, commitments: 'none' }, builders: 3, limits: { spares: 0 } }, async (sample) => {
      const operator = sample.client(await sample.token('operator', 'operator'));
      const { job, dispute, groups } = await disputed(sample);
      const say = (arbiter: number, accept: string | null) =>
        operator.call('submitDocument', { body: resolution(arbiter, job, dispute, accept) });
      await assert.rejects(say(200, groups[0]!), { code: 'DOCUMENT_INVALID' });
      assert.equal((await say(ARBITERS[0], null)).job, job);
      await sample.settle();
      assert.equal((await jobOf(sample, job)).state, 'disputed');
      await say(ARBITERS[1], null);
      await sample.settle();
      const row = await jobOf(sample, job);
      assert.equal(row.state, 'failed');
      assert.match(row.reason, /rejected/);
    }));

  test('a result that arbiters accept is decided when enough builders have it', () =>
    withFarm({ rule: { quorum: 1, commitments: 'none' }, builders: 2 }, async (sample) => {
      const { job, dispute, accept } = await dissentOfSpare(sample);
      const operator = sample.client(await sample.token('operator', 'operator'));
      for (const arbiter of ARBITERS.slice(0, 2))
        await operator.call('submitDocument', { body: resolution(arbiter, job, dispute, accept) });
      await sample.settle();
      const row = await jobOf(sample, job);
      assert.deepEqual([row.state, /resolved/.test(row.reason)], ['decided', true]);
    }));

  /** Both builders of a k=1 rule have a statement in the log, and they differ; both outputs are in the storage. */
  async function dissentOfSpare(sample: SampleFarm): Promise<{ job: string; dispute: string; accept: string }> {
    const definition = definitionOf();
    const job = await sample.submit(definition);
    await sample.settle();
    await sample.farm.database.write((tx) => tx.updateTable('jobs').set({ quorum: 2 }).where('job', '=', job).execute());
    const works = (await leaseAll(sample)).map(({ builder, lease }, at) => built(builder, lease, definition, `result ${at}`));
    assert.equal(works.length, 2);
    for (const work of works) {
      await revealWork(work);
      for (const bytes of work.outputs) await uploadBytes(work, bytes);
    }
    await sample.settle();
    const row = await jobOf(sample, job);
    assert.equal(row.state, 'disputed');
    const decision = JSON.parse(row.decision!) as { dispute: string; groups: { digest: string }[] };
    return { job, dispute: decision.dispute, accept: decision.groups[0]!.digest };
  }

  test('a resolved job whose accepted bytes nobody uploads does not stay disputed for ever', () =>
    withFarm({ rule: { quorum: 1, commitments: 'none' }, builders: 2 }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await sample.settle();
      await sample.farm.database.write((tx) => tx.updateTable('jobs').set({ quorum: 2 }).where('job', '=', job).execute());
      for (const [at, { builder, lease }] of (await leaseAll(sample)).entries())
        await revealWork(built(builder, lease, definition, `result ${at}`));
      await sample.settle();
      const decision = JSON.parse((await jobOf(sample, job)).decision!) as { dispute: string; groups: { digest: string }[] };
      const operator = sample.client(await sample.token('operator', 'operator'));
      for (const arbiter of ARBITERS.slice(0, 2))
        await operator.call('submitDocument', { body: resolution(arbiter, job, decision.dispute, decision.groups[0]!.digest) });
      await sample.settle();
      const { waitsFor } = await operator.call('why', { params: { job } });
      assert.ok(
        waitsFor.some((one) => /upload/.test(one)),
        `it waits for an upload, and says ${waitsFor.join('; ')}`,
      );
      sample.clock.time += 24 * 3_600_000;
      await sample.settle();
      assert.notEqual((await jobOf(sample, job)).state, 'disputed');
    }));
});

describe('a rule without commitments', () => {
  test('k = 1 takes one statement and asks nobody else', () =>
    withFarm({ rule: { quorum: 1 } }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      const works = await buildAll(sample, definition);
      assert.deepEqual([works.length, works[0]?.lease.opening, works[0]?.lease.ambient], [1, null, {}]);
      assert.equal((await jobOf(sample, job)).state, 'decided');
    }));

  test('k = 2 decides when the second has said the same', () =>
    withFarm({ rule: { quorum: 2 } }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await sample.settle();
      const [a, b] = await leaseAll(sample);
      await revealWork(built(a!.builder, a!.lease, definition));
      await sample.settle();
      assert.equal((await jobOf(sample, job)).state, 'building');
      const wantedOfSecond = await revealWork(built(b!.builder, b!.lease, definition));
      assert.deepEqual(wantedOfSecond, [], 'the first is sending them');
      await sample.settle();
      assert.match((await jobOf(sample, job)).reason, /waits for the upload of 1 outputs/);
      await uploadBytes(built(a!.builder, a!.lease, definition), Buffer.from('good'));
      await sample.settle();
      assert.equal((await jobOf(sample, job)).state, 'decided');
    }));

  test('bytes that one builder promised and never sent are asked of the other, and else another round is tried', () =>
    withFarm({ rule: { quorum: 2 }, limits: { spares: 0 } }, async (sample) => {
      const definition = definitionOf();
      const job = await sample.submit(definition);
      await sample.settle();
      const [a, b] = await leaseAll(sample);
      await revealWork(built(a!.builder, a!.lease, definition));
      const second = built(b!.builder, b!.lease, definition);
      await revealWork(second);
      await sample.settle();
      sample.clock.time += 16_000;
      const { duties } = await second.builder.client.call('lease', { body: { free: 0, waitSeconds: 0, holds: [second.lease.attempt] } });
      assert.deepEqual(
        duties.map((one) => [one.wants, one.digests.length]),
        [['upload', 1]],
      );
      sample.clock.time += 601_000;
      await sample.settle();
      const row = await jobOf(sample, job);
      assert.deepEqual([row.state, row.decision], ['queued', null]);
      await assert.rejects(leaseOf(a!.builder), TypeError, 'it backs off');
    }));
});
