import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatNarinfo, type Narinfo, nixFingerprint, parseNarinfo, verifyNarinfo } from './nix-cache.ts';
import { formatNixKey, parseNixKey } from './nix-key.ts';
import { fromNix32, toNix32 } from './nix32.ts';
import { isNixBaseName, isNixName, nixContentAddress, nixStorePathOfNar } from './nix-store-path.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;

const pair = generateKeyPairSync('ed25519');
const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
const key = { name: 'cache.example.org-1', publicKey };

/** By Nix 2.8, of a file with the content "hello". */
const NAR_SHA256 = new Uint8Array(Buffer.from('0a430879c266f8b57f4092a0f935cf3facd48bbccde5760d4748ca405171e969', 'hex'));
const THEIRS = `StorePath: /nix/store/yqi18hzk6wxzj2ksv7x9k8rnnzwirzz9-hello
URL: nar/0fi9086lgpm7risfq179888clp99qdx4akvdmnlhz5gkf6q2ygy7.nar.xz
Compression: xz
FileHash: sha256:0fi9086lgpm7risfq179888clp99qdx4akvdmnlhz5gkf6q2ygy7
FileSize: 128
NarHash: sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa
NarSize: 120
References:${' '}
CA: fixed:r:sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa
`;

const bare: Narinfo = { ...parseNarinfo(THEIRS), contentAddress: null };
const signature = { name: key.name, signature: new Uint8Array(sign(null, nixFingerprint(bare), pair.privateKey)) };
const signed: Narinfo = { ...bare, signatures: [signature] };

test('nixStorePathOfNar, nixContentAddress and parseNarinfo agree with Nix', () => {
  const theirs = parseNarinfo(THEIRS);
  assert.equal(formatNarinfo(theirs), THEIRS);
  assert.deepEqual(theirs.narSha256, NAR_SHA256);
  assert.equal(nixStorePathOfNar({ narSha256: NAR_SHA256, name: 'hello' }), theirs.storePath);
  assert.equal(nixContentAddress(NAR_SHA256), theirs.contentAddress);
});

test('nixFingerprint has path, hash, size and full references', () => {
  const references = ['0000000000000000000000000000000a-x', '0000000000000000000000000000000b-y'];
  assert.equal(
    Buffer.from(nixFingerprint({ ...bare, references })).toString(),
    '1;/nix/store/yqi18hzk6wxzj2ksv7x9k8rnnzwirzz9-hello;sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa;120;' +
      references.map((one) => `/nix/store/${one}`).join(','),
  );
  for (const bad of [references.toReversed(), [references[0]!, references[0]!], ['x'], ['/nix/store/x']])
    assert.throws(() => nixFingerprint({ ...bare, references: bad }), isCode('ENVELOPE_INVALID'));
});

test('verifyNarinfo takes a signature of this key under this name, over what is signed', () => {
  const parsed = parseNarinfo(formatNarinfo(signed));
  assert.deepEqual(parsed, signed);
  assert.equal(verifyNarinfo(parsed, key), true);
  assert.equal(verifyNarinfo(parsed, { ...key, name: 'other-1' }), false);
  assert.equal(verifyNarinfo(parsed, { ...key, publicKey: new Uint8Array(32) }), false);
  assert.equal(verifyNarinfo(bare, key), false, 'no signature');
  assert.equal(verifyNarinfo({ ...parsed, narSize: 121 }, key), false);
  assert.equal(verifyNarinfo({ ...parsed, narSize: 0 }, key), false);
  assert.equal(verifyNarinfo({ ...parsed, narSha256: NAR_SHA256.with(0, 0) }, key), false);
  assert.equal(verifyNarinfo({ ...parsed, references: ['0000000000000000000000000000000a-x'] }, key), false);
  const foreign = { name: 'x', signature: new Uint8Array(64) };
  assert.equal(verifyNarinfo({ ...parsed, signatures: [foreign, signature] }, key), true);
  assert.equal(verifyNarinfo({ ...parsed, url: 'elsewhere' }, key), true, 'where it lies is not signed');
});

