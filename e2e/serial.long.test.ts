/** The serial line over real ptys made by socat: noise, a pulled cable, killed programs, and the speed of 115,200 baud (spec/serial.md). */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import { askOverSerial } from '@lockstep/signer/serial/client';
import { newFrameReader } from '@lockstep/signer/serial/frame-reader';
import type { Line } from '@lockstep/signer/serial/line';
import { newSerialMemory, serveSerial } from '@lockstep/signer/serial/node';
import { openTty } from '@lockstep/signer/serial/tty';

const root = `${import.meta.dirname}/..`;
const folder = mkdtempSync(`${tmpdir()}/lockstep-serial-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const SPEED = { speed: 115200 } as const;
/** 115,200 baud: a start bit, 8 bits and a stop bit make a byte. */
const BYTES_PER_SECOND = 115_200 / 10;

interface Cable {
  readonly a: string;
  readonly b: string;
  stop(): Promise<void>;
}

/** Two ttys that are one line. Held open here, since a real port does not hang up when a program closes it. */
async function cable(name: string): Promise<Cable> {
  const [a, b] = [`${folder}/${name}-a`, `${folder}/${name}-b`];
  const socat = spawn('socat', [`pty,raw,echo=0,link=${a}`, `pty,raw,echo=0,link=${b}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  let failed = '';
  socat.on('error', (error) => (failed = `socat: ${error.message}`));
  socat.stderr.on('data', (text) => (failed += String(text)));
  await until(() => (existsSync(a) && existsSync(b)) || failed !== '', 'two ttys');
  assert.equal(failed, '');
  const held = [a, b].map((path) => openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK));
  return {
    a,
    b,
    stop: async () => {
      for (const one of held.splice(0)) closeSync(one);
      await end(socat);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function until(holds: () => boolean, what: string, seconds = 20): Promise<void> {
  for (const limit = performance.now() + seconds * 1000; !holds(); await sleep(2))
    assert.ok(performance.now() < limit, `waited for ${what}`);
}

interface Wire {
  /** The host's tty and the node's. */
  readonly host: string;
  readonly node: string;
  /** Chunks that reached the node, those of them that the host knew to be there before, and bytes from the host. */
  readonly seen: { data: number; again: number; bytes: number };
  pulled: boolean;
  change: (bytes: Uint8Array) => Uint8Array;
  stop(): Promise<void>;
}

/** Two cables with a relay between them that carries a given number of bytes per second in each direction. */
async function wire(name: string, rate: number): Promise<Wire> {
  const [left, right] = [await cable(`${name}-1`), await cable(`${name}-2`)];
  const [fromHost, fromNode] = [openTty(left.b, SPEED), openTty(right.a, SPEED)];
  const [atNode, atHost] = [newFrameReader(), newFrameReader()];
  const acked = new Map<string, number>();
  const stops = [
    throttled(fromHost, fromNode, rate, (bytes) => carried(bytes, 'host')),
    throttled(fromNode, fromHost, rate, (bytes) => carried(bytes, 'node')),
  ];
  const carried = (bytes: Uint8Array, from: 'host' | 'node'): Uint8Array => {
    const out = made.pulled ? new Uint8Array(0) : made.change(bytes);
    if (from === 'host') made.seen.bytes += out.length;
    for (const frame of from === 'host' ? atNode.read(out) : []) {
      if (frame.kind !== 'data') continue;
      made.seen.data++;
      if (frame.number < (acked.get(frame.tag) ?? 0)) made.seen.again++;
    }
    for (const frame of from === 'node' ? atHost.read(out) : [])
      if (frame.kind === 'ack') acked.set(frame.tag, Math.max(frame.next, acked.get(frame.tag) ?? 0));
    return out;
  };
  const made: Wire = {
    host: left.a,
    node: right.b,
    seen: { data: 0, again: 0, bytes: 0 },
    pulled: false,
    change: (bytes) => bytes,
    stop: async () => {
      for (const stop of stops) stop();
      await Promise.all([fromHost.close(), fromNode.close()]);
      await Promise.all([left.stop(), right.stop()]);
    },
  };
  return made;
}

function throttled(from: Line, to: Line, rate: number, carry: (bytes: Uint8Array) => Uint8Array): () => void {
  let waiting = Buffer.alloc(0);
  let last = performance.now();
  let allowance = 0;
  const stop = from.onData((bytes) => (waiting = Buffer.concat([waiting, bytes])));
  const timer = setInterval(() => {
    const now = performance.now();
    // A line that was idle carries nothing faster afterwards.
    allowance = waiting.length === 0 ? 0 : allowance + ((now - last) * rate) / 1000;
    last = now;
    const some = waiting.subarray(0, Math.floor(allowance));
    waiting = waiting.subarray(some.length);
    allowance -= some.length;
    if (some.length > 0) to.write(carry(some)).catch(() => {});
  }, 4);
  return () => {
    stop();
    clearInterval(timer);
  };
}

const digestOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

test('askOverSerial over a pty pair: every byte value, one byte and a megabyte', async (t) => {
  const pair = await cable('plain');
  const [host, node] = [openTty(pair.a, SPEED), openTty(pair.b, SPEED)];
  try {
    const serving = serveSerial(node, async (request) => Buffer.concat([digestOf(request), request]));
    for (const request of [Buffer.of(0), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), randomBytes(2 ** 20)]) {
      const since = performance.now();
      assert.deepEqual(
        Buffer.from(await askOverSerial(host, request, { timeoutSeconds: 60 })),
        Buffer.concat([digestOf(request), request]),
      );
      t.diagnostic(`${request.length} bytes there and back in ${(performance.now() - since).toFixed(0)} ms`);
    }
    await serving.stop();
  } finally {
    await Promise.all([host.close(), node.close()]);
    await pair.stop();
  }
});

test('askOverSerial uses more than 90 % of a line of 115,200 baud for the request', async (t) => {
  const line = await wire('throttled', BYTES_PER_SECOND);
  const [host, node] = [openTty(line.host, SPEED), openTty(line.node, SPEED)];
  try {
    serveSerial(node, async (request) => digestOf(request));
    const request = randomBytes(96 * 1024);
    const since = performance.now();
    assert.deepEqual(Buffer.from(await askOverSerial(host, request, { timeoutSeconds: 60 })), digestOf(request));
    const seconds = (performance.now() - since) / 1000;
    const efficiency = request.length / (seconds * BYTES_PER_SECOND);
    t.diagnostic(
      `${request.length} bytes as ${line.seen.bytes} on the line in ${seconds.toFixed(2)} s: ${(efficiency * 100).toFixed(1)} %`,
    );
    assert.ok(efficiency > 0.9, `${efficiency}`);
    assert.equal(line.seen.again, 0);
  } finally {
    await Promise.all([host.close(), node.close()]);
    await line.stop();
  }
});

test('askOverSerial gets through noise, and through a cable that is pulled and put back, without sending again what was acknowledged', async (t) => {
  const line = await wire('noise', 100_000);
  const [host, node] = [openTty(line.host, SPEED), openTty(line.node, SPEED)];
  try {
    let handled = 0;
    serveSerial(node, async (request) => {
      handled++;
      return Buffer.concat([digestOf(request), request.subarray(0, 20_000)]);
    });
    const ask = async (request: Buffer): Promise<void> => {
      const answer = await askOverSerial(host, request, { timeoutSeconds: 100 });
      assert.deepEqual(Buffer.from(answer), Buffer.concat([digestOf(request), request.subarray(0, 20_000)]));
    };

    const pulled = ask(randomBytes(150_000));
    await until(() => line.seen.data >= 50, 'the middle');
    line.pulled = true;
    await sleep(2500);
    line.pulled = false;
    await pulled;
    assert.deepEqual([line.seen.again, handled], [0, 1]);
    assert.ok(line.seen.data <= Math.ceil(150_000 / 1024) + 16, `${line.seen.data} chunks: no more than two windows too many`);

    const random = randomFrom(1);
    let hurt = 0;
    line.change = (bytes) => {
      const out = Buffer.from(bytes);
      if (random(50) === 0) {
        hurt++;
        const at = random(out.length);
        out[at]! ^= 1 << random(8);
        return random(2) === 0 ? out : Buffer.concat([out.subarray(0, at), randomBytes(9), out.subarray(at + 5)]);
      }
      return out;
    };
    const since = performance.now();
    await ask(randomBytes(150_000));
    t.diagnostic(`150000 bytes in ${((performance.now() - since) / 1000).toFixed(1)} s with ${hurt} disturbances`);
    assert.ok(hurt > 0);
    line.change = (bytes) => bytes;
    await ask(randomBytes(3000));
    assert.equal(handled, 3);
  } finally {
    await Promise.all([host.close(), node.close()]);
    await line.stop();
  }
});

const HOST_PROGRAM = `
import { readFileSync, writeSync } from 'node:fs';
import { askOverSerial } from '@lockstep/signer/serial/client';
import { openTty } from '@lockstep/signer/serial/tty';
const [tty, request] = process.argv.slice(1);
const line = openTty(tty, { speed: 115200 });
const answer = await askOverSerial(line, readFileSync(request), { timeoutSeconds: 60 });
writeSync(1, Buffer.from(answer).toString('hex'));
await line.close();
`;

interface HostProgram {
  readonly child: ChildProcess;
  readonly answer: Promise<string>;
}

function hostProgram(tty: string, request: string): HostProgram {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOST_PROGRAM, tty, request], { cwd: root });
  let said = '';
  child.stdout.on('data', (text) => (said += String(text)));
  child.stderr.on('data', (text) => (said += String(text)));
  return { child, answer: once(child, 'close').then(() => said) };
}

