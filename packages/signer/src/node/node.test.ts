import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { verifyEd25519 } from '@lockstep/protocol/key/ed25519';
import { rawEd25519 } from '@lockstep/protocol/key/any-key';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { KEY_USES, type KeyUse } from '@lockstep/protocol/key/key-use';
import { samplePem } from '@lockstep/protocol/policy/samples';
import { outputs } from '@lockstep/protocol/quorum/samples';
import { planRelease, RELEASE_USES } from '@lockstep/protocol/signing/plan';
import { formatRequest, MAX_REQUEST_BYTES, type ReleaseRequest } from '@lockstep/protocol/signing/request';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import {
  askNode,
  days,
  digestOf,
  NODE,
  NOW,
  openSampleNode,
  read,
  recordsOf,
  SampleFarm,
  signedPolicy,
  temporaryFolder,
} from './samples.ts';

const code = (wanted: string) => (error: unknown) => error instanceof LockstepError && error.code === wanted;

test('SignerNode.answer signs what follows from the evidence, and its own log has it before', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const build = farm.build();
  const record = await askNode(one, farm.ask(build));
  assert.equal(record.result, 'signed', record.reason);
  assert.deepEqual(
    record.signatures.map((made) => `${made.use} ${made.file}`),
    ['release-dsse release.json', 'release-dsse vsa.json', 'release-minisign hello', 'release-minisign other'],
  );
  const plan = planRelease(farm.release(build), ['release-minisign']);
  assert.ok(typeof plan !== 'string');
  const key = one.keys.find((each) => each.use === 'release-minisign')!;
  for (const planned of plan) {
    const made = record.signatures.find((each) => each.use === planned.use && each.file === planned.file);
    assert.ok(verifyEd25519(rawEd25519(key.public), planned.message, fromBase64(made!.signature)!));
    assert.ok(verifyEd25519(rawEd25519(key.public), planned.second!(fromBase64(made!.signature)!), fromBase64(made!.second!)!));
  }
  assert.deepEqual(await recordsOf(one), [record]);
  await one.node.close();
});

test('SignerNode.answer: the same request gives the same answer, also after a restart, and adds no entry', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  let one = await openSampleNode(folder);
  const request = farm.ask(farm.build());
  const bad = toUtf8('no request');
  const [first, refused] = [await askNode(one, request), await askNode(one, bad)];
  for (let restart = 0; restart < 2; restart++) {
    assert.deepEqual(await askNode(one, request), first);
    assert.deepEqual(await askNode(one, bad), refused);
    assert.equal(one.node.log.size(), 2);
    await one.node.close();
    one = await openSampleNode(folder);
  }
  await one.node.close();
});

test('SignerNode.answer: the same request at once is signed once; two for one version at once, only one of them', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const build = farm.build();
  const request = farm.ask(build);
  const answers = await Promise.all([askNode(one, request), askNode(one, request), askNode(one, request)]);
  assert.equal(one.node.log.size(), 1);
  for (const each of answers) assert.deepEqual(each, answers[0]);
  const checkpoint = one.node.log.checkpoint();
  const previous = digestOf(farm.release(build));
  const next = farm.build({ version: '1.1' });
  // Another time is another record.
  const racing = await Promise.all([NOW, NOW + 1].map((time) => askNode(one, farm.ask(next, { checkpoint, previous, time, from: [2] }))));
  assert.deepEqual(
    racing.map((each) => [each.result, each.step]),
    [
      ['signed', ''],
      ['refused', 'version'],
    ],
  );
  await one.node.close();
});

test('openNode: one process at a time; whoever comes second waits, and then sees what the first has signed', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const one = await openSampleNode(folder);
  const build = farm.build();
  const opening = openSampleNode(folder);
  const first = await askNode(one, farm.ask(build));
  assert.equal(first.result, 'signed');
  await one.node.close();
  const two = await opening;
  const second = await askNode(two, farm.ask(build, { time: NOW + 1, checkpoint: two.node.log.checkpoint() }));
  assert.equal(second.step, 'version', second.reason);
  await two.node.close();
});

test('openNode refuses a folder that another process runs', async () => {
  const folder = temporaryFolder();
  const one = await openSampleNode(folder);
  await assert.rejects(openSampleNode(folder), code('STORE_BUSY'));
  await one.node.close();
  await (await openSampleNode(folder)).node.close();
});

