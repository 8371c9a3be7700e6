/**
 * The verdict on one file and one attestation. Reads from top to bottom as the chain it checks: the envelope, whose key
 * signed it, what it says, that it speaks of this file, of the definition it names, and of what was expected.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { parseEnvelope, type Envelope, IN_TOTO_PAYLOAD, pae } from '../dsse/envelope.ts';
import { parseJson } from '../json/parse.ts';
import { type PublicKey, verifyP256Digest } from '../key/p256.ts';
import { isProblem, type ProvenancePart, readProvenance } from '../provenance/read-provenance.ts';
import { decodeStatement, type Statement } from '../statement/statement.ts';
import { type Verdict, VerdictBuilder } from './verdict.ts';

export interface Artifact {
  readonly name: string;
  /** Hex. Whoever can read the file hashes it; this function never sees its bytes. */
  readonly sha256: string;
}

export interface Expectation {
  /** Exact `source_ref`. */
  readonly source?: string;
  readonly farmId?: string;
  readonly buildId?: string;
  /** SHA-256 of the prepared environment's tar, or of the root file system. */
  readonly environment?: string;
}

export interface VerifyInput {
  readonly attestation: Uint8Array;
  readonly artifact: Artifact;
  readonly keys: readonly { readonly name: string; readonly key: PublicKey }[];
  readonly expect: Expectation;
}

export const VERIFY_STEPS = ['envelope', 'signature', 'statement', 'subject', 'definition', 'inputs', 'source', 'environment'] as const;

export function verifyArtifact(input: VerifyInput): Verdict {
  const verdict = new VerdictBuilder(VERIFY_STEPS);
  const envelope = readEnvelope(input.attestation);
  if (typeof envelope === 'string') return verdict.fail('envelope', envelope);
  if (envelope.payloadType !== IN_TOTO_PAYLOAD)
    return verdict.fail('envelope', `the payload type is ${JSON.stringify(envelope.payloadType)}, not ${IN_TOTO_PAYLOAD}`);
  verdict.pass('envelope', 'DSSE with an in-toto payload');

  // Before the payload is looked at: what nobody trusted has signed is not parsed.
  const signer = findSigner(envelope, input.keys);
  if (typeof signer === 'string') return verdict.fail('signature', signer);
  verdict.pass('signature', `by ${signer.name} (key ${signer.key.id.slice(0, 16)})`);

  const read = readProvenance(envelope.payload);
  const broken = (part: ProvenancePart): string | null => (isProblem(read) && read.part === part ? read.problem : null);
  const inStatement = broken('statement');
  if (inStatement !== null) return verdict.fail('statement', inStatement);
  // What is wrong further down is told in its place; the subject is in the part that was read.
  const statement = isProblem(read) ? readSubjects(envelope.payload) : read.statement;
  if (statement === null) return verdict.fail('statement', 'it cannot be read');
  const { buildDefinition } = statement.predicate;
  const external = buildDefinition.externalParameters;
  verdict.pass('statement', `in-toto Statement v1, SLSA Provenance v1, from ${external.farm_id}`);

  const subject = statement.subject.find((one) => one.digest.sha256 === input.artifact.sha256);
  if (subject === undefined)
    return verdict.fail('subject', `no subject has the SHA-256 of ${input.artifact.name} (${input.artifact.sha256})`);
  verdict.pass('subject', `${subject.name} sha256:${subject.digest.sha256}`);

  const inDefinition = broken('definition');
  if (inDefinition !== null) return verdict.fail('definition', inDefinition);
  const id = buildDefinition.internalParameters.build_id;
  if (input.expect.buildId !== undefined && input.expect.buildId !== id)
    return verdict.fail('definition', `the build id is ${id}, expected ${input.expect.buildId}`);
  verdict.pass('definition', `build id ${id}`);

  const inInputs = broken('inputs');
  if (inInputs !== null) return verdict.fail('inputs', inInputs);
  verdict.pass('inputs', `${buildDefinition.resolvedDependencies.length} inputs, each with its digest`);

  const sourceProblem = problemOfSource(external, input.expect);
  if (sourceProblem !== null) return verdict.fail('source', sourceProblem);
  verdict.pass('source', `${external.source_ref}${input.expect.source === undefined ? ' (no expectation given)' : ''}`);

  const inEnvironment = broken('environment');
  if (inEnvironment !== null) return verdict.fail('environment', inEnvironment);
  const { environment } = buildDefinition.internalParameters;
  if (input.expect.environment !== undefined && environment.sha256 !== input.expect.environment)
    return verdict.fail('environment', `sha256:${environment.sha256 ?? 'none'}, expected ${input.expect.environment}`);
  verdict.pass(
    'environment',
    environment.sha256 === null ? `${environment.kind}, not pinned` : `${environment.kind}, sha256:${environment.sha256}`,
  );
  if (environment.kind === 'host')
    verdict.note('The environment was the builder machine itself, which is not pinned: good for trying things out, never for a release.');
  if (buildDefinition.internalParameters.variation !== null)
    verdict.note('This build was varied on purpose; its attestation says in what.');
  verdict.note('One builder says so. A quorum of independent builders would say more.');
  return verdict.done();
}

function readEnvelope(bytes: Uint8Array): Envelope | string {
  try {
    return parseEnvelope(bytes);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The key id of an envelope is a hint and anybody can write it, so every trusted key is tried. */
function findSigner(envelope: Envelope, keys: VerifyInput['keys']): { name: string; key: PublicKey } | string {
  if (keys.length === 0) return 'no key was given to trust';
  const digest = sha256(pae(envelope.payloadType, envelope.payload));
  const found = keys.find(({ key }) => envelope.signatures.some(({ sig }) => verifyP256Digest(key, digest, sig)));
  if (found !== undefined) return found;
  const claimed = envelope.signatures.map(({ keyid }) => (/^[0-9a-f]{64}$/.test(keyid) ? keyid.slice(0, 16) : '(malformed)')).join(', ');
  return `no signature verifies with a trusted key (key ids in the envelope: ${claimed})`;
}

/** The statement of a payload whose definition, inputs or environment are broken: read before, so this is not for judging. */
function readSubjects(payload: Uint8Array): Statement | null {
  const decoded = decodeStatement(parseJson(payload, 'payload'));
  return decoded.ok ? decoded.value : null;
}

function problemOfSource(external: { farm_id: string; source_ref: string }, expect: Expectation): string | null {
  if (expect.farmId !== undefined && expect.farmId !== external.farm_id) return `farm_id is ${external.farm_id}, expected ${expect.farmId}`;
  if (expect.source !== undefined && expect.source !== external.source_ref)
    return `source_ref is ${external.source_ref}, expected ${expect.source}`;
  return null;
}
