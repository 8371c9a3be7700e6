/** gcsObjects against a server of our own, for the few calls of the JSON API that are used. It says nothing about Google. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { objectsContract } from './contract.ts';
import { openObjects } from './open-objects.ts';
import { probeObjects } from './probe.ts';

interface Stored {
  readonly name: string;
  readonly bytes: Buffer;
  readonly generation: number;
  readonly metadata: Record<string, string>;
}

const buckets = new Map<string, Map<string, Stored>>();
const uploads = new Map<string, { bucket: string; name: string; metadata: Record<string, string>; parts: Buffer[] }>();
/** Larger than any number that could be confused with a size or a count. */
let generations = 1_700_000_000_000_000;
const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => response.destroy(error as Error));
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
after(() => {
  server.closeAllConnections();
  server.close();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', endpoint);
  const body = Buffer.concat(await request.toArray());
  const json = (status: number, value: unknown, headers = {}): void => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
  };
  const fail = (status: number, message: string): void => json(status, { error: { code: status, message, errors: [{ message }] } });
  const [, bucketName = '', rest] = /\/b\/([^/]+)\/o(?:\/(.*))?$/.exec(url.pathname) ?? [];
  const bucket = buckets.get(bucketName);
  if (bucket === undefined) return fail(404, 'The specified bucket does not exist.');
  const keep = (name: string, bytes: Buffer, metadata: Record<string, string>): void => {
    const wanted = url.searchParams.get('ifGenerationMatch');
    if (wanted !== null && Number(wanted) !== (bucket.get(name)?.generation ?? 0)) return fail(412, 'conditionNotMet');
    bucket.set(name, { name, bytes, generation: ++generations, metadata });
    json(200, resource(bucket.get(name)!));
  };
  if (url.pathname.startsWith('/upload') || url.pathname.includes('/upload/')) {
    const id = url.searchParams.get('upload_id');
    if (id !== null) {
      const upload = uploads.get(id)!;
      const [, last, total] = /bytes (?:\d+-(\d+)|\*)\/(\d+|\*)/.exec(String(request.headers['content-range'])) ?? [];
      upload.parts.push(body);
      if (total !== undefined && total !== '*' && (last === undefined || Number(last) + 1 === Number(total)))
        return keep(upload.name, Buffer.concat(upload.parts), upload.metadata);
      const length = upload.parts.reduce((sum, part) => sum + part.length, 0);
      response.writeHead(308, { range: `bytes=0-${length - 1}` }).end();
      return;
    }
    if (url.searchParams.get('uploadType') === 'resumable') {
      const { metadata = {} } = JSON.parse(body.toString() || '{}') as { metadata?: Record<string, string> };
      const upload = String(uploads.size);
      uploads.set(upload, { bucket: bucketName, name: url.searchParams.get('name') ?? '', metadata, parts: [] });
      response.writeHead(200, { location: `${endpoint}${url.pathname}?upload_id=${upload}` }).end();
      return;
    }
    const boundary = /boundary=(\S+)/.exec(String(request.headers['content-type']))![1]!.replaceAll(/["']/g, '');
    const [, head, content] = split(body, `--${boundary}`);
    const { metadata = {} } = JSON.parse(partBody(head!).toString()) as { metadata?: Record<string, string> };
    return keep(url.searchParams.get('name') ?? '', partBody(content!), metadata);
  }
  if (rest === undefined) {
    const found = [...bucket.values()]
      .filter(({ name }) => name.startsWith(url.searchParams.get('prefix') ?? ''))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const from = Number(url.searchParams.get('pageToken') ?? 0);
    const more = from + 500 < found.length ? { nextPageToken: String(from + 500) } : {};
    return json(200, { items: found.slice(from, from + 500).map(resource), ...more });
  }
  const composed = /^(.*)\/compose$/.exec(rest);
  if (composed !== null && request.method === 'POST') {
    const { sourceObjects } = JSON.parse(body.toString()) as { sourceObjects: { name: string; generation?: number }[] };
    const sources = sourceObjects.map(({ name }) => bucket.get(name));
    if (sources.length > 32) return fail(400, 'too many sources');
    if (sources.includes(undefined)) return fail(404, 'No such object');
    return keep(decodeURIComponent(composed[1]!), Buffer.concat(sources.map((source) => source!.bytes)), {});
  }
  const found = bucket.get(decodeURIComponent(rest));
  const wanted = url.searchParams.get('generation');
  if (found === undefined || (wanted !== null && Number(wanted) !== found.generation)) return fail(404, `No such object: ${rest}`);
  if (request.method === 'DELETE') {
    bucket.delete(found.name);
    response.writeHead(204).end();
  } else if (url.searchParams.get('alt') !== 'media') json(200, resource(found));
  else {
    const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? 'bytes=0-')!;
    const bytes = found.bytes.subarray(Number(start), Number(end || Infinity) + 1);
    response
      .writeHead(206, {
        'content-length': bytes.length,
        'content-range': `bytes ${start}-${Number(start) + bytes.length - 1}/${found.bytes.length}`,
      })
      .end(bytes);
  }
}

const resource = ({ name, bytes, generation, metadata }: Stored): object => ({
  name,
  size: String(bytes.length),
  generation: String(generation),
  metadata,
  updated: new Date().toISOString(),
});

function split(body: Buffer, mark: string): Buffer[] {
  const at = body.indexOf(mark);
  return at < 0 ? [body] : [body.subarray(0, at), ...split(body.subarray(at + mark.length), mark)];
}

/** Behind the headers, and before the line break that ends a part. */
const partBody = (part: Buffer): Buffer => part.subarray(part.indexOf('\r\n\r\n') + 4, part.length - 2);

let count = 0;
const address = (): Promise<string> => {
  const bucket = `farm-${count++}`;
  buckets.set(bucket, new Map());
  return Promise.resolve(`gs://${bucket}/a/b?endpoint=${endpoint}`);
};

objectsContract('gcs (a server of our own)', { address, open: openObjects, runs: 20, listed: 1200, swaps: 10 });

test('gcsObjects passes the probe, and leaves nothing between', async () => {
  const objects = await openObjects(await address());
  await probeObjects(objects);
  await objects.put('x', Buffer.from('x'));
  await objects.compose(
    'many',
    Array.from({ length: 70 }, () => 'x'),
  );
  assert.equal(String(await objects.get('many', 70)), 'x'.repeat(70));
  assert.deepEqual([...buckets.get(`farm-${count - 1}`)!.keys()].sort(), ['a/b/many', 'a/b/x']);
});

test('gcsObjects: a bucket that does not exist is an error, never an absent object', async () => {
  const objects = await openObjects(`gs://nowhere/x?endpoint=${endpoint}`);
  for (const call of [
    () => objects.get('a', 1),
    () => objects.size('a'),
    () => objects.create('a', Buffer.from('x')),
    () => objects.put('a', Buffer.from('x')),
  ])
    await assert.rejects(call, { code: 'STORE_UNUSABLE', message: /nowhere/, hint: /Create the bucket/ });
});