test('SignerNode.answer: a person who says no is asked again by the same request, and the yes stands', async () => {
  const farm = new SampleFarm();
  const said = [false, true];
  const shown: string[] = [];
  const confirm = (text: string): Promise<boolean> => {
    shown.push(text);
    return Promise.resolve(said.shift() ?? false);
  };
  const one = await openSampleNode(temporaryFolder(), ['release-dsse'], { confirm });
  const request = farm.ask(farm.build());
  const no = await askNode(one, request);
  assert.deepEqual([no.result, no.step, no.release, no.learned, no.signatures], ['refused', 'person', null, null, []]);
  assert.equal(no.about, 'hello 1.0');
  const yes = await askNode(one, request);
  assert.equal(yes.result, 'signed');
  assert.deepEqual(await askNode(one, request), yes);
  assert.equal(shown.length, 2);
  assert.match(shown[0]!, /APPROVE A RELEASE: hello 1\.0/);
  await one.node.close();
});

test('SignerNode.answer: custody that fails leaves no signature, and the same request is signed when it is back', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const made = await openSampleNode(folder);
  await made.node.close();
  const { openFileKey } = await import('../custody/file-key.ts');
  const open = async (use: string) => openFileKey(`${folder}/keys/${use}.json`, () => Promise.resolve(null));
  const [dsse, minisign] = [await open('release-dsse'), await open('release-minisign')];
  let away = true;
  const sign = (message: Uint8Array): Promise<Uint8Array> =>
    away ? Promise.reject(new LockstepError('CUSTODY_FAILED', 'the token is away', 'Plug it in.')) : minisign.sign(message);
  const one = await openSampleNode(folder, [], { keys: [dsse, { ...minisign, sign }] });
  const request = farm.ask(farm.build());
  const failed = await askNode(one, request);
  assert.deepEqual([failed.result, failed.step, failed.reason], ['refused', 'custody', 'the token is away']);
  assert.deepEqual([failed.signatures, failed.release, failed.learned], [[], null, null], 'not even those that were made');
  away = false;
  const signed = await askNode(one, request);
  assert.equal(signed.result, 'signed');
  assert.equal(signed.signatures.length, 4);
  await one.node.close();
});

test('SignerNode.answer: an error that is none of custody is thrown, and leaves the node as it was', async () => {
  const farm = new SampleFarm();
  let broken = true;
  const confirm = (): Promise<boolean> => (broken ? Promise.reject(new Error('the terminal is gone')) : Promise.resolve(true));
  const one = await openSampleNode(temporaryFolder(), ['release-dsse'], { confirm });
  const request = farm.ask(farm.build());
  await assert.rejects(one.node.answer(request), /the terminal is gone/);
  assert.equal(one.node.log.size(), 0);
  broken = false;
  assert.equal((await askNode(one, request)).result, 'signed');
  await one.node.close();
});

test('SignerNode.answer: after a write that failed nothing is signed until the node is started again', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const made = await openSampleNode(folder);
  await made.node.close();
  const { openLogHome } = await import('@lockstep/log/sequence/log-home');
  const home = openLogHome(`${folder}/log`);
  let full = true;
  // What was decided is kept; only its publication fails, so that the caller cannot know.
  const files: typeof home.files = {
    ...home.files,
    replaceIf: (...args) =>
      full ? Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' })) : home.files.replaceIf(...args),
  };
  const one = await openSampleNode(folder, undefined, { log: { ...home, files } });
  const build = farm.build();
  const request = farm.ask(build);
  await assert.rejects(one.node.answer(request), code('STORE_UNUSABLE'));
  full = false;
  const other = farm.ask(build, { time: NOW + 1 });
  await assert.rejects(one.node.answer(other), code('STORE_UNUSABLE'));
  await assert.rejects(one.node.approve(other, 'release-dsse'), code('STORE_UNUSABLE'));
  await one.node.close();
  const again = await openSampleNode(folder);
  assert.equal((await recordsOf(again)).length, 1);
  assert.equal((await askNode(again, request)).result, 'signed');
  assert.equal((await askNode(again, farm.ask(build, { time: NOW + 1, checkpoint: again.node.log.checkpoint() }))).step, 'version');
  await again.node.close();
});

