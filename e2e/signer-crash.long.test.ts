/**
 * kill -9 of a signing node at every step that could be lost: no signature leaves that its log does not have, the same request
 * has the same answer afterwards, and nothing is signed twice differently for one version. And what others can check of its log.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { readAnswer } from '../packages/cli/src/signer/answer.ts';
import type { NodeCard } from '../packages/cli/src/signer/node-card.ts';
import { readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { askNode, digestOf, NODE, NOW, openSampleNode, read, recordsOf, ROOT, SampleFarm } from '@lockstep/signer/node/samples';
import { lockstep, temporaryFolder } from './lockstep.ts';

interface World {
  readonly folder: string;
  readonly farm: SampleFarm;
  /** Asks for the next release. */
  readonly request: Uint8Array;
  /** For the same version with another record, by whatever checkpoint the node has then. */
  rival(checkpoint: string | null): Uint8Array;
}

async function world(history: boolean): Promise<World> {
  const folder = temporaryFolder();
  const farm = new SampleFarm();
  const one = await openSampleNode(folder);
  const first = farm.build();
  const wish = history ? { previous: digestOf(farm.release(first)), from: [2] } : {};
  if (history) assert.equal((await askNode(one, farm.ask(first))).result, 'signed');
  const checkpoint = history ? one.node.log.checkpoint() : null;
  await one.node.close();
  writeFileSync(`${folder}/root.json`, ROOT);
  writeFileSync(`${folder}/now`, String(NOW));
  const next = history ? farm.build({ version: '1.1' }) : first;
  return {
    folder,
    farm,
    request: farm.ask(next, { ...wish, checkpoint }),
    rival: (newest) => farm.ask(next, { ...wish, from: history ? [2, 4] : [2], time: NOW + 1, checkpoint: newest }),
  };
}

interface Killed {
  readonly folder: string;
  /** null: it came to its end. */
  readonly at: string | null;
  readonly left: Uint8Array | null;
}

async function killAt(start: World, n: number, mode: 'before' | 'after'): Promise<Killed> {
  const folder = `${temporaryFolder()}/node`;
  cpSync(start.folder, folder, { recursive: true });
  const [request, answer] = [`${folder}/request`, `${folder}/answer`];
  writeFileSync(request, start.request);
  const child = spawn(process.execPath, [`${import.meta.dirname}/signer-crash-node.ts`, folder, request, answer, String(n), mode], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 60_000,
  });
  const errors: Buffer[] = [];
  child.stderr.on('data', (bytes: Buffer) => errors.push(bytes));
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => child.once('close', (code, by) => resolve(code === 0 ? null : by)));
  const at = existsSync(`${answer}.killed`) ? readFileSync(`${answer}.killed`, 'utf8') : null;
  assert.equal(signal, at === null ? null : 'SIGKILL', Buffer.concat(errors).toString());
  return { folder, at, left: existsSync(answer) ? readFileSync(answer) : null };
}

/** @param rivalFirst whether somebody asks for another record of the version before the first request is repeated */
async function requireWhole(start: World, { folder, left, at }: Killed, rivalFirst: boolean, size: number): Promise<void> {
  let one = await openSampleNode(folder);
  const made = left === null ? null : read(one.home, left).record;
  if (made !== null) assert.deepEqual((await recordsOf(one))[size], made, `what left when killed at ${at} is in the log`);
  const askRival = async (): Promise<string> => {
    // As a requester would: with the checkpoint of the last answer that it has.
    const newest = one.node.log.size() === 0 ? null : one.node.log.checkpoint();
    return (await askNode(one, start.rival(newest))).result;
  };
  const rivalBefore = rivalFirst ? await askRival() : null;
  const again = await askNode(one, start.request);
  const rival = rivalBefore ?? (await askRival());
  assert.equal([again.result, rival].filter((result) => result === 'signed').length, 1, `killed at ${at}: one of the two`);
  if (!rivalFirst || made !== null) assert.equal(again.result, 'signed', `killed at ${at}: ${again.reason}`);
  if (made !== null) assert.deepEqual(again, made, 'the same request has the same answer');
  await one.node.close();
  one = await openSampleNode(folder);
  assert.deepEqual(await askNode(one, start.request), again, 'and after another restart');
  const signed = (await recordsOf(one)).filter((record) => record.result === 'signed' && record.release !== null);
  assert.equal(new Set(signed.map((record) => record.release?.version)).size, signed.length, 'each version is signed once');
  await one.node.close();
}

