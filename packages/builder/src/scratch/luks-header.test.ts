import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { findOnPath } from '../fetch/program.ts';
import { luksHeader, PAYLOAD_BYTES } from './luks-header.ts';
import { newVolumeKey } from './volume-key.ts';

const CRYPTSETUP = findOnPath('cryptsetup') ?? 'cryptsetup';
const folder = mkdtempSync(`${tmpdir()}/luks-header-`);
after(() => rmSync(folder, { recursive: true }));

/** Status of cryptsetup, which reads the header and derives the master key without the kernel's help. */
function cryptsetupOpens(key: Buffer): number | null {
  const args = ['open', '--test-passphrase', '--key-file', '-', `${folder}/image`];
  return spawnSync(CRYPTSETUP, args, { input: key }).status;
}

test('luksHeader: cryptsetup unlocks it with its key, and with no other', () => {
  const key = newVolumeKey();
  writeFileSync(`${folder}/image`, luksHeader(key));
  truncateSync(`${folder}/image`, PAYLOAD_BYTES * 2);
  assert.equal(cryptsetupOpens(key), 0);
  assert.equal(cryptsetupOpens(newVolumeKey()), 2, 'status 2: no key with this passphrase');
  const dump = spawnSync(CRYPTSETUP, ['luksDump', `${folder}/image`], { encoding: 'utf8' }).stdout;
  assert.match(dump, /Version:\s+1\nCipher name:\s+aes\nCipher mode:\s+xts-plain64\n/);
  assert.match(dump, /MK bits:\s+512\n/);
});

test('luksHeader: the same key gives another volume each time', () => {
  const key = newVolumeKey();
  assert.notDeepEqual(luksHeader(key), luksHeader(key));
});

test('newVolumeKey: text that a pipe, a shell and QEMU leave alone', () => {
  assert.match(newVolumeKey().toString('latin1'), /^[\w-]{48}$/);
  assert.notDeepEqual(newVolumeKey(), newVolumeKey());
});