/** Each way in which a request is none, or is not for this node. */
function malformed(request: ReleaseRequest): [string, Uint8Array][] {
  const bytes = formatRequest(request);
  const text = Buffer.from(bytes).toString();
  const json = JSON.parse(text) as Record<string, unknown>;
  const change = (more: Record<string, unknown>): Uint8Array => {
    const sorted = { ...json, ...more };
    return toUtf8(JSON.stringify(Object.fromEntries(Object.entries(sorted).sort(([a], [b]) => (a < b ? -1 : 1)))));
  };
  return [
    ['empty', new Uint8Array(0)],
    ['no JSON', toUtf8('hello')],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['cut', bytes.subarray(0, -1)],
    ['something after it', toUtf8(`${text} `)],
    ['another spelling', toUtf8(JSON.stringify(json, null, 1))],
    ['a key twice', toUtf8(text.replace('{', '{"build_id":"x",'))],
    ['another purpose', change({ purpose: 'everything' })],
    ['another schema', change({ schema: 'lockstep-signing-request/v2' })],
    ['an unknown key', change({ zzz: 1 })],
    ['no nodes', change({ nodes: undefined })],
    ['a list for nodes', change({ nodes: [] })],
    ['__proto__ as a node', toUtf8(text.replace(`"${NODE}"`, '"__proto__"'))],
    ['nothing expected', change({ expected: [] })],
    ['an unknown use', change({ expected: [{ bytes: '', file: null, use: 'everything' }] })],
    ['no base64', change({ expected: [{ bytes: '*', file: null, use: 'release-dsse' }] })],
    ['a path outside', change({ policy: { '../root.json': '{}' } })],
    ['no bundles', change({ bundles: [] })],
    ['a time without Z', change({ time: '2025-10-09T09:03:20+00:00' })],
    ['deep', toUtf8('['.repeat(100_000))],
    ['a byte too large', new Uint8Array(MAX_REQUEST_BYTES + 1).fill(32)],
  ];
}

test('SignerNode.answer: what is no request is refused at the step "request", is written down, and changes nothing else', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const request = farm.request(farm.build());
  const kinds = malformed(request);
  for (const [name, bytes] of kinds) {
    const record = await askNode(one, bytes);
    assert.deepEqual([record.result, record.step, record.signatures], ['refused', 'request', []], name);
    assert.notEqual(record.reason, '', name);
  }
  assert.equal(one.node.log.size(), kinds.length);
  const signed = await askNode(one, { ...request, nodes: { [NODE]: one.node.log.checkpoint() } });
  assert.equal(signed.result, 'signed', signed.reason);
  await one.node.close();
});

test('SignerNode.answer: a request of 8 MiB is read to its end', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const request = farm.request(farm.build());
  const room = MAX_REQUEST_BYTES - formatRequest({ ...request, policy: { ...request.policy, 'metadata/z': '', 'metadata/y': '' } }).length;
  const large = formatRequest({
    ...request,
    policy: { ...request.policy, 'metadata/z': 'x'.repeat(4 << 20), 'metadata/y': 'x'.repeat(room - (4 << 20)) },
  });
  assert.equal(large.length, MAX_REQUEST_BYTES);
  const record = await askNode(one, large);
  assert.equal(record.result, 'signed', record.reason);
  await one.node.close();
});

test('SignerNode.answer: a request for another node is refused; __proto__ and constructor name no node', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const build = farm.build();
  for (const nodes of [{ other: null }, {}, { constructor: null } as unknown as Record<string, null>]) {
    const record = await askNode(one, farm.ask(build, { nodes }));
    assert.equal(record.step, 'memory');
    assert.match(record.reason, /not for this node/);
  }
  await one.node.close();
});

/** What is forged → the step that is named. */
const FORGED: [string, (farm: SampleFarm, build: string) => ReleaseRequest, string, RegExp][] = [
  ['a byte of a message', (farm, build) => swapExpected(farm.request(build), (bytes) => bytes.fill(1, 0, 1)), 'bytes', /do not follow/],
  [
    'a message more',
    (farm, build) => ({ ...farm.request(build), expected: twice(farm.request(build).expected) }),
    'bytes',
    /2 such entries/,
  ],
  ['messages of another format only', (farm, build) => farm.request(build, { uses: ['release-note'] }), 'bytes', /0 such entries/],
  ['another line’s record', (farm, build) => ({ ...farm.request(build), time: isoTime(NOW - 5) }), 'bytes', /do not follow/],
  ['a line that it may not begin', (farm, build) => farm.request(build, { line: '2.x' }), 'version', /not one of this node/],
  ['one builder left out', (farm, build) => ({ ...farm.request(build), bundles: farm.request(build).bundles.slice(1) }), 'quorum', /./],
  ['no witness', (farm, build) => withoutWitness(farm.request(build)), 'witnesses', /no witness/],
  ['witnesses of long ago', (farm, build) => farm.request(build, { witnessed: NOW - days(91) }), 'witnesses', /90 days ago/],
  ['a time of long ago', (farm, build) => farm.request(build, { time: NOW - days(30) - 1 }), 'time', /30 days ago/],
  ['a time in the future', (farm, build) => farm.request(build, { time: NOW + days(2) }), 'time', /future/],
  ['another build id', (farm, build) => ({ ...farm.request(build), build_id: 'a'.repeat(64) }), 'quorum', /no statement/],
  ['an expired policy', (farm, build) => farm.request(build, { policy: signedPolicy({ expires: isoTime(NOW - 1) }) }), 'policy', /expired/],
  [
    'a timestamp that is over',
    (farm, build) => farm.request(build, { policy: signedPolicy({}, 1, isoTime(NOW)) }),
    'policy',
    /until|expired/,
  ],
  ['no policy', (farm, build) => ({ ...farm.request(build), policy: {} }), 'policy', /missing/],
  ['another policy than its digest', (farm, build) => swapPolicy(farm.request(build)), 'policy', /SHA-256/],
];

