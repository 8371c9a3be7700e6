import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { openCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { emptyRoot } from '@lockstep/protocol/merkle/hash';
import { formatNote, parseNote, parseSignatureLine } from '@lockstep/protocol/note/note';
import { makeVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { memoryCells, memoryWitness, sampleLog } from './samples.ts';
import { addCheckpoint, cosignedCheckpoint, formatRequest, originHashOf, type WitnessReply } from './witness.ts';

const log = sampleLog(20);
const TEXT = 'text/plain; charset=utf-8';
const bytes = (text: string): Uint8Array => Buffer.from(text);
const other = Buffer.alloc(32, 7);

function isRefused(reply: WitnessReply, status: number, body: RegExp): void {
  assert.equal(reply.status, status, reply.body);
  assert.equal(reply.type, TEXT);
  assert.match(reply.body, body);
  assert.ok(reply.body.endsWith('\n'));
}

test('addCheckpoint cosigns the first checkpoint with Ed25519 and ML-DSA-44, and both verify by other means', async () => {
  const witness = memoryWitness('w.example/1', [log.key]);
  const reply = addCheckpoint(witness, await log.request(0, 5));
  assert.equal(reply.status, 200);
  assert.equal(reply.type, TEXT);
  const lines = reply.body.slice(0, -1).split('\n').map(parseSignatureLine);
  assert.deepEqual(
    lines.map(({ name, keyId }) => [name, keyId]),
    [
      ['w.example/1', witness.ed25519.key.keyId],
      ['w.example/1', witness.mlDsa.key.keyId],
    ],
  );
  const [ed, ml] = lines.map(({ signature }) => ({ time: signature.slice(0, 8), signature: signature.slice(8) }));
  assert.equal(Buffer.from(ed!.time).readBigUInt64BE(), 1_800_000_000n);
  const { text } = parseNote(log.noteAt(5));
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), witness.ed25519.key.publicKey]);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  assert.ok(verify(null, bytes(`cosignature/v1\ntime 1800000000\n${text}`), key, ed!.signature));
  const origin = Buffer.from(log.key.name);
  const message = Buffer.concat([
    Buffer.from('subtree/v1\n\0'),
    Buffer.of(11),
    Buffer.from('w.example/1'),
    ml!.time,
    Buffer.of(origin.length),
    origin,
    Buffer.alloc(8),
    Buffer.from('0000000000000005', 'hex'),
    log.head(5).root,
  ]);
  assert.ok(ml_dsa44.verify(ml!.signature, message, witness.mlDsa.key.publicKey));
});

test('addCheckpoint follows a log step by step, and again at the same size', async () => {
  const witness = memoryWitness('w.example/1', [log.key]);
  for (const [from, to] of [
    [0, 0],
    [0, 1],
    [1, 1],
    [1, 7],
    [7, 8],
    [8, 20],
    [20, 20],
  ] as const) {
    assert.equal(addCheckpoint(witness, await log.request(from, to)).status, 200, `${from} to ${to}`);
    const kept = cosignedCheckpoint(witness, originHashOf(log.key.name)) ?? '';
    const opened = openCheckpoint(kept, [log.key, witness.ed25519.key, witness.mlDsa.key]);
    assert.equal(opened.checkpoint.size, to);
    assert.equal(opened.signedBy.length, 3, 'the log and both keys of the witness');
  }
});

test('addCheckpoint answers 404 for a log that it does not follow', async () => {
  const reply = addCheckpoint(memoryWitness('w', [sampleLog(0, 'another.example').key]), await log.request(0, 1));
  isRefused(reply, 404, /does not follow/);
});

test('addCheckpoint answers 403 when no known key signed, or a known key’s signature is bad', async () => {
  const impostor = sampleLog(20);
  isRefused(addCheckpoint(memoryWitness('w', [log.key]), await impostor.request(0, 1)), 403, /not signed by a key/);
  const note = parseNote(log.noteAt(1));
  const signature = Uint8Array.from(note.signatures[0]?.signature ?? []);
  signature[3] = (signature[3] ?? 0) ^ 1;
  const forged = formatNote({ ...note, signatures: note.signatures.map((one) => ({ ...one, signature })) });
  const witness = memoryWitness('w', [log.key]);
  isRefused(addCheckpoint(witness, bytes(formatRequest(0, [], forged))), 403, /not signed by a key/);
  assert.equal(cosignedCheckpoint(witness, originHashOf(log.key.name)), null);
  // A key with the log's name and another id is unknown, and is ignored.
  const stranger = makeVerifierKey('w.example/x', 'ed25519', new Uint8Array(32));
  const signatures = [...note.signatures, { name: stranger.name, keyId: stranger.keyId, signature: new Uint8Array(64) }];
  assert.equal(addCheckpoint(witness, bytes(formatRequest(0, [], formatNote({ ...note, signatures })))).status, 200);
});

