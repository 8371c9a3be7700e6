/** A restored disk: the node's own log is its memory, and the newest checkpoint that it handed out travels in each request. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { sampleLogSigner, sampleSignedCheckpoint } from '@lockstep/protocol/bundle/samples';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { askNode, digestOf, NODE, openSampleNode, read, recordsOf, SampleFarm, type SampleNode, temporaryFolder } from './samples.ts';

/** A node that has signed 1.0, a copy of its folder from before 1.1, and the node after 1.1. */
async function restored(): Promise<{
  folder: string;
  copy: string;
  farm: SampleFarm;
  first: string;
  newest: string;
  next: string;
  before: string;
}> {
  const farm = new SampleFarm();
  const [folder, copy] = [temporaryFolder(), temporaryFolder()];
  let one = await openSampleNode(folder);
  const build = farm.build();
  const signed = read(one.home, await one.node.answer(farm.ask(build)));
  await one.node.close();
  cpSync(folder, copy, { recursive: true });
  one = await openSampleNode(folder);
  const previous = digestOf(farm.release(build));
  const next = farm.build({ version: '1.1' });
  const after = read(one.home, await one.node.answer(farm.ask(next, { checkpoint: signed.checkpoint, previous, from: [2] })));
  assert.equal(after.record.reason, '');
  await one.node.close();
  return { folder, copy, farm, first: build, newest: after.checkpoint, next: farm.build({ version: '1.2' }), before: signed.checkpoint };
}

function putBack(copy: string, folder: string): void {
  rmSync(folder, { recursive: true });
  cpSync(copy, folder, { recursive: true });
}

test('SignerNode.answer: without a restored disk the newest checkpoint is signed by', async () => {
  const { folder, farm, newest, next } = await restored();
  const one = await openSampleNode(folder);
  const previous = (await recordsOf(one)).at(-1)?.release ?? null;
  const record = await askNode(one, farm.ask(next, { checkpoint: newest, previous: previous && digestOf(previous), from: [4] }));
  assert.equal(record.result, 'signed', record.reason);
  await one.node.close();
});

test('SignerNode.answer: a restored disk is noticed by the newest checkpoint, and then for good, also after a restart', async () => {
  const { folder, copy, farm, first, newest, next, before } = await restored();
  putBack(copy, folder);
  let one = await openSampleNode(folder);
  const previous = digestOf(farm.release(first));
  const refused = await askNode(one, farm.ask(next, { checkpoint: newest, previous, from: [2] }));
  assert.equal(refused.step, 'memory');
  assert.match(refused.reason, /^SIGNER_ROLLED_BACK: .*has 1 entries in its log, and has handed out a checkpoint of 2/);
  assert.deepEqual(refused.signatures, []);
  // Also what it would have signed by an older checkpoint, and by the one that it has just handed out.
  for (let restart = 0; restart < 2; restart++) {
    for (const checkpoint of [before, one.node.log.checkpoint()]) {
      const again = await askNode(one, farm.ask(next, { checkpoint, previous, from: [2] }));
      assert.equal(again.result, 'refused');
      assert.match(again.reason, /^SIGNER_ROLLED_BACK: .*older copy of itself before/);
    }
    await one.node.close();
    one = await openSampleNode(folder);
  }
  await one.node.close();
});

test('SignerNode.answer: a copy that went on by itself and has as many entries is noticed by the checkpoint of the other', async () => {
  const { folder, copy, farm, newest, next, before } = await restored();
  putBack(copy, folder);
  const one = await openSampleNode(folder);
  // Whoever asks with the old checkpoint is not told apart from the past: it signs, and forks its own log.
  const forked = await askNode(
    one,
    farm.ask(next, { checkpoint: before, previous: digestOf((await recordsOf(one))[0]!.release!), from: [2] }),
  );
  assert.equal(forked.result, 'signed', forked.reason);
  assert.equal(one.node.log.size(), 2);
  const noticed = await askNode(one, farm.ask(farm.build({ version: '1.3' }), { checkpoint: newest, from: [2] }));
  assert.match(noticed.reason, /^SIGNER_ROLLED_BACK: .*with 2 entries was another one/);
  await one.node.close();
});

test('SignerNode.answer: a node whose log was emptied is noticed', async () => {
  const { folder, farm, newest, next } = await restored();
  for (const part of ['public', 'cells', 'staging']) rmSync(`${folder}/log/${part}`, { recursive: true });
  const one = await openSampleNode(folder);
  assert.equal(one.node.log.size(), 0);
  const noticed = await askNode(one, farm.ask(next, { checkpoint: newest }));
  assert.match(noticed.reason, /^SIGNER_ROLLED_BACK: .*has 0 entries/);
  assert.equal((await askNode(one, farm.ask(next, { checkpoint: one.node.log.checkpoint() }))).step, 'memory');
  await one.node.close();
});

test('SignerNode.answer: a checkpoint that is missing, of another node, or forged is refused, and not for good', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const other = await openSampleNode(temporaryFolder());
  const build = farm.build();
  const own = read(one.home, await one.node.answer(farm.ask(build))).checkpoint;
  const foreign = read(other.home, await other.node.answer(farm.ask(build))).checkpoint;
  const forger = sampleLogSigner(`${NODE}.signer`, 77);
  const { checkpoint } = openLogCheckpoint(own, one.home.key);
  const previous = digestOf(farm.release(build));
  const next = farm.build({ version: '1.1' });
  const ask = (given: string | null): Uint8Array => farm.ask(next, { checkpoint: given, previous, from: [2] });
  for (const [given, why] of [
    [null, /no checkpoint of this node/],
    [foreign, /SIGNING_REFUSED: .*not one of this node/],
    [sampleSignedCheckpoint({ ...checkpoint, size: 99 }, [forger]), /SIGNING_REFUSED: .*not one of this node/],
    [own.replace('\n1\n', '\n7\n'), /SIGNING_REFUSED: .*not one of this node/],
    ['nonsense', /SIGNING_REFUSED: .*not one of this node/],
    [`${'x'.repeat(19_000)}\n\n— a b\n`, /SIGNING_REFUSED: .*not one of this node/],
  ] as const) {
    const record = await askNode(one, ask(given));
    assert.equal(record.step, 'memory', record.reason);
    assert.match(record.reason, why);
    assert.deepEqual(record.signatures, []);
  }
  const signed = await askNode(one, ask(own));
  assert.equal(signed.result, 'signed', signed.reason);
  for (const used of [one, other] satisfies SampleNode[]) await used.node.close();
});

test('openNode: a refusal of another step whose reason says SIGNER_ROLLED_BACK does not end the node', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const one = await openSampleNode(folder, ['release-dsse'], {
    keys: [],
    shares: [],
  });
  await askNode(one, farm.ask(farm.build()));
  await one.node.close();
  const { remember, NOTHING } = await import('./memory.ts');
  const [record] = await (async () => {
    const again = await openSampleNode(folder);
    const all = await recordsOf(again);
    await again.node.close();
    return all;
  })();
  const said = { ...record!, reason: 'SIGNER_ROLLED_BACK: said a key that cannot sign' };
  assert.equal(remember(NOTHING, { ...said, step: 'custody' }).rolledBack, false);
  assert.equal(remember(NOTHING, { ...said, step: 'memory' }).rolledBack, true);
});