function swapExpected(request: ReleaseRequest, change: (bytes: Buffer) => void): ReleaseRequest {
  const [first, ...rest] = request.expected;
  const bytes = Buffer.from(first!.bytes, 'base64');
  change(bytes);
  return { ...request, expected: [{ ...first!, bytes: bytes.toString('base64') }, ...rest] };
}

function twice<T>(list: readonly T[]): T[] {
  return [...list, ...list];
}

function withoutWitness(request: ReleaseRequest): ReleaseRequest {
  const strip = (text: string): string => text.replaceAll(/— witness[^"]*?\\n/g, '');
  return { ...request, bundles: request.bundles.map(strip) };
}

function swapPolicy(request: ReleaseRequest): ReleaseRequest {
  const policy = Object.fromEntries(
    Object.entries(request.policy).map(([path, text]) => [
      path,
      path.startsWith('targets/') ? text.replace('"quorum":2', '"quorum":1') : text,
    ]),
  );
  return { ...request, policy };
}

test('SignerNode.answer: each forgery is a refusal that names the step, and the true request is signed after all of them', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const build = farm.build();
  for (const [name, forge, step, why] of FORGED) {
    const request = forge(farm, build);
    const record = await askNode(one, { ...request, nodes: { [NODE]: one.node.log.size() === 0 ? null : one.node.log.checkpoint() } });
    assert.deepEqual([record.result, record.step, record.signatures], ['refused', step, []], `${name}: ${record.step} ${record.reason}`);
    assert.match(record.reason, why, name);
    assert.deepEqual([record.release, record.learned], [null, null], name);
  }
  const record = await askNode(one, farm.ask(build, { checkpoint: one.node.log.checkpoint() }));
  assert.equal(record.result, 'signed', record.reason);
  await one.node.close();
});

test('SignerNode.answer: builds that differ, and builds that too few made, are not signed', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const agreed = farm.build();
  const honest = farm.request(agreed);
  const disputed = new SampleFarm();
  disputed.build({ builders: [11, 12] });
  disputed.build({ builders: [13], outputs: outputs('evil') });
  const few = new SampleFarm();
  few.build({ builders: [11] });
  for (const other of [disputed, few]) {
    const bundles = otherBundles(other);
    const record = await askNode(one, {
      ...honest,
      bundles,
      nodes: { [NODE]: one.node.log.size() === 0 ? null : one.node.log.checkpoint() },
    });
    assert.deepEqual([record.result, record.step], ['refused', 'quorum'], record.reason);
  }
  await one.node.close();
});

function otherBundles(farm: SampleFarm): readonly string[] {
  // Of an agreed build beside it, since a request is only made of what is agreed on; its own two entries are dropped.
  const count = farm.entries.length;
  const more = farm.build({ version: '9' });
  return farm.request(more).bundles.slice(0, count);
}

test('SignerNode.answer: the version goes forward only, each release names the one before it, and a line is a line of its own', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder(), undefined, { lines: ['main', '1.x'] });
  const ask = (build: string, wish: object): Promise<{ result: string; step: string; reason: string }> =>
    askNode(
      one,
      farm.ask(build, {
        checkpoint: one.node.log.size() === 0 ? null : one.node.log.checkpoint(),
        from: [2, 4].filter((size) => size <= farm.entries.length),
        ...wish,
      }),
    );
  const first = farm.build({ version: '1.5' });
  assert.equal((await ask(first, {})).result, 'signed');
  const previous = digestOf(farm.release(first));
  const older = farm.build({ version: '1.4' });
  const back = await ask(older, { previous });
  assert.equal(back.step, 'version');
  assert.match(back.reason, /goes back/);
  const next = farm.build({ version: '1.6' });
  assert.equal((await ask(next, { previous })).result, 'signed');
  assert.match((await ask(first, {})).reason, /goes back/);
  assert.equal((await ask(next, { previous, checkpoint: one.node.log.checkpoint() })).result, 'signed', 'the same record again');
  const side = await ask(older, { line: '1.x', from: [6] });
  assert.equal(side.result, 'signed', side.reason);
  await one.node.close();
});