test('addCheckpoint answers 400 when the old size is larger than the checkpoint, or the body is no request', async () => {
  const witness = memoryWitness('w', [log.key]);
  isRefused(addCheckpoint(witness, await log.request(6, 5)), 400, /old size/);
  const good = log.noteAt(5);
  for (const body of [
    '',
    'old 0',
    'old 0\n',
    `old 0\n${good}`,
    `old 00\n\n${good}`,
    `old -1\n\n${good}`,
    `old  0\n\n${good}`,
    `Old 0\n\n${good}`,
    `old 9007199254740992\n\n${good}`,
    `old 0\nAAAA\n\n${good}`,
    `old 0\n${'A'.repeat(43)}\n\n${good}`,
    `old 0\n${'A'.repeat(42)}B=\n\n${good}`,
    `old 0\n${`${'A'.repeat(43)}=\n`.repeat(64)}\n${good}`,
    `old 0\r\n\r\n${good}`,
    `old 0\n\n${good.slice(0, -1)}`,
    `old 0\n\n${good}\n`,
    'old 0\n\nno note\n',
    `old 0\n\n\n${good}`,
  ])
    assert.equal(addCheckpoint(witness, bytes(body)).status, 400, JSON.stringify(body));
  assert.equal(addCheckpoint(witness, Buffer.concat([bytes(`old 0\n\n${good}`), Buffer.of(0xff)])).status, 400);
  assert.deepEqual(witness.cells.names(), [], 'nothing was kept');
});

test('addCheckpoint answers 409 with the size that it has, as text/x.tlog.size', async () => {
  const witness = memoryWitness('w', [log.key]);
  assert.deepEqual(addCheckpoint(witness, await log.request(3, 5)), { status: 409, type: 'text/x.tlog.size', body: '0\n' });
  addCheckpoint(witness, await log.request(0, 5));
  for (const [from, to] of [
    [0, 5],
    [0, 20],
    [4, 6],
    [6, 6],
    [6, 20],
    [3, 4],
  ] as const)
    assert.deepEqual(addCheckpoint(witness, await log.request(from, to)), { status: 409, type: 'text/x.tlog.size', body: '5\n' });
});

test('addCheckpoint answers 422 for what is not proven to continue', async () => {
  const witness = memoryWitness('w', [log.key]);
  const ask = (old: number, proof: readonly Uint8Array[], size: number, root = log.head(size).root): WitnessReply =>
    addCheckpoint(witness, bytes(formatRequest(old, proof, log.note({ size, root }))));
  isRefused(ask(0, [other], 5), 422, /not proven/);
  isRefused(ask(0, [], 0, other), 422, /not proven/);
  assert.equal(ask(0, [], 5).status, 200);
  isRefused(ask(5, [], 9), 422, /not proven/);
  isRefused(ask(5, [other, other, other], 9), 422, /not proven/);
  isRefused(ask(5, [], 5, other), 422, /not proven/);
  isRefused(ask(5, [other], 5), 422, /not proven/);
  // The proof of another tree: a rewritten log.
  const rewritten = sampleLog(20, log.key.name, (index) => `other ${index}`);
  assert.equal(addCheckpoint({ ...witness, logs: new Map([[log.key.name, [rewritten.key]]]) }, await rewritten.request(5, 9)).status, 422);
  assert.equal(addCheckpoint(witness, await log.request(5, 9)).status, 200);
});

test('addCheckpoint takes an empty tree only with the root of the empty tree', () => {
  const witness = memoryWitness('w', [log.key]);
  assert.equal(addCheckpoint(witness, bytes(formatRequest(0, [], log.note({ size: 0, root: emptyRoot() })))).status, 200);
});

test('addCheckpoint keeps logs apart, also when one key signs for two', async () => {
  const second = sampleLog(9, 'second.example/log');
  const witness = memoryWitness('w', [log.key, second.key]);
  assert.equal(addCheckpoint(witness, await log.request(0, 20)).status, 200);
  assert.equal(addCheckpoint(witness, await second.request(0, 9)).status, 200);
  assert.equal(witness.cells.names().length, 2);
  assert.match(cosignedCheckpoint(witness, originHashOf('second.example/log')) ?? '', /^second\.example\/log\n9\n/);
  assert.equal(cosignedCheckpoint(witness, originHashOf('third.example')), null);
});

test('cosignedCheckpoint stays readable, whatever a stranger makes of the log’s note', async () => {
  const witness = memoryWitness('w', [log.key]);
  addCheckpoint(witness, await log.request(0, 5));
  // Anyone may post what the log has published, with the log's own line as often as a note may have lines.
  const note = parseNote(log.noteAt(5));
  const signatures = Array.from({ length: 64 }, () => note.signatures[0]!);
  addCheckpoint(witness, bytes(formatRequest(5, [], formatNote({ ...note, signatures }))));
  const kept = cosignedCheckpoint(witness, originHashOf(log.key.name)) ?? '';
  assert.equal(openCheckpoint(kept, [log.key, witness.ed25519.key, witness.mlDsa.key]).signedBy.length, 3);
});

test('addCheckpoint is an error, and gives no cosignature, when what was kept is damaged', async () => {
  for (const damaged of ['', '{}', 'null', '{"schema":"lockstep-witness-state/v1"}']) {
    const witness = memoryWitness('w', [log.key], memoryCells(new Map([[`log-${originHashOf(log.key.name)}`, damaged]])));
    const body = await log.request(0, 5);
    assert.throws(() => addCheckpoint(witness, body), { code: 'STORE_CORRUPT' }, damaged);
  }
});
