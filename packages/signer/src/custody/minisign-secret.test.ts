import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import fc from 'fast-check';
import { makeFileKey } from './file-key.ts';
import { exportMinisignKey, importMinisignKey } from './minisign-exchange.ts';
import { readMinisignSecret, writeMinisignSecret } from './minisign-secret.ts';
import { limitsOfN, scryptOfLimits, SENSITIVE } from './sodium-scrypt.ts';
import { scryptProblem } from './scrypt.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-minisign-`);
after(() => rmSync(FOLDER, { recursive: true }));
const NOW = new Date('2026-01-31T12:00:00Z');
const ask = (text: string | null) => () => Promise.resolve(text === null ? null : Buffer.from(text));
const code = (wanted: string) => (error: unknown) => error instanceof LockstepError && error.code === wanted;

test('exportMinisignKey refuses a key of another use; importMinisignKey a file that others can read', async () => {
  const path = `${FOLDER}/log.key`;
  await makeFileKey({ path, name: 'log', use: 'log', passphrase: null, now: NOW });
  await assert.rejects(
    exportMinisignKey(path, ask(null), { path: `${FOLDER}/x`, passphrase: null, keyId: new Uint8Array(8) }),
    code('KEY_INVALID'),
  );
  const open = `${FOLDER}/open.key`;
  writeFileSync(open, await writeMinisignSecret({ keyId: new Uint8Array(8), seed: Buffer.alloc(32, 7) }, null));
  chmodSync(open, 0o644);
  await assert.rejects(
    importMinisignKey(open, ask(null), { path: `${FOLDER}/y`, name: 'y', passphrase: null, now: NOW }),
    code('KEY_INVALID'),
  );
});

test('scryptOfLimits is libsodium’s pickparams', () => {
  // Of libsodium's own constants: SENSITIVE, INTERACTIVE, and the smallest it takes.
  assert.deepEqual(scryptOfLimits(SENSITIVE), { n: 2 ** 20, r: 8, p: 1 });
  assert.deepEqual(scryptOfLimits({ opslimit: 524_288n, memlimit: 16_777_216n }), { n: 2 ** 14, r: 8, p: 1 });
  assert.deepEqual(scryptOfLimits({ opslimit: 0n, memlimit: 16_777_216n }), { n: 2 ** 10, r: 8, p: 1 });
  assert.deepEqual(scryptOfLimits({ opslimit: 4_194_304n, memlimit: 16_777_216n }), { n: 2 ** 14, r: 8, p: 8 });
  for (let log = 10; log <= 20; log++) assert.deepEqual(scryptOfLimits(limitsOfN(2 ** log)), { n: 2 ** log, r: 8, p: 1 });
});

test('scryptOfLimits of any two numbers is refused or bounded', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n), (opslimit, memlimit) => {
      const parameters = scryptOfLimits({ opslimit, memlimit });
      if (scryptProblem(parameters) === null) assert.ok(128 * parameters.n * parameters.r <= 1 << 30 && parameters.p <= 16);
    }),
  );
});

test('readMinisignSecret refuses costly parameters before it asks', async () => {
  const text = await writeMinisignSecret({ keyId: new Uint8Array(8), seed: Buffer.alloc(32, 7) }, Buffer.from('x'), 2 ** 12);
  const [comment, line] = text.split('\n');
  for (const [opslimit, memlimit] of [
    [2n ** 26n, 2n ** 31n],
    [2n ** 63n, 2n ** 63n],
    [2n ** 40n, 2n ** 24n],
    [0n, 0n],
  ] as const) {
    const bytes = Buffer.from(line ?? '', 'base64');
    bytes.writeBigUInt64LE(opslimit, 38);
    bytes.writeBigUInt64LE(memlimit, 46);
    const never = (): Promise<null> => Promise.reject(new Error('asked'));
    await assert.rejects(readMinisignSecret(Buffer.from(`${comment}\n${bytes.toString('base64')}\n`), never), code('KEY_INVALID'));
  }
});

test('readMinisignSecret of any damage is a key, KEY_INVALID or PASSPHRASE_WRONG', async () => {
  const whole = Buffer.from(await writeMinisignSecret({ keyId: new Uint8Array(8).fill(5), seed: Buffer.alloc(32, 7) }, null));
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), async (at, byte, cut) => {
      const copy = Buffer.from(whole);
      copy[at] = byte;
      const read = readMinisignSecret(cut ? copy.subarray(0, at) : copy, ask('x'));
      await read.catch((error: unknown) =>
        assert.ok(error instanceof LockstepError && ['KEY_INVALID', 'PASSPHRASE_WRONG'].includes(error.code), String(error)),
      );
    }),
    { numRuns: 300 },
  );
});
