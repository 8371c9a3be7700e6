/** What a signing node refuses, and how it is told: each forgery with the step that finds it, and the exit code of spec/errors.md. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseBundle } from '@lockstep/protocol/bundle/bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { formatRequest, parseRequest, type ReleaseRequest } from '@lockstep/protocol/signing/request';
import { SIGNING_RECORD, type SigningRecord } from '@lockstep/protocol/signing/record';
import type { ErrorData } from './lockstep.ts';
import { openSignerHome } from '../packages/cli/src/signer/home.ts';
import { runNode } from '../packages/cli/src/signer/running-node.ts';
import {
  type Built,
  makeKey,
  makeNode,
  makeReleaseLog,
  releaseKeys,
  type ReleaseLog,
  requireApprovedBy,
  type TestNode,
  verdict,
} from './release-log.ts';

interface Asked {
  readonly farm: ReleaseLog;
  readonly node: TestNode;
  readonly built: Built;
  /** Asks for a build as the command does. */
  readonly approve: (built: Built, ...more: readonly string[]) => string[];
}

async function asked(witnessed = false): Promise<Asked> {
  const farm = await makeReleaseLog({ witnessed });
  const node = await makeNode(farm, 'node');
  releaseKeys(farm, { org: await makeKey(node, 'k') });
  const approve = (built: Built, ...more: readonly string[]): string[] => {
    const via = more.includes('--node') ? [] : node.local;
    return ['release', 'approve', built.file, ...farm.trust, ...via, '--into', farm.log.folder, ...more];
  };
  return { farm, node, built: await farm.build('1.0'), approve };
}

function requestFor({ farm, node }: Asked, built: Built): ReleaseRequest {
  const out = `${farm.root}/${built.buildId.slice(0, 8)}.request`;
  farm.run('release', 'request', built.buildId, ...farm.trust, '--node', node.card, '--out', out);
  const request = parseRequest(readFileSync(out));
  assert.equal(request.purpose, 'release');
  return request;
}

let count = 0;

interface Carried {
  readonly record: SigningRecord;
  /** Files. */
  readonly request: string;
  readonly answer: string;
}

/** Carries a request to the node, and back what it has written into its log about it. */
async function carried({ farm, node }: Asked, request: ReleaseRequest | string): Promise<Carried> {
  const [file, answer] = [`${farm.root}/carried-${++count}`, `${farm.root}/answer-${count}`];
  const bytes = typeof request === 'string' ? Buffer.from(request) : formatRequest(request);
  writeFileSync(file, bytes);
  // What `lockstep signer sign` does, without a process for each.
  const secret = (): Promise<Uint8Array> => Promise.resolve(new Uint8Array(0));
  const running = await runNode(openSignerHome(node.folder), { secret, confirm: null, clock: () => Date.now() / 1000 });
  writeFileSync(answer, await running.handle(bytes));
  await running.close();
  const opened = openBundle(parseBundle(readFileSync(answer)), [parseVerifierKey(running.card.log)], []);
  const record = readDocument(SIGNING_RECORD, opened.payloadType, opened.payload);
  assert.ok(record !== null);
  return { record, request: file, answer };
}

async function refusedAt(one: Asked, request: ReleaseRequest | string, step: string, reason: RegExp): Promise<void> {
  const { record } = await carried(one, request);
  assert.deepEqual([record.result, record.step, record.signatures.length], ['refused', step, 0], record.reason);
  assert.match(record.reason, reason);
}

const flipped = (base64: string, at: number): string => `${base64.slice(0, at)}${base64[at] === 'A' ? 'B' : 'A'}${base64.slice(at + 1)}`;

