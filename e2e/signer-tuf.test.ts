/** The policy's own keys on a signing node: canonical bytes go out, the signature comes in, and tuf-js reads what was made. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { after, before, test } from 'node:test';
import { Updater } from 'tuf-js';
import { temporaryFolder } from './lockstep.ts';
import { makeKey, makeNode, makeReleaseLog, type ReleaseLog, type TestNode } from './release-log.ts';

let server: Server;
let farm: ReleaseLog;

before(async () => {
  farm = await makeReleaseLog();
  server = createServer((request, response) => {
    try {
      response.end(readFileSync(`${farm.policyFolder}/repository${request.url ?? ''}`));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
after(() => server.close());

/** From the first root on, as somebody who pins it. @returns the policy's version */
async function throughTufJs(): Promise<number> {
  const cache = temporaryFolder();
  mkdirSync(`${cache}/targets`);
  writeFileSync(`${cache}/root.json`, readFileSync(farm.rootFile));
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const updater = new Updater({
    metadataDir: cache,
    targetDir: `${cache}/targets`,
    metadataBaseUrl: `${base}/metadata`,
    targetBaseUrl: `${base}/targets`,
    config: { fetchRetries: 0, fetchRetry: false },
  });
  await updater.refresh();
  const target = await updater.getTargetInfo('policy.json');
  assert.ok(target !== undefined);
  return (JSON.parse(readFileSync(await updater.downloadTarget(target), 'utf8')) as { version: number }).version;
}

function asked(node: TestNode, role: string, ...more: readonly string[]): { request: string; answer: string } {
  const request = `${temporaryFolder()}/${role}.request`;
  farm.run('policy', 'request', farm.policyFolder, '--role', role, '--node', node.card, '--out', request, ...more);
  farm.run('signer', 'sign', node.folder, request, '--out', `${request}.answer`, '--yes');
  return { request, answer: `${request}.answer` };
}

const insert = (node: TestNode, { request, answer }: { request: string; answer: string }): string[] => [
  'policy',
  'insert',
  farm.policyFolder,
  request,
  answer,
  '--node',
  node.card,
];

test('root and targets hand over to a node; it signs the next policy, and tuf-js and we follow from the first root', async () => {
  const node = await makeNode(farm, 'safe');
  const pub = (name: string): string => `${farm.root}/${name}.pub`;
  for (const use of ['tuf-root', 'tuf-targets'] as const) writeFileSync(pub(use), await makeKey(node, use, use));
  const policyFile = `${farm.policyFolder}/policy.json`;
  const policy = JSON.parse(readFileSync(policyFile, 'utf8')) as { version: number };
  writeFileSync(policyFile, JSON.stringify({ ...policy, version: policy.version + 1 }));

  // Without a person nothing of it is signed.
  const unasked = `${farm.root}/unasked`;
  farm.run('policy', 'request', farm.policyFolder, '--role', 'targets', '--node', node.card, '--out', unasked);
  farm.ends(5, 'signer', 'sign', node.folder, unasked, '--out', `${unasked}.answer`);
  assert.match(
    farm.fails('SIGNING_REFUSED', 5, ...insert(node, { request: unasked, answer: `${unasked}.answer` })).message,
    /step "person"/,
  );

  const targets = asked(node, 'targets');
  // The root does not know this key yet.
  assert.match(farm.fails('POLICY_UNTRUSTED', 5, ...insert(node, targets)).message, /signed by 0 of the 1 keys/);
  const root = asked(node, 'root', '--hand-over', `targets=${pub('tuf-targets')}`, '--hand-over', `root=${pub('tuf-root')}`);
  // The old root has to say so, and so does the new one.
  farm.fails('POLICY_UNTRUSTED', 5, ...insert(node, root));
  farm.run(...insert(node, root), '--sign');
  farm.run(...insert(node, targets));
  assert.equal(await throughTufJs(), policy.version + 1);
  farm.run('policy', 'check', farm.policyFolder, '--root', farm.rootFile);
  // What was inserted is not inserted again, and the key that handed over signs nothing any more.
  farm.fails('POLICY_INVALID', 2, ...insert(node, targets));
  writeFileSync(policyFile, JSON.stringify({ ...policy, version: policy.version + 2 }));
  farm.fails('POLICY_UNTRUSTED', 5, 'policy', 'sign', farm.policyFolder);

  // From now on the keys are on the node alone.
  for (const role of ['root', 'targets']) rmSync(`${farm.policyFolder}/keys/${role}-1.pem`);
  const next = asked(node, 'targets');
  const forged = `${farm.root}/forged`;
  writeFileSync(forged, readFileSync(next.request, 'utf8').replace('\\"quorum\\":2', '\\"quorum\\":1'));
  farm.fails('VERIFICATION_FAILED', 6, ...insert(node, { ...next, request: forged }));
  farm.run(...insert(node, next));
  assert.equal(await throughTufJs(), policy.version + 2);
  farm.run(...insert(node, asked(node, 'root')));
  assert.equal(await throughTufJs(), policy.version + 2);
  const stranger = await makeNode(farm, 'stranger');
  await makeKey(stranger, 't', 'tuf-targets');
  writeFileSync(policyFile, JSON.stringify({ ...policy, version: policy.version + 3 }));
  farm.fails('POLICY_UNTRUSTED', 5, ...insert(stranger, asked(stranger, 'targets')));
});
