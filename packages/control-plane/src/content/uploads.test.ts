import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MAX_PART_BYTES } from '@lockstep/api/values';
import { definitionToJson } from '@lockstep/protocol/definition/definition';
import { definitionOf, type SampleFarm, sampleFarm } from '../samples.ts';
import { about, built, commitWork, leaseAll, revealWork, sha256Of, uploadBytes, type Work } from '../rounds/work-samples.ts';
import { inputKey, resultKey } from './keys.ts';

const INVALID = { code: 'UPLOAD_INVALID', status: 400 };
const CONTENT = Buffer.from('a root file system, in parts');
const SHA = sha256Of(CONTENT);
const PARTS = [CONTENT.subarray(0, 10), CONTENT.subarray(10, 20), CONTENT.subarray(20)];
const NAMES = PARTS.map(sha256Of);

describe('inputs of submitters', () => {
  let sample: SampleFarm;
  before(async () => {
    sample = await sampleFarm();
  });
  after(() => sample.close());
  const as = async (name: string) => sample.client(await sample.token(name, 'submitter'));
  type Client = Awaited<ReturnType<typeof as>>;
  const put = (client: Client, at: number, sha256 = SHA) =>
    client.call('putInputPart', { params: { sha256, part: NAMES[at]! }, body: PARTS[at]! });
  const finish = (client: Client, size = CONTENT.length, parts = NAMES, sha256 = SHA) =>
    client.call('finishInput', { params: { sha256 }, body: { size, parts } });
  const state = (client: Client, sha256 = SHA) => client.call('inputState', { params: { sha256 } });

  test('an upload goes on where it was interrupted, and can be said again', async () => {
    const a = await as('a');
    assert.deepEqual(await state(a), { present: [], complete: false });
    await put(a, 0);
    await put(a, 2);
    assert.deepEqual((await state(a)).present.toSorted(), [NAMES[0], NAMES[2]].toSorted());
    await assert.rejects(finish(a), INVALID);
    await put(a, 1);
    await put(a, 1);
    await finish(a);
    assert.deepEqual(await state(a), { present: [], complete: true });
    await finish(a);
    assert.equal(Buffer.from((await sample.farm.objects.get(inputKey(SHA), 1000))!).toString(), CONTENT.toString());
  });

  test('another submitter sees nothing of it and cannot use it by its digest', async () => {
    const b = await as('b');
    assert.deepEqual(await state(b), { present: [], complete: false });
    const body = { definition: definitionToJson(definitionOf({ carried: CONTENT })) as never };
    await assert.rejects(b.call('submit', { body }), { code: 'INPUT_MISSING', status: 409 });
    await assert.rejects(finish(b), INVALID, 'the parts are another’s');
    await assert.rejects(b.call('submit', { body }), { code: 'INPUT_MISSING' });
    // Whoever has the bytes may show it.
    for (const at of [0, 1, 2]) await put(b, at);
    await finish(b);
    assert.equal((await b.call('submit', { body })).state, 'queued');
  });

  test('a part or a whole that is something else is refused, and the parts are thrown away', async () => {
    const c = await as('c');
    await assert.rejects(c.call('putInputPart', { params: { sha256: SHA, part: NAMES[0]! }, body: PARTS[1]! }), INVALID);
    for (const at of [0, 1, 2]) await put(c, at);
    await assert.rejects(finish(c, CONTENT.length, [NAMES[1]!, NAMES[0]!, NAMES[2]!]), INVALID);
    assert.deepEqual(await state(c), { present: [], complete: false });
    for (const [size, parts] of [
      [CONTENT.length - 1, NAMES],
      [CONTENT.length + 1, NAMES],
      [10, NAMES.slice(0, 1)],
      [CONTENT.length, [...NAMES, ...NAMES]],
      [0, []],
    ] as const) {
      for (const at of [0, 1, 2]) await put(c, at);
      await assert.rejects(finish(c, size, [...parts]), INVALID, `${size} bytes of ${parts.length} parts`);
    }
    assert.deepEqual(await state(c), { present: [], complete: false });
  });

  test('an empty input is one too, and what is larger than a part may be is refused', async () => {
    const d = await as('d');
    const empty = sha256Of(Buffer.alloc(0));
    await finish(d, 0, [], empty);
    assert.equal((await state(d, empty)).complete, true);
    const large = Buffer.alloc(MAX_PART_BYTES + 1);
    await assert.rejects(d.call('putInputPart', { params: { sha256: SHA, part: sha256Of(large) }, body: large }), { status: 400 });
    await assert.rejects(
      finish(
        d,
        1,
        Array.from({ length: 4097 }, () => SHA),
      ),
      { code: 'REQUEST_INVALID' },
    );
  });

  test('a builder gets the inputs of its own job, while it builds, and nothing else by digest', async () => {
    await sample.settle();
    const all = await leaseAll(sample);
    const [one] = all;
    const { client } = one!.builder;
    const { headers } = about(one!.lease);
    const input = (sha256: string, attempt = one!.lease.attempt) => client.call('input', { params: { attempt, sha256 }, headers });
    assert.equal(await (await input(SHA)).text(), CONTENT.toString());
    await assert.rejects(input(sha256Of(Buffer.alloc(0))), { code: 'NOT_FOUND' }, 'it is in the storage, and not of this job');
    await assert.rejects(input(SHA, all[1]!.lease.attempt), { code: 'LEASE_STALE' });
    assert.match(await (await client.call('definition', { params: { attempt: one!.lease.attempt }, headers })).text(), /"manifest"/);
  });
});