test('a host program that is killed while it sends, while it waits and while it receives goes on where it was', async () => {
  const line = await wire('killed', 60_000);
  const node = openTty(line.node, SPEED);
  const memory = newSerialMemory();
  const gate = Promise.withResolvers<void>();
  const hosts: HostProgram[] = [];
  try {
    let handled = 0;
    const answerBytes = randomBytes(90_000);
    serveSerial(
      node,
      async () => {
        handled++;
        await gate.promise;
        return answerBytes;
      },
      { memory },
    );
    const request = randomBytes(90_000);
    writeFileSync(`${folder}/request`, request);
    const start = (): HostProgram => {
      const program = hostProgram(line.host, `${folder}/request`);
      hosts.push(program);
      return program;
    };
    const killWhen = async (holds: () => boolean, what: string): Promise<void> => {
      const { child } = start();
      await until(holds, what);
      await end(child);
    };
    await killWhen(() => (memory.state.inbox?.next ?? 0) > 20, 'a part of the request');
    await killWhen(() => (memory.state.inbox?.next ?? 0) > 60, 'more of the request');
    await killWhen(() => memory.state.handling !== null, 'the request at work');
    assert.equal(line.seen.again, 0);
    assert.ok(line.seen.data <= 88 + 2 * 16, `${line.seen.data} chunks for 88`);
    const before = line.seen.data;
    gate.resolve();
    await killWhen(() => (memory.state.kept?.outbox.acked ?? 0) > 20, 'a part of the answer');
    assert.equal(await start().answer, answerBytes.toString('hex'));
    assert.deepEqual([handled, line.seen.data], [1, before], 'handled once, and no chunk of the request was sent again');
  } finally {
    for (const { child } of hosts) await end(child);
    await node.close();
    await line.stop();
  }
});

