/** askOverSerial and serveSerial over a line in one process, on a clock that the test moves (spec/serial.md). */
import assert from 'node:assert/strict';
import test from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AskOptions, type AskProgress, askOverSerial, SILENCE_SECONDS } from './client.ts';
import { MAX_MESSAGE_BYTES } from './frame.ts';
import { newFrameReader } from './frame-reader.ts';
import { type LinePair, linePair, type SampleClock, sampleClock } from './line-samples.ts';
import { newSerialMemory, serveSerial } from './node.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const reply = (request: Uint8Array): Uint8Array => bytes(`answer to ${request.length} bytes`);

/** Resolves with what came of it; time passes until then. */
async function outcome(clock: SampleClock, asked: Promise<Uint8Array>, seconds = 200): Promise<string> {
  const came: string[] = [];
  asked.then(
    (answer) => came.push(Buffer.from(answer).toString()),
    (error: unknown) => came.push(error instanceof LockstepError ? `${error.code} ${error.message} ${error.hint}` : String(error)),
  );
  for (let passed = 0; came.length === 0 && passed < seconds; passed++) await clock.pass(1);
  return came[0] ?? 'nothing yet';
}

function setUp(handler: (request: Uint8Array) => Promise<Uint8Array>): {
  pair: LinePair;
  clock: SampleClock;
  ask: (request: Uint8Array, more?: Partial<AskOptions>) => Promise<Uint8Array>;
} {
  const [pair, clock] = [linePair(), sampleClock()];
  serveSerial(pair.node, handler, { clock });
  return { pair, clock, ask: (request, more = {}) => askOverSerial(pair.host, request, { timeoutSeconds: 150, clock, ...more }) };
}

test('askOverSerial brings the answer back, several times on one line, and says how far it is', async () => {
  const { clock, ask } = setUp(async (request) => reply(request));
  const heard: AskProgress[] = [];
  assert.equal(await outcome(clock, ask(new Uint8Array(5000), { onProgress: (progress) => heard.push(progress) })), 'answer to 5000 bytes');
  assert.deepEqual(
    heard.map(({ sent }) => sent),
    heard.map(({ sent }) => sent).sort((a, b) => a - b),
  );
  assert.deepEqual(heard.at(-1), { sent: 5000, size: 5000, received: 0 });
  assert.equal(await outcome(clock, ask(new Uint8Array(1))), 'answer to 1 bytes');
});

test('askOverSerial refuses a request that is empty or too large before it is sent', async () => {
  const { pair, ask } = setUp(async (request) => reply(request));
  await assert.rejects(ask(new Uint8Array(0)), { code: 'LINK_FAILED' });
  await assert.rejects(ask(new Uint8Array(MAX_MESSAGE_BYTES + 1)), { code: 'LINK_FAILED' });
  assert.equal(pair.written.host, 0);
});

test('askOverSerial gives up a silent node, a noisy line and an echo, and says which it was', async () => {
  const clock = sampleClock();
  const silent = linePair();
  assert.match(
    await outcome(clock, askOverSerial(silent.host, bytes('x'), { timeoutSeconds: 999, clock })),
    /LINK_FAILED Nothing was heard .* 60 seconds Check/,
  );
  assert.ok(clock.now() >= SILENCE_SECONDS * 1000 && clock.now() < (SILENCE_SECONDS + 3) * 1000);
  const noisy = linePair();
  noisy.node.onData(() => void noisy.node.write(bytes('login: ')));
  assert.match(
    await outcome(clock, askOverSerial(noisy.host, bytes('x'), { timeoutSeconds: 999, clock })),
    /only \d+ bytes that are not its protocol/,
  );
  const echo = linePair();
  echo.node.onData((what) => void echo.node.write(what));
  assert.match(await outcome(clock, askOverSerial(echo.host, bytes('x'), { timeoutSeconds: 999, clock })), /only gives back what is sent/);
});

test('askOverSerial waits beyond the silence limit while the node says that it is at work, and no longer than its own limit', async () => {
  const { clock, ask } = setUp(async () => {
    await new Promise<void>((resolve) => void clock.every(100_000, resolve));
    return bytes('a person said yes');
  });
  assert.equal(await outcome(clock, ask(bytes('please'))), 'a person said yes');
  assert.match(await outcome(clock, ask(bytes('again'), { timeoutSeconds: 90 })), /did not answer within 90 seconds; it was at work/);
});

test('serveSerial handles a request once, though its host restarts, its answer is lost, and it is asked again', async () => {
  let times = 0;
  const answer = Promise.withResolvers<Uint8Array>();
  const { pair, clock, ask } = setUp(async () => {
    times++;
    return await answer.promise;
  });
  assert.match(await outcome(clock, ask(bytes('sign'), { timeoutSeconds: 5 })), /LINK_FAILED/);
  const second = ask(bytes('sign'));
  await clock.pass(5);
  pair.cut = true;
  answer.resolve(bytes('signature'));
  await clock.pass(5);
  pair.cut = false;
  assert.equal(await outcome(clock, second), 'signature');
  assert.equal(await outcome(clock, ask(bytes('sign'))), 'signature');
  assert.equal(times, 1);
});