test('forged evidence is refused at its step, and the node that has refused all of it signs the true request', async () => {
  const one = await asked(true);
  const other = await one.farm.build('9.9', { name: 'other' });
  const request = requestFor(one, one.built);
  const foreign = requestFor(one, other);
  const changeFirst = (change: (text: string) => string): ReleaseRequest => {
    const [first = '', ...rest] = request.bundles;
    const changed = change(first);
    assert.notEqual(changed, first);
    return { ...request, bundles: [changed, ...rest] };
  };
  const inField = (name: string) => (text: string) =>
    text.replace(new RegExp(`"${name}":"([^"]*)"`), (_, value: string) => `"${name}":"${flipped(value, 40)}"`);
  await refusedAt(one, changeFirst(inField('payload')), 'log-inclusion', /./);
  await refusedAt(one, changeFirst(inField('sig')), 'log-inclusion', /./);
  await refusedAt(one, changeFirst(inField('canonicalizedBody')), 'log-inclusion', /./);
  await refusedAt(one, { ...request, bundles: request.bundles.slice(0, 1) }, 'quorum', /^pending: /);
  await refusedAt(one, { ...request, bundles: [request.bundles[0]!, request.bundles[0]!] }, 'quorum', /^pending: /);
  await refusedAt(one, { ...request, bundles: foreign.bundles }, 'quorum', /no statement about the build/);
  await refusedAt(one, { ...request, build_id: other.buildId }, 'quorum', /no statement about the build/);
  // One signs the log and another the witness: without its line nobody but the log's operator says what is in it.
  const unwitnessed = request.bundles.map((text) => {
    const { inclusionProof } = (
      JSON.parse(text) as { verificationMaterial: { tlogEntries: { inclusionProof: { checkpoint: { envelope: string } } }[] } }
    ).verificationMaterial.tlogEntries[0]!;
    const { envelope } = inclusionProof.checkpoint;
    const bare = envelope
      .split('\n')
      .filter((line) => !line.startsWith('— witness.'))
      .join('\n');
    assert.notEqual(bare, envelope);
    return text.replace(JSON.stringify(envelope), JSON.stringify(bare));
  });
  await refusedAt(one, { ...request, bundles: unwitnessed }, 'witnesses', /no witness that counts/);
  await refusedAt(one, { ...request, line: 'lts' }, 'version', /the line lts is not one of this node/);
  await refusedAt(one, { ...request, nodes: { another: null } }, 'memory', /not for this node/);
  const [first, ...rest] = request.expected;
  const forged = Buffer.from(first!.bytes, 'base64').toString().replace('"version":"1.0"', '"version":"1.1"');
  await refusedAt(
    one,
    { ...request, expected: [{ ...first!, bytes: Buffer.from(forged).toString('base64') }, ...rest] },
    'bytes',
    /do not follow/,
  );
  await refusedAt(one, { ...request, time: '2020-01-01T00:00:00Z' }, 'time', /more than 30 days ago/);
  await refusedAt(one, '{}', 'request', /./);
  const said = one.farm.ends(5, 'signer', 'sign', one.node.folder, one.node.card, '--out', `${one.farm.root}/no`).stdout;
  assert.match(said, /^REFUSED by node at the step "request": Not a signing request/);
  one.farm.run(...one.approve(one.built));
  requireApprovedBy(one.farm, one.built.file, 'org');
  const { log } = JSON.parse(readFileSync(one.node.card, 'utf8')) as { log: string };
  assert.match(one.farm.run('log', 'verify', `${one.node.folder}/log/public`, '--key', log), /15 entries/);
});

test('release approve says what is missing before a node is asked, and names the step when one refuses', async () => {
  const one = await asked();
  const { farm, node, built, approve } = one;
  const lonely = await farm.build('2.0', { name: 'lonely', builders: ['a'] });
  const refused = (said: RegExp, code: string, status: number, ...args: readonly string[]): ErrorData => {
    const error = farm.fails(code, status, ...args);
    assert.match(error.message, said);
    assert.notEqual(error.hint, '');
    return error;
  };
  refused(/nothing to approve: the quorum is pending/, 'SIGNING_REFUSED', 5, ...approve(lonely));
  const lts = refused(/node refuses at the step "version": the line lts/, 'SIGNING_REFUSED', 5, ...approve(built, '--line', 'lts'));
  assert.equal(lts.cause, 'version');
  refused(/No signing node is named/, 'USAGE', 2, 'release', 'approve', built.file, ...farm.trust);
  refused(/not said how node is reached/, 'USAGE', 2, ...approve(built, '--node', node.card));
  refused(/no build that the log has anything about/, 'NOT_FOUND', 2, 'release', 'approve', 'feedbeef', ...farm.trust, ...node.local);
  refused(
    /Nobody has answered/,
    'LINK_FAILED',
    1,
    ...approve(built, '--node', `${node.card}@folder:${farm.root}/nobody`, '--timeout', '1'),
  );

  // The card of another node: its answers are not this node's.
  const stranger = await makeNode(farm, 'stranger');
  await makeKey(stranger, 'k');
  const foreign = approve(built, '--node', `${stranger.card}@local:${node.folder}`);
  refused(/no answer of stranger to this request: .* a log that is not known/, 'VERIFICATION_FAILED', 6, ...foreign);
  const renamed = `${farm.root}/renamed.json`;
  writeFileSync(renamed, readFileSync(stranger.card, 'utf8').replace('"stranger"', '"node"'));
  farm.fails('VERIFICATION_FAILED', 6, ...approve(built, '--node', `${renamed}@local:${node.folder}`));

  farm.run(...approve(built));
  const older = await farm.build('0.9');
  refused(/"version": 0\.9 goes back: 1\.0 was signed on the line main/, 'SIGNING_REFUSED', 5, ...approve(older));
  const again = await farm.build('1.0', { files: { more: 'x' } });
  // The builders now contradict each other about 1.0: what is disputed is not approved.
  refused(/disputed/, 'SIGNING_REFUSED', 5, ...approve(again));
});

