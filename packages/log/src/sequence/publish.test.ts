import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { formatNote, parseNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { readFromScratch } from '../source/samples.ts';
import { httpWitnesses } from '../witness/client.ts';
import { listen, memoryWitness, policyFor, stop } from '../witness/samples.ts';
import { witnessServer } from '../witness/server.ts';
import { openWitness } from '../witness/witness-home.ts';
import { addCheckpoint, formatRequest, type Witness } from '../witness/witness.ts';
import { initLog, type LogHome, openLogHome } from './log-home.ts';
import type { WitnessClient } from './publish.ts';
import { document, emptyDisk, memoryHome, nextTurn, readFolder } from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-publish-`);
let witness: Witness;
let server: Server;
let url = '';
const up = async (port = 0): Promise<void> => {
  server = witnessServer(witness, (error) => assert.fail(String(error)));
  url = await listen(server, port);
};
const down = (): Promise<void> => stop(server);
before(async () => {
  witness = openWitness(`${folder}/witness`, 'w.example/1', [], () => 1_800_000_000);
  await up();
});
after(async () => {
  await down();
  rmSync(folder, { recursive: true, force: true });
});

let logs = 0;
interface Witnessed {
  readonly home: LogHome;
  readonly client: WitnessClient | null;
}

/** A log of its own that has to be witnessed. */
function witnessedLog(policy = policyFor(witness, url)): Witnessed {
  const home = initLog(`${folder}/log-${++logs}`, `log.example.org/${logs}`, policy);
  (witness.logs as Map<string, readonly (typeof home.key)[]>).set(home.origin, [home.key]);
  return reopened(home);
}

/** As another process would open it, perhaps somewhere else. */
function reopened({ root }: LogHome): Witnessed {
  const home = openLogHome(root);
  assert.ok(home.witnesses !== null);
  return { home, client: httpWitnesses(home.witnesses, home.origin, home.source) };
}

const published = (home: LogHome): string | null => {
  const bytes = readFolder(`${home.root}/public`)('checkpoint');
  return bytes === null ? null : Buffer.from(bytes).toString();
};
const cosigners = (home: LogHome, note: string): number =>
  openLogCheckpoint(note, home.key, [witness.ed25519.key, witness.mlDsa.key]).signedBy.length - 1;

async function appendAll(sequencer: Sequencer, labels: readonly string[]): Promise<number[]> {
  return Promise.all(labels.map((label) => sequencer.append(document(label))));
}

test('publishCheckpoint publishes with the cosignatures that the policy asks for', async () => {
  const { home, client } = witnessedLog();
  const sequencer = await openSequencer(home, client);
  assert.deepEqual(await appendAll(sequencer, ['a', 'b']), [0, 1]);
  assert.deepEqual(await appendAll(sequencer, ['c']), [2]);
  assert.equal(cosigners(home, sequencer.published()), 2);
  assert.equal(published(home), sequencer.published());
});

test('publishCheckpoint publishes nothing while witnesses are down; the entries keep their place, and are published when they are back', async () => {
  const { home, client } = witnessedLog();
  const sequencer = await openSequencer(home, client);
  await appendAll(sequencer, ['a']);
  const before = published(home);
  const port = Number(new URL(url).port);
  await down();
  await assert.rejects(appendAll(sequencer, ['b', 'c']), { code: 'WITNESSES_MISSING' });
  await assert.rejects(appendAll(sequencer, ['b']), { code: 'WITNESSES_MISSING' }, 'a repetition is not acknowledged either');
  await assert.rejects(appendAll(sequencer, ['d']), { code: 'WITNESSES_MISSING' });
  assert.equal(published(home), before);
  await assert.rejects(openSequencer(openLogHome(home.root), reopened(home).client), { code: 'WITNESSES_MISSING' });
  assert.equal(published(home), before);
  await up(port);
  assert.deepEqual(await appendAll(sequencer, ['d', 'c', 'b', 'e']), [3, 2, 1, 4]);
  assert.equal(cosigners(home, sequencer.published()), 2);
  assert.equal(readFromScratch(readFolder(`${home.root}/public`), home.key).size, 5);
});

test('openSequencer publishes what was decided while the witnesses were down', async () => {
  const { home, client } = witnessedLog();
  const sequencer = await openSequencer(home, client);
  const port = Number(new URL(url).port);
  await down();
  await assert.rejects(appendAll(sequencer, ['a']), { code: 'WITNESSES_MISSING' });
  assert.equal(published(home), null);
  await up(port);
  const { home: same, client: again } = reopened(home);
  const next = await openSequencer(same, again);
  assert.equal(cosigners(home, published(home) ?? ''), 2);
  assert.deepEqual(await appendAll(next, ['a']), [0]);
});

test('publishCheckpoint needs the quorum, not every witness; none of a client counts as none', async () => {
  const absent = memoryWitness('absent.example', []);
  const one = `witness e ${formatVerifierKey(witness.ed25519.key)} ${url}\nwitness x ${formatVerifierKey(absent.ed25519.key)} http://127.0.0.1:1\n`;
  const any = witnessedLog(`${one}group some any e x\nquorum some\n`);
  assert.deepEqual(await appendAll(await openSequencer(any.home, any.client), ['a']), [0]);
  const all = witnessedLog(`${one}group some all e x\nquorum some\n`);
  await assert.rejects(openSequencer(all.home, all.client), { code: 'WITNESSES_MISSING' });
  const without = await openSequencer(all.home, null);
  await assert.rejects(appendAll(without, ['a']), { code: 'WITNESSES_MISSING' });
  assert.equal(published(all.home), null);
  const nobody = witnessedLog('quorum none\n');
  assert.deepEqual(await appendAll(await openSequencer(nobody.home, nobody.client), ['a']), [0]);
});

