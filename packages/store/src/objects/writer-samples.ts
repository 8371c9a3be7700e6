/** Samples of writers, for the contract: processes that race, one that is killed, and content that tells where it is from. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

export const MEBI = 2 ** 20;

const OPEN = new URL('./open-objects.ts', import.meta.url).href;

/** Waits for the word; tells which of twenty names it created, and counts up by swapIf so many times. */
const CREATE_AND_COUNT = `
import { openObjects } from ${JSON.stringify(OPEN)};
const [address, times] = process.argv.slice(1);
const objects = await openObjects(address);
await objects.get('counter', 100);
process.stdout.write('ready ');
await new Promise((resolve) => process.stdin.once('data', resolve));
const created = [];
for (let at = 0; at < 20; at++) if (await objects.create('name/' + at, Buffer.from(String(process.pid)))) created.push(at);
for (let done = 0, tries = 0; done < Number(times); tries++) {
  if (tries > 1000) throw new Error('it never succeeds');
  const old = await objects.get('counter', 100);
  if (await objects.swapIf('counter', old, Buffer.from(String(Number(old ?? '0') + 1)))) done++;
}
process.stdout.write(JSON.stringify(created));
await objects.close();
process.exit();
`;

/** Writes and writes; says when it is past the first 18 MiB, so that also a part of a multipart upload is there. */
const ENDLESS = `
import { Readable } from 'node:stream';
import { openObjects } from ${JSON.stringify(OPEN)};
const objects = await openObjects(process.argv[1]);
const stream = Readable.from((async function* () {
  for (let at = 0; ; at++) {
    if (at === 36) process.stdout.write('far enough');
    if (at >= 36) await new Promise((resolve) => setTimeout(resolve, 5));
    yield Buffer.alloc(1 << 20, 1);
  }
})());
await objects.put(process.argv[2], { stream, size: 2 ** 33 });
`;

/** All at the same moment. @returns what each of them created */
export async function createAndCount(address: string, processes: number, times: number): Promise<number[][]> {
  const racers = Array.from({ length: processes }, () => startRacer(address, times));
  await Promise.all(racers.map(({ ready }) => ready));
  for (const { child } of racers) child.stdin.write('go');
  return await Promise.all(racers.map(({ created }) => created));
}

function startRacer(address: string, times: number) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CREATE_AND_COUNT, address, String(times)], { stdio: 'pipe' });
  let [said, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  const ready = Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
  const created = ended.then((status) => {
    assert.equal(status, 0, errors);
    return JSON.parse(said.replace('ready ', '')) as number[];
  });
  return { child, ready, created };
}

export async function killedWriter(address: string, key: string): Promise<void> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', ENDLESS, address, key], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<unknown>((resolve) => child.once('close', (_, signal) => resolve(signal)));
  await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
  child.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL');
}

/** Bytes that tell where they are from. */
export function pattern(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, at) => (at * 7 + seed * 13) % 256)));
  bytes.writeUInt32BE(seed);
  return bytes;
}

export function* chunksOfPattern(size: number): Generator<Buffer> {
  for (let at = 0; at < size / MEBI; at++) yield pattern(MEBI, at);
}
