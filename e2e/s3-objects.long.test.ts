/** The contract of named objects against a real S3: Ceph's radosgw. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { objectsContract } from '@lockstep/store/objects/contract';
import { openObjects } from '@lockstep/store/objects/open-objects';
import { probeObjects } from '@lockstep/store/objects/probe';
import { radosgwMissing, startRadosgw } from './radosgw.ts';

const missing = radosgwMissing();
if (missing === null) {
  const radosgw = await startRadosgw();
  after(() => radosgw.stop());
  process.env['AWS_ACCESS_KEY_ID'] = radosgw.accessKey;
  process.env['AWS_SECRET_ACCESS_KEY'] = radosgw.secretKey;
  const at = (bucket: string, prefix: string): string => `s3://${bucket}/${prefix}?endpoint=${radosgw.endpoint}`;
  let count = 0;

  objectsContract('radosgw', {
    address: () => Promise.resolve(at(radosgw.bucket, `farm/${count++}`)),
    open: openObjects,
    runs: 15,
    listed: 1100,
    swaps: 10,
  });

  test('radosgw can do what is asked of a storage', async () => {
    const objects = await openObjects(at(radosgw.bucket, 'probed'));
    await probeObjects(objects);
    for await (const { key } of objects.list('')) assert.fail(`${key} was left`);
    await objects.close();
  });

  test('two prefixes of one bucket know nothing of each other', async () => {
    const [one, two] = await Promise.all([openObjects(at(radosgw.bucket, 'pre')), openObjects(at(radosgw.bucket, 'prefix'))]);
    assert.equal(await one.create('a', Buffer.from('1')), true);
    assert.equal(await two.create('a', Buffer.from('2')), true);
    for await (const { key, size } of one.list('')) assert.deepEqual([key, size], ['a', 1]);
    await Promise.all([one.close(), two.close()]);
  });

  test('uploads that failed leave no parts behind', async () => {
    const client = new S3Client({ endpoint: radosgw.endpoint, region: 'us-east-1', forcePathStyle: true });
    const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket: radosgw.bucket }));
    client.destroy();
    // The two writers that were killed: nobody was left to abort (see the first comment of s3-objects.ts).
    assert.ok((Uploads ?? []).length <= 2, JSON.stringify(Uploads));
  });

  test('a bucket that does not exist is an error, never an absent object', async () => {
    const objects = await openObjects(at('nowhere', 'x'));
    for (const call of [
      () => objects.get('a', 1),
      () => objects.size('a'),
      () => objects.stream('a'),
      () => objects.put('a', Buffer.from('x')),
      () => objects.create('a', Buffer.from('x')),
      () => objects.swapIf('a', Buffer.from('x'), Buffer.from('y')),
      () => objects.remove('a'),
      () => objects.list('')[Symbol.asyncIterator]().next(),
    ])
      await assert.rejects(call, { code: 'STORE_UNUSABLE', message: /nowhere/ });
    await objects.close();
  });

  test('a wrong key is told as such, and not shown', async () => {
    const { AWS_SECRET_ACCESS_KEY: secret } = process.env;
    process.env['AWS_SECRET_ACCESS_KEY'] = 'not-the-SECRET';
    const objects = await openObjects(at(radosgw.bucket, 'x'));
    await assert.rejects(objects.get('a', 1), (error: Error & { code: string; hint: string }) => {
      assert.equal(error.code, 'STORE_UNUSABLE');
      assert.match(error.hint, /AWS_SECRET_ACCESS_KEY/);
      assert.doesNotMatch(`${error.message}${error.hint}`, /not-the-SECRET/);
      return true;
    });
    process.env['AWS_SECRET_ACCESS_KEY'] = secret;
    await objects.close();
  });
} else if (process.env['CI'] === undefined)
  test('the contract of objects on a real S3', { skip: `NOT TESTED. ${missing}` }, () => undefined);
else test('the contract of objects on a real S3', () => assert.fail(missing));
