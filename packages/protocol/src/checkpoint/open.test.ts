import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { test } from 'node:test';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { makeVerifierKey, type VerifierKey } from '../note/verifier-key.ts';
import { formatCheckpointText, parseCheckpointText, parseDecimal, parseHash } from './checkpoint.ts';
import { ed25519CosignatureMessage, formatTimestamped, mlDsaCosignatureMessage, parseTimestamped } from './cosignature.ts';
import { openCheckpoint, openLogCheckpoint } from './open.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;

const ORIGIN = 'log.example/farm';
const ROOT = createHash('sha256').update('root').digest();
const TEXT = `${ORIGIN}\n4242\n${ROOT.toString('base64')}\n`;
const TIME = 1_760_000_000;

interface Signer {
  readonly key: VerifierKey;
  sign(message: Uint8Array): Uint8Array;
}

/** Signatures are made by Node here, not by the library that checks them. */
function ed25519Signer(name: string, type: 'ed25519' | 'cosignature-ed25519'): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return { key: makeVerifierKey(name, type, new Uint8Array(der.subarray(-32))), sign: (message) => sign(null, message, privateKey) };
}

function mlDsaSigner(name: string): Signer {
  const { publicKey, secretKey } = ml_dsa44.keygen(new Uint8Array(randomBytes(32)));
  return { key: makeVerifierKey(name, 'cosignature-ml-dsa-44', publicKey), sign: (message) => ml_dsa44.sign(message, secretKey) };
}

function uint64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function line(key: VerifierKey, signature: Uint8Array): string {
  return `— ${key.name} ${Buffer.concat([Buffer.from(key.keyId, 'hex'), signature]).toString('base64')}\n`;
}

/** Written after c2sp.org/tlog-cosignature, not with the code under test. */
function logLine(one: Signer, text = TEXT): string {
  return line(one.key, one.sign(Buffer.from(text)));
}
function ed25519Line(one: Signer, text = TEXT, time: number | bigint = TIME): string {
  return line(one.key, Buffer.concat([uint64(time), one.sign(Buffer.from(`cosignature/v1\ntime ${time}\n${text}`))]));
}
function mlDsaMessage(name: string, text: string, time: number | bigint): Buffer {
  const [origin = '', size = '', root = ''] = text.split('\n');
  const short = (value: string): Buffer => Buffer.concat([Buffer.of(Buffer.byteLength(value)), Buffer.from(value)]);
  const tree = [uint64(0), uint64(BigInt(size)), Buffer.from(root, 'base64')];
  return Buffer.concat([Buffer.from('subtree/v1\n\0'), short(name), uint64(time), short(origin), ...tree]);
}
function mlDsaLine(one: Signer, text = TEXT, time: number | bigint = TIME): string {
  return line(one.key, Buffer.concat([uint64(time), one.sign(mlDsaMessage(one.key.name, text, time))]));
}

const log = ed25519Signer(ORIGIN, 'ed25519');
const edWitness = ed25519Signer('witness.example/1', 'cosignature-ed25519');
const mlWitness = mlDsaSigner('witness.example/1');
const stranger = ed25519Signer('stranger.example', 'cosignature-ed25519');
const keys = [log.key, edWitness.key, mlWitness.key];
const names = (input: string, known = keys): (string | null)[] => openCheckpoint(input, known).signedBy.map(({ key }) => key.type);

test('openLogCheckpoint tells who has signed: log, Ed25519 witness, ML-DSA witness, in the order of the lines', () => {
  const note = `${TEXT}\n${logLine(log)}${ed25519Line(edWitness)}${mlDsaLine(mlWitness, TEXT, TIME + 1)}`;
  const opened = openLogCheckpoint(note, log.key, [edWitness.key, mlWitness.key]);
  assert.deepEqual(opened.checkpoint, { origin: ORIGIN, size: 4242, root: new Uint8Array(ROOT), extensions: [] });
  assert.deepEqual(
    opened.signedBy.map(({ key, time }) => [key.name, key.type, time]),
    [
      [ORIGIN, 'ed25519', null],
      ['witness.example/1', 'cosignature-ed25519', TIME],
      ['witness.example/1', 'cosignature-ml-dsa-44', TIME + 1],
    ],
  );
  assert.deepEqual(openLogCheckpoint(Buffer.from(note), log.key).signedBy.length, 1);
});

