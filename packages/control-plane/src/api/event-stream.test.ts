import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { definitionOf, type SampleFarm, sampleFarm } from '../samples.ts';
import { about, leaseAll } from '../rounds/work-samples.ts';
import { leaseWaiters } from './lease-waiters.ts';
import { eventStream } from './event-stream.ts';

interface Event {
  readonly event: string;
  readonly id: string | null;
  readonly data: unknown;
}

/** Events until it ends, or until `enough` of them came. */
async function eventsOf(response: Response, enough = Number.POSITIVE_INFINITY): Promise<Event[]> {
  const found: Event[] = [];
  let rest = '';
  const reader = response.body!.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const blocks = `${rest}${Buffer.from(part.value).toString()}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      if (block.startsWith(':')) continue;
      const field = (name: string): string | null => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null;
      found.push({ event: field('event') ?? '', id: field('id'), data: JSON.parse(field('data') ?? 'null') });
    }
    if (found.length >= enough) {
      await reader.cancel();
      break;
    }
  }
  return found;
}

const textOf = (events: readonly Event[]): string =>
  Buffer.concat(events.filter((one) => one.event === 'chunk').map((one) => Buffer.from(String(one.data), 'base64'))).toString();

describe('following a transcript', () => {
  let sample: SampleFarm;
  let at: Awaited<ReturnType<typeof leaseAll>>[number];
  let operator: ReturnType<SampleFarm['client']>;
  let said = 0;
  before(async () => {
    sample = await sampleFarm({ rule: { quorum: 1 } });
    await sample.submit(definitionOf(), 'me');
    await sample.settle();
    [at] = (await leaseAll(sample)) as [typeof at];
    operator = sample.client(await sample.token('op', 'operator'));
  });
  after(() => sample.close());
  const say = async (text: string): Promise<void> => {
    const { params, headers } = about(at.lease);
    const { next } = await at.builder.client.call('appendTranscript', {
      params: { ...params, offset: said },
      headers,
      body: Buffer.from(text),
    });
    said = next;
  };
  const follow = (headers: Record<string, string> = {}, query: { from?: string } = {}) =>
    operator.call('followTranscript', { params: { attempt: at.lease.attempt }, headers, query });

  test('gives what is there, then what comes; Last-Event-ID goes on without a gap or a repetition, at any offset', async () => {
    await say('one\n');
    await say('two\n');
    const first = await eventsOf(await follow(), 1);
    assert.match(textOf(first), /^one\n/);
    const lastId = first.at(-1)!.id!;
    const rest = follow({ 'last-event-id': lastId });
    await say('three \u001b[31m\u0000\n');
    const second = await eventsOf(await rest, Number(lastId) === 8 ? 1 : 2);
    assert.equal(textOf(first) + textOf(second), 'one\ntwo\nthree \u001b[31m\u0000\n');
    for (const from of [0, 1, 3, 4, 9, said - 1]) {
      const all = await eventsOf(await follow({ 'last-event-id': String(from) }), 1);
      assert.equal(Buffer.from(textOf(all)).length, Number(all.at(-1)!.id) - from);
    }
    assert.equal(textOf(await eventsOf(await follow({}, { from: '4' }), 1)).slice(0, 4), 'two\n');
    // What is no id is none: from the beginning, or from where the query says.
    assert.match(textOf(await eventsOf(await follow({ 'last-event-id': '-1; drop' }), 1)), /^one/);
    await assert.rejects(follow({}, { from: '-1' }), { code: 'REQUEST_INVALID' });
    await assert.rejects(operator.call('followTranscript', { params: { attempt: 999 } }), { code: 'NOT_FOUND' });
  });

  test('300 followers of one transcript get the same, and nothing is left of those that have gone', async () => {
    const all = await Promise.all(Array.from({ length: 300 }, () => follow()));
    const read = Promise.all(all.map((one) => eventsOf(one)));
    await say('to all\n');
    await at.builder.client.call('fail', { ...about(at.lease), body: { who: 'farm', code: 'X', message: '', hint: '' } });
    const got = await read;
    const expected = await (await operator.call('transcript', { params: { attempt: at.lease.attempt } })).text();
    for (const events of got) {
      assert.equal(textOf(events), expected);
      assert.equal(events.at(-1)?.event, 'end');
    }
    const text = await sample.farm.metrics.text();
    assert.match(text, /lockstep_followers\{of="transcript"\} 0/);
  });

  test('what has ended is given whole and ends; from beyond its end it ends at once', async () => {
    assert.equal((await eventsOf(await follow())).at(-1)?.event, 'end');
    assert.deepEqual(
      (await eventsOf(await follow({ 'last-event-id': '999999' }))).map((one) => one.event),
      ['end'],
    );
  });
});

test('following a job tells each change once, and ends when nothing more can happen', async () => {
  const sample = await sampleFarm({ rule: { quorum: 1 } });
  const job = await sample.submit(definitionOf(), 'me');
  const operator = sample.client(await sample.token('op', 'operator'));
  const reading = eventsOf(await operator.call('followJob', { params: { job: job.slice(0, 10) } }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await operator.call('cancelJob', { params: { job } });
  const events = await reading;
  const states = events.map((one) => (one.data as { state: string }).state);
  assert.deepEqual(states, ['queued', 'cancelled']);
  await sample.close();
});

test('a reader that does not read is let go before it costs the farm its memory', async () => {
  let sent = 0;
  const reader = { gone: false };
  const response = eventStream(new AbortController().signal, (writer) => {
    const timer = setInterval(() => {
      writer.send('chunk', 'x'.repeat(1 << 20));
      sent++;
    }, 1);
    return () => {
      reader.gone = true;
      clearInterval(timer);
    };
  });
  for (let wait = 0; wait < 100 && !reader.gone; wait++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(reader.gone && sent < 10, `${sent} MiB were kept for it`);
  await assert.rejects(response.text());
});

test('a reader that has gone before the stream began is stopped', async () => {
  const caller = new AbortController();
  let stopped = 0;
  const response = eventStream(caller.signal, (writer) => {
    writer.send('a', 1);
    writer.end();
    return () => void stopped++;
  });
  assert.match(await response.text(), /event: a\ndata: 1\n\n$/);
  assert.equal(stopped, 1);
});

test('a farm that ends keeps no builder waiting, also not one that asks afterwards', async () => {
  const sample = await sampleFarm();
  const waiters = leaseWaiters(sample.farm);
  const signal = new AbortController().signal;
  const first = waiters.ticket('b0').wait(1500, signal);
  waiters.close();
  const started = performance.now();
  await first;
  assert.ok(performance.now() - started < 500);
  await waiters.ticket('b0').wait(1500, signal);
  assert.ok(performance.now() - started < 500, 'the second waited');
  await sample.close();
});

test('a builder that waits is woken by work, and by what is wanted of it', async () => {
  const sample = await sampleFarm({ rule: { quorum: 1 }, builders: 1 });
  const asking = sample.builders[0]!.client.call('lease', { body: { free: 1, waitSeconds: 5 } });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const started = performance.now();
  await sample.submit(definitionOf());
  await sample.settle();
  const { leases } = await asking;
  assert.equal(leases.length, 1);
  assert.ok(performance.now() - started < 2500);
  await sample.close();
});
