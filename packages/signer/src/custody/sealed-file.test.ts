import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openSealedFile, sealToFile } from './sealed-file.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-sealed-`);
after(() => rmSync(FOLDER, { recursive: true, force: true }));

const SECRET = Buffer.from('SECRET-SHARE-SECRET-SHARE-SECRET');
const PASSPHRASE = 'correct horse battery staple';
const say = (text: string | null) => () => Promise.resolve(text === null ? null : Buffer.from(text));
const never = (): Promise<never> => Promise.reject(new Error('the passphrase was asked for'));
const code =
  (wanted: string, why = /./) =>
  (error: unknown) =>
    error instanceof LockstepError && error.code === wanted && why.test(error.message) && !error.message.includes('SECRET');

interface Sealed {
  schema: string;
  kind: string;
  kdf: { n: number; r: number; p: number; salt: string; nonce: string } | null;
  bytes: string;
}
let count = 0;
const fresh = (): string => `${FOLDER}/${++count}/share.json`;

await sealToFile(`${FOLDER}/sealed.json`, 'share', SECRET, Buffer.from(PASSPHRASE));
const sealed = JSON.parse(readFileSync(`${FOLDER}/sealed.json`, 'utf8')) as Sealed;

function changed(change: (file: Sealed) => void): string {
  const file = structuredClone(sealed);
  change(file);
  const path = `${FOLDER}/changed-${++count}.json`;
  writeFileSync(path, `${JSON.stringify(file)}\n`, { mode: 0o600 });
  return path;
}

const flip = (base64: string, at = 0): string => {
  const bytes = Buffer.from(base64, 'base64');
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  return bytes.toString('base64');
};

test('openSealedFile gives back what was sealed, with a passphrase and without', async () => {
  assert.deepEqual(await openSealedFile(`${FOLDER}/sealed.json`, 'share', say(PASSPHRASE)), SECRET);
  const path = fresh();
  await sealToFile(path, 'share', SECRET, null);
  assert.deepEqual(await openSealedFile(path, 'share', never), SECRET);
});

test('sealToFile: only its owner can read it, and the secret is not in it', () => {
  assert.equal(statSync(`${FOLDER}/sealed.json`).mode & 0o777, 0o600);
  const file = readFileSync(`${FOLDER}/sealed.json`);
  for (const form of [SECRET.toString('utf8'), SECRET.toString('hex'), SECRET.toString('base64').slice(0, 40), PASSPHRASE])
    assert.ok(!file.includes(form));
});

test('sealToFile has a new salt and nonce each time', async () => {
  const path = fresh();
  await sealToFile(path, 'share', SECRET, Buffer.from(PASSPHRASE));
  const other = JSON.parse(readFileSync(path, 'utf8')) as Sealed;
  assert.notEqual(other.kdf?.salt, sealed.kdf?.salt);
  assert.notEqual(other.kdf?.nonce, sealed.kdf?.nonce);
  assert.notEqual(other.bytes, sealed.bytes);
});

test('sealToFile never writes over a file, and leaves the caller’s secret and passphrase as they were', async () => {
  const before = readFileSync(`${FOLDER}/sealed.json`);
  const passphrase = Buffer.from(PASSPHRASE);
  await assert.rejects(sealToFile(`${FOLDER}/sealed.json`, 'share', SECRET, passphrase), code('KEY_INVALID', /already/));
  await assert.rejects(sealToFile(`${FOLDER}/sealed.json`, 'share', SECRET, null), code('KEY_INVALID', /already/));
  assert.deepEqual(readFileSync(`${FOLDER}/sealed.json`), before);
  assert.equal(passphrase.toString(), PASSPHRASE);
  assert.equal(SECRET.toString(), 'SECRET-SHARE-SECRET-SHARE-SECRET');
});

test('sealToFile refuses an empty passphrase and what could not be opened again', async () => {
  const path = fresh();
  await assert.rejects(sealToFile(path, 'share', SECRET, Buffer.alloc(0)), code('KEY_INVALID', /passphrase is empty/));
  await assert.rejects(sealToFile(path, 'share', Buffer.alloc(2 << 20), null), code('KEY_INVALID', /too large/));
  assert.ok(!existsSync(path));
  const largest = Buffer.alloc((2 << 20) * 0.75 - 4096, 7);
  await sealToFile(path, 'share', largest, null);
  assert.ok((await openSealedFile(path, 'share', never)).equals(largest));
});

