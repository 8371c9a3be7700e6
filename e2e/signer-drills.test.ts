/** The drills of docs/keys.md, performed: a release key is stolen, lost, or a holder is gone; and rotation on a schedule. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { digestBytes } from '@lockstep/protocol/digest/digest';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { RELEASE, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { openFileKey } from '@lockstep/signer/custody/file-key';
import { openLogHome } from '@lockstep/log/sequence/log-home';
import { appendTo } from '../packages/cli/src/farm-log.ts';
import { startLockstep, temporaryFolder } from './lockstep.ts';
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

interface Drill {
  readonly farm: ReleaseLog;
  readonly node: TestNode;
  readonly approve: (built: Built, node: TestNode) => void;
  /** Of the log, from which the next entry counts. */
  readonly size: () => number;
  /** What the root does: its key is brought out of the safe. */
  readonly root: readonly string[];
  readonly into: readonly string[];
}

async function drill(): Promise<Drill> {
  const farm = await makeReleaseLog();
  const node = await makeNode(farm, 'node');
  releaseKeys(farm, { org: await makeKey(node, 'k') });
  const into = [...farm.trust, '--into', farm.log.folder];
  return {
    farm,
    node,
    approve: (built, by) => void farm.run('release', 'approve', built.file, ...into, ...by.local),
    size: () => Number(readFileSync(`${farm.log.folder}/public/checkpoint`, 'utf8').split('\n')[1]),
    root: ['--root-key', `${farm.policyFolder}/keys/root-1.pem`],
    into,
  };
}

/** A file with the public half of a key that was made for a node. */
async function publicHalf(farm: ReleaseLog, node: TestNode, name: string): Promise<string> {
  const file = `${farm.root}/${name}.pub`;
  writeFileSync(file, await makeKey(node, name));
  return file;
}

function refused(farm: ReleaseLog, built: Pick<Built, 'file'>, said: RegExp): void {
  const { ok, step } = verdict(farm, built.file);
  assert.equal(ok, false);
  assert.equal(step('approval').state, 'fail');
  assert.match(step('approval').detail, said);
}

test('key stolen: what the thief signs without a quorum is refused by the log, by a mirror and by bundles', async () => {
  const { farm, node, approve } = await drill();
  const built = await farm.build('1.0');
  approve(built, node);
  // The thief has the key itself, so no node is asked: a record of a file that nobody has built.
  const evil = `${temporaryFolder()}/hello`;
  writeFileSync(evil, 'a back door\n');
  const out = `${farm.root}/out`;
  farm.run('release', 'approve', built.buildId, ...farm.trust, ...node.local, '--out', out);
  const record = JSON.parse(readFileSync(`${out}/release.json`, 'utf8')) as ReleaseRecord;
  const bytes = readFileSync(evil);
  const forged = { ...record, version: '1.1', files: [{ name: 'hello', size: bytes.length, ...digestBytes(bytes) }] } as ReleaseRecord;
  const stolen = await openFileKey(`${node.folder}/keys/k.json`, () => Promise.resolve(null));
  const payload = formatDocument(RELEASE, forged);
  const signature = await stolen.sign(pae(RELEASE.payloadType, payload));
  await appendTo(openLogHome(farm.log.folder), [
    { payloadType: RELEASE.payloadType, payload, signature, signer: publicKeyFromSpki(stolen.public.spki) },
  ]);
  const refusedAt = (step: string): void => {
    const mirror = `${temporaryFolder()}/mirror`;
    farm.run('log', 'mirror', `${farm.log.folder}/public`, mirror, '--key', farm.log.key);
    for (const log of [`${farm.log.folder}/public`, mirror]) {
      const args = ['verify', evil, '--root', farm.rootFile, '--policy', farm.policyFolder, '--log', log];
      assert.match(farm.ends(6, ...args).stdout, new RegExp(`✘ ${step}`));
      // Nor where somebody is content with what is not signed.
      assert.match(farm.ends(6, ...args, '--unsigned').stdout, new RegExp(`✘ ${step}`));
    }
  };
  refusedAt('subject');
  // With a builder of the policy on the thief's side there is a statement, and still no quorum.
  const lie = await farm.build('1.1', { files: { hello: bytes }, builders: ['a'] });
  assert.equal(readFileSync(lie.file, 'utf8'), 'a back door\n');
  refusedAt('failure-domains');
  requireApprovedBy(farm, built.file, 'org');
});