test('SignerNode.answer: a log that goes back, forks or is not proved to go on is refused, and the refusal says how far was seen', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder());
  const build = farm.build();
  await askNode(one, farm.ask(build));
  const [small, previous] = [farm.request(build, { time: NOW + 1 }), digestOf(farm.release(build))];
  const next = farm.build({ version: '1.1' });
  const checkpoint = (): { checkpoint: string } => ({ checkpoint: one.node.log.checkpoint() });
  const unproved = await askNode(one, farm.ask(next, { previous, ...checkpoint() }));
  assert.equal(unproved.step, 'log-memory');
  assert.deepEqual([unproved.learned?.log.size, unproved.learned?.log.origin], [2, 'log.example/farm']);
  const forked = new SampleFarm();
  forked.build({ builders: [12, 11] });
  const other = forked.build({ version: '1.1' });
  const fork = await askNode(one, forked.ask(other, { previous, from: [2], ...checkpoint() }));
  assert.deepEqual([fork.step, /a fork/.test(fork.reason)], ['log-memory', true], fork.reason);
  const signed = await askNode(one, farm.ask(next, { previous, from: [2], ...checkpoint() }));
  assert.equal(signed.result, 'signed', signed.reason);
  const older = await askNode(one, { ...small, nodes: { [NODE]: one.node.log.checkpoint() } });
  assert.deepEqual([older.step, /has 2 entries, and this node has seen 4/.test(older.reason)], ['log-memory', true], older.reason);
  await one.node.close();
});

test('SignerNode.answer: an older policy, and older metadata, than it has seen are refused', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  let one = await openSampleNode(folder);
  const build = farm.build();
  const first = await askNode(one, farm.ask(build, { policy: signedPolicy({ version: 4 }, 3) }));
  assert.deepEqual(first.learned?.seen, { root: 1, timestamp: 3, snapshot: 3, targets: 3, policy: 4 });
  await one.node.close();
  one = await openSampleNode(folder);
  for (const [policy, why] of [
    [signedPolicy({ version: 5 }, 2), /timestamp version 2 is older than 3/],
    [signedPolicy({ version: 3 }, 4), /version 3 is older than version 4/],
  ] as const) {
    const record = await askNode(one, farm.ask(build, { policy, checkpoint: one.node.log.checkpoint() }));
    assert.equal(record.step, 'policy');
    assert.match(record.reason, why);
  }
  await one.node.close();
});

test('SignerNode.answer: its clock is the later of its own and what it has seen, and does not go back', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  let one = await openSampleNode(folder, undefined, { clock: () => 0 });
  const build = farm.build();
  const record = await askNode(one, farm.ask(build));
  assert.equal(record.result, 'signed', record.reason);
  assert.equal(record.time, isoTime(NOW - 600), 'by the witnesses, since its own clock stands still');
  await one.node.close();
  one = await openSampleNode(folder, undefined, { clock: () => 0 });
  const stale = await askNode(
    one,
    farm.ask(build, { time: NOW + 1, policy: signedPolicy({ expires: isoTime(NOW - 700) }), checkpoint: one.node.log.checkpoint() }),
  );
  assert.deepEqual([stale.step, stale.time], ['policy', isoTime(NOW - 600)]);
  await one.node.close();
});

test('SignerNode.answer: a node of each use signs what that use has in a release, and nothing else (every use)', async () => {
  const farm = new SampleFarm();
  const build = farm.build({ outputs: [...outputs(), { ...outputs()[0]!, name: 'thing.nar' }] });
  const request = farm.ask(build);
  for (const use of Object.keys(KEY_USES) as KeyUse[]) {
    const one = await openSampleNode(temporaryFolder(), [use]);
    const record = await askNode(one, request);
    const able = (RELEASE_USES as readonly KeyUse[]).includes(use);
    assert.equal(record.result, able ? 'signed' : 'refused', `${use}: ${record.reason}`);
    if (able) assert.deepEqual([...new Set(record.signatures.map((made) => made.use))], [use]);
    else assert.deepEqual([record.step, /no key that signs/.test(record.reason)], ['bytes', true], use);
    await one.node.close();
  }
});