test('openSealedFile: a wrong passphrase, none, and every changed part are refused by name', async () => {
  const path = `${FOLDER}/sealed.json`;
  await assert.rejects(openSealedFile(path, 'share', say('wrong')), code('PASSPHRASE_WRONG'));
  await assert.rejects(openSealedFile(path, 'share', say('')), code('PASSPHRASE_WRONG'));
  await assert.rejects(openSealedFile(path, 'share', say(null)), code('PASSPHRASE_WRONG'));
  for (const change of [
    (file: Sealed) => (file.bytes = flip(file.bytes)),
    (file: Sealed) => (file.bytes = flip(file.bytes, -1)),
    (file: Sealed) => (file.bytes = Buffer.from(file.bytes, 'base64').subarray(0, -1).toString('base64')),
    (file: Sealed) => (file.kdf!.salt = flip(file.kdf!.salt)),
    (file: Sealed) => (file.kdf!.nonce = flip(file.kdf!.nonce)),
    (file: Sealed) => (file.kdf!.n /= 2),
  ])
    await assert.rejects(openSealedFile(changed(change), 'share', say(PASSPHRASE)), code('PASSPHRASE_WRONG'));
});

test('openSealedFile: another kind, other bounds or another form are refused before the passphrase is asked for', async () => {
  await assert.rejects(openSealedFile(`${FOLDER}/sealed.json`, 'box', never), code('KEY_INVALID', /no sealed box/));
  for (const change of [
    (file: Sealed) => (file.kind = 'box'),
    (file: Sealed) => (file.schema = 'lockstep-sealed/v2'),
    (file: Sealed) => (file.kdf!.n = 2 ** 30),
    (file: Sealed) => (file.kdf!.n = 2 ** 10),
    (file: Sealed) => (file.kdf!.n = 3),
    (file: Sealed) => (file.kdf!.p = 64),
    (file: Sealed) => (file.kdf!.nonce = ''),
    (file: Sealed) => (file.bytes = ''),
    (file: Sealed) => (file.bytes = Buffer.alloc(16).toString('base64')),
    (file: Sealed) => (file.bytes = 'not base64!'),
    (file: Sealed) => Object.assign(file, { more: 1 }),
  ])
    await assert.rejects(openSealedFile(changed(change), 'share', never), code('KEY_INVALID', /no sealed share/));
});

test('openSealedFile: the kind is bound to the secret, so that renaming it in the file opens nothing', async () => {
  const renamed = changed((file) => (file.kind = 'box'));
  await assert.rejects(openSealedFile(renamed, 'box', say(PASSPHRASE)), code('PASSPHRASE_WRONG'));
});

test('openSealedFile: a file that others can read, a folder, none, and one that is too large are refused', async () => {
  const open = changed(() => undefined);
  chmodSync(open, 0o640);
  await assert.rejects(openSealedFile(open, 'share', never), code('KEY_INVALID', /read by others/));
  await assert.rejects(openSealedFile(FOLDER, 'share', never), code('KEY_INVALID', /not a regular file/));
  await assert.rejects(openSealedFile(`${FOLDER}/none`, 'share', never), code('FILE_NOT_FOUND'));
  writeFileSync(`${FOLDER}/large`, Buffer.alloc((2 << 20) + 1, 32), { mode: 0o600 });
  await assert.rejects(openSealedFile(`${FOLDER}/large`, 'share', never), code('KEY_INVALID', /more than/));
});

test('openSealedFile wipes the passphrase that it was given, whether it opens or not', async () => {
  for (const [path, text] of [
    [`${FOLDER}/sealed.json`, PASSPHRASE],
    [`${FOLDER}/sealed.json`, 'wrong'],
  ] as const) {
    const said = Buffer.from(text);
    await openSealedFile(path, 'share', () => Promise.resolve(said)).catch(() => undefined);
    assert.ok(said.every((byte) => byte === 0));
  }
});

test('openSealedFile says of a damaged file that it is none, never what is in it', async () => {
  const path = `${FOLDER}/damaged.json`;
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.constantFrom('', '{', '"SECRET', '\0', '}'), async (at, insert) => {
      const text = `{"bytes":"U0VDUkVU","kdf":null,"kind":"share","schema":"lockstep-sealed/v1"}`;
      const cut = at % text.length;
      fc.pre(text.slice(0, cut) + insert !== text);
      writeFileSync(path, text.slice(0, cut) + insert, { mode: 0o600 });
      await assert.rejects(openSealedFile(path, 'share', never), code('KEY_INVALID', /no sealed share/));
    }),
    { numRuns: 300 },
  );
});