test('an adapter that is pulled out ends both sides with LINK_FAILED, and a new one goes on', async () => {
  const [line, memory, request] = [await wire('adapter', 60_000), newSerialMemory(), randomBytes(60_000)];
  let handled = 0;
  const handler = async (bytes: Uint8Array): Promise<Uint8Array> => {
    handled++;
    return digestOf(bytes);
  };
  const [host, node] = [openTty(line.host, SPEED), openTty(line.node, SPEED)];
  const serving = serveSerial(node, handler, { memory });
  const asked = assert.rejects(askOverSerial(host, request, { timeoutSeconds: 60 }), {
    code: 'LINK_FAILED',
    message: /The serial line ended/,
  });
  await until(() => (memory.state.inbox?.next ?? 0) > 20, 'the middle');
  await line.stop();
  await Promise.all([asked, serving.ended]);
  await Promise.all([host.close(), node.close()]);

  const had = memory.state.inbox?.next ?? 0;
  const next = await wire('adapter-2', 60_000);
  const [host2, node2] = [openTty(next.host, SPEED), openTty(next.node, SPEED)];
  try {
    serveSerial(node2, handler, { memory });
    assert.deepEqual(Buffer.from(await askOverSerial(host2, request, { timeoutSeconds: 60 })), digestOf(request));
    assert.deepEqual([handled, next.seen.data], [1, Math.ceil(60_000 / 1024) - had]);
  } finally {
    await Promise.all([host2.close(), node2.close()]);
    await next.stop();
  }
});

test('openTty refuses what is no serial line, and a line that another program holds', async () => {
  const pair = await cable('held');
  try {
    writeFileSync(`${folder}/file`, '');
    const refused = (path: string, message: RegExp): void => assert.throws(() => openTty(path, SPEED), { code: 'LINK_FAILED', message });
    refused(`${folder}/file`, /is not a device/);
    refused(`${folder}/nothing`, /cannot be opened/);
    refused('/dev/null', /no serial line/);
    const first = openTty(pair.a, SPEED);
    refused(pair.a, /Another program uses/);
    await first.close();
    await openTty(pair.a, SPEED).close();
  } finally {
    await pair.stop();
  }
});
