import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatNote, parseNote } from '../note/note.ts';
import { makeVerifierKey } from '../note/verifier-key.ts';
import { formatReleaseNote, openReleaseNote, releaseNoteMessage } from './release-note.ts';

const isNoteInvalid = (error: unknown): boolean => error instanceof LockstepError && error.code === 'NOTE_INVALID';

const pair = generateKeyPairSync('ed25519');
const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
const key = makeVerifierKey('release.example/hello', 'ed25519', publicKey);
const text = `SHA256 (é) = ${'0'.repeat(64)}\n`;
const note = formatReleaseNote(text, key, new Uint8Array(sign(null, releaseNoteMessage(text), pair.privateKey)));

test('openReleaseNote gives back the text that formatReleaseNote put under a signature', () => {
  assert.equal(openReleaseNote(note, key), text);
  assert.equal(openReleaseNote(Buffer.from(note), key), text);
  assert.equal(openReleaseNote(note, makeVerifierKey('other', 'ed25519', publicKey)), null, 'no signature of that name');
  assert.throws(() => openReleaseNote(note.replace('= 0', '= 1'), key), isNoteInvalid, 'changed text');
  assert.throws(() => openReleaseNote(text, key), isNoteInvalid, 'no note');
  const parsed = parseNote(note);
  const bad = { ...parsed.signatures[0]!, signature: new Uint8Array(64) };
  assert.throws(
    () => openReleaseNote(formatNote({ ...parsed, signatures: [...parsed.signatures, bad] }), key),
    isNoteInvalid,
    'one good, one bad',
  );
  const cosigner = makeVerifierKey(key.name, 'cosignature-ed25519', publicKey);
  assert.equal(openReleaseNote(note, cosigner), null);
});

test('releaseNoteMessage refuses what no note can hold', () => {
  for (const bad of ['', '\n', 'a', 'a\r\n', 'a\tb\n', '\ud800\n', 'a'.repeat(1_000_000) + '\n'])
    assert.throws(() => releaseNoteMessage(bad), isNoteInvalid, JSON.stringify(bad.slice(0, 10)));
  for (const good of ['a\n', 'a\n\n', 'a\n\nb\n', note]) assert.deepEqual(Buffer.from(releaseNoteMessage(good)), Buffer.from(good));
  assert.throws(() => formatReleaseNote(text, key, new Uint8Array(63)), isNoteInvalid);
  assert.throws(() => formatReleaseNote(text, makeVerifierKey('a', 'cosignature-ed25519', publicKey), new Uint8Array(64)), isNoteInvalid);
});
