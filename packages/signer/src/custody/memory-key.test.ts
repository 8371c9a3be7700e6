import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import { openFileKey } from './file-key.ts';
import { type HardwareRandom, hardwareRandom } from './hardware-random.ts';
import { makeMemoryKey } from './memory-key.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-memory-key-`);
after(() => rmSync(FOLDER, { recursive: true }));
const code = (wanted: string, message?: RegExp) => (error: unknown) =>
  error instanceof LockstepError && error.code === wanted && (message === undefined || message.test(error.message));
const kernel = hardwareRandom({ requireHardware: false, device: `${FOLDER}/none` });
const fixed = (byte: number): HardwareRandom => ({ seed: () => Promise.resolve({ bytes: Buffer.alloc(64, byte), sources: ['kernel'] }) });

test('makeMemoryKey signs, seals to a file key that is the same key, and forgets', async () => {
  for (const algorithm of ['ed25519', 'ecdsa-p256'] as const) {
    const key = await makeMemoryKey({ name: 'gap', use: 'release-dsse', algorithm, random: kernel });
    assert.deepEqual([key.custody, key.sources, key.public.algorithm], ['memory', ['kernel'], algorithm]);
    const message = Buffer.from('message');
    const signature = await key.sign(message);
    assert.ok(verifySignature(key.public, message, signature));
    const node = createPublicKey({ key: Buffer.from(key.public.spki), type: 'spki', format: 'der' });
    assert.ok(verify(algorithm === 'ed25519' ? null : 'sha256', message, node, signature));
    const path = `${FOLDER}/${algorithm}.key`;
    const now = new Date('2026-01-31T12:00:00Z');
    await key.sealToFile({ path, passphrase: Buffer.from('sealed'), now, scrypt: { n: 2 ** 14, r: 8, p: 1 } });
    const again = await openFileKey(path, () => Promise.resolve(Buffer.from('sealed')));
    assert.deepEqual([again.name, again.use, again.public], ['gap', 'release-dsse', key.public]);
    await key.close();
    await assert.rejects(key.sign(message), code('CUSTODY_FAILED'));
    await assert.rejects(key.sealToFile({ path: `${path}2`, passphrase: Buffer.from('x'), now }), code('CUSTODY_FAILED'));
  }
});

test('makeMemoryKey: one seed, one key; the seed is wiped; no RSA', async () => {
  const ids = await Promise.all(
    [1, 1, 2].map(async (byte) => (await makeMemoryKey({ name: 'a', use: 'node', random: fixed(byte) })).public.id),
  );
  assert.equal(ids[0], ids[1]);
  assert.notEqual(ids[0], ids[2]);
  const bytes = Buffer.alloc(64, 3);
  await makeMemoryKey({ name: 'a', use: 'log', random: { seed: () => Promise.resolve({ bytes, sources: ['kernel'] }) } });
  assert.ok(bytes.every((byte) => byte === 0));
  await assert.rejects(makeMemoryKey({ name: 'a', use: 'secure-boot', random: kernel }), code('KEY_INVALID'));
});

test('hardwareRandom mixes a device with the kernel, and says so', async () => {
  // A stand-in for /dev/hwrng that every machine has.
  const random = hardwareRandom({ requireHardware: true, device: '/dev/urandom' });
  const [one, two] = [await random.seed(), await random.seed()];
  assert.deepEqual(one.sources, ['hwrng', 'kernel']);
  assert.equal(one.bytes.length, 64);
  assert.ok(!one.bytes.equals(two.bytes));
});

test('hardwareRandom reads the machine’s own /dev/hwrng where there is one', { skip: !existsSync('/dev/hwrng') }, async () => {
  const { sources } = await hardwareRandom({ requireHardware: false }).seed();
  assert.ok(sources.includes('kernel'));
});

test('hardwareRandom: a device that is missing, a file, dead, empty or slow is not a source, and is refused where one is demanded', async () => {
  writeFileSync(`${FOLDER}/file`, Buffer.alloc(1000, 1));
  for (const [device, why] of [
    [`${FOLDER}/none`, /ENOENT/],
    [`${FOLDER}/file`, /not a device/],
    ['/dev/zero', /same bytes/],
    ['/dev/null', /gave 0 of 64/],
    ['/dev/ptmx', /gave 0 of 64|cannot be read/],
  ] as const) {
    const before = performance.now();
    assert.deepEqual((await hardwareRandom({ requireHardware: false, device, maxWaitMs: 50 }).seed()).sources, ['kernel']);
    await assert.rejects(hardwareRandom({ requireHardware: true, device, maxWaitMs: 50 }).seed(), code('HOST_CANNOT', why), device);
    assert.ok(performance.now() - before < 5000);
  }
});