test('key stolen: the root revokes from the theft on and names a successor; the thief’s approvals and successor count no more', async () => {
  const { farm, node, approve, size, root, into } = await drill();
  const before = await farm.build('1.0');
  approve(before, node);
  const theft = size();
  const thief = await makeNode(farm, 'thief');
  cpSync(`${node.folder}/keys/k.json`, `${thief.folder}/keys/k.json`);
  const [second, third] = [await farm.build('1.1'), await farm.build('1.2')];
  approve(second, thief);
  requireApprovedBy(farm, second.file, 'org');
  const theirs = await publicHalf(farm, thief, 'theirs');
  farm.run('key', 'rotate', 'org', '--to', theirs, '--reason', 'yearly', ...thief.local, '--yes', ...into);
  approve(third, thief);

  const revoke = ['key', 'revoke', 'org', '--why', 'stolen', '--reason', 'the laptop is gone', ...into];
  // Without the root nobody can say that it was stolen earlier.
  farm.fails('USAGE', 2, ...revoke, '--from-index', String(theft), ...node.local, '--yes');
  const id = (JSON.parse(farm.run('key', 'list', '--signer', node.folder, '--json')) as { keys: { id: string }[] }).keys[0]?.id ?? '';
  farm.run(...revoke.with(2, id), '--from-index', String(theft), ...root);
  requireApprovedBy(farm, before.file, 'org');
  refused(farm, second, /stolen: the laptop is gone/);
  refused(farm, third, /UNSIGNED/);

  const successor = await makeNode(farm, 'successor');
  const next = await publicHalf(farm, successor, 'next');
  const rotate = ['key', 'rotate', 'org', '--to', next, '--reason', 'after the theft', ...successor.local, '--yes', ...into];
  // The stolen key's own word, or nobody's: verifiers would not follow it, so it is not logged.
  assert.match(farm.fails('SIGNING_REFUSED', 5, ...rotate).message, /verifiers would not follow it/);
  farm.run(...rotate, ...root);
  approve(second, successor);
  requireApprovedBy(farm, second.file, 'org');
  refused(farm, third, /UNSIGNED/);
  approve(third, successor);
  requireApprovedBy(farm, third.file, 'org');
});

test('key lost: the root names a new key, what was approved stays approved, and the old one is ended', async () => {
  const { farm, node, approve, root, into } = await drill();
  const before = await farm.build('1.0');
  approve(before, node);
  renameSync(node.folder, `${farm.root}/burnt`);
  const fresh = await makeNode(farm, 'fresh');
  const next = await publicHalf(farm, fresh, 'next');
  farm.run(
    'key',
    'rotate',
    'org',
    '--to',
    next,
    '--reason',
    'the disk burnt',
    '--made',
    'by file',
    ...fresh.local,
    '--yes',
    ...root,
    ...into,
  );
  const old = farm.run('key', 'export-public', `${farm.root}/burnt/keys/k.json`);
  writeFileSync(`${farm.root}/old.pub`, old);
  farm.run('key', 'revoke', `${farm.root}/old.pub`, '--why', 'lost', '--reason', 'the disk burnt', ...root, ...into);
  const after = await farm.build('1.1');
  approve(after, fresh);
  requireApprovedBy(farm, before.file, 'org');
  requireApprovedBy(farm, after.file, 'org');
  // Found again, it approves nothing.
  const late = await farm.build('1.0', { name: 'late' });
  renameSync(`${farm.root}/burnt`, node.folder);
  // The node does not know that; who asks it is told, and verifiers are not deceived.
  assert.match(farm.ends(0, 'release', 'approve', late.file, ...into, ...node.local).stderr, /counts for nobody: lost: the disk burnt/);
  refused(farm, late, /UNSIGNED/);
});

