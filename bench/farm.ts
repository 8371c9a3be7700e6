/** A made-up farm: a policy of five builders, and what they say about many definitions, as the log would have it. */
import { hash } from 'node:crypto';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, type Commitment, OPENING, type Opening, REVEAL, type Reveal } from '@lockstep/protocol/commitment/documents';
import { buildId, type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import { sampleLock, sampleManifest } from '@lockstep/protocol/definition/samples';
import { digestBytes, type Sha256 } from '@lockstep/protocol/digest/digest';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { publicKeyToPem } from '@lockstep/protocol/key/p256';
import { type Lock, resolvesDigest } from '@lockstep/protocol/lock/lock';
import { decodeManifest } from '@lockstep/protocol/manifest/manifest';
import { formatVerifierKey, makeVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { type Policy } from '@lockstep/protocol/policy/policy';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import type { LoggedEntry } from '@lockstep/protocol/quorum/redecide';
import { type Ambient, dealVariations } from '@lockstep/protocol/variation/deal';
import { makeSigningKey, type SigningKey } from './documents.ts';

export const BUILDERS = 5;

export interface Farm {
  readonly policy: Policy;
  readonly builders: readonly SigningKey[];
  readonly coordinator: SigningKey;
}

export function makeFarm(): Farm {
  const builders = Array.from({ length: BUILDERS }, makeSigningKey);
  const coordinator = makeSigningKey();
  const log = makeVerifierKey('log.example.org/bench', 'ed25519', new Uint8Array(32).fill(1));
  const document = {
    schema: 'lockstep-policy/v1',
    name: 'bench',
    version: 1,
    expires: '2099-01-01T00:00:00Z',
    builders: builders.map(({ key }, at) => ({
      name: `b${at}`,
      key: publicKeyToPem(key),
      domain: { operator: `operator ${at}`, site: `site ${at}`, lineage: 'debian, runc' },
    })),
    coordinators: [{ name: 'coordinator', key: publicKeyToPem(coordinator.key) }],
    logs: [{ key: formatVerifierKey(log), operator: 'operator 0', site: 'site 0' }],
    rules: [{ packages: '*', tier: 'container', quorum: 3, variations: ['clock'], sources: ['*'] }],
  };
  return { policy: parsePolicy(Buffer.from(JSON.stringify(document)), 'policy.json'), builders, coordinator };
}

export const sha256Of = (bytes: Uint8Array | string): Sha256 => hash('sha256', bytes, 'hex') as Sha256;

/** @param packages of a Debian environment; 0 for a root file system */
export function makeBuild(number: number, packages: number): Definition {
  const manifest = { ...sampleManifest(), name: `package-${number}` };
  if (packages === 0) return makeDefinition(manifest, sampleLock());
  const environment = decodeManifest(
    {
      name: manifest.name,
      version: '1.0',
      source: { ref: manifest.source.ref },
      environment: { kind: 'debian', suite: 'trixie', packages: ['gcc'] },
      inputs: [{ file: 'https://host.example/x', sha256: 'f'.repeat(64), to: 'x' }],
      build: { steps: ['make'] },
      outputs: [{ files: 'hello' }],
    },
    [],
  );
  if (!environment.ok) throw new TypeError(JSON.stringify(environment.issues));
  const lock: Lock = {
    ...sampleLock(),
    resolves: resolvesDigest(environment.value),
    environment: {
      kind: 'debian',
      distribution: 'debian',
      suite: 'trixie',
      architecture: 'amd64',
      packages: Array.from({ length: packages }, (_, at) => ({
        name: `lib${at}`,
        version: '1.2.3-4',
        architecture: 'amd64',
        size: 100_000 + at,
        sha256: sha256Of(`package ${at}`),
        path: `pool/main/l/lib${at}/lib${at}_1.2.3-4_amd64.deb`,
        bootstrap: at < 50,
      })),
    },
  };
  return makeDefinition(environment.value, lock);
}

/** Every tenth definition has a builder that disagrees. */
export function isDisputed(number: number): boolean {
  return number % 10 === 0;
}

export function outputOf(number: number, builder: number): { name: string; digest: ReturnType<typeof digestBytes> } {
  return { name: 'hello', digest: digestBytes(Buffer.from(`${number}${isDisputed(number) && builder === 3 ? ' or not' : ''}`)) };
}

export interface RoundDocuments {
  readonly opening: Opening;
  readonly digest: Sha256;
  readonly commitments: readonly Commitment[];
  readonly reveals: readonly Reveal[];
}

export function ambientsOf(farm: Farm, id: Sha256): Ambient[] {
  const keys = farm.builders.map(({ key }) => key.id);
  const dealt = dealVariations(id, 1, keys);
  return keys.map((key) => dealt.find((one) => one.key === key)?.ambient ?? {});
}

/** A whole round: everybody commits, then everybody reveals. @param statements their digests, by builder */
export function roundDocuments(farm: Farm, id: Sha256, ambients: readonly Ambient[], statements: readonly Sha256[]): RoundDocuments {
  const { version, sha256 } = farm.policy;
  const roster = farm.builders.map(({ key }, at) => ({ builder: `b${at}`, key: key.id, ambient: ambients[at] ?? {} }));
  const opening: Opening = {
    schema: 'lockstep-opening/v1',
    build_id: id,
    round: 1,
    policy: { version, sha256 },
    log: 'log.example.org/bench',
    commit_by: '2099-01-01T00:00:00Z',
    roster,
  };
  const digest = sha256Of(pae(OPENING.payloadType, formatDocument(OPENING, opening)));
  const salt = sha256Of('salt');
  const member = { build_id: id, round: 1, opening: digest };
  return {
    opening,
    digest,
    commitments: farm.builders.map(({ key }, at) => ({
      schema: 'lockstep-commitment/v1',
      ...member,
      commitment: commitmentOf({ opening: digest, key: key.id, salt, statement: statements[at]! }),
    })),
    reveals: statements.map((statement) => ({ schema: 'lockstep-reveal/v1', ...member, statement, salt })),
  };
}

/** What a builder signs about a build of a definition. */
export function buildStatement(definition: Definition, number: number, builder: number, ambient: Ambient): Uint8Array {
  const statement = statementOfBuild({
    definition,
    farmId: 'example-build-1',
    outputs: [outputOf(number, builder)],
    sandbox: { runtime: 'runc 1.3', cgroup: 'v2', kernel: '6.12.0', silo: '0.1.0' },
    environmentSha256: 'e'.repeat(64),
    variation: ambient,
    byproducts: [{ name: 'transcript', sha256: sha256Of(`transcript ${number} ${builder}`), size: 1000 }],
    builderVersion: '0.1.0',
    invocationId: `${number}-${builder}`,
    startedOn: 1_750_000_000,
    finishedOn: 1_750_000_100,
  });
  return canonicalBytes(JSON.parse(JSON.stringify(statement)) as Json);
}

/** All sixteen entries of a log about one definition: opening, commitments, reveals, statements. */
export function entriesOfBuild(farm: Farm, definition: Definition, number: number): LoggedEntry[] {
  const id = buildId(definition);
  const ambients = ambientsOf(farm, id);
  const payloads = ambients.map((ambient, at) => buildStatement(definition, number, at, ambient));
  const statements = payloads.map((payload) => sha256Of(pae(IN_TOTO_PAYLOAD, payload)));
  const round = roundDocuments(farm, id, ambients, statements);
  const said: { by: SigningKey; payloadType: string; payload: Uint8Array }[] = [
    { by: farm.coordinator, payloadType: OPENING.payloadType, payload: formatDocument(OPENING, round.opening) },
    ...round.commitments.map((one, at) => ({
      by: farm.builders[at]!,
      payloadType: COMMITMENT.payloadType,
      payload: formatDocument(COMMITMENT, one),
    })),
    ...round.reveals.map((one, at) => ({ by: farm.builders[at]!, payloadType: REVEAL.payloadType, payload: formatDocument(REVEAL, one) })),
    ...payloads.map((payload, at) => ({ by: farm.builders[at]!, payloadType: IN_TOTO_PAYLOAD, payload })),
  ];
  return said.map(({ by, payloadType, payload }, index) => ({
    index,
    origin: 'log.example.org/bench',
    payloadType,
    payload,
    digest: sha256Of(pae(payloadType, payload)),
    signer: by.key.id,
  }));
}