test('SignerNode.answer: a key that the policy lists for something else signs nothing', async () => {
  const folder = temporaryFolder();
  const made = await openSampleNode(folder);
  await made.node.close();
  const [dsse, minisign] = made.keys.map((key) => anyKeyToPem(key.public));
  const farm = new SampleFarm();
  const build = farm.build();
  const cases: [string, Record<string, unknown>][] = [
    [
      'release-ssh',
      { release: { threshold: 1, keys: [{ name: 'r', key: samplePem(90) }], formats: [{ name: 'm', use: 'release-ssh', key: minisign }] } },
    ],
    ['release-dsse', { release: { threshold: 1, keys: [{ name: 'r', key: minisign }] } }],
    ['coordinator', { coordinators: [{ name: 'c', key: dsse }] }],
  ];
  const one = await openSampleNode(folder);
  for (const [, change] of cases) {
    const policy = signedPolicy(change as Parameters<typeof signedPolicy>[0]);
    const record = await askNode(
      one,
      farm.ask(build, { policy, checkpoint: one.node.log.size() === 0 ? null : one.node.log.checkpoint() }),
    );
    assert.deepEqual([record.result, record.step], ['refused', 'keys'], record.reason);
  }
  await one.node.close();
});

test('SignerNode: no private key is in the folder outside keys/ and the node’s own files, nor in an answer', async () => {
  const farm = new SampleFarm();
  const folder = temporaryFolder();
  const one = await openSampleNode(folder, ['release-dsse', 'release-minisign', 'release-ssh']);
  const build = farm.build();
  const answers = [await one.node.answer(farm.ask(build)), await one.node.answer(toUtf8('no'))];
  await one.node.close();
  const secrets = ['keys/release-dsse.json', 'keys/release-minisign.json', 'keys/release-ssh.json', 'node.json'].flatMap((file) => {
    const pkcs8 = Buffer.from((JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as { pkcs8: string }).pkcs8, 'base64');
    const jwk = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' }).export({ format: 'jwk' });
    const raw = Buffer.from(jwk.d!, 'base64url');
    return [raw, raw.toString('hex'), raw.toString('base64').slice(0, 40), raw.toString('base64url'), pkcs8.toString('base64').slice(-60)];
  });
  const holds = (bytes: Uint8Array): boolean => secrets.some((secret) => Buffer.from(bytes).includes(secret));
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => `${each.parentPath}/${each.name}`);
  assert.ok(holds(readFileSync(`${folder}/keys/release-dsse.json`)), 'the search finds one where it is');
  for (const file of files)
    if (!file.startsWith(`${folder}/keys/`) && file !== `${folder}/node.json`) assert.ok(!holds(readFileSync(file)), file);
  for (const each of answers) assert.ok(!holds(each));
  assert.ok(files.length > 10);
  assert.equal(read(one.home, answers[0]!).record.result, 'signed');
});

test('SignerNode.answer: evidence that cuts a character in half is a refusal, and the node goes on', async () => {
  const farm = new SampleFarm();
  const one = await openSampleNode(temporaryFolder(), ['release-dsse']);
  const build = farm.build();
  const request = farm.request(build, { uses: ['release-dsse'] });
  const { signed } = JSON.parse(request.policy['metadata/timestamp.json']!) as { signed: unknown };
  const timestamp = JSON.stringify({ signatures: [{ keyid: `${'a'.repeat(58)}😀😀😀`, sig: '' }], signed });
  const record = await askNode(one, formatRequest({ ...request, policy: { ...request.policy, 'metadata/timestamp.json': timestamp } }));
  assert.deepEqual([record.result, record.step], ['refused', 'policy']);
  assert.equal((await askNode(one, farm.ask(build, { uses: ['release-dsse'] }))).result, 'signed');
  await one.node.close();
});

test('openNode refuses one key under two uses', async () => {
  const [folder, keys] = [temporaryFolder(), (await openSampleNode(temporaryFolder(), ['release-raw'])).keys];
  await assert.rejects(
    openSampleNode(folder, [], { keys: [keys[0]!, { ...keys[0]!, use: 'release-signify' }] }),
    (error: unknown) =>
      error instanceof LockstepError && error.code === 'KEY_INVALID' && /for release-raw and for release-signify/.test(error.message),
  );
});
