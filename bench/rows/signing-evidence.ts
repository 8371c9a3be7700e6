/** What a signing node's check of a release costs, part by part; and what one verification costs in portable code and in OpenSSL. */
import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { parseBundle } from '@lockstep/protocol/bundle/bundle';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { anyKeyFromSpki, verifySignature } from '@lockstep/protocol/key/any-key';
import { type PublicKey, verifyP256 } from '@lockstep/protocol/key/p256';
import { witnessKeys } from '@lockstep/protocol/policy/witnessing';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { deriveRelease } from '@lockstep/protocol/release/release-record';
import { planRelease } from '@lockstep/protocol/signing/plan';
import { parseRequest } from '@lockstep/protocol/signing/request';
import { openEvidence } from '@lockstep/protocol/verdict/evidence';
import { NOTHING } from '@lockstep/signer/node/memory';
import { requestPolicy } from '@lockstep/signer/node/request-policy';
import { makeSigningKey } from '../documents.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { DEBIAN_PACKAGES, makeReleases, NOW, type Release, ROOT } from '../signing.ts';
import { judged } from '../signing-node.ts';

const CHECKED = 10;
const VERIFIED = 200;
const EDWARDS = generateKeyPairSync('ed25519');
const EDWARDS_KEY = anyKeyFromSpki(new Uint8Array(EDWARDS.publicKey.export({ type: 'spki', format: 'der' })));
const KEY = { use: 'release-dsse', public: EDWARDS_KEY } as const;

export async function signingEvidence(_place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const checked = await meterSideBySide(
    [
      evidence('two builders, 7 documents, a small lock', 0),
      evidence(`… ${DEBIAN_PACKAGES} Debian packages in each statement`, DEBIAN_PACKAGES),
    ],
    runs,
    checkpoint,
  );
  const verified = await meterSideBySide(verifications(), runs, checkpoint);
  return [
    figureRow('Evidence of a release checked: bounded by verification in portable code', 'ms', checked, 'whole'),
    figureRow('… the request read', 'ms', checked, 'read'),
    figureRow('… policy and TUF, from the root: 7 Ed25519', 'ms', checked, 'policy'),
    figureRow('… bundles: signatures, proofs, checkpoints', 'ms', checked, 'bundles'),
    figureRow('… of these the checkpoints: log, witness, its ML-DSA-44, once per bundle', 'ms', checked, 'checkpoints'),
    figureRow('… of these the bundles’ own P-256', 'ms', checked, 'documents'),
    figureRow('… quorum', 'ms', checked, 'quorum'),
    figureRow('… record and bytes to sign', 'ms', checked, 'plan'),
    figureRow('… the rest', 'ms', checked, 'rest'),
    figureRow('The request for it', 'bytes', checked, 'bytes'),
    ...['P-256', 'Ed25519'].map((name) => figureRow(`One ${name} signature verified`, 'µs', verified, name)),
  ];
}

function evidence(name: string, packages: number): Meter {
  const [release] = makeReleases(packages, 1);
  if (release === undefined) throw new BenchError('no release was made');
  const bytes = release.request(null);
  return { name, take: () => Promise.resolve(costs(release, bytes)) };
}

function costs({ policy, entries, buildId }: Release, bytes: Uint8Array): Record<string, number> {
  const request = parseRequest(bytes);
  if (request.purpose !== 'release') throw new BenchError('the request is for something else');
  const bundles = request.bundles.map((text, at) => ({ name: String(at), bytes: toUtf8(text) }));
  const opened = openEvidence(bundles, policy);
  const [log] = policy.logs;
  const decided = redecide(policy, entries, buildId);
  if (typeof opened === 'string' || log === undefined || decided === null) throw new BenchError('the evidence does not hold');
  const parsed = bundles.map((one) => parseBundle(one.bytes));
  const facts = { policy, log: log.key.name, source: 'git' };
  const whole = { whole: () => judged(bytes, KEY) };
  const parts = {
    read: () => parseRequest(bytes),
    policy: () => requestPolicy(ROOT, request.policy, NOTHING.seen, NOW),
    bundles: () => openEvidence(bundles, policy),
    quorum: () => redecide(policy, entries, buildId),
    plan: () => {
      const record = deriveRelease(decided.decision, facts, request);
      return typeof record === 'string' ? record : planRelease(record, [KEY.use]);
    },
  };
  const ofBundles = {
    checkpoints: () => parsed.map((one) => openLogCheckpoint(one.checkpoint, log.key, witnessKeys(policy))),
    documents: () => parsed.map((one, at) => verifyP256(signerOf(opened, at), pae(one.payloadType, one.payload), one.signature)),
  };
  const times = inTurns({ ...whole, ...parts, ...ofBundles });
  const sum = Object.keys(parts).reduce((all, name) => all + (times[name] ?? 0), 0);
  return { ...times, rest: (times['whole'] ?? 0) - sum, bytes: bytes.length };
}

type Opened = Exclude<ReturnType<typeof openEvidence>, string>;

function signerOf({ documents }: Opened, at: number): PublicKey {
  const found = documents[at];
  if (found === undefined) throw new BenchError('a bundle is missing');
  return found.signer;
}

/** So that a busy moment meets all of them. @returns milliseconds for one */
function inTurns(all: Readonly<Record<string, () => unknown>>): Record<string, number> {
  const sums: Record<string, number> = {};
  for (let count = 0; count < CHECKED; count++)
    for (const [name, work] of Object.entries(all)) {
      const start = performance.now();
      work();
      sums[name] = (sums[name] ?? 0) + (performance.now() - start) / CHECKED;
    }
  return sums;
}

/** The same signatures, by what the check uses and by what Node has. */
function verifications(): Meter[] {
  const message = randomBytes(1000);
  const p256 = makeSigningKey();
  const signatures = { p256: sign('sha256', message, p256.privateKey), edwards: sign(null, message, EDWARDS.privateKey) };
  const native = createPublicKey({ key: Buffer.from(p256.key.spki), type: 'spki', format: 'der' });
  const micros = (verifies: () => boolean): number => {
    const start = performance.now();
    for (let count = 0; count < VERIFIED; count++) if (!verifies()) throw new BenchError('a good signature was refused');
    return ((performance.now() - start) * 1000) / VERIFIED;
  };
  const take = (ofP256: () => boolean, ofEdwards: () => boolean) => () =>
    Promise.resolve({ 'P-256': micros(ofP256), Ed25519: micros(ofEdwards) });
  return [
    {
      name: 'noble, as in the check',
      take: take(
        () => verifyP256(p256.key, message, signatures.p256),
        () => verifySignature(EDWARDS_KEY, message, signatures.edwards),
      ),
    },
    {
      name: '`node:crypto`',
      take: take(
        () => verify('sha256', message, native, signatures.p256),
        () => verify(null, message, EDWARDS.publicKey, signatures.edwards),
      ),
    },
  ];
}