test('openCheckpoint reads the example of c2sp.org/tlog-cosignature, whose keys nobody has', () => {
  const opened = openCheckpoint(
    [
      'example.com/behind-the-sofa',
      '20852163',
      'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=',
      '',
      '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=',
      '— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==',
      '',
    ].join('\n'),
    keys,
  );
  assert.equal(opened.checkpoint.size, 20_852_163);
  const stamped = parseTimestamped(opened.note.signatures[1]!.signature, 64);
  assert.equal(stamped?.time, 1_679_315_147);
  assert.deepEqual(opened.signedBy, []);
  assert.equal(
    Buffer.from(ed25519CosignatureMessage(opened.checkpoint, stamped.time)).toString(),
    'cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n',
  );
});

test('mlDsaCosignatureMessage is the cosigned_message of the specification', () => {
  assert.deepEqual(Buffer.from(mlDsaCosignatureMessage('wítness', parseCheckpointText(TEXT), TIME)), mlDsaMessage('wítness', TEXT, TIME));
});

test('openCheckpoint ignores unknown keys, even ones with the name or the id of a known one', () => {
  const signature = randomBytes(72);
  const known = edWitness.key;
  const lines = [
    ed25519Line(stranger),
    line({ ...known, name: 'other.example' }, signature),
    line({ ...known, keyId: '00000000' }, signature),
    line({ ...log.key, keyId: 'ffffffff' }, signature),
  ];
  assert.deepEqual(names(`${TEXT}\n${lines.join('')}${logLine(log)}`), ['ed25519']);
  assert.deepEqual(openCheckpoint(`${TEXT}\n${lines.join('')}`, keys).signedBy, [], 'and says that nobody known has signed');
  assert.throws(() => openLogCheckpoint(`${TEXT}\n${lines.join('')}`, log.key), isCode('NOTE_INVALID'));
});

test('openCheckpoint rejects the whole note when a known key’s signature is bad, whatever else is good', () => {
  const good = [logLine(log), ed25519Line(edWitness), mlDsaLine(mlWitness)];
  const other = TEXT.replace('4242', '4243');
  for (const [what, bad] of Object.entries({
    'the log’s, over another text': logLine(log, other),
    'the log’s, by somebody else': line(log.key, edWitness.sign(Buffer.from(TEXT))),
    'the log’s, cut': line(log.key, log.sign(Buffer.from(TEXT)).subarray(0, 63)),
    'the log’s, longer': line(log.key, Buffer.concat([log.sign(Buffer.from(TEXT)), Buffer.of(0)])),
    'the log’s, with a time': line(log.key, Buffer.concat([uint64(TIME), log.sign(Buffer.from(TEXT))])),
    'the witness’s, over another text': ed25519Line(edWitness, other),
    'the witness’s, with another time': line(
      edWitness.key,
      Buffer.concat([uint64(TIME + 1), edWitness.sign(Buffer.from(`cosignature/v1\ntime ${TIME}\n${TEXT}`))]),
    ),
    'the witness’s, plainly over the text': line(edWitness.key, Buffer.concat([uint64(TIME), edWitness.sign(Buffer.from(TEXT))])),
    'the witness’s, without a time': line(edWitness.key, edWitness.sign(Buffer.from(`cosignature/v1\ntime ${TIME}\n${TEXT}`))),
    'the ML-DSA witness’s, over another tree': mlDsaLine(mlWitness, other),
    'the ML-DSA witness’s, for another log': mlDsaLine(mlWitness, TEXT.replace('farm', 'fair')),
    'the ML-DSA witness’s, under another name': line(
      mlWitness.key,
      Buffer.concat([uint64(TIME), mlWitness.sign(mlDsaMessage('witness.example/2', TEXT, TIME))]),
    ),
    'the ML-DSA witness’s, with an Ed25519 signature': line(
      mlWitness.key,
      Buffer.concat([uint64(TIME), edWitness.sign(Buffer.from(TEXT))]),
    ),
    'the ML-DSA witness’s, cut': line(mlWitness.key, Buffer.concat([uint64(TIME), Buffer.alloc(2419)])),
    'the ML-DSA witness’s, zeroes': line(mlWitness.key, Buffer.alloc(2428)),
  })) {
    assert.throws(() => openCheckpoint(`${TEXT}\n${good.join('')}${bad}`, keys), isCode('NOTE_INVALID'), what);
    assert.throws(() => openLogCheckpoint(`${TEXT}\n${bad}${good.join('')}`, log.key, keys.slice(1)), isCode('NOTE_INVALID'), what);
  }
});

