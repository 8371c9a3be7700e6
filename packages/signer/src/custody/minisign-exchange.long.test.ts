/** Keys exchanged with the real minisign, whose own scrypt takes 1 GiB and seconds. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { rawEd25519 } from '@lockstep/protocol/key/any-key';
import { blake2b } from '@noble/hashes/blake2.js';
import { makeFileKey, openFileKey, readFileKeyHeader } from './file-key.ts';
import { exportMinisignKey, importMinisignKey } from './minisign-exchange.ts';
import { readMinisignSecret } from './minisign-secret.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-minisign-`);
after(() => rmSync(FOLDER, { recursive: true }));
const NOW = new Date('2026-01-31T12:00:00Z');
const ask = (text: string | null) => () => Promise.resolve(text === null ? null : Buffer.from(text));
const code = (wanted: string) => (error: unknown) => error instanceof LockstepError && error.code === wanted;

/** The real minisign; passphrases go to its standard input. */
function minisign(args: readonly string[], input = ''): { readonly status: number | null; readonly stderr: string } {
  const run = spawnSync('minisign', args, { cwd: FOLDER, input, encoding: 'utf8', timeout: 120_000 });
  assert.equal(run.error, undefined, 'minisign is missing: sh scripts/setup.sh test');
  return { status: run.status, stderr: `${run.stdout}${run.stderr}` };
}

function works(args: readonly string[], input = ''): void {
  const run = minisign(args, input);
  assert.equal(run.status, 0, run.stderr);
}

/** A prehashed minisign signature by one of our keys, put together by hand: what the real program shall accept. */
async function signWith(keyFile: string, message: string): Promise<void> {
  const key = await openFileKey(keyFile, ask('ours'));
  const digest = blake2b(readFileSync(message), { dkLen: 64 });
  const signature = await key.sign(digest);
  const comment = 'made by a signing node';
  const global = await key.sign(Buffer.concat([signature, Buffer.from(comment)]));
  const head = Buffer.concat([Buffer.from('ED'), Buffer.from(readFileKeyHeader(keyFile).minisignKeyId ?? '', 'hex'), signature]);
  writeFileSync(
    `${message}.minisig`,
    `untrusted comment: x\n${head.toString('base64')}\ntrusted comment: ${comment}\n${Buffer.from(global).toString('base64')}\n`,
  );
}

test('importMinisignKey: keys of the real minisign, with and without a passphrase, sign what it verifies; exported, it signs with them', async () => {
  writeFileSync(`${FOLDER}/message`, 'hello\n');
  works(['-G', '-W', '-p', 'w.pub', '-s', 'w.key']);
  works(['-G', '-p', 'p.pub', '-s', 'p.key'], 'theirs\ntheirs\n');
  for (const [name, passphrase] of [
    ['w', null],
    ['p', 'theirs'],
  ] as const) {
    const ours = `${FOLDER}/${name}.lockstep`;
    const header = await importMinisignKey(`${FOLDER}/${name}.key`, ask(passphrase), {
      path: ours,
      name: `from-${name}`,
      passphrase: Buffer.from('ours'),
      now: NOW,
      scrypt: { n: 2 ** 14, r: 8, p: 1 },
    });
    const published = Buffer.from(readFileSync(`${FOLDER}/${name}.pub`, 'utf8').split('\n')[1] ?? '', 'base64');
    assert.equal(toHex(rawEd25519(header.public)), published.subarray(10).toString('hex'));
    assert.equal(header.minisignKeyId, published.subarray(2, 10).toString('hex'));
    await signWith(ours, `${FOLDER}/message`);
    works(['-V', '-H', '-p', `${name}.pub`, '-m', 'message']);

    // Back: unencrypted, encrypted with light parameters.
    await exportMinisignKey(ours, ask('ours'), { path: `${FOLDER}/${name}-plain.key`, passphrase: null });
    works(['-S', '-W', '-s', `${name}-plain.key`, '-m', 'message']);
    works(['-V', '-H', '-p', `${name}.pub`, '-m', 'message']);
    await exportMinisignKey(ours, ask('ours'), { path: `${FOLDER}/${name}-light.key`, passphrase: Buffer.from('third'), n: 2 ** 14 });
    works(['-S', '-s', `${name}-light.key`, '-m', 'message'], 'third\n');
    works(['-V', '-H', '-p', `${name}.pub`, '-m', 'message']);
    assert.notEqual(minisign(['-S', '-s', `${name}-light.key`, '-m', 'message'], 'wrong\n').status, 0);
    await assert.rejects(
      exportMinisignKey(ours, ask('ours'), { path: `${FOLDER}/${name}-light.key`, passphrase: null }),
      code('KEY_INVALID'),
    );
    await assert.rejects(readMinisignSecret(readFileSync(`${FOLDER}/${name}-light.key`), ask('wrong')), code('PASSPHRASE_WRONG'));
  }
  await assert.rejects(readMinisignSecret(readFileSync(`${FOLDER}/p.key`), ask(null)), code('PASSPHRASE_WRONG'));
});

test('exportMinisignKey with minisign’s own default of 1 GiB; a key of ours, with the id that is given', async () => {
  const path = `${FOLDER}/own.key`;
  await makeFileKey({ path, name: 'own', use: 'release-minisign', passphrase: null, now: NOW });
  const to = { path: `${FOLDER}/own-minisign.key`, passphrase: Buffer.from('heavy') };
  await assert.rejects(exportMinisignKey(path, ask(null), to), code('KEY_INVALID'));
  await exportMinisignKey(path, ask(null), { ...to, keyId: Buffer.from('0102030405060708', 'hex') });
  works(['-R', '-s', 'own-minisign.key', '-p', 'own.pub'], 'heavy\n');
  const published = Buffer.from(readFileSync(`${FOLDER}/own.pub`, 'utf8').split('\n')[1] ?? '', 'base64');
  assert.equal(published.toString('hex'), `45640102030405060708${toHex(rawEd25519(readFileKeyHeader(path).public))}`);
});