test('rotation with overlap: a reminder asks for it, old and new both approve for a while, then the old one retires itself', async () => {
  const { farm, node, approve, into } = await drill();
  const file = `${node.folder}/keys/k.json`;
  const { created } = JSON.parse(readFileSync(file, 'utf8')) as { created: string };
  const list = (): string => farm.run('key', 'list', '--signer', node.folder);
  assert.doesNotMatch(list(), /reminder/);
  const aged = readFileSync(file, 'utf8').replace(created, `${Number(created.slice(0, 4)) - 2}${created.slice(4)}`);
  writeFileSync(file, aged);
  assert.match(list(), /reminder: k is to be rotated (for \d+ days already|in \d+ days): lockstep key rotate k/);
  assert.match(farm.run('signer', 'show', node.folder), /reminder: k is to be rotated/);

  const other = await makeNode(farm, 'other');
  const builds = [await farm.build('1.0'), await farm.build('1.0', { name: 'two' })] as const;
  const next = await publicHalf(farm, other, 'next');
  const rotate = ['key', 'rotate', 'org', '--to', next, '--reason', 'yearly', '--overlap-days', '30', '--yes', ...into];
  // The new key has to show that somebody holds it, and the old one to say that it hands over.
  farm.fails('SIGNING_REFUSED', 5, ...rotate, ...node.local);
  farm.fails('SIGNING_REFUSED', 5, ...rotate, ...other.local);
  farm.run(...rotate, ...node.local, ...other.local);
  approve(builds[0], node);
  approve(builds[1], other);
  for (const built of builds) requireApprovedBy(farm, built.file, 'org');
  const id = (JSON.parse(farm.run('key', 'list', '--signer', node.folder, '--json')) as { keys: { id: string }[] }).keys[0]?.id ?? '';
  farm.run('key', 'revoke', id, '--why', 'retired', '--reason', 'the overlap is over', '--yes', ...node.local, ...into);
  const after = await farm.build('1.0', { name: 'three' });
  assert.match(farm.ends(0, 'release', 'approve', after.file, ...into, ...node.local).stderr, /counts for nobody: retired/);
  refused(farm, after, /UNSIGNED/);
  approve(after, other);
  for (const built of [...builds, after]) requireApprovedBy(farm, built.file, 'org');
});

test('holder gone: two of three go on, hand over to a new group of three, and the old group is not needed any more', async () => {
  const farm = await makeReleaseLog();
  const requester = farm.run('key');
  writeFileSync(`${farm.root}/requester.pem`, requester);
  const into = [...farm.trust, '--into', farm.log.folder];
  const group = async (name: string, holders: readonly string[]): Promise<{ card: string; pem: string }> => {
    const at = `${farm.root}/${name}`;
    const cards = holders.flatMap((one) => ['--holder', `${farm.root}/${one}/card.json@local:${farm.root}/${one}`]);
    farm.run('key', 'threshold', name, '--use', 'release-dsse', '--at', at, '--threshold', '2', ...cards);
    const joined = holders.map((one) => {
      const args = [
        'signer',
        'join-ceremony',
        `${farm.root}/${one}`,
        '--at',
        at,
        '--initiator',
        `${farm.root}/requester.pem`,
        '--no-passphrase',
      ];
      return startLockstep(args, { env: farm.env }).done;
    });
    for (const { status, stderr } of await Promise.all(joined)) assert.equal(status, 0, stderr);
    const { pem } = JSON.parse(farm.run('key', 'group', '--at', at, ...cards, '--out', `${at}.json`, '--json')) as { pem: string };
    return { card: `${at}.json`, pem };
  };
  for (const name of ['h1', 'h2', 'h3', 'h4']) await makeNode(farm, name, [requester]);
  const old = await group('old', ['h1', 'h2', 'h3']);
  releaseKeys(farm, { org: old.pem });
  renameSync(`${farm.root}/h3`, `${farm.root}/gone`);
  const [first, second] = [await farm.build('1.0'), await farm.build('1.1')];
  farm.run('release', 'approve', first.file, ...into, '--node', old.card);
  const next = await group('next', ['h1', 'h2', 'h4']);
  writeFileSync(`${farm.root}/old.pub`, old.pem);
  writeFileSync(`${farm.root}/next.pub`, next.pem);
  farm.run(
    'key',
    'rotate',
    'org',
    '--to',
    `${farm.root}/next.pub`,
    '--reason',
    'h3 is gone',
    '--yes',
    ...into,
    '--node',
    old.card,
    '--node',
    next.card,
  );
  farm.run('key', 'revoke', `${farm.root}/old.pub`, '--why', 'retired', '--reason', 'h3 is gone', '--yes', ...into, '--node', old.card);
  farm.run('release', 'approve', second.file, ...into, '--node', next.card);
  for (const built of [first, second]) requireApprovedBy(farm, built.file, 'org');
});