test('serveSerial keeps another request waiting while one is at work', async () => {
  const order: string[] = [];
  const first = Promise.withResolvers<Uint8Array>();
  const { clock, ask } = setUp(async (request) => {
    order.push(Buffer.from(request).toString());
    return request[0] === 0x31 ? await first.promise : bytes('two');
  });
  assert.match(await outcome(clock, ask(bytes('1'), { timeoutSeconds: 5 })), /LINK_FAILED/);
  const second = ask(bytes('2'));
  await clock.pass(20);
  assert.deepEqual(order, ['1']);
  first.resolve(bytes('one'));
  assert.equal(await outcome(clock, second), 'two');
  assert.deepEqual(order, ['1', '2']);
});

test('serveSerial outlives a handler that fails or has too little or too much to say', async () => {
  const failures: unknown[] = [];
  const [pair, clock] = [linePair(), sampleClock()];
  const answers = [new Uint8Array(0), new Uint8Array(MAX_MESSAGE_BYTES + 1), bytes('fine')];
  const handler = async (request: Uint8Array): Promise<Uint8Array> => {
    if (request.length === 9) throw new TypeError('broken');
    return answers[request.length]!;
  };
  serveSerial(pair.node, handler, { clock, onFailure: (error) => failures.push(error) });
  const ask = (length: number): Promise<string> =>
    outcome(clock, askOverSerial(pair.host, new Uint8Array(length).fill(1), { timeoutSeconds: 60, clock }));
  assert.match(await ask(9), /LINK_FAILED The signing node has no answer/);
  assert.match(String(failures), /TypeError: broken/);
  answers.unshift(bytes('unused'));
  assert.match(await ask(1), /no answer/);
  assert.match(await ask(2), /no answer/);
  assert.equal(await ask(3), 'fine');
});

test('serveSerial goes on over a new line where the old one ended, and sends nothing again that was acknowledged', async () => {
  const clock = sampleClock();
  const memory = newSerialMemory();
  const request = new Uint8Array(40_000).fill(0x61);
  const old = linePair();
  const serving = serveSerial(old.node, async (got) => reply(got), { clock, memory });
  let had = 0;
  const asked = askOverSerial(old.host, request, {
    timeoutSeconds: 60,
    clock,
    onProgress: ({ sent }) => {
      had = sent;
      if (sent >= 20_000) old.end('pulled out');
    },
  });
  assert.match(await outcome(clock, asked), /LINK_FAILED The serial line ended: pulled out/);
  assert.equal(await serving.ended, 'pulled out');

  const pair = linePair();
  const data: number[] = [];
  const reader = newFrameReader();
  pair.node.onData((some) => {
    for (const frame of reader.read(some)) if (frame.kind === 'data') data.push(frame.number);
  });
  serveSerial(pair.node, async (got) => reply(got), { clock, memory });
  assert.equal(await outcome(clock, askOverSerial(pair.host, request, { timeoutSeconds: 60, clock })), 'answer to 40000 bytes');
  assert.ok(
    had >= 20_000 && data[0]! * 1024 >= had && data.length === 40 - data[0]!,
    `${had} bytes were there, then came ${data.join(' ')}`,
  );
});

test('serveSerial ends with stop, after the request at work; its answer is kept', async () => {
  const clock = sampleClock();
  const [memory, pair] = [newSerialMemory(), linePair()];
  const answer = Promise.withResolvers<Uint8Array>();
  const serving = serveSerial(pair.node, () => answer.promise, { clock, memory });
  const asked = askOverSerial(pair.host, bytes('x'), { timeoutSeconds: 30, clock });
  await clock.pass(1);
  let stopped = false;
  const stop = serving.stop().then(() => (stopped = true));
  await clock.pass(1);
  assert.equal(stopped, false);
  answer.resolve(bytes('kept'));
  await stop;
  assert.equal(await serving.ended, 'stopped');
  serveSerial(pair.node, () => Promise.reject(new Error('handled twice')), { clock, memory });
  assert.equal(await outcome(clock, asked), 'kept');
});

test('serveSerial answers over the newest line, also when the old one ends later', async () => {
  const clock = sampleClock();
  const [memory, old, pair] = [newSerialMemory(), linePair(), linePair()];
  const handler = async (request: Uint8Array): Promise<Uint8Array> => reply(request);
  serveSerial(old.node, handler, { clock, memory });
  serveSerial(pair.node, handler, { clock, memory });
  old.end('gone');
  assert.equal(await outcome(clock, askOverSerial(pair.host, new Uint8Array(3), { timeoutSeconds: 30, clock })), 'answer to 3 bytes');
});

test('askOverSerial does not repeat itself into a line that takes nothing', async () => {
  const [pair, clock] = [linePair(), sampleClock()];
  const open = Promise.withResolvers<void>();
  let writes = 0;
  const write = async (): Promise<void> => {
    writes++;
    await open.promise;
  };
  const asked = askOverSerial({ ...pair.host, write }, bytes('x'), { timeoutSeconds: 20, clock });
  assert.match(await outcome(clock, asked), /LINK_FAILED/);
  open.resolve();
  await clock.pass(1);
  assert.equal(writes, 1);
});
