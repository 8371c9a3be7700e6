/** A log from the command line: its operator's folder, its witness, and those who watch it. Also with wrong input. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { formatEnvelope, pae } from '@lockstep/protocol/dsse/envelope';
import { ended, makeLog, makeWitness, succeed, type TestLog } from './farm.ts';
import { errorOf, temporaryFolder } from './lockstep.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const folder = temporaryFolder();
const pem = `${folder}/signer.pem`;
writeFileSync(pem, pair.publicKey.export({ type: 'spki', format: 'pem' }));
let made = 0;

/** A signed document of a kind that nobody knows: a log takes it all the same. */
function document(text = `document ${made}`): string {
  const payloadType = 'text/plain';
  const payload = Buffer.from(text);
  const path = `${folder}/${made++}.json`;
  writeFileSync(
    path,
    formatEnvelope({ payloadType, payload, signatures: [{ keyid: '', sig: sign('sha256', pae(payloadType, payload), pair.privateKey) }] }),
  );
  return path;
}

const append = (log: TestLog, files: readonly string[], status = 0): string =>
  ended(['log', 'append', log.folder, ...files, '--key', pem, '--json'], status).stdout;
const checkpoint = (log: TestLog): string => readFileSync(`${log.folder}/public/checkpoint`, 'utf8');

test('append, show, prove, verify, monitor and mirror work on each other’s files', () => {
  const log = makeLog(null);
  assert.match(succeed(['log', 'show', log.folder]), /nothing was published yet/);
  const files = [document(), document(), document()];
  const { appended } = JSON.parse(append(log, files)) as { appended: { index: number; bundle: string }[] };
  assert.deepEqual(
    appended.map((one) => one.index),
    [0, 1, 2],
  );
  // Asked again, it has the same answer, and no second entry.
  assert.match(append(log, files.slice(1, 2)), /"index":1/);
  assert.match(checkpoint(log), /\n3\n/);
  assert.match(succeed(['log', 'verify', appended[2]?.bundle ?? '', '--key', log.key]), /entry 2 of 3/);
  const state = `${folder}/state`;
  assert.match(succeed(['log', 'monitor', `${log.folder}/public`, '--key', log.key, '--state', state]), /0 → 3 entries/);
  append(log, [document()]);
  const monitored = succeed(['log', 'monitor', `${log.folder}/public`, '--key', log.key, '--state', state]);
  assert.match(monitored, /3 → 4 entries, consistent\n3 {2}[0-9a-f]{16} {2}text\/plain/);
  assert.match(succeed(['log', 'show', log.folder, '3']), /hashedrekord/);
  assert.match(succeed(['log', 'prove', log.folder, '3', '--form', 'tlog-proof']), /^c2sp\.org\/tlog-proof@v1\nindex 3\n/);
  assert.match(succeed(['log', 'prove', log.folder, files[0] ?? '']), /sigstore\.bundle\.v0\.3/);
  assert.match(succeed(['log', 'prove', log.folder, '--from', '3']), /^old 3\n/);
  const mirror = `${folder}/mirror`;
  succeed(['log', 'mirror', `${log.folder}/public`, mirror, '--key', log.key]);
  assert.match(succeed(['log', 'verify', mirror, '--key', log.key]), /4 entries, every tile and entry hashed again/);
  // What was signed is named by its own digest.
  const [first = ''] = readdirSync(`${mirror}/statement`);
  const [rest = ''] = readdirSync(`${mirror}/statement/${first}`);
  rmSync(`${mirror}/statement/${first}/${rest}`);
  assert.match(succeed(['log', 'verify', mirror, '--key', log.key]), /opaque: \d: what was signed is not beside the tiles/);
});

test('a builder’s log is fixed by a reference in the farm’s', () => {
  const builder = makeLog(null, 'log.example.org/builder');
  append(builder, [document()]);
  const farm = makeLog(null);
  succeed(['log', 'append', farm.folder, '--reference', `${builder.folder}/public`, '--reference-key', builder.key]);
  assert.match(succeed(['log', 'show', farm.folder, '0']), /log-reference.*\n.*\n.*log\.example\.org\/builder/);
});

test('a rewritten log is an alarm for who was there before, and two checkpoints of one size prove a split view', () => {
  const log = makeLog(null);
  append(log, [document(), document()]);
  const state = `${folder}/before`;
  succeed(['log', 'monitor', `${log.folder}/public`, '--key', log.key, '--state', state]);
  // The operator starts again with the same key.
  for (const name of ['public', 'cells', 'staging']) rmSync(`${log.folder}/${name}`, { recursive: true });
  append(log, [document(), document()]);
  const alarm = ended(['log', 'monitor', `${log.folder}/public`, '--key', log.key, '--state', state, '--json'], 6);
  assert.equal(errorOf(alarm.stdout).code, 'LOG_INCONSISTENT');
  writeFileSync(`${folder}/after`, checkpoint(log));
  const split = ended(['log', 'verify', state, `${folder}/after`, '--key', log.key, '--json'], 6);
  assert.match(errorOf(split.stdout).message, /split view/);
});

