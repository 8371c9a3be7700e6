import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatAllowedSigners, formatSshPublicKey } from './ssh-key.ts';
import { formatSshsig, isSshNamespace, parseSshsig, sshsigMessage, verifySshsig } from './sshsig.ts';
import { readSshStrings, sshString } from './ssh-wire.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;
const sha512 = (text: string): Uint8Array => new Uint8Array(createHash('sha512').update(text).digest());

const pair = generateKeyPairSync('ed25519');
const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
const made = (namespace: string, text: string): string =>
  formatSshsig({ publicKey, namespace, signature: new Uint8Array(sign(null, sshsigMessage(namespace, sha512(text)), pair.privateKey)) });

/** By ssh-keygen 9.2, over "hi\n"; the secret key is gone. */
const THEIR_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILQUK+Y5AzXZkty1LeOKOTT/fYkgUTCEG8BOXl46N/k9 me@example';
const THEIR_FILE = `-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgtBQr5jkDNdmS3LUt44o5NP99iS
BRMIQbwE5eXjo3+T0AAAAEZmlsZQAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gtZWQyNTUx
OQAAAECfubHw5anEV6HhZy+nCjN5dcVCvUVE5Q0nxcUTJVrspXERCSGv4igOeG0PvbEcLf
uhWjKf28YFzUsHQUbP1DwA
-----END SSH SIGNATURE-----
`;

test('parseSshsig and verifySshsig take what ssh-keygen made, and write it the same way', () => {
  const sig = parseSshsig(THEIR_FILE);
  assert.equal(formatSshsig(sig), THEIR_FILE);
  assert.equal(formatSshPublicKey(sig.publicKey, 'me@example'), THEIR_KEY);
  assert.equal(verifySshsig(sig, sig.publicKey, 'file', sha512('hi\n')), true);
  assert.equal(verifySshsig(sig, sig.publicKey, 'file', sha512('hi')), false, 'another file');
  assert.equal(verifySshsig(sig, sig.publicKey, 'git', sha512('hi\n')), false, 'another namespace');
  assert.equal(verifySshsig(sig, publicKey, 'file', sha512('hi\n')), false, 'another key');
  assert.equal(verifySshsig({ ...sig, publicKey }, publicKey, 'file', sha512('hi\n')), false, 'the key was exchanged');
});

test('sshsigMessage is the blob of PROTOCOL.sshsig', () => {
  const hash = sha512('x');
  const u32 = (value: number): string => Buffer.from([0, 0, 0, value]).toString('latin1');
  const expected = `SSHSIG${u32(4)}file${u32(0)}${u32(6)}sha512${u32(64)}${Buffer.from(hash).toString('latin1')}`;
  assert.equal(Buffer.from(sshsigMessage('file', hash)).toString('latin1'), expected);
  assert.throws(() => sshsigMessage('', hash), isCode('ENVELOPE_INVALID'));
  assert.throws(() => sshsigMessage('file', hash.subarray(1)), isCode('ENVELOPE_INVALID'));
});

test('isSshNamespace refuses what an allowed-signers file would read as a pattern or an end', () => {
  for (const good of ['file', 'git', 'lockstep-release', 'release@example.org', 'a'.repeat(255)]) assert.ok(isSshNamespace(good), good);
  for (const bad of ['', 'a b', 'a,b', '*', 'a?', '!a', 'a"', 'é', 'a\n', '\u0000', '-a', 'a'.repeat(256)]) {
    assert.equal(isSshNamespace(bad), false, bad);
    assert.throws(() => formatSshsig({ publicKey, namespace: bad, signature: new Uint8Array(64) }), isCode('ENVELOPE_INVALID'), bad);
    assert.throws(() => formatAllowedSigners('me', bad, publicKey), isCode('KEY_INVALID'), bad);
  }
});

test('parseSshsig refuses other spellings, hashes, versions and keys', () => {
  const good = made('file', 'x');
  const body = Buffer.from(good.split('\n').slice(1, -2).join(''), 'base64');
  const armour = (bytes: Uint8Array): string =>
    `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,70}/g)!
      .join('\n')}\n-----END SSH SIGNATURE-----\n`;
  assert.equal(armour(body), good);
  const replaced = (from: string, to: string): string => armour(Buffer.from(body.toString('latin1').replace(from, to), 'latin1'));
  for (const [why, text] of Object.entries({
    empty: '',
    'only armour': '-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n',
    'no newline at the end': good.slice(0, -1),
    'a line before': `\n${good}`,
    'carriage returns': good.replaceAll('\n', '\r\n'),
    'one line': good.replace(/(?<=[A-Za-z0-9+/])\n(?=[A-Za-z0-9+/])/g, ''),
    'an empty line': good.replace('\n', '\n\n'),
    'another magic': replaced('SSHSIG', 'SSHSIh'),
    'version 2': replaced('SSHSIG\u0000\u0000\u0000\u0001', 'SSHSIG\u0000\u0000\u0000\u0002'),
    'SHA-256': replaced('sha512', 'sha256'),
    'no namespace': replaced('\u0000\u0000\u0000\u0004file', '\u0000\u0000\u0000\u0000'),
    'something reserved': replaced('file\u0000\u0000\u0000\u0000', 'file\u0000\u0000\u0000\u0001x'),
    'another key type': replaced('ssh-ed25519', 'ssh-ed25518'),
    'a byte behind': armour(Buffer.concat([body, Buffer.from([0])])),
    'a byte too few': armour(body.subarray(0, -1)),
    'a length beyond the end': armour(body.with(10, 0xff)),
    'a long file': good.replace('\n', `\n${'A'.repeat(2000)}\n`),
  }))
    assert.throws(() => parseSshsig(text), isCode('ENVELOPE_INVALID'), why);
});

test('formatAllowedSigners refuses a principal that is more than one', () => {
  const line = formatAllowedSigners('me@example.org', 'file', publicKey);
  assert.match(line, /^me@example\.org namespaces="file" ssh-ed25519 [A-Za-z0-9+/=]+\n$/);
  for (const bad of ['', '*', 'a,b', 'a b', '!a', '#a', 'a\n', 'a?', '"a"'])
    assert.throws(() => formatAllowedSigners(bad, 'file', publicKey), isCode('KEY_INVALID'), bad);
  assert.throws(() => formatSshPublicKey(publicKey, 'a\nb'), isCode('KEY_INVALID'));
  assert.throws(() => formatSshPublicKey(new Uint8Array(31), 'a'), isCode('KEY_INVALID'));
});

test('readSshStrings reads exactly as many as asked for, also from the middle of a buffer', () => {
  const bytes = Buffer.concat([Buffer.from('xx'), sshString('ab'), sshString('')]);
  assert.deepEqual(
    readSshStrings(bytes.subarray(2), 2)?.map((one) => Buffer.from(one).toString()),
    ['ab', ''],
  );
  assert.equal(readSshStrings(bytes.subarray(2), 1), null);
  assert.equal(readSshStrings(bytes.subarray(2), 3), null);
  assert.equal(readSshStrings(Buffer.from([0xff, 0xff, 0xff, 0xff]), 1), null);
});
