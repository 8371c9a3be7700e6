/** What `policy sign` writes, read by our client and by one that this project did not write (tuf-js): both take and refuse the same. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { samplePolicyJson } from '@lockstep/protocol/policy/samples';
import { formatMetadata, metadataBytes, parseMetadata, type RootMetadata, type TufRoleName } from '@lockstep/protocol/tuf/metadata';
import { folderCells } from '@lockstep/store/cells';
import { Updater } from 'tuf-js';
import { draftPolicy } from './draft-policy.ts';
import { readTrustedPolicy } from './trusted-policy.ts';
import { openRoleKeys, signPolicy } from './tuf-repository.ts';

const root = mkdtempSync(`${tmpdir()}/lockstep-tuf-`);
let server: Server;
let base = '';
const NOW = Math.floor(Date.now() / 1000);
const DAY = 86_400;

before(async () => {
  // Serves every case below its own folder.
  server = createServer((request, response) => {
    const path = `${root}${decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)}`;
    if (path.includes('..') || !existsSync(path)) response.writeHead(404).end();
    else response.writeHead(200).end(readFileSync(path));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(root, { recursive: true });
});

const policyOf = (version: number): Buffer => Buffer.from(JSON.stringify(samplePolicyJson({ version, expires: '2100-01-01T00:00:00Z' })));

let cases = 0;

/** A folder with keys of its own: two for root and targets, a threshold of two. @param now when it is signed */
function signedFolder(now = NOW, policy = policyOf(1)): string {
  const name = `case-${++cases}`;
  const folder = `${root}/${name}`;
  for (const [role, count] of [
    ['root', 2],
    ['targets', 2],
    ['snapshot', 1],
    ['timestamp', 1],
  ] as const)
    openRoleKeys(folder, role, count, count);
  signPolicy(folder, policy, now, 2);
  return name;
}

interface Client {
  /** The policy's bytes. @throws when it is refused */
  read(): Promise<Buffer>;
}

/** Each keeps what it has seen between its readings, and pins the first root as it was when it was made. */
function tufJs(name: string): Client {
  const cache = mkdtempSync(`${root}/cache-`);
  cpSync(`${root}/${name}/repository/metadata/1.root.json`, `${cache}/root.json`);
  mkdirSync(`${cache}/targets`);
  return {
    async read() {
      const updater = new Updater({
        metadataDir: cache,
        targetDir: `${cache}/targets`,
        metadataBaseUrl: `${base}/${name}/repository/metadata`,
        targetBaseUrl: `${base}/${name}/repository/targets`,
        config: { fetchRetries: 0, fetchRetry: false },
      });
      await updater.refresh();
      const target = await updater.getTargetInfo('policy.json');
      assert.ok(target !== undefined);
      return readFileSync(await updater.downloadTarget(target));
    },
  };
}

function ours(name: string, now = NOW): Client {
  const cells = folderCells(mkdtempSync(`${root}/cells-`));
  const pinned = mkdtempSync(`${root}/pinned-`);
  cpSync(`${root}/${name}/repository/metadata/1.root.json`, `${pinned}/root.json`);
  return {
    // eslint-disable-next-line typescript/require-await
    async read() {
      const { policy, currentUntil } = readTrustedPolicy(`${pinned}/root.json`, `${root}/${name}`, cells, now);
      // The verdict's step "freshness"; tuf-js refuses at once what is not current.
      if (currentUntil <= now) throw new LockstepError('POLICY_UNTRUSTED', 'not current', '');
      const folder = `${root}/${name}/repository/targets`;
      const bytes = readFileSync(`${folder}/${policy.sha256}.policy.json`);
      assert.equal(sha256Hex(bytes), policy.sha256);
      return bytes;
    },
  };
}

async function bothRead(name: string, clients: readonly Client[], expected: Buffer): Promise<void> {
  for (const client of clients) assert.deepEqual(await client.read(), expected, name);
}

async function bothRefuse(clients: readonly Client[], what: string): Promise<void> {
  for (const [index, client] of clients.entries())
    await assert.rejects(client.read(), (error) => error instanceof Error && error.name !== 'AssertionError', `${what} (${index})`);
}

