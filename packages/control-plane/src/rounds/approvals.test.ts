/** Approvals through the API: what is taken, how it is logged, what the job then says; and the post box of signing nodes. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { CARRIED } from '@lockstep/protocol/release/carried';
import { KEY_REVOCATION } from '@lockstep/protocol/release/key-documents';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { sampleFarm } from '../samples.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const ed = generateKeyPairSync('ed25519');
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const keyOf = (pair: typeof ed): string => base64(pair.publicKey.export({ type: 'spki', format: 'der' }));
const envelope = (payloadType: string, payload: Uint8Array, pairs: readonly (typeof ed)[] = [ed]) => ({
  payloadType,
  payload: base64(payload),
  signatures: pairs.map((pair) => ({
    key: keyOf(pair),
    sig: base64(sign(pair === ed ? null : 'sha256', pae(payloadType, payload), pair.privateKey)),
  })),
});

const revocation = formatDocument(KEY_REVOCATION, {
  schema: 'lockstep-key-revocation/v1',
  use: 'release-dsse',
  key: 'a'.repeat(64),
  why: 'lost',
  reason: 'a test',
  time: '2026-01-01T00:00:00Z',
  from: { log: 'log.example/farm', index: 3 },
});

test('submitApproval logs a document about keys at once, carried by the coordinator with both signatures', async () => {
  const sample = await sampleFarm({ builders: 1 });
  const operator = sample.client(await sample.token('op', 'operator'));
  const body = envelope(KEY_REVOCATION.payloadType, revocation, [ed, ec]);
  assert.deepEqual(await operator.call('submitApproval', { body }), { job: null });
  const logged = sample.log.entries.filter((one) => one.payloadType === CARRIED.payloadType);
  assert.equal(logged.length, 1);
  assert.equal((JSON.parse(Buffer.from(logged[0]!.payload).toString()) as { signatures: unknown[] }).signatures.length, 2);
  await sample.close();
});

test('submitApproval refuses a bad signature, another document, a record of an unknown build, and everybody but operators', async () => {
  const sample = await sampleFarm({ builders: 1 });
  const operator = sample.client(await sample.token('op', 'operator'));
  const good = envelope(KEY_REVOCATION.payloadType, revocation);
  const other = { ...good, payload: base64(Buffer.from(`${Buffer.from(revocation).toString()} `)) };
  await assert.rejects(operator.call('submitApproval', { body: other }), { code: 'ENVELOPE_INVALID' });
  await assert.rejects(operator.call('submitApproval', { body: envelope('text/plain', Buffer.from('x')) }), { code: 'DOCUMENT_INVALID' });
  const summary = Buffer.from(JSON.stringify({ predicate: { resourceUri: `urn:lockstep:build:${'b'.repeat(64)}` } }));
  await assert.rejects(operator.call('submitApproval', { body: envelope('application/vnd.in-toto+json', summary) }), { code: 'NOT_FOUND' });
  for (const role of ['observer', 'submitter', 'signer'] as const)
    await assert.rejects(sample.client(await sample.token(role, role)).call('submitApproval', { body: good }), { code: 'FORBIDDEN' });
  assert.equal(sample.log.entries.length, 0);
  await sample.close();
});

test('the post box gives a node its own messages only, and each an answer that stays', async () => {
  const sample = await sampleFarm({ builders: 1 });
  const operator = sample.client(await sample.token('op', 'operator'));
  const [node, stranger] = [sample.client(await sample.token('air', 'signer')), sample.client(await sample.token('other', 'signer'))];
  const body = new Uint8Array(Buffer.from('a request'));
  const message = createHash('sha256').update(body).digest('hex');
  await assert.rejects(operator.call('putSigningMessage', { params: { node: 'air', message: 'c'.repeat(64) }, body }), {
    code: 'DIGEST_MISMATCH',
  });
  await operator.call('putSigningMessage', { params: { node: 'air', message }, body });
  assert.deepEqual(await node.call('signingInbox'), { messages: [message] });
  assert.deepEqual(await stranger.call('signingInbox'), { messages: [] });
  await assert.rejects(stranger.call('takeSigningMessage', { params: { message } }), { code: 'NOT_FOUND' });
  await assert.rejects(stranger.call('putSigningAnswer', { params: { message }, body }), { code: 'NOT_FOUND' });
  await assert.rejects(operator.call('signingAnswer', { params: { node: 'air', message } }), { code: 'NOT_FOUND' });
  assert.equal(await (await node.call('takeSigningMessage', { params: { message } })).text(), 'a request');
  await node.call('putSigningAnswer', { params: { message }, body: new Uint8Array(Buffer.from('yes')) });
  await node.call('putSigningAnswer', { params: { message }, body: new Uint8Array(Buffer.from('no')) });
  assert.equal(await (await operator.call('signingAnswer', { params: { node: 'air', message } })).text(), 'yes');
  assert.deepEqual(await node.call('signingInbox'), { messages: [] });
  await sample.close();
});

test('the post box waits for what comes', async () => {
  const sample = await sampleFarm({ builders: 1 });
  const operator = sample.client(await sample.token('op', 'operator'));
  const node = sample.client(await sample.token('air', 'signer'));
  const body = new Uint8Array(Buffer.from('later'));
  const message = createHash('sha256').update(body).digest('hex');
  const waiting = node.call('signingInbox', { query: { wait: '20' } });
  setTimeout(() => void operator.call('putSigningMessage', { params: { node: 'air', message }, body }), 300);
  assert.deepEqual(await waiting, { messages: [message] });
  await sample.close();
});
