/** Requests that no build stands behind: key documents, and metadata of the policy's repository. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes, canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { verifyEd25519 } from '@lockstep/protocol/key/ed25519';
import { anyKeyToPem, rawEd25519 } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { samplePem } from '@lockstep/protocol/policy/samples';
import { KEY_CHANGE, KEY_REVOCATION, type KeyChange, type KeyRevocation } from '@lockstep/protocol/release/key-documents';
import { formatRequest, type KeyRequest, type TufRequest } from '@lockstep/protocol/signing/request';
import type { SigningRecord } from '@lockstep/protocol/signing/record';
import { fileInfo, rootJson, snapshotJson, targetsJson, timestampJson } from '@lockstep/protocol/tuf/samples';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { askNode, days, NODE, NOW, openSampleNode, SampleFarm, type SampleNode, signedPolicy, temporaryFolder } from './samples.ts';

const newest = (one: SampleNode): Record<string, string | null> => ({
  [NODE]: one.node.log.size() === 0 ? null : one.node.log.checkpoint(),
});

function keyRequest(type: string, payload: Uint8Array, uses: readonly KeyUse[]): KeyRequest {
  const bytes = toBase64(pae(type, payload));
  return {
    schema: 'lockstep-signing-request/v1',
    purpose: 'key',
    nodes: {},
    time: isoTime(NOW),
    expected: uses.map((use) => ({ use, file: null, bytes })),
    payload_type: type,
    payload: toBase64(payload),
  };
}

function changeRequest(change: Partial<KeyChange>, uses: readonly KeyUse[] = ['release-dsse', 'tuf-root']): KeyRequest {
  const document: KeyChange = {
    schema: 'lockstep-key-change/v1',
    use: 'release-dsse',
    old: 'a'.repeat(64),
    new: samplePem(95),
    reason: 'every year',
    time: isoTime(NOW),
    overlap_until: null,
    made: null,
    ...change,
  };
  return keyRequest(KEY_CHANGE.payloadType, formatDocument(KEY_CHANGE, document), uses);
}

function revocationRequest(change: Partial<KeyRevocation>, uses: readonly KeyUse[] = ['release-dsse', 'tuf-root']): KeyRequest {
  const document: KeyRevocation = {
    schema: 'lockstep-key-revocation/v1',
    use: 'release-dsse',
    key: 'a'.repeat(64),
    why: 'stolen',
    reason: 'the office was broken into',
    time: isoTime(NOW),
    from: { log: 'log.example/farm', index: 7 },
    ...change,
  };
  return keyRequest(KEY_REVOCATION.payloadType, formatDocument(KEY_REVOCATION, document), uses);
}

const yes = (): Promise<boolean> => Promise.resolve(true);

async function nodeWith(uses: readonly KeyUse[]): Promise<SampleNode & { ask(request: KeyRequest | TufRequest): Promise<SigningRecord> }> {
  const one = await openSampleNode(temporaryFolder(), uses, { confirm: yes });
  return { ...one, ask: (request) => askNode(one, { ...request, nodes: newest(one) }) };
}

test('judge: a key change is signed by the node of the old key, and by the node of the new one', async () => {
  for (const role of ['old', 'new'] as const) {
    const one = await nodeWith(['release-dsse', 'release-minisign']);
    const key = one.keys[0]!.public;
    const request = changeRequest(role === 'old' ? { old: key.id } : { new: anyKeyToPem(key) });
    const record = await one.ask(request);
    assert.equal(record.result, 'signed', record.reason);
    assert.deepEqual(
      record.signatures.map((made) => [made.use, made.format, made.message]),
      [['release-dsse', 'dsse', sha256Hex(pae(KEY_CHANGE.payloadType, Buffer.from(request.payload, 'base64')))]],
    );
    assert.equal(record.about, 'change a key');
    assert.equal(record.release, null);
    await one.node.close();
  }
});

test('judge: a change or revocation that is about no key of this node is refused, unless it has the root’s key', async () => {
  const one = await nodeWith(['release-dsse']);
  for (const request of [
    changeRequest({}),
    revocationRequest({}),
    changeRequest({ new: '-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n' }),
  ]) {
    const record = await one.ask(request);
    assert.deepEqual([record.result, record.step], ['refused', 'bytes'], record.reason);
    assert.match(record.reason, /no key for it/);
  }
  await one.node.close();
  const root = await nodeWith(['tuf-root', 'release-dsse']);
  for (const request of [changeRequest({}), revocationRequest({})]) {
    const record = await root.ask(request);
    assert.equal(record.result, 'signed', record.reason);
    assert.deepEqual(
      record.signatures.map((made) => made.use),
      ['tuf-root'],
      'the release key vouches for nothing that is not its own',
    );
  }
  const both = await root.ask(revocationRequest({ key: root.keys[1]!.public.id }));
  assert.deepEqual(
    both.signatures.map((made) => made.use),
    ['release-dsse', 'tuf-root'],
  );
  await root.node.close();
});

test('judge: a key of another use signs no key document, although it is about that key', async () => {
  for (const use of ['release-minisign', 'release-ssh', 'nix-cache', 'tuf-targets', 'witness', 'log'] as const) {
    const one = await nodeWith([use]);
    const record = await one.ask(revocationRequest({ key: one.keys[0]!.public.id }, [use, 'release-dsse']));
    assert.deepEqual([record.result, record.signatures], ['refused', []], use);
    await one.node.close();
  }
});

test('judge: a key document with a time more than a day away, other bytes, or another form is refused by its step', async () => {
  const one = await nodeWith(['release-dsse']);
  const old = one.keys[0]!.public.id;
  const good = changeRequest({ old });
  const change = { ...(JSON.parse(Buffer.from(good.payload, 'base64').toString()) as Record<string, Json>) };
  const payloads: [KeyRequest, string][] = [
    [changeRequest({ old, time: isoTime(NOW + days(1) + 1) }), 'time'],
    [changeRequest({ old, time: isoTime(NOW - days(1) - 1) }), 'time'],
    [revocationRequest({ key: old, time: isoTime(NOW - days(2)) }), 'time'],
    [{ ...good, expected: [{ ...good.expected[0]!, bytes: toBase64(toUtf8('other')) }] }, 'bytes'],
    [{ ...good, expected: [...good.expected, ...good.expected] }, 'bytes'],
    [{ ...good, expected: [{ ...good.expected[0]!, use: 'tuf-root' }] }, 'bytes'],
    [{ ...good, payload_type: 'application/vnd.in-toto+json' }, 'document'],
    [{ ...good, payload_type: KEY_REVOCATION.payloadType }, 'document'],
    [{ ...good, payload: '' }, 'document'],
    [keyRequest(KEY_CHANGE.payloadType, toUtf8(JSON.stringify(change, null, 1)), ['release-dsse']), 'document'],
    [keyRequest(KEY_CHANGE.payloadType, canonicalBytes({ ...change, use: 'release-minisign' }), ['release-dsse']), 'document'],
    [keyRequest(KEY_CHANGE.payloadType, canonicalBytes({ ...change, reason: 'a\nb' }), ['release-dsse']), 'document'],
  ];
  for (const [request, step] of payloads) {
    const record = await one.ask(request);
    assert.deepEqual([record.result, record.step, record.signatures], ['refused', step, []], record.reason);
  }
  for (const time of [NOW + days(1), NOW - days(1)])
    assert.equal((await one.ask(changeRequest({ old, time: isoTime(time) }))).result, 'signed');
  await one.node.close();
});

const UNTIL = isoTime(NOW + days(30));
const text = (value: Json): string => canonicalText({ signatures: [], signed: value });

function tufRequest(role: TufRequest['role'], value: Json, change: Partial<TufRequest> = {}): TufRequest {
  return {
    schema: 'lockstep-signing-request/v1',
    purpose: 'tuf',
    nodes: {},
    time: isoTime(NOW),
    expected: [{ use: `tuf-${role}`, file: null, bytes: toBase64(canonicalBytes(value)) }],
    role,
    metadata: text(value),
    files: {},
    ...change,
  };
}

const targetsOf = (policy: string, version: number): Json =>
  targetsJson({ version, expires: UNTIL, targets: { 'policy.json': fileInfo(toUtf8(policy)) } });

test('judge: metadata of each role is signed with that role’s key, over TUF’s canonical bytes', async () => {
  const { text: policy } = signedPolicy();
  const values: [TufRequest['role'], Json][] = [
    ['root', rootJson({ version: 2, expires: UNTIL })],
    ['targets', targetsOf(policy, 2)],
    ['snapshot', snapshotJson({ version: 2, expires: UNTIL })],
    ['timestamp', timestampJson({ version: 2, expires: UNTIL })],
  ];
  for (const [role, value] of values)
    for (const held of ['root', 'targets', 'snapshot', 'timestamp', 'none'] as const) {
      const use = held === 'none' ? 'release-dsse' : (`tuf-${held}` as const);
      const one = await nodeWith([use]);
      const record = await one.ask(tufRequest(role, value, { files: role === 'targets' ? { 'policy.json': policy } : {} }));
      if (held === role) {
        assert.equal(record.result, 'signed', `${role}: ${record.reason}`);
        assert.deepEqual(record.tuf, { role, version: 2, names: { root: null, targets: 3, snapshot: 1, timestamp: 1 }[role] });
        assert.ok(
          verifyEd25519(rawEd25519(one.keys[0]!.public), canonicalBytes(value), Buffer.from(record.signatures[0]!.signature, 'base64')),
        );
      } else assert.deepEqual([record.result, record.step, record.signatures], ['refused', 'bytes', []], `${role} by ${use}`);
      await one.node.close();
    }
});

test('judge: a role’s version goes forward only, whatever the content, and after a restart', async () => {
  const folder = temporaryFolder();
  const uses = ['tuf-root', 'tuf-targets', 'tuf-snapshot', 'tuf-timestamp'] as const;
  let one = await openSampleNode(folder, uses, { confirm: yes });
  const { text: policy } = signedPolicy();
  const make = {
    root: (version: number, expires = UNTIL) => rootJson({ version, expires }),
    targets: (version: number, expires = UNTIL) => targetsJson({ version, expires, targets: { 'policy.json': fileInfo(toUtf8(policy)) } }),
    snapshot: (version: number, expires = UNTIL) => snapshotJson({ version, expires }),
    timestamp: (version: number, expires = UNTIL) => timestampJson({ version, expires }),
  };
  const ask = (role: TufRequest['role'], value: Json): Promise<SigningRecord> =>
    askNode(one, { ...tufRequest(role, value, { files: { 'policy.json': policy } }), nodes: newest(one) });
  for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const) assert.equal((await ask(role, make[role](5))).result, 'signed');
  for (let restart = 0; restart < 2; restart++) {
    for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const)
      for (const value of [make[role](5, isoTime(NOW + days(29))), make[role](4), make[role](1)]) {
        const record = await ask(role, value);
        assert.deepEqual([record.result, record.step], ['refused', 'version'], `${role}: ${record.reason}`);
      }
    await one.node.close();
    one = await openSampleNode(folder, uses, { confirm: yes });
  }
  assert.equal((await ask('timestamp', make.timestamp(6))).result, 'signed');
  await one.node.close();
});

test('judge: the very same metadata is signed again by another request, with the same signature, and as a share; nothing else of its version', async () => {
  const folder = temporaryFolder();
  let one = await openSampleNode(folder, ['tuf-root'], { confirm: yes });
  const value = rootJson({ version: 2, expires: UNTIL });
  const first = await askNode(one, tufRequest('root', value, { nodes: newest(one) }));
  assert.equal(first.result, 'signed', first.reason);
  await one.node.close();
  one = await openSampleNode(folder, ['tuf-root'], { confirm: yes });
  const again = await askNode(one, tufRequest('root', value, { nodes: newest(one) }));
  assert.deepEqual([again.result, again.signatures], ['signed', first.signatures]);
  assert.notEqual(again.request, first.request);
  const approved = await one.node.approve(
    formatRequest(tufRequest('root', value, { nodes: newest(one), time: isoTime(NOW + 1) })),
    'tuf-root',
  );
  assert.ok(approved.ok);
  await approved.signed(first.signatures.map((made) => ({ ...made, format: 'share', signature: '' })));
  const session = await one.node.approve(formatRequest(tufRequest('root', value, { nodes: newest(one) })), 'tuf-root');
  assert.ok(session.ok, 'a session that came to nothing is begun again');
  const other = await askNode(one, tufRequest('root', rootJson({ version: 2, expires: isoTime(NOW + days(31)) }), { nodes: newest(one) }));
  assert.deepEqual([other.result, other.step], ['refused', 'version']);
  await one.node.close();
});

test('judge: the version of the root that the node pins, and what it has seen of others, count as signed', async () => {
  const one = await openSampleNode(temporaryFolder(), ['tuf-root', 'tuf-timestamp', 'release-dsse'], { confirm: yes });
  const pinned = await askNode(one, tufRequest('root', rootJson({ expires: UNTIL }), { nodes: newest(one) }));
  assert.deepEqual([pinned.result, pinned.step], ['refused', 'version'], 'another root of the version that it pins');
  const farm = new SampleFarm();
  const seen = await askNode(one, farm.ask(farm.build(), { policy: signedPolicy({}, 4), nodes: newest(one) }));
  assert.equal(seen.result, 'signed', seen.reason);
  const again = await askNode(one, tufRequest('timestamp', timestampJson({ version: 4, expires: UNTIL }), { nodes: newest(one) }));
  assert.deepEqual([again.result, again.step], ['refused', 'version']);
  await one.node.close();
});

test('judge: targets are signed only with the policy that they name, and only a policy that is none older', async () => {
  const one = await nodeWith(['tuf-targets', 'release-dsse']);
  const { text: policy } = signedPolicy({ version: 7 });
  const good = targetsOf(policy, 2);
  const files = { 'policy.json': policy };
  const farm = new SampleFarm();
  const seen = await askNode(one, farm.ask(farm.build(), { policy: signedPolicy({ version: 7 }, 1), nodes: newest(one) }));
  assert.equal(seen.result, 'signed', seen.reason);
  const older = signedPolicy({ version: 6 }).text;
  const refused: [TufRequest, string, RegExp][] = [
    [tufRequest('targets', good), 'files', /not handed in/],
    [tufRequest('targets', good, { files: { 'policy.json': `${policy} ` } }), 'files', /not handed in/],
    [tufRequest('targets', good, { files: { 'policy.json': signedPolicy({ version: 8 }).text } }), 'files', /not handed in/],
    [
      tufRequest(
        'targets',
        targetsJson({ version: 2, expires: UNTIL, targets: { 'policy.json': { ...fileInfo(toUtf8(policy)), length: 1 } } }),
        { files },
      ),
      'files',
      /not handed in/,
    ],
    [tufRequest('targets', targetsJson({ version: 2, expires: UNTIL, targets: {} }), { files }), 'files', /names no policy/],
    [
      tufRequest('targets', targetsJson({ version: 2, expires: UNTIL, targets: { 'other.json': fileInfo(toUtf8(policy)) } }), { files }),
      'files',
      /names no/,
    ],
    [tufRequest('targets', targetsOf(older, 2), { files: { 'policy.json': older } }), 'version', /version 6 is older than 7/],
    [tufRequest('targets', targetsOf('{}', 2), { files: { 'policy.json': '{}' } }), 'metadata', /./],
    [tufRequest('targets', targetsOf('\u001b[2J', 2), { files: { 'policy.json': '\u001b[2J' } }), 'metadata', /./],
  ];
  for (const [request, step, why] of refused) {
    const record = await one.ask(request);
    assert.deepEqual([record.result, record.step, record.signatures], ['refused', step, []], record.reason);
    assert.match(record.reason, why);
  }
  const signed = await one.ask(tufRequest('targets', good, { files }));
  assert.equal(signed.result, 'signed', signed.reason);
  await one.node.close();
});

test('judge: metadata that is valid too long, no longer, of another role, or written in another way is refused', async () => {
  const uses = ['tuf-root', 'tuf-targets', 'tuf-snapshot', 'tuf-timestamp'] as const;
  const one = await nodeWith(uses);
  const { text: policy } = signedPolicy();
  const files = { 'policy.json': policy };
  const timestamp = timestampJson({ version: 2, expires: UNTIL });
  const at = (seconds: number): { version: number; expires: string } => ({ version: 2, expires: isoTime(seconds) });
  const refused: [TufRequest, string][] = [
    [tufRequest('timestamp', timestampJson(at(NOW + days(60) + 1))), 'time'],
    [tufRequest('snapshot', snapshotJson(at(NOW + days(60) + 1))), 'time'],
    [tufRequest('targets', { ...(targetsOf(policy, 2) as Record<string, Json>), ...at(NOW + days(733)) }, { files }), 'time'],
    [tufRequest('root', rootJson(at(NOW + days(3 * 366 + 1)))), 'time'],
    [tufRequest('timestamp', timestampJson(at(NOW))), 'time'],
    [tufRequest('snapshot', timestamp), 'metadata'],
    [tufRequest('root', timestamp), 'metadata'],
    [tufRequest('timestamp', timestamp, { metadata: '{' }), 'metadata'],
    [tufRequest('timestamp', timestamp, { metadata: canonicalText({ signed: timestamp }) }), 'metadata'],
    [tufRequest('timestamp', timestampJson({ version: 2, expires: UNTIL, more: 1 })), 'metadata'],
    [
      tufRequest('timestamp', timestampJson({ version: 2, expires: UNTIL, meta: { 'snapshot.json': { version: 1, length: null } } })),
      'metadata',
    ],
    [tufRequest('timestamp', timestampJson({ version: 1.5, expires: UNTIL })), 'metadata'],
    [tufRequest('timestamp', timestampJson({ version: 2, expires: '2025-11-08' })), 'metadata'],
    [
      tufRequest('timestamp', timestamp, {
        expected: [{ use: 'tuf-timestamp', file: null, bytes: toBase64(toUtf8(JSON.stringify(timestamp, null, 1))) }],
      }),
      'bytes',
    ],
    [
      tufRequest('timestamp', timestamp, { expected: [{ use: 'tuf-snapshot', file: null, bytes: toBase64(canonicalBytes(timestamp)) }] }),
      'bytes',
    ],
  ];
  for (const [request, step] of refused) {
    const record = await one.ask(request);
    assert.deepEqual(
      [record.result, record.step, record.signatures, record.tuf],
      ['refused', step, [], null],
      `${record.step} ${record.reason}`,
    );
  }
  // The layout of the file itself makes no difference: what is signed are the canonical bytes.
  const signed = await one.ask(
    tufRequest('timestamp', timestamp, { metadata: JSON.stringify({ signed: timestamp, signatures: [] }, null, 1) }),
  );
  assert.equal(signed.result, 'signed', signed.reason);
  await one.node.close();
});

test('judge: a person is shown what the metadata says, and hostile names stay on their line', async () => {
  const shown: string[] = [];
  const one = await openSampleNode(temporaryFolder(), ['tuf-targets', 'release-dsse'], {
    confirm: (asked) => {
      shown.push(asked);
      return Promise.resolve(true);
    },
  });
  const { text: policy } = signedPolicy({ name: 'policy \u202e\u05d0\u009b31m' });
  await askNode(one, tufRequest('targets', targetsOf(policy, 2), { files: { 'policy.json': policy }, nodes: newest(one) }));
  assert.deepEqual(shown[0]?.split('\n'), [
    `SIGN TUF METADATA: targets, version 2, until ${UNTIL}`,
    `target policy.json ${toUtf8(policy).length} bytes ${sha256Hex(toUtf8(policy))}`,
    'policy policy \ufffd\ufffd\ufffd31m, version 3: 6 builders, 1 of 1 release keys',
    'rule *: quorum 2',
  ]);
  const request = changeRequest({ old: one.keys[1]!.public.id, reason: 'why \u202e not \u200b?' });
  await askNode(one, { ...request, nodes: newest(one) });
  const payload = fromUtf8(Buffer.from(request.payload, 'base64')) ?? '';
  assert.deepEqual(shown[1]?.split('\n'), [
    'SIGN A KEY DOCUMENT: application/vnd.lockstep.key-change+json',
    payload.replaceAll(/[\u202e\u200b]/g, '\ufffd'),
  ]);
  await one.node.close();
});

test('a node that asks nobody refuses what only a person can vouch for, and signs what says what is current', async () => {
  const one = await openSampleNode(temporaryFolder(), ['release-dsse', 'tuf-root', 'tuf-timestamp']);
  const ask = (request: KeyRequest | TufRequest): Promise<SigningRecord> => askNode(one, { ...request, nodes: newest(one) });
  for (const request of [
    changeRequest({ old: one.keys[0]!.public.id }),
    revocationRequest({}),
    tufRequest('root', rootJson({ version: 2, expires: UNTIL })),
  ]) {
    const record = await ask(request);
    assert.deepEqual([record.result, record.step, record.signatures], ['refused', 'person', []], record.reason);
  }
  assert.equal((await ask(tufRequest('timestamp', timestampJson({ version: 2, expires: UNTIL })))).result, 'signed');
  await one.node.close();
});