test('openCheckpoint counts a key once, however often it has signed', () => {
  assert.deepEqual(names(`${TEXT}\n${logLine(log)}${logLine(log)}${ed25519Line(edWitness)}${ed25519Line(edWitness, TEXT, TIME + 9)}`), [
    'ed25519',
    'cosignature-ed25519',
  ]);
});

test('openCheckpoint tries each known key with the name and the short id', () => {
  // Two keys with one short id: found by search in practice, so the id is simply given here.
  const twin = ed25519Signer(ORIGIN, 'ed25519');
  const collided: VerifierKey = { ...twin.key, keyId: log.key.keyId };
  const twinLine = line(collided, twin.sign(Buffer.from(TEXT)));
  const both = [collided, log.key];
  assert.deepEqual(
    openCheckpoint(`${TEXT}\n${logLine(log)}${twinLine}`, both).signedBy.map(({ key }) => key),
    [log.key, collided],
  );
  assert.deepEqual(openLogCheckpoint(`${TEXT}\n${logLine(log)}`, log.key, [collided]).signedBy, [{ key: log.key, time: null }]);
  assert.throws(() => openLogCheckpoint(`${TEXT}\n${twinLine}`, log.key, [collided]), isCode('NOTE_INVALID'), 'the twin is not the log');
  assert.throws(
    () => openCheckpoint(`${TEXT}\n${twinLine}`, [log.key]),
    isCode('NOTE_INVALID'),
    'a bad signature of the one that is known',
  );
});

test('openLogCheckpoint refuses another origin, even signed by the log’s key', () => {
  const text = TEXT.replace('farm', 'fair');
  assert.throws(() => openLogCheckpoint(`${text}\n${logLine(log, text)}`, log.key), isCode('CHECKPOINT_INVALID'));
  const other = ed25519Signer('log.example/fair', 'ed25519');
  assert.throws(
    () => openLogCheckpoint(`${text}\n${logLine(log, text)}${logLine(other, text)}`, log.key, [other.key]),
    isCode('CHECKPOINT_INVALID'),
  );
  assert.throws(() => openLogCheckpoint(`${TEXT}\n${logLine(other)}`, log.key, [other.key]), isCode('NOTE_INVALID'));
});

test('openLogCheckpoint takes no cosignature for the signature of a log', () => {
  const cosigner = ed25519Signer(ORIGIN, 'cosignature-ed25519');
  assert.throws(() => openLogCheckpoint(`${TEXT}\n${ed25519Line(cosigner)}`, cosigner.key), isCode('NOTE_INVALID'));
  const ml = mlDsaSigner(ORIGIN);
  assert.throws(() => openLogCheckpoint(`${TEXT}\n${mlDsaLine(ml)}`, ml.key), isCode('NOTE_INVALID'));
});

test('openCheckpoint refuses a cosignature with time 0 or one after the year 9999, and takes the latest before', () => {
  for (const [witness, make] of [
    [edWitness, ed25519Line],
    [mlWitness, mlDsaLine],
  ] as const) {
    for (const time of [0n, 253_402_300_800n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])
      assert.throws(() => openCheckpoint(`${TEXT}\n${make(witness, TEXT, time)}`, keys), isCode('NOTE_INVALID'), `time ${time}`);
    for (const time of [1, 253_402_300_799])
      assert.deepEqual(openCheckpoint(`${TEXT}\n${make(witness, TEXT, time)}`, keys).signedBy, [{ key: witness.key, time }]);
  }
});

