import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { buildId } from '@lockstep/protocol/definition/definition';
import { sampleDefinition } from '@lockstep/protocol/definition/samples';
import { digestBytes } from '@lockstep/protocol/digest/digest';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { formatLogEntry, parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { statementPath } from '@lockstep/protocol/log-entry/statement-path';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { document, LOG_KEY, signedDocument } from '../sequence/samples.ts';
import { viewLog } from './log-view.ts';
import { makeBundle } from './make-bundle.ts';
import { monitorLog } from './monitor.ts';
import { grownLog, sourceOf } from './samples.ts';

const digest = digestBytes(Buffer.from('hello'));
const definition = sampleDefinition();
const statement = statementOfBuild({
  definition,
  farmId: 'farm',
  outputs: [{ name: 'hello', digest }],
  sandbox: { runtime: 'runc 1.1', cgroup: 'v2', kernel: '6.1', silo: '0.1.0' },
  environmentSha256: null,
  variation: null,
  byproducts: [],
  builderVersion: '0.1.0',
  invocationId: 'urn:uuid:00000000-0000-4000-8000-000000000000',
  startedOn: 1_700_000_000,
  finishedOn: 1_700_000_001,
});

const second = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const build = signedDocument(JSON.stringify(statement), IN_TOTO_PAYLOAD);
const verdict = signedDocument(JSON.stringify({ build_id: 'd'.repeat(64), x: 1 }), 'application/vnd.example', second);
const text = signedDocument('no JSON', 'text/plain', second);
const broken = signedDocument(JSON.stringify({ _type: 'something else' }), IN_TOTO_PAYLOAD);
const gone = signedDocument('{}', 'application/x');
/** Its signature is over another document. */
const forged = { ...gone, entry: formatLogEntry({ ...parseLogEntry(build.entry), digest: gone.digest }) };
const documents = [build, verdict, text, broken, gone, forged, document('no entry')];
const disk = await grownLog([documents]);
const source = sourceOf(disk, (path, bytes) => (path === statementPath(gone.digest) ? null : bytes));

test('monitorLog says of each entry by which key it is, of which package, and what is opaque', async () => {
  const { entries } = await monitorLog(source, LOG_KEY, [], null);
  const [mine, theirs] = [build.submission.signer.id, verdict.submission.signer.id];
  assert.notEqual(mine, theirs);
  assert.deepEqual(
    entries.map(({ key, digest: of }) => [key, of]),
    [
      [mine, build.digest],
      [theirs, verdict.digest],
      [theirs, text.digest],
      [mine, broken.digest],
      [mine, gone.digest],
      [mine, gone.digest],
      [null, null],
    ],
  );
  assert.deepEqual(
    entries.map((entry) => [entry.payloadType, entry.package, entry.buildId]),
    [
      [IN_TOTO_PAYLOAD, 'hello 1.0', buildId(definition)],
      ['application/vnd.example', null, 'd'.repeat(64)],
      ['text/plain', null, null],
      [IN_TOTO_PAYLOAD, null, null],
      [null, null, null],
      [null, null, null],
      [null, null, null],
    ],
  );
  assert.deepEqual(
    entries.map(({ opaque }) => opaque?.replace(/(?<=entry): .*/, '') ?? null),
    [null, null, null, null, 'what was signed is not beside the tiles', 'its signature does not verify', 'Not a log entry'],
  );
});

test('makeBundle gives what opens, and refuses an entry that is opaque', async () => {
  const view = await viewLog(source, LOG_KEY);
  for (const index of [0, 1, 2, 3]) {
    const bundle = await makeBundle(source, LOG_KEY, view, index);
    assert.equal(openBundle(bundle, [LOG_KEY], []).index, index);
    assert.deepEqual(Buffer.from(bundle.payload), Buffer.from(documents[index]!.submission.payload));
  }
  for (const index of [4, 5]) await assert.rejects(makeBundle(source, LOG_KEY, view, index), { code: 'LOG_CORRUPT' });
  await assert.rejects(makeBundle(source, LOG_KEY, view, 6), { code: 'LOG_ENTRY_INVALID' });
  for (const index of [-1, 7]) await assert.rejects(makeBundle(source, LOG_KEY, view, index), { code: 'USAGE' });
});

test('makeBundle makes no bundle of tiles that do not hash to the checkpoint', async () => {
  const view = await viewLog(source, LOG_KEY);
  const changed = sourceOf(disk, (path, bytes) =>
    path === 'tile/0/000.p/7' ? bytes.map((byte, at) => (at === 100 ? byte ^ 1 : byte)) : bytes,
  );
  await assert.rejects(makeBundle(changed, LOG_KEY, view, 0), { code: 'LOG_CORRUPT' });
});