for (const history of [false, true])
  test(`a signing node ${history ? 'with a history' : 'that is new'}, killed before and after each step, is whole afterwards`, async () => {
    const start = await world(history);
    const steps = new Set<string>();
    for (const mode of ['before', 'after'] as const) {
      // Two at once: most of it is starting a process.
      for (let n = 0, over = false; !over; n += 2) {
        const killed = await Promise.all([n, n + 1].map((each) => killAt(start, each, mode)));
        for (const [offset, each] of killed.entries()) {
          if (each.at === null) over = true;
          else steps.add(each.at);
          await requireWhole(start, each, (n + offset) % 2 === (mode === 'before' ? 1 : 0), history ? 1 : 0);
        }
      }
    }
    for (const name of ['person', 'sign release-dsse', 'sign release-minisign', 'sign node', 'stage', 'swap', 'write', 'publish', 'answer'])
      assert.ok(steps.has(name), `${name} was among the steps (${[...steps].join(', ')})`);
  });

test('the log of a node is verified by "lockstep log verify", and each answer as a bundle of it', async () => {
  const start = await world(true);
  const one = await openSampleNode(start.folder);
  const answer = await one.node.answer(start.request);
  await one.node.answer(toUtf8('no request'));
  const key = formatVerifierKey(one.home.key);
  await one.node.close();
  const exported = `${temporaryFolder()}/exported`;
  cpSync(`${start.folder}/log/public`, exported, { recursive: true });
  const verified = lockstep(['log', 'verify', exported, '--key', key, '--json']);
  assert.equal(verified.status, 0, verified.stderr + verified.stdout);
  const result = JSON.parse(verified.stdout) as { ok: boolean; size: number; opaque: unknown[] };
  assert.deepEqual([result.ok, result.size, result.opaque], [true, 3, []]);
  const file = `${temporaryFolder()}/answer.sigstore.json`;
  writeFileSync(file, answer);
  assert.equal(lockstep(['log', 'verify', file, '--key', key]).status, 0);
  // One changed entry is found.
  const tile = `${exported}/tile/entries/000.p/3`;
  const bytes = readFileSync(tile);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(tile, bytes);
  assert.notEqual(lockstep(['log', 'verify', exported, '--key', key]).status, 0);
});

test('readAnswer takes the node’s own answer to that request; a changed byte, another node and another request are refused', async () => {
  const start = await world(false);
  const [one, other] = [await openSampleNode(start.folder), await openSampleNode(temporaryFolder())];
  const answer = await one.node.answer(start.request);
  const cardOf = (folder: string, node: typeof one): NodeCard => ({
    schema: 'lockstep-node/v1',
    name: NODE,
    key: anyKeyToPem(readFileKeyHeader(`${folder}/node.json`).public),
    log: formatVerifierKey(node.home.key),
    box: null,
    via: null,
  });
  const card = cardOf(start.folder, one);
  const { record, checkpoint } = readAnswer(answer, card, start.request);
  assert.equal(record.result, 'signed');
  assert.equal(checkpoint, one.node.log.checkpoint());
  const refused = (error: unknown): boolean => error instanceof LockstepError;
  const foreign = cardOf(other.folder, other);
  assert.throws(() => readAnswer(answer, foreign, start.request), refused);
  assert.throws(() => readAnswer(answer, { ...card, key: foreign.key }, start.request), refused, 'signed by another node’s key');
  assert.throws(() => readAnswer(answer, card, start.rival(null)), refused);
  assert.throws(() => readAnswer(new Uint8Array(0), card, start.request), refused);
  // Every place of the answer in turn: only what nobody relies on, the two hints at the key, may be changed.
  const text = Buffer.from(answer).toString('latin1');
  const { id } = readFileKeyHeader(`${start.folder}/node.json`).public;
  const hints = [...text.matchAll(new RegExp(id, 'g'))].map((match) => match.index);
  assert.equal(hints.length, 2);
  for (let at = 0; at < answer.length; at += 5) {
    const changed = answer.slice();
    changed[at]! ^= 1;
    if (hints.some((first) => at >= first && at < first + id.length)) {
      assert.deepEqual(readAnswer(changed, card, start.request).record, record);
      continue;
    }
    assert.throws(() => readAnswer(changed, card, start.request), refused, `byte ${at}`);
  }
  for (const used of [one, other]) await used.node.close();
});
