/** A round of three builders from the command line, honest and not: what is decided, by whom it is decided again, and what is refused. */
import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { digestFile } from '@lockstep/store/digests';
import { formatEnvelope, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { BUILDERS, buildRound, ended, type Farm, inRound, makeFarm, pinnedProject, succeed } from './farm.ts';
import { errorOf, startLockstep, temporaryFolder } from './lockstep.ts';

interface Decided {
  readonly result: string;
  readonly reason: string;
  readonly suspects: readonly string[];
  readonly groups: readonly { readonly digest: string; readonly builders: readonly string[] }[];
  readonly builders: readonly { readonly name: string; readonly state: string; readonly reason: string }[];
}

const decisionOf = (stdout: string): Decided => JSON.parse(stdout) as Decided;

const outputOf = (attestation = ''): string => attestation.replace('case-1.intoto.json', 'out');

/** Another file, and a well-formed statement about it under the builder's own signature. */
function lie(farm: Farm, builder: string, attestation: string): string {
  const folder = `${temporaryFolder()}/lie`;
  mkdirSync(folder);
  copyFileSync(attestation.replace('case-1.intoto.json', 'out'), `${folder}/out`);
  appendFileSync(`${folder}/out`, 'a back door');
  const envelope = parseEnvelope(readFileSync(attestation));
  const statement = JSON.parse(Buffer.from(envelope.payload).toString()) as { subject: { name: string; digest: unknown }[] };
  for (const subject of statement.subject) subject.digest = digestFile(`${folder}/out`).digest;
  const payload = canonicalBytes(statement as unknown as Json);
  const key = createPrivateKey(readFileSync(farm.as(builder)['LOCKSTEP_KEY'] ?? ''));
  const sig = sign('sha256', pae(envelope.payloadType, payload), key);
  writeFileSync(
    `${folder}/case-1.intoto.json`,
    formatEnvelope({ payloadType: envelope.payloadType, payload, signatures: [{ keyid: '', sig }] }),
  );
  return `${folder}/case-1.intoto.json`;
}

test('three builders agree; an observer without an account decides the same to the letter, over HTTP and from exported files', async () => {
  const farm = await makeFarm({ variations: ['clock', 'directory-order'] });
  const folder = pinnedProject(['echo hello > out']);
  const attestations = buildRound(farm, folder);
  for (const [name, file] of attestations) inRound(farm, 'commit', name, file);
  for (const [name, file] of attestations) inRound(farm, 'reveal', name, file);
  const decided = decisionOf(ended(['quorum', 'decide', folder, ...farm.trust, '--log', farm.log.folder, '--json'], 0).stdout);
  assert.equal(decided.result, 'agreed', decided.reason);

  // The observer has the root, the public files and the policy; no key, no store of the farm's.
  const observer = { LOCKSTEP_HOME: temporaryFolder() };
  const server = createServer((request, response) => {
    try {
      response.end(readFileSync(`${farm.log.folder}/public${request.url ?? ''}`));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const mirror = `${temporaryFolder()}/mirror`;
  try {
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const run = await startLockstep(['log', 'mirror', `http://127.0.0.1:${port}`, mirror, '--key', farm.log.key], { env: observer }).done;
    assert.equal(run.status, 0, run.stderr);
  } finally {
    server.close();
    server.closeAllConnections();
  }
  const audit = succeed(['quorum', 'audit', ...farm.trust, '--log', mirror, '--json'], observer);
  assert.deepEqual(
    (JSON.parse(audit) as { outcomes: { state: string }[] }).outcomes.map((one) => one.state),
    ['same'],
  );
  const fromLog = succeed(['quorum', folder, ...farm.trust, '--log', mirror, '--json'], observer);
  succeed(['quorum', 'export', folder, ...farm.trust, '--log', mirror, '--out', `${mirror}-bundles`], observer);
  assert.equal(succeed(['quorum', folder, `${mirror}-bundles`, ...farm.trust, '--json'], observer), fromLog);

  const file = outputOf(attestations.get('a'));
  succeed(['verify', file, '--root', farm.rootFile, '--policy', `${farm.root}/trust`, '--log', mirror], observer);
  succeed(['verify', file, '--root', farm.rootFile, '--policy', `${farm.root}/trust`, '--evidence', `${mirror}-bundles`], observer);
  const tampered = `${temporaryFolder()}/tampered`;
  writeFileSync(tampered, 'hello!\n');
  const refused = ended(
    ['verify', tampered, '--root', farm.rootFile, '--policy', `${farm.root}/trust`, '--evidence', `${mirror}-bundles`],
    6,
    observer,
  );
  assert.match(refused.stdout, /✘ subject/);
  const unknown = ended(['verify', tampered, '--root', farm.rootFile, '--policy', `${farm.root}/trust`, '--log', mirror], 6, observer);
  assert.match(unknown.stdout, /✘ subject +FAIL: no statement in .* has the SHA-256/);
});

test('a build that leaks the year is disputed, the clock is among the suspects, and compare names it', async () => {
  const farm = await makeFarm();
  const folder = pinnedProject(['date +%Y > out']);
  const attestations = buildRound(farm, folder);
  for (const [name, file] of attestations) inRound(farm, 'commit', name, file);
  for (const [name, file] of attestations) inRound(farm, 'reveal', name, file);
  const decided = decisionOf(ended(['quorum', 'decide', folder, ...farm.trust, '--log', farm.log.folder, '--json'], 4).stdout);
  assert.equal(decided.result, 'disputed');
  assert.ok(decided.suspects.includes('clock'), decided.suspects.join());
  const [first = '', second = ''] = decided.groups
    .flatMap((group) => group.builders.slice(0, 1))
    .map((name) => attestations.get(name) ?? '');
  const compared = ended(['compare', first, second, '-q', '--json'], 4);
  const report = JSON.parse(compared.stdout) as { verdict: string; report: { causes: { facts: string[] }[] } };
  assert.equal(report.verdict, 'cause', compared.stdout);
  assert.deepEqual(
    report.report.causes.map((one) => one.facts),
    [['clock']],
  );
});

test('one liar holds the definition; one arbiter alone cannot let it go, two can, and the reason is in the log', async () => {
  const farm = await makeFarm();
  const folder = pinnedProject(['echo hello > out']);
  const attestations = buildRound(farm, folder);
  const said = new Map([...attestations, ['c', lie(farm, 'c', attestations.get('c') ?? '')]]);
  for (const [name, file] of said) inRound(farm, 'commit', name, file);
  for (const [name, file] of said) inRound(farm, 'reveal', name, file);
  const args = [folder, ...farm.trust, '--log', farm.log.folder];
  const disputed = decisionOf(ended(['quorum', 'decide', ...args, '--json'], 4).stdout);
  assert.equal(disputed.result, 'disputed');
  const verify = [
    'verify',
    outputOf(attestations.get('a')),
    '--root',
    farm.rootFile,
    '--policy',
    `${farm.root}/trust`,
    '--log',
    farm.log.folder,
  ];
  assert.match(ended(verify, 6).stdout, /✘ threshold/);

  const compared = ended(['compare', said.get('a') ?? '', said.get('c') ?? '', '-q'], 4);
  assert.match(compared.stdout, /differs at byte 6/);
  assert.match(compared.stdout, /did NOT come out here: whoever attested it built something else/);

  const accept = disputed.groups.find((group) => group.builders.includes('a'))?.digest ?? '';
  const resolve = (arbiter: string, digest = accept): string =>
    succeed([
      'quorum',
      'resolve',
      ...args,
      '--accept',
      digest,
      '--reason',
      'rebuilt by hand; the file of c has a back door',
      '--key',
      farm.arbiter(arbiter),
    ]);
  resolve('x');
  resolve('x');
  assert.equal(decisionOf(ended(['quorum', ...args, '--json'], 4).stdout).result, 'disputed');
  resolve('y');
  assert.equal(decisionOf(succeed(['quorum', 'decide', ...args, '--json'])).result, 'resolved');
  succeed(verify);
  assert.match(succeed(['quorum', 'audit', ...farm.trust, '--log', farm.log.folder]), /2 outcomes, 2 decided again/);
});

test('who is late, early, unknown or says two things is refused, and counts for nothing when it is logged all the same', async () => {
  const farm = await makeFarm();
  const folder = pinnedProject(['echo hello > out']);
  const attestations = buildRound(farm, folder);
  const [a = '', b = '', c = ''] = BUILDERS.map((name) => attestations.get(name) ?? '');
  const refused = (step: string, builder: string, file: string, status = 5): string =>
    errorOf(inRound(farm, step, builder, file, status).stdout).code;
  assert.equal(refused('reveal', 'a', a), 'ROUND_REFUSED', 'nothing was committed');
  inRound(farm, 'commit', 'a', a);
  assert.equal(refused('reveal', 'a', a), 'ROUND_REFUSED', 'others have not committed');
  assert.equal(refused('commit', 'a', lie(farm, 'a', a)), 'ROUND_REFUSED', 'it has committed to another statement');
  assert.equal(refused('commit', 'b', a, 6), 'VERIFICATION_FAILED', 'a copied attestation is not signed by b');
  assert.equal(refused('commit', 'x', c, 6), 'VERIFICATION_FAILED');
  const close = ['quorum', 'close', folder, ...farm.trust, '--log', farm.log.folder, '--json'];
  assert.equal(errorOf(ended(close, 5).stdout).code, 'ROUND_REFUSED', 'the deadline has not passed');
  inRound(farm, 'commit', 'b', b);

  // c publishes its statement without a commitment: that ends the time for commitments, and c itself counts for nothing.
  succeed(['log', 'append', farm.log.folder, c], farm.as('c'));
  assert.equal(refused('commit', 'c', c), 'ROUND_REFUSED');
  inRound(farm, 'reveal', 'a', a);
  inRound(farm, 'reveal', 'b', b);
  const decided = decisionOf(succeed(['quorum', folder, ...farm.trust, '--log', farm.log.folder, '--json']));
  assert.equal(decided.result, 'agreed');
  assert.deepEqual(
    decided.builders.map((one) => one.state),
    ['counted', 'counted', 'not counted'],
  );
  assert.match(decided.builders[2]?.reason ?? '', /before the time for commitments was over/);
});

test('quorum from bare statements explains, and counts nothing where commitments are required', async () => {
  const farm = await makeFarm();
  const folder = pinnedProject(['echo hello > out']);
  const attestations = [...buildRound(farm, folder).values()];
  const pending = decisionOf(ended(['quorum', folder, ...attestations, ...farm.trust, '--json'], 5).stdout);
  assert.equal(pending.result, 'pending');
  assert.ok(pending.builders.every((one) => one.reason === 'no commitment is shown'));
  farm.repolicy((policy) => {
    policy['rules'] = [{ packages: '*', tier: 'container', quorum: 2, commitments: 'none', sources: ['*'] }];
  });
  assert.equal(decisionOf(succeed(['quorum', folder, ...attestations, ...farm.trust, '--json'])).result, 'agreed');
});

test('a policy that is unsigned, tampered with or older than seen is refused', async () => {
  const farm = await makeFarm();
  const trust = `${farm.root}/trust`;
  const check = (status: number): string => ended(['policy', 'check', trust, '--root', farm.rootFile, '--json'], status).stdout;
  check(0);
  const before = temporaryFolder();
  succeed(['policy', 'explain', trust, '--root', farm.rootFile]);
  const copy = (from: string, to: string): void => {
    for (const name of ['timestamp.json']) copyFileSync(`${from}/${name}`, `${to}/${name}`);
  };
  copy(`${trust}/repository/metadata`, before);
  farm.repolicy((policy) => {
    policy['name'] = 'newer';
  });
  check(0);
  copy(before, `${trust}/repository/metadata`);
  assert.match(errorOf(check(5)).message, /older than/);
  const stranger = await makeFarm();
  const foreign = ended(['policy', 'check', trust, '--root', stranger.rootFile, '--json'], 5);
  assert.equal(errorOf(foreign.stdout).code, 'POLICY_UNTRUSTED');
});