test('publishCheckpoint does not keep a published checkpoint whose cosignatures were damaged below the quorum', async () => {
  const { home, client } = witnessedLog();
  await appendAll(await openSequencer(home, client), ['a']);
  const damaged = (published(home) ?? '').replaceAll('w.example/1', 'w.example/2');
  writeFileSync(`${home.root}/public/checkpoint`, damaged);
  const next = reopened(home);
  const sequencer = await openSequencer(next.home, next.client).catch((error: unknown) => error as { code: string });
  if ('code' in sequencer) assert.equal(sequencer.code, 'LOG_CORRUPT');
  else assert.equal(cosigners(home, sequencer.published()), 2);
});

async function restoredFromBackup(witnessed: Witnessed): Promise<LogHome> {
  const { home, client } = witnessed;
  const sequencer = await openSequencer(home, client);
  await appendAll(sequencer, ['a', 'b']);
  await sequencer.close();
  cpSync(home.root, `${home.root}-backup`, { recursive: true });
  await appendAll(await openSequencer(openLogHome(home.root), client), ['c']);
  rmSync(home.root, { recursive: true });
  cpSync(`${home.root}-backup`, home.root, { recursive: true });
  return home;
}

test('openSequencer refuses a log that was restored from a backup, when its witness has seen more: LOG_ROLLED_BACK, and nothing is signed', async () => {
  const home = await restoredFromBackup(witnessedLog());
  const { client } = reopened(home);
  let signed = 0;
  const opened = openLogHome(home.root);
  const sign = (message: Uint8Array): Uint8Array => {
    signed++;
    return opened.signer.sign(message);
  };
  await assert.rejects(openSequencer({ ...opened, signer: { ...opened.signer, sign } }, client), {
    code: 'LOG_ROLLED_BACK',
    message: /has seen 3/,
  });
  assert.equal(signed, 0);
  assert.match(published(home) ?? '', /\n2\n/);
});

test('openSequencer refuses a log of which only the cells were restored: LOG_ROLLED_BACK without any witness', async () => {
  const home = initLog(`${folder}/cells`, 'log.example.org/cells', null);
  const sequencer = await openSequencer(home, null);
  await appendAll(sequencer, ['a']);
  const cell = readFileSync(`${home.root}/cells/checkpoint.cell`);
  await appendAll(sequencer, ['b']);
  writeFileSync(`${home.root}/cells/checkpoint.cell`, cell);
  await assert.rejects(openSequencer(openLogHome(home.root), null), { code: 'LOG_ROLLED_BACK' });
  await assert.rejects(appendAll(sequencer, ['c']), { code: 'LOG_ROLLED_BACK' }, 'nor does the process that was there before sign on');
  rmSync(`${home.root}/cells/checkpoint.cell`);
  await assert.rejects(openSequencer(openLogHome(home.root), null), { code: 'LOG_ROLLED_BACK' });
});

test('KNOWN LIMIT: without a witness a log whose cells and public files are both restored is NOT detected, and forks', async () => {
  const home = initLog(`${folder}/unwitnessed`, 'log.example.org/unwitnessed', null);
  await restoredFromBackup({ home, client: null });
  const sequencer = await openSequencer(openLogHome(home.root), null);
  assert.deepEqual(await appendAll(sequencer, ['d']), [2], 'where c was');
});

test('append does not begin a second tree when the cell is lost while nothing is published: LOG_ROLLED_BACK', async () => {
  const disk = emptyDisk();
  const sequencer = await openSequencer(memoryHome(disk, { witnessPolicy: policyFor(witness, url) }), null);
  await assert.rejects(appendAll(sequencer, ['a']), { code: 'WITNESSES_MISSING' });
  disk.cells.clear();
  await assert.rejects(appendAll(sequencer, ['b']), { code: 'LOG_ROLLED_BACK' });
  await nextTurn();
  assert.equal(disk.swapped.length, 1, 'one root for size 1');
});

test('openSequencer refuses a published checkpoint of another branch, also when it is smaller than what was kept', async () => {
  const home = initLog(`${folder}/branch`, 'log.example.org/branch', null);
  cpSync(home.root, `${home.root}-2`, { recursive: true });
  await appendAll(await openSequencer(home, null), ['a']);
  const other = openLogHome(`${home.root}-2`);
  await appendAll(await openSequencer(other, null), ['b', 'c']);
  writeFileSync(`${other.root}/public/checkpoint`, published(home) ?? '');
  await assert.rejects(openSequencer(openLogHome(other.root), null), { code: 'LOG_INCONSISTENT' });
});

test('openSequencer opens again after a stranger gave the log’s own checkpoint to its witness', async () => {
  const { home, client } = witnessedLog();
  await appendAll(await openSequencer(home, client), ['a', 'b']);
  const note = parseNote(published(home) ?? '');
  const own = note.signatures.find(({ name }) => name === home.origin)!;
  const repeated = formatNote({ text: note.text, signatures: Array.from({ length: 64 }, () => own) });
  addCheckpoint(witness, Buffer.from(formatRequest(2, [], repeated)));
  const next = reopened(home);
  assert.deepEqual(await appendAll(await openSequencer(next.home, next.client), ['c']), [2]);
});