describe('results of builders', () => {
  let sample: SampleFarm;
  let works: Work[] = [];
  let job = '';
  before(async () => {
    sample = await sampleFarm({ rule: { commitments: 'required' }, limits: { spares: 0 } });
    const definition = definitionOf();
    job = await sample.submit(definition, 'me');
    await sample.settle();
    works = (await leaseAll(sample)).map(({ builder, lease }) => built(builder, lease, definition));
  });
  after(() => sample.close());
  const good = Buffer.from('good');

  test('before the reveal nobody reads or writes any of it, also not by guessing digests', async () => {
    const [first, second] = works as [Work, Work];
    const transcript = about(first.lease);
    await first.builder.client.call('appendTranscript', {
      params: { ...transcript.params, offset: 0 },
      headers: transcript.headers,
      body: Buffer.from(`sha256 ${sha256Of(good)}`),
    });
    await commitWork(first);
    await assert.rejects(uploadBytes(first, good), { code: 'LEASE_STALE' });
    assert.equal(await sample.farm.objects.size(resultKey(sha256Of(good))), null);
    const { client } = second.builder;
    const sha256 = sha256Of(good);
    await assert.rejects(
      client.call('uploadState', { params: { attempt: second.lease.attempt, sha256 }, headers: about(second.lease).headers }),
      {
        code: 'LEASE_STALE',
      },
    );
    await assert.rejects(
      client.call('input', { params: { attempt: second.lease.attempt, sha256 }, headers: about(second.lease).headers }),
      {
        code: 'NOT_FOUND',
      },
    );
    // No route for readers is open to a builder; observers and other submitters wait for the end of the round.
    for (const call of [
      () => client.call('transcript', { params: { attempt: first.lease.attempt } }),
      () => client.call('followTranscript', { params: { attempt: first.lease.attempt } }),
      () => client.call('output', { params: { job, sha256 } }),
      () => client.call('job', { params: { job } }),
    ])
      await assert.rejects(call(), { code: 'FORBIDDEN', status: 403 });
    for (const [name, role] of [
      ['observer', 'observer'],
      ['another', 'submitter'],
    ] as const) {
      const reader = sample.client(await sample.token(name, role));
      await assert.rejects(reader.call('transcript', { params: { attempt: first.lease.attempt } }), { code: 'FORBIDDEN' });
      await assert.rejects(reader.call('followTranscript', { params: { attempt: first.lease.attempt } }), { code: 'FORBIDDEN' });
      await assert.rejects(reader.call('output', { params: { job, sha256 } }), { code: 'NOT_FOUND' });
      const view = await reader.call('job', { params: { job } });
      assert.doesNotMatch(JSON.stringify(view), new RegExp(sha256));
      assert.equal(view.decision, null);
    }
    // The log says who has committed, and nothing about what.
    const logged = sample.log.entries.map((one) => Buffer.from(one.payload).toString()).join();
    assert.doesNotMatch(logged, new RegExp(`${sha256}|${first.digest}`));
    await commitWork(second);
    await sample.settle();
  });

  test('after it each sends what its own statement names, under its own attempt', async () => {
    const [first, second] = works as [Work, Work];
    assert.deepEqual(await revealWork(first), [sha256Of(good)]);
    const params = { attempt: first.lease.attempt, sha256: sha256Of(good) };
    const { headers } = about(first.lease);
    const other = Buffer.from('not named');
    await assert.rejects(uploadBytes(first, other), INVALID);
    await assert.rejects(
      first.builder.client.call('putUploadPart', { params: { ...params, part: sha256Of(good) }, headers, body: other }),
      INVALID,
    );
    await first.builder.client.call('putUploadPart', { params: { ...params, part: sha256Of(other) }, headers, body: other });
    await assert.rejects(
      first.builder.client.call('finishUpload', { params, headers, body: { size: other.length, parts: [sha256Of(other)] } }),
      INVALID,
    );
    await first.builder.client.call('putUploadPart', { params: { ...params, part: sha256Of(good) }, headers, body: good });
    assert.equal((await first.builder.client.call('uploadState', { params, headers })).present.length, 1);
    await revealWork(second);
    const mine = { attempt: second.lease.attempt, sha256: sha256Of(good) };
    const told = await second.builder.client.call('uploadState', { params: mine, headers: about(second.lease).headers });
    assert.deepEqual(told, { present: [], complete: false }, 'the parts are of another attempt');
    await assert.rejects(
      second.builder.client.call('finishUpload', {
        params: mine,
        headers: about(second.lease).headers,
        body: { size: 4, parts: [sha256Of(good)] },
      }),
      INVALID,
    );
    await uploadBytes(first, good);
    assert.equal((await second.builder.client.call('uploadState', { params: mine, headers: about(second.lease).headers })).complete, true);
    await sample.settle();
    const reader = sample.client(await sample.token('late', 'observer'));
    assert.equal(await (await reader.call('output', { params: { job, sha256: sha256Of(good) } })).text(), 'good');
    assert.match(await (await reader.call('transcript', { params: { attempt: first.lease.attempt } })).text(), /^sha256 /);
    await assert.rejects(reader.call('output', { params: { job, sha256: sha256Of(other) } }), { code: 'NOT_FOUND' });
  });

  test('parts that no upload could have are refused: nobody fills the storage with them', async () => {
    const small = await sampleFarm({ builders: 0, limits: { uploadBytes: 1 << 20 } });
    const client = small.client(await small.token('who-fills', 'submitter'));
    let taken = 0;
    for (let at = 0; at < 64; at++) {
      const body = Buffer.alloc(1 << 16, at);
      const went = await client.call('putInputPart', { params: { sha256: SHA, part: sha256Of(body) }, body }).then(
        () => 1,
        () => 0,
      );
      taken += went;
    }
    assert.equal(taken, 16, 'a MiB of parts, and then no more');
    await small.close();
  });
});