test('formatNarinfo and parseNarinfo carry every field', () => {
  const full: Narinfo = {
    ...signed,
    references: ['0000000000000000000000000000000a-x', '0000000000000000000000000000000b-y'],
    deriver: '0000000000000000000000000000000a-x.drv',
    system: 'x86_64-linux',
    signatures: [signature, { name: 'a', signature: new Uint8Array(64) }],
    contentAddress: nixContentAddress(NAR_SHA256),
    compression: 'none',
  };
  assert.deepEqual(parseNarinfo(formatNarinfo(full)), full);
  for (const [why, bad] of Object.entries({
    'a URL that climbs': { ...full, url: 'nar/../x' },
    'an absolute URL': { ...full, url: '/x' },
    'a URL elsewhere': { ...full, url: 'https://x/y' },
    'a URL of two lines': { ...full, url: 'a\nSig: x' },
    'no URL': { ...full, url: '' },
    'a deriver that is no path': { ...full, deriver: 'x' },
    'a system of two lines': { ...full, system: 'a-b\n' },
    'a content address of two lines': { ...full, contentAddress: `${full.contentAddress}\n` },
    'a size of 0': { ...full, fileSize: 0 },
    'a size that is no integer': { ...full, narSize: 1.5 },
    'a path elsewhere': { ...full, storePath: '/gnu/store/yqi18hzk6wxzj2ksv7x9k8rnnzwirzz9-hello' },
    'a hash of SHA-512': { ...full, fileSha256: new Uint8Array(64) },
    'a signature twice': { ...full, signatures: [signature, signature] },
    'a key name with a colon': { ...full, signatures: [{ ...signature, name: 'a:b' }] },
    '65 signatures': {
      ...full,
      signatures: Array.from({ length: 65 }, (_, index) => ({ ...signature, name: `a${index}` })),
    },
    '1001 references': {
      ...full,
      references: Array.from({ length: 1001 }, (_, index) => `${'0'.repeat(32)}-${String(index).padStart(4, '0')}`),
    },
  }))
    assert.throws(() => formatNarinfo(bad), isCode('ENVELOPE_INVALID'), why);
});

test('parseNarinfo refuses other spellings and orders', () => {
  const good = formatNarinfo(signed);
  for (const [why, text] of Object.entries({
    empty: '',
    'no newline at the end': good.slice(0, -1),
    'a line behind': `${good}x\n`,
    'an empty line behind': `${good}\n`,
    'carriage returns': good.replaceAll('\n', '\r\n'),
    'a leading zero': good.replace('NarSize: 120', 'NarSize: 0120'),
    'no space behind References': good.replace('References: ', 'References:'),
    'two spaces': good.replace('References: ', 'References:  '),
    hex: good.replace(/NarHash: .*/, `NarHash: sha256:${Buffer.from(NAR_SHA256).toString('hex')}`),
    MD5: good.replace('NarHash: sha256', 'NarHash: md5'),
    'an unknown field': good.replace('URL', 'Url'),
    'another order': good.split('\n').toSorted().join('\n'),
    'a field twice': good.replace('NarSize: 120\n', 'NarSize: 120\nNarSize: 120\n'),
    'an unknown compression': good.replace('Compression: xz', 'Compression: rar'),
    'a signature without a name': good.replace(`Sig: ${key.name}`, 'Sig: '),
    'half a megabyte': good.replace('URL: ', `URL: ${'a'.repeat(600_000)}`),
  }))
    assert.throws(() => parseNarinfo(text), isCode('ENVELOPE_INVALID'), why);
});

test('parseNixKey and formatNixKey are inverse, and refuse what nix.conf would split', () => {
  assert.deepEqual(parseNixKey(formatNixKey(key)), key);
  for (const bad of [
    '',
    'a',
    'a:',
    ':AAAA',
    `a b:${Buffer.alloc(32).toString('base64')}`,
    `${formatNixKey(key)}\n`,
    `a:${formatNixKey(key)}`,
  ])
    assert.throws(() => parseNixKey(bad), isCode('KEY_INVALID'), bad);
  assert.throws(() => parseNixKey(formatNixKey(key).slice(0, -1)), isCode('KEY_INVALID'), 'no padding');
  assert.throws(() => formatNixKey({ ...key, publicKey: new Uint8Array(64) }), isCode('KEY_INVALID'), 'a secret key');
  assert.throws(() => formatNixKey({ ...key, name: 'a b' }), isCode('KEY_INVALID'));
});

test('toNix32 and fromNix32 are inverse, and no text but one is read as the same bytes', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => assert.deepEqual(fromNix32(toNix32(bytes), bytes.length), bytes)));
  fc.assert(
    fc.property(fc.string({ minLength: 52, maxLength: 52, unit: fc.constantFrom(...'0123456789abcdfghijklmnpqrsvwxyze') }), (text) => {
      const bytes = fromNix32(text, 32);
      if (bytes !== null) assert.equal(toNix32(bytes), text);
    }),
  );
  assert.equal(fromNix32('z'.repeat(52), 32), null, 'bits that no byte has');
  assert.equal(fromNix32('e'.repeat(52), 32), null);
});

test('isNixName and isNixBaseName refuse what Nix refuses', () => {
  for (const good of ['a', 'hello-1.0.tar.gz', 'a+b?c=d_e', 'a'.repeat(211)]) assert.ok(isNixName(good), good);
  for (const bad of ['', '.', '..', '.a', 'a b', 'a/b', 'é', 'a\n', 'a'.repeat(212)]) {
    assert.equal(isNixName(bad), false, bad);
    assert.throws(() => nixStorePathOfNar({ narSha256: NAR_SHA256, name: bad }), isCode('ENVELOPE_INVALID'), bad);
  }
  assert.equal(isNixBaseName(`${'0'.repeat(32)}-a`), true);
  assert.equal(isNixBaseName(`${'e'.repeat(32)}-a`), false);
  assert.equal(isNixBaseName(`${'0'.repeat(31)}-a`), false);
});