const both = (name: string): Client[] => [ours(name), tufJs(name)];
const path = (name: string, file: string): string => `${root}/${name}/repository/${file}`;
const edit = (name: string, file: string, change: (text: string) => string): void => {
  const before_ = readFileSync(path(name, file), 'utf8');
  assert.notEqual(change(before_), before_, 'the edit changes something');
  writeFileSync(path(name, file), change(before_));
};

test('what signPolicy writes is read by tuf-js and by us, to the same bytes', async () => {
  const name = signedFolder();
  await bothRead(name, both(name), policyOf(1));
});

test('tuf-js and we follow a second signing, and refuse to go back to the first', async () => {
  const name = signedFolder();
  const clients = both(name);
  await bothRead(name, clients, policyOf(1));
  const old = readFileSync(path(name, 'metadata/timestamp.json'));
  signPolicy(`${root}/${name}`, policyOf(2), NOW, 2);
  await bothRead(name, clients, policyOf(2));
  writeFileSync(path(name, 'metadata/timestamp.json'), old);
  await bothRefuse(clients, 'rollback of the timestamp');
  await bothRead(name, both(name), policyOf(1));
});

test('tuf-js and we refuse a policy, targets, snapshot and timestamp that somebody changed', async () => {
  const digest = sha256Hex(policyOf(1));
  const changes: Record<string, [string, (text: string) => string]> = {
    'the policy': [`targets/${digest}.policy.json`, (text) => text.replace('"quorum":2', '"quorum":1')],
    'a digest in the targets': ['metadata/1.targets.json', (text) => text.replace(digest, 'a'.repeat(64))],
    'a length in the targets': ['metadata/1.targets.json', (text) => text.replace(/"length":\d+/, '"length":7')],
    'the expiry of the targets': ['metadata/1.targets.json', (text) => text.replace(/"expires":"\d{4}/, '"expires":"2999')],
    'a signature of the targets': ['metadata/1.targets.json', (text) => text.replace(/"sig":"../, '"sig":"00')],
    'the version in the snapshot': [
      'metadata/1.snapshot.json',
      (text) => text.replace('"targets.json":{"version":1', '"targets.json":{"version":2'),
    ],
    'the version in the timestamp': [
      'metadata/timestamp.json',
      (text) => text.replace('"snapshot.json":{"version":1', '"snapshot.json":{"version":2'),
    ],
    'the timestamp, not JSON any more': ['metadata/timestamp.json', (text) => text.slice(1)],
  };
  for (const [what, [file, change]] of Object.entries(changes)) {
    const name = signedFolder();
    edit(name, file, change);
    await bothRefuse(both(name), what);
  }
  for (const file of ['metadata/timestamp.json', 'metadata/1.snapshot.json', 'metadata/1.targets.json', `targets/${digest}.policy.json`]) {
    const name = signedFolder();
    rmSync(path(name, file));
    await bothRefuse(both(name), `${file} is gone`);
  }
});

test('tuf-js and we refuse what has expired: everything, and only what says what is current', async () => {
  for (const days of [400, 31]) {
    const name = signedFolder(NOW - days * DAY);
    await bothRefuse(both(name), `signed ${days} days ago`);
  }
  const name = signedFolder(NOW - 29 * DAY);
  await bothRead(name, both(name), policyOf(1));
});

/** The next root: new keys for the root role, signed by whoever is asked to. */
function rotate(name: string, signers: readonly ('old' | 'new')[], count = 2, change: Partial<RootMetadata> = {}): void {
  const folder = `${root}/${name}`;
  const { signed } = parseMetadata('root', readFileSync(path(name, 'metadata/1.root.json')));
  const keys = { old: openRoleKeys(folder, 'root', 2, 2).keys, new: openRoleKeys(`${folder}/next`, 'root', 2, 2).keys };
  const next: RootMetadata = {
    ...signed,
    version: 2,
    keys: { ...signed.keys, ...Object.fromEntries(keys.new.map(({ id, key }) => [id, key])) },
    roles: { ...signed.roles, root: { keyids: keys.new.map((one) => one.id), threshold: 2 } },
    ...change,
  };
  const bytes = metadataBytes(next);
  const signatures = signers.flatMap((which) =>
    keys[which].slice(0, count).map(({ id, signer }) => ({ keyid: id, sig: signer.sign(bytes) })),
  );
  writeFileSync(path(name, 'metadata/2.root.json'), formatMetadata(next, signatures));
}

test('tuf-js and we follow a root that old and new keys have signed, and refuse one that only some have', async () => {
  const name = signedFolder();
  const clients = both(name);
  await bothRead(name, clients, policyOf(1));
  rotate(name, ['old', 'new']);
  await bothRead(name, [...clients, ...both(name)], policyOf(1));
  for (const [what, signers, count] of [
    ['only the old', ['old'], 2],
    ['only the new', ['new'], 2],
    ['one of each', ['old', 'new'], 1],
  ] as const) {
    const other = signedFolder();
    rotate(other, signers, count);
    await bothRefuse(both(other), what);
  }
  const version = signedFolder();
  rotate(version, ['old', 'new'], 2, { version: 3 });
  await bothRefuse(both(version), 'another version than its name');
});

test('tuf-js and we count one signature that is there twice once', async () => {
  const name = signedFolder();
  edit(name, 'metadata/1.targets.json', (text) => {
    const { signed, signatures } = JSON.parse(text) as { signed: unknown; signatures: unknown[] };
    return JSON.stringify({ signatures: [signatures[0], signatures[0]], signed });
  });
  await bothRefuse(both(name), 'one key, twice');
});

test('readTrustedPolicy refuses an older policy that was signed again as the newest', async () => {
  const name = signedFolder(NOW, policyOf(5));
  const [mine] = both(name);
  assert.ok(mine !== undefined);
  await mine.read();
  signPolicy(`${root}/${name}`, policyOf(4), NOW, 2);
  await assert.rejects(mine.read(), (error) => error instanceof LockstepError && error.code === 'POLICY_UNTRUSTED');
});

test('readTrustedPolicy refuses a policy that has expired itself, and one that is malformed', async () => {
  const old = Buffer.from(JSON.stringify(samplePolicyJson({ expires: '2020-01-01T00:00:00Z' })));
  for (const [policy, code] of [
    [old, 'POLICY_UNTRUSTED'],
    [Buffer.from('{}'), 'POLICY_INVALID'],
  ] as const)
    await assert.rejects(ours(signedFolder(NOW, policy)).read(), (error) => error instanceof LockstepError && error.code === code);
});

test('signPolicy refuses when a key of the threshold is not there, and writes the timestamp last', () => {
  const name = signedFolder();
  rmSync(`${root}/${name}/keys/targets-2.pem`);
  assert.throws(
    () => signPolicy(`${root}/${name}`, policyOf(2), NOW, 2),
    (error) => error instanceof LockstepError && error.code === 'KEY_INVALID',
  );
  const other = signedFolder();
  const written = signPolicy(`${root}/${other}`, policyOf(2), NOW, 2);
  assert.match(written.at(-1) ?? '', /timestamp\.json$/);
  const versions = (['targets', 'snapshot', 'timestamp'] as TufRoleName[]).map((role) => {
    const file = role === 'timestamp' ? 'timestamp.json' : `2.${role}.json`;
    return parseMetadata(role, readFileSync(path(other, `metadata/${file}`))).signed.version;
  });
  assert.deepEqual(versions, [2, 2, 2]);
});

test('draftPolicy makes a policy that parsePolicy takes', () => {
  const { builders, coordinators } = samplePolicyJson() as Record<string, { key: string }[]>;
  const draft = draftPolicy({
    name: 'farm',
    builderKey: builders?.[0]?.key ?? '',
    coordinatorKey: coordinators?.[0]?.key ?? '',
    operator: 'Org',
    site: 'berlin',
    lineage: 'debian-12 runc',
    expires: '2030-01-01T00:00:00Z',
  });
  const policy = parsePolicy(Buffer.from(JSON.stringify(draft)), 'policy.json');
  assert.deepEqual([policy.rules[0]?.quorum, policy.rules[0]?.commitments, policy.version], [1, 'none', 1]);
});
