import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, verify } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import fc from 'fast-check';
import { changePassphrase, makeFileKey, openFileKey, openPkcs8, readFileKeyHeader } from './file-key.ts';
import { parseKeyFile } from './key-file-format.ts';
import { requireUse } from './signing-key.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-file-key-`);
after(() => rmSync(FOLDER, { recursive: true }));

const NOW = new Date('2026-01-31T12:00:00.500Z');
const LIGHT = { n: 2 ** 14, r: 8, p: 1 };
const PASSPHRASE = 'correct horse battery staple';
const bytes = (text: string): Buffer => Buffer.from(text);
const ask = (text: string | null) => () => Promise.resolve(text === null ? null : bytes(text));
const never = (): Promise<null> => Promise.reject(new Error('asked for a passphrase'));
const code =
  (wanted: string, message?: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof LockstepError, String(error));
    assert.equal(error.code, wanted, error.message);
    if (message !== undefined) assert.match(error.message, message);
    assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack ?? ''}`, new RegExp(PASSPHRASE));
    return true;
  };
const make = (path: string, more: Partial<Parameters<typeof makeFileKey>[0]> = {}) =>
  makeFileKey({ path, name: 'release', use: 'release-dsse', passphrase: bytes(PASSPHRASE), now: NOW, scrypt: LIGHT, ...more });

test('makeFileKey writes a private file that openFileKey signs with; its header needs no passphrase', async () => {
  for (const algorithm of ['ed25519', 'ecdsa-p256'] as const) {
    const path = `${FOLDER}/deep/${algorithm}.key`;
    const header = await make(path, { algorithm });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(header.created, '2026-01-31T12:00:00Z');
    const { protection, ...read } = readFileKeyHeader(path);
    assert.deepEqual([protection, read], ['passphrase', header]);
    const key = await openFileKey(path, ask(PASSPHRASE));
    assert.deepEqual([key.name, key.use, key.custody, key.public.algorithm], ['release', 'release-dsse', 'file', algorithm]);
    const signature = await key.sign(bytes('message'));
    assert.ok(verifySignature(key.public, bytes('message'), signature));
    const node = createPublicKey({ key: Buffer.from(key.public.spki), type: 'spki', format: 'der' });
    assert.ok(verify(algorithm === 'ed25519' ? null : 'sha256', bytes('message'), node, signature));
    await key.close();
    await assert.rejects(key.sign(bytes('message')), code('CUSTODY_FAILED'));
  }
  assert.deepEqual(
    readdirSync(`${FOLDER}/deep`).filter((name) => name.endsWith('.part')),
    [],
  );
});

test('makeFileKey with its default parameters takes 128 MiB', async () => {
  const path = `${FOLDER}/default.key`;
  await makeFileKey({ path, name: 'release', use: 'log', passphrase: bytes(PASSPHRASE), now: NOW });
  assert.match(readFileSync(path, 'utf8'), /"n": 131072,\s*"r": 8,\s*"p": 1/);
  await openFileKey(path, ask(PASSPHRASE));
});

test('makeFileKey never replaces, and refuses names, algorithms and passphrases that cannot be', async () => {
  const path = `${FOLDER}/once.key`;
  await make(path);
  const before = readFileSync(path);
  await assert.rejects(make(path), code('KEY_INVALID', /there already/));
  assert.deepEqual(readFileSync(path), before);
  await assert.rejects(make(`${FOLDER}/x`, { name: '../x' }), code('KEY_INVALID', /name/));
  await assert.rejects(make(`${FOLDER}/x`, { use: 'log', algorithm: 'ecdsa-p256' }), code('KEY_INVALID', /log cannot be/));
  await assert.rejects(make(`${FOLDER}/x`, { passphrase: bytes('') }), code('KEY_INVALID', /empty/));
  await assert.rejects(make(`${FOLDER}/x`, { scrypt: { n: 1024, r: 8, p: 1 } }), code('KEY_INVALID', /protects nothing/));
});

test('openFileKey refuses a wrong passphrase, none, and a key of another use', async () => {
  const path = `${FOLDER}/wrong.key`;
  await make(path);
  await assert.rejects(openFileKey(path, ask(`${PASSPHRASE}!`)), code('PASSPHRASE_WRONG'));
  await assert.rejects(openFileKey(path, ask('')), code('PASSPHRASE_WRONG'));
  await assert.rejects(openFileKey(path, ask(null)), code('PASSPHRASE_WRONG'));
  await assert.rejects(openFileKey(`${FOLDER}/none.key`, never), code('FILE_NOT_FOUND'));
  const key = await openFileKey(path, ask(PASSPHRASE));
  requireUse(key, 'release-dsse');
  assert.throws(() => requireUse(key, 'release-minisign'), code('KEY_INVALID'));
});

test('openFileKey wipes the passphrase that it was given', async () => {
  const path = `${FOLDER}/wiped.key`;
  await make(path);
  for (const text of [PASSPHRASE, 'wrong']) {
    const given = bytes(text);
    await openFileKey(path, () => Promise.resolve(given)).catch(() => undefined);
    assert.ok(given.every((byte) => byte === 0));
  }
});

test('openFileKey refuses what others can read, folders and pipes', async () => {
  const path = `${FOLDER}/open.key`;
  await make(path);
  for (const mode of [0o640, 0o604, 0o660]) {
    chmodSync(path, mode);
    await assert.rejects(openFileKey(path, never), code('KEY_INVALID', /read by others/));
    assert.throws(() => readFileKeyHeader(path), code('KEY_INVALID'));
  }
  chmodSync(path, 0o600);
  symlinkSync(path, `${FOLDER}/link.key`);
  await openFileKey(`${FOLDER}/link.key`, ask(PASSPHRASE));
  await assert.rejects(openFileKey(FOLDER, never), code('KEY_INVALID', /regular/));
});

test('openFileKey: a file without protection opens without asking, and its public key must be its own', async () => {
  const path = `${FOLDER}/home.key`;
  await make(path, { passphrase: null });
  assert.equal(readFileKeyHeader(path).protection, 'none');
  assert.ok(verifySignature(readFileKeyHeader(path).public, bytes('m'), await (await openFileKey(path, never)).sign(bytes('m'))));
  const other = await make(`${FOLDER}/home2.key`, { passphrase: null });
  const swapped = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
  writeFileSync(path, JSON.stringify({ ...swapped, public: toBase64(other.public.spki) }));
  await assert.rejects(openFileKey(path, never), code('KEY_INVALID', /another private key/));
});

test('openFileKey: an RSA key is held, and signs nothing', async () => {
  const path = `${FOLDER}/rsa.key`;
  await make(path, { use: 'secure-boot' });
  const key = await openFileKey(path, ask(PASSPHRASE));
  assert.equal(key.public.algorithm, 'rsa-2048');
  await assert.rejects(key.sign(bytes('m')), code('KEY_INVALID', /RSA/));
});

test('changePassphrase: the same key under another passphrase, with another salt; a wrong one changes nothing', async () => {
  const path = `${FOLDER}/change.key`;
  const header = await make(path);
  const before = readFileSync(path, 'utf8');
  await assert.rejects(changePassphrase(path, ask('wrong'), never, LIGHT), code('PASSPHRASE_WRONG'));
  assert.equal(readFileSync(path, 'utf8'), before);
  await changePassphrase(path, ask(PASSPHRASE), ask('another'), LIGHT);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.notEqual(
    (JSON.parse(before) as { kdf: { salt: string } }).kdf.salt,
    (JSON.parse(readFileSync(path, 'utf8')) as { kdf: { salt: string } }).kdf.salt,
  );
  await assert.rejects(openFileKey(path, ask(PASSPHRASE)), code('PASSPHRASE_WRONG'));
  assert.deepEqual((await openFileKey(path, ask('another'))).public, header.public);
  await changePassphrase(path, ask('another'), ask(null), LIGHT);
  assert.deepEqual((await openFileKey(path, never)).public, header.public);
});

test('an encrypted file opens to no change of its plain parts', async () => {
  const path = `${FOLDER}/bound.key`;
  await make(path, { algorithm: 'ed25519' });
  const other = await make(`${FOLDER}/bound2.key`, { algorithm: 'ed25519' });
  const file = JSON.parse(readFileSync(path, 'utf8')) as { kdf: Record<string, unknown>; ciphertext: string };
  const changes: Record<string, unknown>[] = [
    { name: 'other' },
    { use: 'release-minisign' },
    { public: toBase64(other.public.spki) },
    { created: '2020-01-01T00:00:00Z' },
    { minisignKeyId: '0011223344556677' },
    { kdf: { ...file.kdf, n: 2 ** 15 } },
    { kdf: { ...file.kdf, p: 2 } },
    { kdf: { ...file.kdf, salt: toBase64(new Uint8Array(32)) } },
    { ciphertext: `A${file.ciphertext[0] === 'A' ? 'B' : 'A'}${file.ciphertext.slice(2)}` },
  ];
  for (const change of changes) {
    writeFileSync(path, JSON.stringify({ ...file, ...change }));
    await assert.rejects(openFileKey(path, ask(PASSPHRASE)), code('PASSPHRASE_WRONG'), JSON.stringify(change));
  }
});

test('parseKeyFile refuses parameters of scrypt that are too weak or too costly, before any passphrase is asked', async () => {
  const path = `${FOLDER}/bounds.key`;
  await make(path);
  const file = JSON.parse(readFileSync(path, 'utf8')) as { kdf: Record<string, unknown> };
  for (const kdf of [
    { n: 2 ** 13 },
    { n: 2 ** 21 },
    { n: 2 ** 14 + 1 },
    { n: 2 ** 31 },
    { r: 64 },
    { r: 0 },
    { p: 17 },
    { p: 0 },
    { n: 1.5 },
    { r: 1 },
    { n: -1 },
    { name: 'pbkdf2' },
  ]) {
    writeFileSync(path, JSON.stringify({ ...file, kdf: { ...file.kdf, ...kdf } }));
    await assert.rejects(openFileKey(path, never), code('KEY_INVALID'), JSON.stringify(kdf));
  }
});

test('parseKeyFile: an error about a file without protection does not show its secret', async () => {
  const path = `${FOLDER}/shown.key`;
  await make(path, { passphrase: null, algorithm: 'ed25519' });
  const { pkcs8 } = await openPkcs8(path, never);
  const text = readFileSync(path, 'utf8');
  const secret = toBase64(pkcs8);
  assert.ok(text.includes(secret));
  const hasPart = (shown: string): boolean =>
    Array.from({ length: secret.length - 24 }, (_, at) => secret.slice(at + 16, at + 24)).some((part) => shown.includes(part));
  const damaged = [
    text.replace('"pkcs8": "', '"pkcs8": '),
    text.replace(`"${secret}"`, `["${secret}"]`),
    text.replace(secret, `${secret}A`),
    text.replace('"pkcs8"', '"pkcs9"'),
    text.replace(`${secret}"`, secret),
  ];
  for (const one of damaged)
    assert.throws(
      () => parseKeyFile(Buffer.from(one), 'x.key'),
      (error: unknown) => {
        assert.ok(error instanceof LockstepError);
        assert.equal(error.code, 'KEY_INVALID');
        assert.ok(!hasPart(`${error.message}${error.hint}${error.stack ?? ''}`), error.message);
        return true;
      },
    );
  assert.ok(createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' }).asymmetricKeyType === 'ed25519');
});

test('parseKeyFile of any damage is a key or KEY_INVALID', async () => {
  const path = `${FOLDER}/fuzz.key`;
  await make(path);
  const whole = readFileSync(path);
  const refusedOrRead = (input: Uint8Array): void => {
    try {
      parseKeyFile(input, 'x.key');
    } catch (error) {
      assert.ok(error instanceof LockstepError && error.code === 'KEY_INVALID', String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refusedOrRead));
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(3), (at, byte, cut) => {
      const copy = Buffer.from(whole);
      copy[at] = byte;
      refusedOrRead(cut === 0 ? copy.subarray(0, at) : copy);
    }),
    { numRuns: 500 },
  );
  refusedOrRead(Buffer.alloc(20_000, 0x20));
});