test('without its witness nothing is published; a log restored from a backup is found out before it signs', async () => {
  const witness = await makeWitness();
  const log = makeLog(witness);
  assert.equal(errorOf(append(log, [document()], 5)).code, 'WITNESSES_MISSING');
  assert.equal(existsSync(`${log.folder}/public/checkpoint`), false);
  await witness.start(log.key);
  append(log, [document()]);
  const backup = `${folder}/backup`;
  cpSync(log.folder, backup, { recursive: true });
  append(log, [document()]);
  await witness.stop();
  const late = document();
  assert.equal(errorOf(append(log, [late], 5)).code, 'WITNESSES_MISSING');
  assert.match(checkpoint(log), /\n[23]\n/);
  await witness.start(log.key);
  append(log, [late]);
  const good = checkpoint(log);
  rmSync(log.folder, { recursive: true });
  cpSync(backup, log.folder, { recursive: true });
  const cell = readFileSync(`${log.folder}/cells/checkpoint.cell`, 'utf8');
  assert.equal(errorOf(append(log, [document()], 6)).code, 'LOG_ROLLED_BACK');
  assert.equal(readFileSync(`${log.folder}/cells/checkpoint.cell`, 'utf8'), cell, 'nothing was signed');
  assert.match(good, /witness\.example\.net\/w1/);
});

test('a flipped byte is found before anything is signed over it', () => {
  const log = makeLog(null);
  append(log, [document(), document()]);
  rmSync(`${log.folder}/staging`, { recursive: true });
  mkdirSync(`${log.folder}/staging`);
  const path = `${log.folder}/public/tile/entries/000.p/2`;
  const bytes = readFileSync(path);
  bytes[40] = (bytes[40] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const before = checkpoint(log);
  assert.match(errorOf(append(log, [document()], 6)).code, /^LOG_(?:CORRUPT|INCONSISTENT)$/);
  assert.equal(checkpoint(log), before);
});

const REFUSALS: readonly {
  readonly name: string;
  readonly args: (log: TestLog) => readonly string[];
  readonly status: number;
  readonly code: string;
}[] = [
  { name: 'a folder that is no log', args: () => ['log', 'append', folder, pem], status: 2, code: 'LOG_UNUSABLE' },
  {
    name: 'a second log in one folder',
    args: (log) => ['log', 'init', log.folder, '--origin', 'x.example'],
    status: 2,
    code: 'LOG_UNUSABLE',
  },
  { name: 'an origin with a space', args: () => ['log', 'init', `${folder}/new`, '--origin', 'a b'], status: 2, code: 'USAGE' },
  { name: 'nothing to append', args: (log) => ['log', 'append', log.folder], status: 2, code: 'USAGE' },
  {
    name: 'a file that is no envelope',
    args: (log) => ['log', 'append', log.folder, pem, '--key', pem],
    status: 6,
    code: 'ENVELOPE_INVALID',
  },
  {
    name: 'a document that somebody else signed',
    args: (log) => ['log', 'append', log.folder, document()],
    status: 6,
    code: 'LOG_ENTRY_INVALID',
  },
  { name: 'no key to trust', args: (log) => ['log', 'verify', `${log.folder}/public`], status: 2, code: 'USAGE' },
  { name: 'a key that is none', args: (log) => ['log', 'verify', log.folder, '--key', 'x'], status: 2, code: 'KEY_INVALID' },
  { name: 'an index that is not there', args: (log) => ['log', 'show', log.folder, '99'], status: 2, code: 'USAGE' },
  { name: 'a size that is not there', args: (log) => ['log', 'prove', log.folder, '--from', '99'], status: 2, code: 'USAGE' },
  {
    name: 'a document that is not logged',
    args: (log) => ['log', 'prove', log.folder, document('not logged')],
    status: 6,
    code: 'PROOF_INVALID',
  },
  {
    name: 'a log that nobody serves',
    args: (log) => ['log', 'verify', 'http://127.0.0.1:9/', '--key', log.key],
    status: 1,
    code: 'FETCH_FAILED',
  },
  {
    name: 'a witness policy with a fault',
    args: () => ['log', 'init', `${folder}/new`, '--origin', 'x.example', '--witnesses', pem],
    status: 2,
    code: 'WITNESS_POLICY_INVALID',
  },
  {
    name: 'a witness in the folder of a log',
    args: (log) => ['witness', log.folder, '--name', 'w.example'],
    status: 2,
    code: 'LOG_UNUSABLE',
  },
  { name: 'a witness without a name', args: () => ['witness', `${folder}/nobody`], status: 2, code: 'USAGE' },
];

test('wrong input to the verbs of the log has its named error and its status', async (context) => {
  const log = makeLog(null);
  append(log, [document()]);
  for (const one of REFUSALS)
    await context.test(one.name, () => {
      const run = ended([...one.args(log), '--json'], one.status);
      assert.equal(errorOf(run.stdout).code, one.code, run.stderr);
      assert.notEqual(errorOf(run.stdout).hint, '');
    });
});
