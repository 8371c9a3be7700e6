/** s3Objects against a small server that can be told to misbehave. A real S3 is in e2e/s3-objects.long.test.ts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import type { Objects } from './objects.ts';
import { probeObjects } from './probe.ts';
import { s3Objects } from './s3-objects.ts';

process.env['AWS_ACCESS_KEY_ID'] = 'id';
process.env['AWS_SECRET_ACCESS_KEY'] = 'SECRET';

interface Stored {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly metadata: Record<string, string>;
}

/** How the server behaves, for each request; nothing: as it should. */
interface Mood {
  ignores?: 'if-none-match' | 'if-match' | 'range';
  /** Carries a put out, then says nothing or breaks the connection, so many times. */
  dropsAnswers?: number;
  /** Neither carries out nor answers, so many times. */
  dropsRequests?: number;
  /** Sends so many bytes less than it said. */
  cutsBodies?: number;
  silentBodies?: boolean;
  /** Done between a put that was carried out and its lost answer. */
  meanwhile?: () => Promise<void>;
}

async function withServer(mood: Mood, act: (objects: Objects, stored: Map<string, Stored>) => Promise<void>): Promise<void> {
  const stored = new Map<string, Stored>();
  const server = createServer((request, response) => {
    answer(mood, stored, request, response).catch((error: unknown) => response.destroy(error as Error));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const objects = s3Objects({ bucket: 'builds', prefix: 'p', endpoint, region: null, forcePathStyle: null, patience: 400 });
  try {
    await act(objects, stored);
  } finally {
    await objects.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function answer(mood: Mood, stored: Map<string, Stored>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', 'http://x');
  const key = url.pathname.replace('/builds/', '');
  const body = Buffer.concat(await request.toArray());
  const found = stored.get(key);
  const fail = (status: number, code: string): unknown =>
    response.writeHead(status).end(request.method === 'HEAD' ? '' : `<Error><Code>${code}</Code></Error>`);
  if (request.method === 'PUT') {
    if ((mood.dropsRequests ?? 0) > 0) {
      mood.dropsRequests = (mood.dropsRequests ?? 0) - 1;
      return;
    }
    const [none, match] = [request.headers['if-none-match'], request.headers['if-match']];
    if (none === '*' && found !== undefined && mood.ignores !== 'if-none-match') return void fail(412, 'PreconditionFailed');
    if (match !== undefined && match !== found?.etag && mood.ignores !== 'if-match') return void fail(412, 'PreconditionFailed');
    const metadata = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('x-amz-meta-'))) as Record<
      string,
      string
    >;
    const etag = `"${createHash('md5').update(body).digest('hex')}"`;
    stored.set(key, { bytes: body, etag, metadata });
    if ((mood.dropsAnswers ?? 0) > 0) {
      mood.dropsAnswers = (mood.dropsAnswers ?? 0) - 1;
      await mood.meanwhile?.();
      if ((mood.dropsAnswers ?? 0) % 2 === 0) request.socket.destroy();
      return;
    }
    response.writeHead(200, { etag }).end();
  } else if (request.method === 'DELETE') {
    stored.delete(key);
    response.writeHead(204).end();
  } else if (url.searchParams.has('list-type')) {
    const contents = [...stored]
      .filter(([key]) => key.startsWith(url.searchParams.get('prefix') ?? ''))
      .map(
        ([key, { bytes }]) =>
          `<Contents><Key>${key}</Key><Size>${bytes.length}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
      );
    response.writeHead(200).end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`);
  } else if (url.pathname === '/builds' || url.pathname === '/builds/') response.writeHead(200).end();
  else if (found === undefined) fail(404, 'NoSuchKey');
  else {
    const range = mood.ignores === 'range' ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const start = Number(range?.[1] ?? 0);
    const bytes = range === null ? found.bytes : found.bytes.subarray(start, Number(range[2] || Infinity) + 1);
    const ranged = range === null ? {} : { 'content-range': `bytes ${start}-${start + bytes.length - 1}/${found.bytes.length}` };
    response.writeHead(range === null ? 200 : 206, { etag: found.etag, 'content-length': bytes.length, ...found.metadata, ...ranged });
    if (request.method === 'HEAD') response.end();
    else if (mood.silentBodies === true) response.write(bytes.subarray(0, 1));
    else if (mood.cutsBodies === undefined) response.end(bytes);
    else response.write(bytes.subarray(0, bytes.length - mood.cutsBodies), () => request.socket.destroy());
  }
}

const bytes = (text: string): Buffer => Buffer.from(text);
after(() => delete process.env['AWS_SECRET_ACCESS_KEY']);

test('the server of these tests passes the probe when it behaves', () =>
  withServer({}, async (objects, stored) => {
    await probeObjects(objects);
    assert.equal(stored.size, 0);
  }));

for (const ignores of ['if-none-match', 'if-match', 'range'] as const)
  test(`probeObjects refuses a storage that ignores ${ignores}`, () =>
    withServer({ ignores }, async (objects, stored) => {
      const expected = {
        'if-none-match': /ignores conditional puts/,
        'if-match': /ignores conditional puts: \d+ of 16/,
        range: /ignores ranges/,
      }[ignores];
      await assert.rejects(probeObjects(objects), (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, 'HOST_CANNOT');
        assert.match(error.message, expected);
        assert.match(error.hint, /another storage|radosgw/);
        return true;
      });
      assert.equal(stored.size, 0, 'and leaves nothing');
    }));

for (const dropsAnswers of [1, 2])
  test(`create that lost its answer (${dropsAnswers}) knows that it was the one`, () =>
    withServer({ dropsAnswers }, async (objects) => {
      assert.equal(await objects.create('a', bytes('mine')), true);
      assert.equal(await objects.create('a', bytes('mine')), false, 'the same bytes by another call');
    }));

test('create that never reached the storage is asked again', () =>
  withServer({ dropsRequests: 2 }, async (objects) => {
    assert.equal(await objects.create('a', bytes('mine')), true);
  }));

test('create that was overtaken while its request was lost knows that it was not the one', () => {
  const mood: Mood = { dropsRequests: 1 };
  return withServer(mood, async (objects) => {
    const slow = objects.create('a', bytes('mine'));
    while (mood.dropsRequests !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(await objects.create('a', bytes('theirs')), true);
    assert.equal(await slow, false);
  });
});

test('swapIf that lost its answer knows what came of it, also when others have swapped since', () => {
  const mood: Mood = {};
  return withServer(mood, async (objects) => {
    assert.equal(await objects.create('a', bytes('0')), true);
    mood.dropsAnswers = 1;
    assert.equal(await objects.swapIf('a', bytes('0'), bytes('1')), true);
    mood.dropsAnswers = 1;
    mood.meanwhile = async () => {
      for (let at = 2; at < 6; at++) assert.equal(await objects.swapIf('a', bytes(`${at - 1}`), bytes(`${at}`)), true);
    };
    assert.equal(await objects.swapIf('a', bytes('1'), bytes('1')), true);
    assert.equal(String(await objects.get('a', 1)), '5');
  });
});

test('swapIf that nobody can answer for is an error, never a guess', () => {
  const mood: Mood = {};
  return withServer(mood, async (objects) => {
    await objects.put('a', bytes('0'));
    mood.dropsAnswers = 1;
    mood.meanwhile = async () => await objects.put('a', bytes('by a plain put'));
    await assert.rejects(objects.swapIf('a', bytes('0'), bytes('1')), { code: 'STORE_UNUSABLE', message: /not known/ });
    mood.dropsRequests = 1000;
    await assert.rejects(objects.create('b', bytes('1')), { code: 'STORE_UNUSABLE', message: /b in s3 bucket builds\/p .* not known/ });
  });
});

test('a body that ends early or falls silent is an error', () => {
  const mood: Mood = {};
  return withServer(mood, async (objects) => {
    await objects.put('a', Buffer.alloc(100_000, 1));
    mood.cutsBodies = 7;
    await assert.rejects((await objects.stream('a'))!.toArray(), { code: 'STORE_UNUSABLE', message: /\ba\b/ });
    await assert.rejects(objects.get('a', 100_000), { code: 'STORE_UNUSABLE' });
    delete mood.cutsBodies;
    mood.silentBodies = true;
    await assert.rejects((await objects.stream('a'))!.toArray(), { code: 'STORE_UNUSABLE', message: /no byte for 400 ms/ });
  });
});

test('a reader that is slow itself is not cut off', () =>
  withServer({}, async (objects) => {
    await objects.put('a', Buffer.alloc(4_000_000, 1));
    let seen = 0;
    for await (const chunk of (await objects.stream('a'))!) {
      if (seen === 0) await new Promise((resolve) => setTimeout(resolve, 1000));
      seen += (chunk as Buffer).length;
    }
    assert.equal(seen, 4_000_000);
  }));

test('put goes on after a lost answer', () => {
  const mood: Mood = { dropsAnswers: 1 };
  return withServer(mood, async (objects) => {
    await objects.put('a', { stream: Readable.from([bytes('x')]), size: 1 });
    assert.equal(String(await objects.get('a', 1)), 'x');
  });
});

test('an endpoint that is not there is told with bucket, key and cause, without secrets', async () => {
  const objects = s3Objects({
    bucket: 'builds',
    prefix: '',
    endpoint: 'http://127.0.0.1:1',
    region: null,
    forcePathStyle: null,
    patience: 400,
  });
  await assert.rejects(objects.get('some/key', 1), (error: Error & { code: string; hint: string }) => {
    assert.equal(error.code, 'STORE_UNUSABLE');
    assert.match(error.message, /s3 bucket builds at http:\/\/127\.0\.0\.1:1 failed at some\/key: .*ECONNREFUSED/);
    assert.doesNotMatch(JSON.stringify(error), /SECRET/);
    return true;
  });
  await objects.close();
});
