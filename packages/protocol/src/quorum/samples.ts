/** Statements, claims and log entries for tests of rounds and of the quorum. */
import { toUtf8 } from '../bytes/utf8.ts';
import { commitmentOf } from '../commitment/commit.ts';
import { CLOSING, COMMITMENT, OPENING, type Opening, RESOLUTION, REVEAL } from '../commitment/documents.ts';
import { buildId, type Definition } from '../definition/definition.ts';
import { sampleDefinition } from '../definition/samples.ts';
import { digestBytes, type Sha256, sha256Hex } from '../digest/digest.ts';
import { type DocumentKind, formatDocument } from '../dsse/document.ts';
import { IN_TOTO_PAYLOAD, pae } from '../dsse/envelope.ts';
import { canonicalBytes } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import type { Policy } from '../policy/policy.ts';
import { LOG_SIGNER, COORDINATOR, sampleKeyId } from '../policy/samples.ts';
import { statementOfBuild } from '../provenance/statement-of-build.ts';
import type { Ambient } from '../variation/deal.ts';
import { type Claim, type ClaimedOutput, readClaim } from './claim.ts';
import type { ArbiterVote } from './decide.ts';
import type { LoggedEntry } from './redecide.ts';

export const DEFINITION = sampleDefinition();
export const BUILD_ID = buildId(DEFINITION);

export function output(name: string, content: string): ClaimedOutput {
  const bytes = toUtf8(content);
  return { name, size: bytes.length, ...digestBytes(bytes) };
}

/** Two outputs; `content` is what differs. */
export function outputs(content = 'good'): ClaimedOutput[] {
  return [output('hello', content), output('other', 'the same everywhere')];
}

export interface StatementParts {
  readonly outputs?: readonly ClaimedOutput[];
  readonly ambient?: Ambient;
  readonly definition?: Definition;
  /** Makes statements differ that say the same. */
  readonly invocation?: string;
}

export function statementBytes(parts: StatementParts = {}): Uint8Array {
  const statement = statementOfBuild({
    definition: parts.definition ?? DEFINITION,
    farmId: 'example-build-1',
    outputs: (parts.outputs ?? outputs()).map(({ name, size = 0, ...digest }) => ({
      name,
      size,
      digest: { ...digest, sha256: digest.sha256 as Sha256 },
    })),
    sandbox: { runtime: 'runc 1', cgroup: 'v2', kernel: '6.1', silo: '0.1.0' },
    environmentSha256: 'e'.repeat(64),
    variation: parts.ambient ?? null,
    byproducts: [],
    builderVersion: '0.1.0',
    invocationId: parts.invocation ?? '1',
    startedOn: 1_700_000_000,
    finishedOn: 1_700_000_100,
  });
  return canonicalBytes(JSON.parse(JSON.stringify(statement)) as Json);
}

/** @param signer number of a key */
export function claim(signer: number, parts: StatementParts = {}): Claim {
  const payload = statementBytes({ invocation: `by ${signer}`, ...parts });
  const read = readClaim(payload, sha256Hex(pae(IN_TOTO_PAYLOAD, payload)), sampleKeyId(signer));
  if (read === null) throw new TypeError('the sample statement cannot be read');
  return read;
}

export function vote(arbiter: number, dispute: string | null, accept: string | null): ArbiterVote {
  return { arbiter: sampleKeyId(arbiter), dispute: dispute ?? '', accept, reason: `looked at it, says ${arbiter}` };
}

export function entry(index: number, signer: number, payloadType: string, payload: Uint8Array): LoggedEntry {
  return {
    index,
    origin: LOG_SIGNER.key.name,
    payloadType,
    payload,
    digest: sha256Hex(pae(payloadType, payload)),
    signer: sampleKeyId(signer),
  };
}

function documentEntry<T>(index: number, signer: number, kind: DocumentKind<T>, value: T): LoggedEntry {
  return entry(index, signer, kind.payloadType, formatDocument(kind, value));
}

/** Writes entries of a log one after the other. */
export class SampleRound {
  readonly entries: LoggedEntry[] = [];
  /** Of the opening. */
  readonly opening: LoggedEntry;
  private readonly number: number;

  /** @param before what the log has already */
  constructor(policy: Policy, roster: readonly number[], number = 1, before: readonly LoggedEntry[] = [], signer: number = COORDINATOR) {
    this.number = number;
    this.entries.push(...before);
    const opening: Opening = {
      schema: 'lockstep-opening/v1',
      build_id: BUILD_ID,
      round: number,
      policy: { version: policy.version, sha256: policy.sha256 },
      log: LOG_SIGNER.key.name,
      commit_by: '2026-01-01T00:00:00Z',
      roster: roster.map((one) => ({ builder: `builder-${one}`, key: sampleKeyId(one), ambient: {} })),
    };
    this.opening = documentEntry(this.entries.length, signer, OPENING, opening);
    this.entries.push(this.opening);
  }

  /** @param value another's commitment; its own when not given */
  commit(signer: number, parts: StatementParts = {}, value?: string): this {
    return this.put(signer, COMMITMENT, {
      schema: 'lockstep-commitment/v1',
      ...this.member(),
      commitment: value ?? this.commitment(signer, parts),
    });
  }

  close(signer: number = COORDINATOR): this {
    return this.put(signer, CLOSING, { schema: 'lockstep-closing/v1', ...this.member() });
  }

  /** @param of whose salt and statement */
  reveal(signer: number, parts: StatementParts = {}, of: number = signer): this {
    return this.put(signer, REVEAL, {
      schema: 'lockstep-reveal/v1',
      ...this.member(),
      statement: digestOf(of, parts),
      salt: saltOf(of),
    });
  }

  /** @param of whose bytes */
  publish(signer: number, parts: StatementParts = {}, of: number = signer): this {
    this.entries.push(entry(this.entries.length, signer, IN_TOTO_PAYLOAD, statementBytes({ invocation: `by ${of}`, ...parts })));
    return this;
  }

  resolve(signer: number, dispute: string, accept: string | null): this {
    return this.put(signer, RESOLUTION, {
      schema: 'lockstep-resolution/v1',
      build_id: BUILD_ID,
      dispute,
      accept,
      reason: 'looked at both of them',
    });
  }

  commitment(signer: number, parts: StatementParts = {}): Sha256 {
    return commitmentOf({
      opening: this.opening.digest,
      key: sampleKeyId(signer),
      salt: saltOf(signer),
      statement: digestOf(signer, parts),
    });
  }

  private put<T>(signer: number, kind: DocumentKind<T>, value: T): this {
    this.entries.push(documentEntry(this.entries.length, signer, kind, value));
    return this;
  }

  private member(): { build_id: string; round: number; opening: string } {
    return { build_id: BUILD_ID, round: this.number, opening: this.opening.digest };
  }
}

export function digestOf(signer: number, parts: StatementParts = {}): Sha256 {
  return sha256Hex(pae(IN_TOTO_PAYLOAD, statementBytes({ invocation: `by ${signer}`, ...parts })));
}

function saltOf(signer: number): Sha256 {
  return sha256Hex(toUtf8(`salt of ${signer}`));
}
