import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { memoryCells, memoryWitness, listen, sampleLog, stop } from './samples.ts';
import { witnessServer } from './server.ts';
import { originHashOf, type Witness } from './witness.ts';

const log = sampleLog(9);
const cells = memoryCells();
const broken = { ...cells, swap: (): boolean => assert.fail('the disk is gone') };
const witness = memoryWitness('w.example/1', [log.key], cells);
const errors: unknown[] = [];
const serve = (one: Witness): ReturnType<typeof witnessServer> => witnessServer(one, (error) => errors.push(error));
const server = serve(witness);
let url = '';
before(async () => {
  url = await listen(server);
});
after(() => stop(server));

const post = (body: Uint8Array | string, at = url): Promise<Response> =>
  fetch(`${at}/add-checkpoint`, { method: 'POST', body: Buffer.from(body) });

test('witnessServer answers as the protocol says, with its types', async () => {
  const none = await fetch(`${url}/${originHashOf(log.key.name)}/checkpoint`);
  assert.deepEqual([none.status, await none.text()], [404, 'nothing was cosigned for that log\n']);
  const first = await post(await log.request(0, 4));
  assert.deepEqual([first.status, first.headers.get('content-type')], [200, 'text/plain; charset=utf-8']);
  assert.equal((await first.text()).split('\n').length, 3);
  const conflict = await post(await log.request(0, 9));
  assert.deepEqual([conflict.status, conflict.headers.get('content-type'), await conflict.text()], [409, 'text/x.tlog.size', '4\n']);
  const kept = await fetch(`${url}/${originHashOf(log.key.name)}/checkpoint`);
  assert.deepEqual([kept.status, kept.headers.get('content-type')], [200, 'text/plain; charset=utf-8']);
  assert.ok((await kept.text()).startsWith(log.noteAt(4)));
  assert.equal((await post('nothing')).status, 400);
  assert.equal((await post(await sampleLog(2, 'x.example').request(0, 1))).status, 404);
  assert.equal((await post(await sampleLog(2).request(0, 1))).status, 403);
  assert.equal((await post((await log.request(4, 9)).slice(0, 6))).status, 400);
});

test('witnessServer refuses other methods with 405 and other paths with 404', async () => {
  for (const method of ['GET', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])
    assert.equal((await fetch(`${url}/add-checkpoint`, { method })).status, 405, method);
  for (const method of ['POST', 'PUT', 'DELETE'])
    assert.equal((await fetch(`${url}/${originHashOf(log.key.name)}/checkpoint`, { method })).status, 405, method);
  for (const path of [
    '/',
    '/add-checkpoint/',
    '/add-checkpoint?x',
    `/${'A'.repeat(64)}/checkpoint`,
    '/checkpoint',
    `/${'0'.repeat(63)}/checkpoint`,
  ])
    assert.equal((await fetch(`${url}${path}`)).status, 404, path);
  assert.equal((await fetch(`${url}/${'0'.repeat(64)}/checkpoint`)).status, 404);
});

test('witnessServer answers 413 to a request that is too large, and goes on', async () => {
  assert.equal((await post(Buffer.alloc((1 << 20) + 1, 'x'))).status, 413);
  assert.equal((await post(Buffer.alloc(1 << 20, 'x'))).status, 400, 'a mebibyte is read');
  // Far more than that is not even read to its end: then an answer may not arrive.
  const far = await post(Buffer.alloc(40 << 20, 'x')).then(({ status }) => status, String);
  assert.ok(far !== 200 && far !== 400, String(far));
  assert.equal((await post(await log.request(0, 1))).status, 409);
});

test('witnessServer survives requests that end early', async () => {
  for (let time = 0; time < 20; time++)
    await new Promise<void>((resolve) => {
      const one = request(`${url}/add-checkpoint`, { method: 'POST', headers: { 'content-length': 1000 } });
      one.on('error', () => resolve());
      one.on('close', () => resolve());
      one.write('old 0\n', () => one.destroy());
    });
  assert.equal((await post(await log.request(0, 1))).status, 409);
});

test('witnessServer answers 500 and gives no cosignature when the state cannot be kept', async () => {
  const failing = serve({ ...memoryWitness('w', [log.key]), cells: broken });
  try {
    errors.length = 0;
    const reply = await post(await log.request(4, 9), await listen(failing));
    assert.equal(reply.status, 500);
    assert.equal(await reply.text(), 'the witness could not keep its state, and did not cosign\n');
    assert.match(String(errors[0]), /the disk is gone/);
  } finally {
    await stop(failing);
  }
});
