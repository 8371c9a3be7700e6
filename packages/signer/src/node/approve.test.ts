/** Holders of a share judge as a node does; others add up the signature, and their log has it before the share leaves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import type { Approved } from './node.ts';
import { askNode, digestOf, NOW, openSampleNode, recordsOf, SampleFarm, type SampleNode, temporaryFolder } from './samples.ts';

const code = (wanted: string) => (error: unknown) => error instanceof LockstepError && error.code === wanted;

/** A node that holds one share of a key, and no key. */
async function holder(folder = temporaryFolder(), use: KeyUse = 'release-dsse', change: object = {}): Promise<SampleNode> {
  const made = await openSampleNode(folder, [use]);
  await made.node.close();
  return openSampleNode(folder, [use], {
    keys: [],
    shares: made.keys.map((key) => ({ use: key.use, public: key.public })),
    ...change,
  }).then((one) => ({
    ...one,
    keys: made.keys,
  }));
}

function made({ keys: [key] }: SampleNode, approved: Approved): MadeSignature[] {
  assert.ok(approved.ok);
  return approved.plan.map((one) => ({
    use: one.use,
    format: 'share',
    file: one.file,
    key: { name: key!.name, id: key!.public.id, pem: anyKeyToPem(key!.public), number: null },
    message: sha256Hex(one.message),
    signature: toBase64(new Uint8Array(0)),
    second: null,
  }));
}

async function approveAll(one: SampleNode, request: Uint8Array): Promise<void> {
  const approved = await one.node.approve(request, 'release-dsse');
  assert.ok(approved.ok, approved.ok ? '' : approved.reason);
  await approved.signed(made(one, approved));
}

test('SignerNode.approve gives the messages of one use, and nothing is written before they are signed', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const request = farm.ask(farm.build());
  const approved = await one.node.approve(request, 'release-dsse');
  assert.ok(approved.ok);
  assert.deepEqual(
    approved.plan.map((each) => each.file),
    ['release.json', 'vsa.json'],
  );
  assert.equal(one.node.log.size(), 0);
  await approved.signed(made(one, approved));
  const [record] = await recordsOf(one);
  assert.deepEqual([record?.result, record?.release?.version, record?.signatures.length], ['signed', '1.0', 2]);
  await one.node.close();
});

test('SignerNode.approve refuses what answer refuses, with the step, and writes it down', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const request = farm.ask(farm.build(), { line: '2.x' });
  for (let asked = 0; asked < 2; asked++) {
    const approved = await one.node.approve(request, 'release-dsse');
    assert.ok(!approved.ok && approved.reason.startsWith('version: '), JSON.stringify(approved));
  }
  assert.ok(!(await one.node.approve(toUtf8('no'), 'release-dsse')).ok);
  assert.deepEqual(
    (await recordsOf(one)).map((record) => record.step),
    ['version', 'request'],
  );
  await one.node.close();
});

test('SignerNode.approve for a use that it has no share for approves nothing and writes nothing as signed', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const request = farm.ask(farm.build());
  for (const use of ['release-minisign', 'node', 'tuf-root'] as const) assert.ok(!(await one.node.approve(request, use)).ok, use);
  assert.ok((await recordsOf(one)).every((record) => record.result === 'refused'));
  await approveAll(one, request);
  await one.node.close();
});

test('SignerNode.approve: when the memory has moved on, what was approved may no longer be signed', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const build = farm.build();
  const [a, b] = [
    await one.node.approve(farm.ask(build), 'release-dsse'),
    await one.node.approve(farm.ask(build, { time: NOW + 1 }), 'release-dsse'),
  ];
  assert.ok(a.ok && b.ok);
  await a.signed(made(one, a));
  await assert.rejects(b.signed(made(one, b)), code('SIGNING_REFUSED'));
  // Nor the same one twice by one approval, nor after a refusal.
  await assert.rejects(a.signed(made(one, a)), code('SIGNING_REFUSED'));
  assert.equal(one.node.log.size(), 1);
  await one.node.close();
});

test('SignerNode.approve: two that are signed at once write one down', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const build = farm.build();
  const approved = await Promise.all([0, 1, 2].map((more) => one.node.approve(farm.ask(build, { time: NOW + more }), 'release-dsse')));
  const ended = await Promise.allSettled(approved.map(async (each) => each.ok && each.signed(made(one, each))));
  assert.deepEqual(
    ended.map((each) => each.status),
    ['fulfilled', 'rejected', 'rejected'],
  );
  assert.equal(one.node.log.size(), 1);
  await one.node.close();
});

test('SignerNode.approve: what was signed before is approved again for the same record, and refused for another; also after a restart', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  let one = await holder(folder);
  const build = farm.build();
  const request = farm.ask(build);
  await approveAll(one, request);
  for (let restart = 0; restart < 2; restart++) {
    await approveAll(one, request);
    await approveAll(one, farm.ask(build, { checkpoint: one.node.log.checkpoint() }));
    const other = await one.node.approve(farm.ask(build, { time: NOW + 7, checkpoint: one.node.log.checkpoint() }), 'release-dsse');
    assert.ok(!other.ok && other.reason.startsWith('version: '));
    await one.node.close();
    one = await openSampleNode(folder, [], { shares: one.keys.map((key) => ({ use: key.use, public: key.public })) }).then((again) => ({
      ...again,
      keys: one.keys,
    }));
  }
  const next = farm.build({ version: '1.1' });
  await approveAll(one, farm.ask(next, { previous: digestOf(farm.release(build)), from: [2], checkpoint: one.node.log.checkpoint() }));
  const back = await one.node.approve(request, 'release-dsse');
  assert.ok(!back.ok, 'a share for an older version is not given again');
  await one.node.close();
});

test('SignerNode.answer: a node with shares only signs nothing itself, says what to do, and then gives its share to a session', async () => {
  const farm = new SampleFarm();
  const one = await holder();
  const request = farm.ask(farm.build());
  const record = await askNode(one, request);
  assert.deepEqual([record.result, record.step, record.release, record.signatures], ['refused', 'keys', null, []]);
  assert.match(record.reason, /shares only/);
  await approveAll(one, request);
  const after = await askNode(one, request);
  assert.deepEqual([after.result, after.signatures.map((each) => each.format)], ['signed', ['share', 'share']], 'which its log has');
  await one.node.close();
});

test('SignerNode.approve asks the person, and a no is no', async () => {
  const farm = new SampleFarm();
  const said = [false, true];
  const one = await holder(undefined, 'release-dsse', { confirm: () => Promise.resolve(said.shift() ?? false) });
  const request = farm.ask(farm.build());
  const no = await one.node.approve(request, 'release-dsse');
  assert.ok(!no.ok && no.reason.startsWith('person: '));
  await approveAll(one, request);
  await one.node.close();
});

test('SignerNode: a node with a key and a share of another signs with the key first, and then gives its share for the same record', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const both = await openSampleNode(folder, ['release-dsse', 'release-minisign']);
  await both.node.close();
  const [dsse] = both.keys;
  const one = {
    ...(await openSampleNode(folder, ['release-minisign'], { shares: [{ use: dsse!.use, public: dsse!.public }] })),
    keys: [dsse!],
  };
  const request = farm.ask(farm.build());
  const signed = await askNode(one, request);
  assert.deepEqual(
    signed.signatures.map((each) => each.use),
    ['release-minisign', 'release-minisign'],
  );
  await approveAll(one, request);
  assert.deepEqual(await askNode(one, request), signed);
  await one.node.close();
});