test('openCheckpoint keeps extension lines: the log and Ed25519 witnesses sign them, ML-DSA witnesses do not', () => {
  const extended = `${TEXT}extension one\n— not a signature\n`;
  const opened = openCheckpoint(`${extended}\n${logLine(log, extended)}${ed25519Line(edWitness, extended)}${mlDsaLine(mlWitness)}`, keys);
  assert.deepEqual(opened.checkpoint.extensions, ['extension one', '— not a signature']);
  assert.equal(opened.signedBy.length, 3);
  assert.throws(() => openCheckpoint(`${extended}\n${logLine(log)}`, keys), isCode('NOTE_INVALID'));
  assert.throws(() => openCheckpoint(`${extended}\n${ed25519Line(edWitness)}`, keys), isCode('NOTE_INVALID'));
});

for (const [why, text] of Object.entries({
  'no root': `${ORIGIN}\n1\n`,
  'an empty origin': `\n1\n${ROOT.toString('base64')}\n`,
  'an empty extension line, which a verifier might take for the end': `${TEXT}\nmore\n`,
  'a size with a leading zero': TEXT.replace('4242', '04242'),
  'a size with a sign': TEXT.replace('4242', '+4242'),
  'a size in hex': TEXT.replace('4242', '0x10'),
  'a size with a space': TEXT.replace('4242', '4242 '),
  'a size of 2^53': TEXT.replace('4242', '9007199254740992'),
  'a negative size': TEXT.replace('4242', '-1'),
  'no size': TEXT.replace('4242', ''),
  'a root of 31 bytes': TEXT.replace(ROOT.toString('base64'), Buffer.alloc(31).toString('base64')),
  'a root of 33 bytes': TEXT.replace(ROOT.toString('base64'), Buffer.alloc(33).toString('base64')),
  'a root without padding': TEXT.replace('=\n', '\n'),
  'a root in the other alphabet': TEXT.replace(ROOT.toString('base64'), Buffer.alloc(32, 0xff).toString('base64').replaceAll('/', '_')),
  'a root with stray bits': TEXT.replace(/.=\n$/, 'B=\n'),
  'an origin of 256 characters': TEXT.replace(ORIGIN, 'a'.repeat(256)),
}))
  test(`openCheckpoint refuses: ${why}`, () => {
    assert.throws(() => parseCheckpointText(text), isCode('CHECKPOINT_INVALID'));
    assert.throws(() => openCheckpoint(`${text}\n${logLine(log, text)}`, keys), isCode('CHECKPOINT_INVALID'));
  });

test('parseCheckpointText and formatCheckpointText are inverse, and so are parseTimestamped and formatTimestamped', () => {
  const word = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
    .filter((one) => !/[\u0000-\u001f]/.test(one) && one.isWellFormed());
  const checkpoint = fc.record(
    {
      origin: word,
      size: fc.maxSafeNat(),
      root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      extensions: fc.array(word, { maxLength: 3 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(checkpoint, fc.maxSafeNat(), (one, time) => {
      const text = formatCheckpointText(one);
      assert.deepEqual(parseCheckpointText(text), one);
      assert.equal(parseDecimal(String(one.size)), one.size);
      assert.deepEqual(parseHash(Buffer.from(one.root).toString('base64')), one.root);
      const stamped = formatTimestamped(time, one.root);
      assert.deepEqual(Buffer.from(stamped.subarray(0, 8)), uint64(time));
      assert.deepEqual(parseTimestamped(stamped, 32), time === 0 || time > 253_402_300_799 ? null : { time, signature: one.root });
      for (const length of [0, 7, 8, 39, 41])
        assert.equal(
          parseTimestamped(
            Uint8Array.from({ length }, (_, at) => stamped[at] ?? 1),
            32,
          ),
          null,
        );
    }),
    { numRuns: 1000 },
  );
});

test('openCheckpoint throws its own error when an origin or a name has more than 255 bytes', () => {
  const text = TEXT.replace(ORIGIN, 'é'.repeat(200));
  const bad = line(mlWitness.key, Buffer.concat([uint64(TIME), Buffer.alloc(2420)]));
  assert.throws(() => openCheckpoint(`${text}\n${bad}`, keys), LockstepError);
  assert.throws(() => mlDsaSigner('é'.repeat(200)), TypeError);
});