test('an approval does not count below the threshold, and one node is not two', async () => {
  const { farm, node, built, approve } = await asked();
  const second = await makeNode(farm, 'second');
  releaseKeys(farm, { org: readPem(farm, node), two: await makeKey(second, 'k2') }, 2);
  farm.run(...approve(built));
  farm.run(...approve(built));
  const { ok, step } = verdict(farm, built.file);
  assert.deepEqual([ok, step('approval').state], [false, 'fail']);
  assert.match(step('approval').detail, /UNSIGNED: approved by 1 of the 2 release keys/);
  farm.run(...approve(built, ...second.local));
  requireApprovedBy(farm, built.file, 'org, two');
});

function readPem(farm: ReleaseLog, node: TestNode): string {
  return farm.run('key', 'export-public', 'k', '--signer', node.folder);
}

test('a node that was restored from a copy is noticed by itself and by who asks, and signs nothing any more', async () => {
  const one = await asked();
  const { farm, node, built, approve } = one;
  cpSync(node.folder, `${farm.root}/copy`, { recursive: true });
  farm.run(...approve(built));
  renameSync(node.folder, `${farm.root}/newest`);
  cpSync(`${farm.root}/copy`, node.folder, { recursive: true });
  const next = await farm.build('1.1');
  const { message } = farm.fails('SIGNER_ROLLED_BACK', 5, ...approve(next));
  assert.match(message, /it has 0 entries in its log, and has handed out a checkpoint of 1/);
  farm.fails('SIGNER_ROLLED_BACK', 5, ...approve(next));
  // The newest state is the node; it goes on.
  rmSync(node.folder, { recursive: true });
  renameSync(`${farm.root}/newest`, node.folder);
  farm.run(...approve(next));
  requireApprovedBy(farm, next.file, 'org');
});

test('import takes an answer only as the node gave it, from the node that was named, to the request that was asked', async () => {
  const one = await asked();
  const { farm, node, built } = one;
  const good = await carried(one, requestFor(one, built));
  assert.equal(good.record.result, 'signed');
  const take = (request: string, answer: string, card = node.card): string[] => [
    'release',
    'import',
    request,
    answer,
    ...farm.trust,
    '--node',
    card,
  ];
  const damaged = `${farm.root}/damaged`;
  const text = readFileSync(good.answer, 'utf8');
  const sig = /"sig":"([^"]*)"/.exec(text)?.[1] ?? '';
  writeFileSync(damaged, text.replace(sig, flipped(sig, 30)));
  farm.fails('VERIFICATION_FAILED', 6, ...take(good.request, damaged));
  const payload = /"payload":"([^"]*)"/.exec(text)?.[1] ?? '';
  const forged = Buffer.from(payload, 'base64').toString().replace('"version":"1.0"', '"version":"6.6"');
  writeFileSync(damaged, text.replace(payload, Buffer.from(forged).toString('base64')));
  farm.fails('VERIFICATION_FAILED', 6, ...take(good.request, damaged));
  const stranger = await makeNode(farm, 'stranger');
  farm.fails('USAGE', 2, ...take(good.request, good.answer, stranger.card));
  farm.run(...take(good.request, good.answer), '--into', farm.log.folder);

  // Two are with the node at the same time: the older answer is no older state of it, it was carried more slowly.
  const builds = [await farm.build('1.1'), await farm.build('1.0', { name: 'other' })] as const;
  const requests = builds.map((build) => requestFor(one, build));
  const [slow, fast] = [await carried(one, requests[0]!), await carried(one, requests[1]!)];
  farm.fails('VERIFICATION_FAILED', 6, ...take(slow.request, fast.answer));
  farm.run(...take(fast.request, fast.answer), '--into', farm.log.folder);
  farm.run(...take(slow.request, slow.answer), '--into', farm.log.folder);
  for (const build of builds) requireApprovedBy(farm, build.file, 'org');
  const refused = await carried(one, { ...requestFor(one, await farm.build('1.2')), line: 'lts' });
  farm.fails('SIGNING_REFUSED', 5, ...take(refused.request, refused.answer));
});

test('a key that the policy lists for something else signs nothing; a key for another use is no release key', async () => {
  const { farm, node, built, approve } = await asked();
  const tuf = await makeNode(farm, 'tuf');
  await makeKey(tuf, 't', 'tuf-targets');
  const { message } = farm.fails('SIGNING_REFUSED', 5, ...approve(built, ...tuf.local));
  assert.match(message, /no key that signs anything of it/);
  // The policy lists the node's approving key as one for signify.
  const free = await makeNode(farm, 'free');
  const misused = await makeKey(free, 'm', 'release-dsse', 'ed25519');
  releaseKeys(farm, { org: readPem(farm, node) }, 1, [{ name: 'sig', use: 'release-signify', key: misused }]);
  assert.match(farm.fails('SIGNING_REFUSED', 5, ...approve(built, ...free.local)).message, /lists it for something else/);
  // A key in two roles is no policy at all.
  const twice = readPem(farm, node);
  farm.policy({ builders: [...farm.builders(), { name: 'c', key: twice, domain: { operator: 'o', site: 's', lineage: 'l' } }] });
  farm.fails('POLICY_INVALID', 2, ...approve(built));
});
