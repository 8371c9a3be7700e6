/**
 * The examples of spec/policy.md, spec/commitment.md and spec/log.md are one story: the definition of spec/definition.md,
 * built by three builders, decided and logged. It is told again here with the same seeds, and compared to the letter.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { formatBundle, parseBundle } from '@lockstep/protocol/bundle/bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import {
  sampleDocumentSigner,
  sampleEd25519Witness,
  sampleLogSigner,
  type SampleNoteSigner,
  sampleSignedCheckpoint,
} from '@lockstep/protocol/bundle/samples';
import { formatTlogProof, parseTlogProof } from '@lockstep/protocol/bundle/tlog-proof';
import { trustedRootOf } from '@lockstep/protocol/bundle/trusted-root';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { ed25519CosignatureMessage } from '@lockstep/protocol/checkpoint/cosignature';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { parseWitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { CLOSING, COMMITMENT, OPENING, OUTCOME, RESOLUTION, REVEAL } from '@lockstep/protocol/commitment/documents';
import { isTable } from '@lockstep/protocol/decode/decode';
import { buildId, decodeDefinition } from '@lockstep/protocol/definition/definition';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes, canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { formatLogEntry, isSignedEntry, parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { parsePae, statementPath } from '@lockstep/protocol/log-entry/statement-path';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { verifyConsistency, verifyInclusion } from '@lockstep/protocol/merkle/proof';
import { sampleTree } from '@lockstep/protocol/merkle/samples';
import { formatVerifierKey, noteKeyHash } from '@lockstep/protocol/note/verifier-key';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { type Policy } from '@lockstep/protocol/policy/policy';
import { outputsDigest } from '@lockstep/protocol/quorum/claim';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { NOTHING_SEEN, readTarget, trustedTargets, type TrustedTargets } from '@lockstep/protocol/tuf/client-workflow';
import { dealVariations } from '@lockstep/protocol/variation/deal';
import { verifyRelease } from '@lockstep/protocol/verdict/verify-release';
import { formatRequest, parseRequest } from '@lockstep/log/witness/witness';

const page = (name: string): string => readFileSync(`${import.meta.dirname}/../../../spec/${name}`, 'utf8');

/** Every fenced block of a page, with the newline at its end. */
const blocks = (name: string, language: string): string[] =>
  [...page(name).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map((match) => match[1] ?? '');

function block(name: string, language: string, marker: string): string {
  const found = blocks(name, language).filter((one) => one.includes(marker));
  assert.equal(found.length, 1, `spec/${name} has ${found.length} examples with ${marker}`);
  return found[0] ?? '';
}

const jsonBlock = (name: string, marker: string): Json => parseJson(block(name, 'json', marker), `spec/${name}`);
const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;
const same = (found: unknown, stated: Json, what: string): void => assert.equal(canonicalText(stated), canonicalText(plain(found)), what);

function table(value: Json | undefined): { readonly [key: string]: Json } {
  assert.ok(isTable(value));
  return value;
}

/** When the story is told: seconds since 1970. */
const NOW = Date.parse('2026-06-01T12:00:00Z') / 1000;
const SEEDS = { alpha: 20, beta: 21, gamma: 22, coordinator: 23 } as const;
type Who = keyof typeof SEEDS;
const BUILDERS = ['alpha', 'beta', 'gamma'] as const;
const FARMS = { alpha: 'example-build-1', beta: 'example-university-1', gamma: 'example-build-2' } as const;
const keyOf = (who: Who): Sha256 => sampleDocumentSigner(SEEDS[who]).key.id;
const log = sampleLogSigner('log.example.org/farm', 1);
const witnesses: readonly SampleNoteSigner[] = [
  sampleEd25519Witness('witness.example.net/w1', 2, NOW + 120),
  sampleEd25519Witness('witness.example.edu/w2', 3, NOW + 121),
  sampleEd25519Witness('witness.example.com/w3', 4, NOW + 122),
];

const policyText = block('policy.md', 'json', '"lockstep-policy/v1"');
const policy = (): Policy => parsePolicy(toUtf8(policyText), 'spec/policy.md');

function files(): ReadonlyMap<string, string> {
  const metadata = (role: string): string => block('policy.md', 'json', `"_type": "${role}"`);
  return new Map([
    ['metadata/1.root.json', metadata('root')],
    ['metadata/1.targets.json', metadata('targets')],
    ['metadata/1.snapshot.json', metadata('snapshot')],
    ['metadata/timestamp.json', metadata('timestamp')],
    [`targets/${sha256Hex(toUtf8(policyText))}.policy.json`, policyText],
  ]);
}

const readFile = (path: string): Uint8Array | null => {
  const found = files().get(path);
  return found === undefined ? null : toUtf8(found);
};
const trusted = (): TrustedTargets => trustedTargets(readFile('metadata/1.root.json') ?? new Uint8Array(0), readFile, NOW, NOTHING_SEEN);

interface Logged {
  readonly who: Who;
  readonly type: string;
  readonly payload: Uint8Array;
  readonly digest: Sha256;
}

const logged = (who: Who, type: string, payload: Uint8Array): Logged => ({ who, type, payload, digest: sha256Hex(pae(type, payload)) });
const entriesOf = (all: readonly Logged[]) =>
  all.map((one, index) => ({
    index,
    origin: log.key.name,
    payloadType: one.type,
    payload: one.payload,
    digest: one.digest,
    signer: keyOf(one.who),
  }));
const document = <T>(who: Who, kind: DocumentKind<T>, json: Json): Logged => {
  assert.ok(readDocument(kind, kind.payloadType, canonicalBytes(json)) !== null);
  return logged(who, kind.payloadType, canonicalBytes(json));
};

const opening = jsonBlock('commitment.md', '"lockstep-opening/v1"');
const reveal = table(jsonBlock('commitment.md', '"lockstep-reveal/v1"'));
const id = table(opening)['build_id'] as string;
const first = document('coordinator', OPENING, opening);
const salts = { alpha: reveal['salt'] as string, beta: sha256Hex(toUtf8('salt of beta')), gamma: sha256Hex(toUtf8('salt of gamma')) };

/** The statement of spec/provenance.md as one builder of the round signs it. */
function statementOf(who: (typeof BUILDERS)[number], change: (statement: string) => string = (text) => text): Logged {
  const deal = dealVariations(id, 1, BUILDERS.map(keyOf)).find((one) => one.key === keyOf(who));
  const text = canonicalText(jsonBlock('provenance.md', '"_type"'))
    .replaceAll('example-build-1', FARMS[who])
    .replace('"variation":null', `"variation":{"ambient":${canonicalText(plain(deal?.ambient))}}`);
  return logged(who, IN_TOTO_PAYLOAD, canonicalBytes(parseJson(change(text))));
}

/** The log before the outcome. */
function round(): Logged[] {
  const common = { build_id: id, round: 1, opening: first.digest };
  const commitments = BUILDERS.map((who) => {
    const commitment = commitmentOf({ opening: first.digest, key: keyOf(who), salt: salts[who], statement: statementOf(who).digest });
    return document(who, COMMITMENT, { ...common, schema: 'lockstep-commitment/v1', commitment });
  });
  const reveals = BUILDERS.flatMap((who) => {
    const statement = statementOf(who);
    const json = { ...common, schema: 'lockstep-reveal/v1', statement: statement.digest, salt: salts[who] };
    return [document(who, REVEAL, json), statement];
  });
  return [first, ...commitments, ...reveals];
}

const outcome = jsonBlock('commitment.md', '"lockstep-outcome/v1"');

function wholeLog() {
  const all = [...round(), document('coordinator', OUTCOME, outcome)];
  const signed = all.map((one) => ({ ...one, signature: sampleDocumentSigner(SEEDS[one.who]).sign(one.type, one.payload) }));
  const entries = signed.map((one) => formatLogEntry({ ...one, key: sampleDocumentSigner(SEEDS[one.who]).key }));
  const tree = sampleTree(entries.map(leafHash));
  const text = (signers: readonly SampleNoteSigner[]): string =>
    sampleSignedCheckpoint({ origin: log.key.name, size: tree.size, root: tree.root, extensions: [] }, [log, ...signers]);
  const checkpoint = text(witnesses.slice(0, 2));
  const bundles = signed.map((one, index) =>
    formatBundle({
      payloadType: one.type,
      payload: one.payload,
      signature: one.signature,
      keyHint: keyOf(one.who),
      entry: entries[index] ?? new Uint8Array(0),
      index,
      logId: noteKeyHash(log.key.name, log.key.type, log.key.publicKey),
      proof: tree.proveInclusion(index),
      treeSize: tree.size,
      root: tree.root,
      checkpoint,
    }),
  );
  return { entries, tree, checkpoint, bundles, unwitnessed: text([]) };
}

test('spec/policy.md begins with a consistent policy, and names its digest', () => {
  assert.ok(page('policy.md').includes(policy().sha256), `The digest is ${policy().sha256}`);
});

test('spec/policy.md: the root leads to the policy, and the keys have their ids', () => {
  assert.equal(fromUtf8(readTarget(trusted(), 'policy.json', readFile)), policyText);
  for (const [keyId, key] of Object.entries(trusted().root.keys)) assert.equal(sha256Hex(canonicalBytes(plain(key))), keyId);
  const stated = /^ {4}(\{"keytype".*)\n {4}([0-9a-f]{64})$/m.exec(page('policy.md'));
  assert.equal(sha256Hex(toUtf8(stated?.[1] ?? '')), stated?.[2]);
});

test('spec/commitment.md begins with the opening of a round about the example definition, dealt as the page says', () => {
  const decoded = decodeDefinition(jsonBlock('definition.md', '"lockstep-definition/v1"'));
  assert.ok(decoded.ok);
  assert.equal(buildId(decoded.value), id);
  same(policy().sha256, table(table(opening)['policy'])['sha256'] ?? null, 'policy.sha256');
  const deals = dealVariations(id, 1, BUILDERS.map(keyOf));
  const roster = BUILDERS.map((builder) => ({
    builder,
    key: keyOf(builder),
    ambient: deals.find((one) => one.key === keyOf(builder))?.ambient,
  }));
  same(roster, table(opening)['roster'] ?? null, 'roster');
});

test('spec/commitment.md: commitment, closing, reveal and resolution are documents of that round', () => {
  const all = round();
  assert.equal(fromUtf8(all[1]?.payload ?? new Uint8Array(0)), canonicalText(jsonBlock('commitment.md', '"lockstep-commitment/v1"')));
  assert.equal(fromUtf8(all[4]?.payload ?? new Uint8Array(0)), canonicalText(reveal));
  document('coordinator', CLOSING, jsonBlock('commitment.md', '"lockstep-closing/v1"'));
  document('coordinator', RESOLUTION, jsonBlock('commitment.md', '"lockstep-resolution/v1"'));
});

test('spec/commitment.md: the decision in the outcome is the one that the log gives', () => {
  same(redecide(policy(), entriesOf(round()), id)?.decision, table(outcome)['decision'] ?? null, 'decision');
});

test('spec/commitment.md: the resolution names the dispute that the other outputs make', () => {
  const digests = { sha256: 'a'.repeat(64), sha512: 'b'.repeat(128), blake2b512: 'c'.repeat(128) };
  const other = statementOf('gamma', (text) =>
    text.replace(/"subject":\[\{"digest":\{[^}]*\}/, `"subject":[{"digest":${JSON.stringify(digests)}`),
  );
  const decision = redecide(policy(), entriesOf([...round(), other]), id)?.decision;
  const stated = table(jsonBlock('commitment.md', '"lockstep-resolution/v1"'));
  assert.equal(decision?.result, 'disputed');
  assert.equal(stated['dispute'], decision.dispute);
  assert.equal(stated['accept'], decision.groups[0]?.digest);
});

test('spec/commitment.md: the test vectors', () => {
  const text = page('commitment.md');
  const bytes = (hex: string): Sha256 => hex.repeat(32) as Sha256;
  assert.ok(text.includes(commitmentOf({ opening: bytes('11'), key: bytes('22'), salt: bytes('33'), statement: bytes('44') })));
  assert.ok(text.includes(outputsDigest([{ name: 'out', sha256: 'a'.repeat(64), sha512: 'b'.repeat(128), blake2b512: 'c'.repeat(128) }])));
  const keys = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(64));
  same(dealVariations('1'.repeat(64), 1, keys), jsonBlock('commitment.md', `"${'a'.repeat(64)}", "ambient"`), 'deal');
  for (const key of keys) assert.ok(text.includes(sha256Hex(toUtf8(`lockstep-deal/v1\n${'1'.repeat(64)}\n1\n${key}\n`)).slice(0, 8)));
});

test('spec/commitment.md: the table of splits', () => {
  const numbers = (text: string): number[] =>
    text.split(', ').flatMap((part) => {
      const [from = 0, to = from] = part.split(' to ').map(Number);
      return Array.from({ length: to - from + 1 }, (_, at) => from + at);
    });
  const rows = [...page('commitment.md').matchAll(/^\| (\d+) \| (\d[^|]*) \| (\d[^|]*) \| (\d[^|]*) \|$/gm)];
  assert.equal(rows.length, 7);
  for (const [, count = '', ...stated] of rows) {
    const keys = Array.from({ length: Number(count) }, (_, at) => sha256Hex(toUtf8(`builder ${at}`)));
    const deals = dealVariations('1'.repeat(64), 1, keys);
    for (const [at, fact] of ['directory-order', 'address-layout', 'kernel'].entries())
      assert.deepEqual(
        deals.flatMap((deal, number) => (Object.hasOwn(deal.ambient, fact) ? [number] : [])),
        numbers(stated[at] ?? ''),
        `${fact} of ${count}`,
      );
  }
});

test('spec/log.md begins with the checkpoint of that log', () => {
  const { checkpoint } = wholeLog();
  assert.equal(blocks('log.md', 'text')[0], checkpoint);
  const [stated] = policy().logs;
  assert.ok(stated !== undefined);
  const opened = openLogCheckpoint(
    checkpoint,
    stated.key,
    policy().witnesses.flatMap((one) => one.keys),
  );
  assert.deepEqual(
    opened.signedBy.map((one) => one.time),
    [null, NOW + 120, NOW + 121],
  );
  assert.equal(block('log.md', 'text', 'cosignature/v1'), fromUtf8(ed25519CosignatureMessage(opened.checkpoint, NOW + 120)));
});

test('spec/log.md: the entry, its statement and its path', () => {
  const { entries } = wholeLog();
  const bytes = toUtf8(block('log.md', 'json', '"apiVersion":"0.0.2"').trimEnd());
  assert.deepEqual(bytes, entries[1]);
  const entry = parseLogEntry(bytes);
  assert.ok(isSignedEntry(entry));
  assert.ok(page('log.md').includes(toHex(leafHash(bytes))));
  const statement = toUtf8(block('log.md', 'text', 'DSSEv1').trimEnd());
  assert.equal(sha256Hex(statement), entry.digest);
  assert.equal(parsePae(statement)?.payloadType, COMMITMENT.payloadType);
  assert.ok(page('log.md').includes(`\`${statementPath(entry.digest)}\``));
});

test('spec/log.md: the bundle, the trusted root, the tlog-proof and the log id', () => {
  const { bundles, entries, tree, checkpoint } = wholeLog();
  const bundle = `${canonicalText(jsonBlock('log.md', '"mediaType": "application/vnd.dev.sigstore.bundle'))}\n`;
  assert.equal(bundle, bundles[1]);
  assert.equal(openBundle(parseBundle(toUtf8(bundle)), [log.key], []).signer.id, keyOf('alpha'));
  same(trustedRootOf([log.key], '2020-01-01T00:00:00Z'), jsonBlock('log.md', 'trustedroot+json'), 'trusted root');
  const text = block('log.md', 'text', 'tlog-proof@v1');
  assert.equal(text, formatTlogProof({ index: 1, proof: tree.proveInclusion(1), checkpoint }));
  assert.ok(verifyInclusion(leafHash(entries[1] ?? new Uint8Array(0)), 1, tree, parseTlogProof(text).proof));
  assert.ok(page('log.md').includes(toHex(noteKeyHash(log.key.name, log.key.type, log.key.publicKey))));
  assert.ok(page('log.md').includes(`    ${formatVerifierKey(log.key)}\n`));
});

test('spec/log.md: the witness policy, and what a witness is asked', () => {
  const { tree, entries, unwitnessed } = wholeLog();
  const parsed = parseWitnessPolicy(block('log.md', 'text', 'quorum two-of-three'), 'spec/log.md');
  assert.deepEqual(
    parsed.witnesses.map((one) => formatVerifierKey(one.key)),
    witnesses.map((one) => formatVerifierKey(one.key)),
  );
  const text = block('log.md', 'text', 'old 4');
  assert.equal(text, formatRequest(4, tree.proveConsistency(4), unwitnessed));
  const request = parseRequest(toUtf8(text));
  assert.ok(typeof request !== 'string');
  const older = sampleTree(entries.slice(0, 4).map(leafHash));
  assert.ok(verifyConsistency(older, request.checkpoint, request.proof));
});

test('spec/policy.md: the verdict on the example', () => {
  const { bundles } = wholeLog();
  const {
    decision: _decision,
    witnessedAt: _witnessedAt,
    approved: _approved,
    ...verdict
  } = verifyRelease({
    artifact: { name: 'hello', sha256: sha256Hex(toUtf8('hello')) },
    trust: { policy: policy(), currentUntil: trusted().currentUntil, root: null },
    bundles: bundles.map((bundle, index) => ({ name: `entry ${index}`, bytes: toUtf8(bundle) })),
    complete: true,
    expect: { source: 'git+https://git.example.org/sources/hello#refs/tags/v2.10' },
    now: NOW + 3600,
  });
  same(verdict, jsonBlock('policy.md', '"lockstep-verdict/v1"'), 'verdict');
});
