/** Reproduces from an attestation alone: the definition is inside it, the inputs come from the content store or their origin. */
import { buildId, decodeDefinition, type Definition } from '@lockstep/protocol/definition/definition';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { IN_TOTO_PAYLOAD, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { lockProblem } from '@lockstep/protocol/lock/consistency';
import { parseJson } from '@lockstep/protocol/json/parse';
import { type PublicKey, verifyP256 } from '@lockstep/protocol/key/p256';
import { decodeStatement, type Statement } from '@lockstep/protocol/statement/statement';
import { type BuildOutcome, prepareBuild, runBuild } from '../build/build.ts';
import { NORMAL } from '../build/job.ts';
import type { Context } from '../context.ts';

export interface AttestedDefinition {
  readonly statement: Statement;
  readonly definition: Definition;
}

export interface RebuildReport {
  readonly outcome: BuildOutcome;
  readonly subjects: readonly { readonly name: string; readonly attested: string; readonly rebuilt: string | null }[];
  readonly reproduced: boolean;
  /** Whether the environment that we assembled is the one that the attestation names; null where it is not pinned. */
  readonly sameEnvironment: boolean | null;
}

/** @param key refuse unless it signed. @throws LockstepError ENVELOPE_INVALID, STATEMENT_INVALID, VERIFICATION_FAILED */
export function readAttestedDefinition(bytes: Uint8Array, key: PublicKey | null): AttestedDefinition {
  const envelope = parseEnvelope(bytes);
  if (envelope.payloadType !== IN_TOTO_PAYLOAD)
    throw new LockstepError('STATEMENT_INVALID', `The payload type is ${envelope.payloadType}`, 'Give the .intoto.json file of a build.');
  if (key !== null && !envelope.signatures.some(({ sig }) => verifyP256(key, pae(envelope.payloadType, envelope.payload), sig))) {
    throw new LockstepError(
      'VERIFICATION_FAILED',
      'The attestation is not signed by the given key',
      'Check the key, or where the attestation came from.',
    );
  }
  const statement = decodeStatement(parseJson(envelope.payload, 'statement'));
  if (!statement.ok) throw issueError('STATEMENT_INVALID', statement.issues, () => null);
  const external = statement.value.predicate.buildDefinition;
  const definition = decodeDefinition(external.externalParameters.definition);
  if (!definition.ok) throw issueError('STATEMENT_INVALID', definition.issues, () => null);
  if (buildId(definition.value) !== external.internalParameters.build_id)
    throw new LockstepError(
      'STATEMENT_INVALID',
      'The build id is not the digest of the definition',
      'The attestation contradicts itself; do not trust it.',
    );
  const problem = lockProblem(definition.value.manifest, definition.value.lock);
  if (problem !== null)
    throw new LockstepError('STATEMENT_INVALID', `The definition contradicts itself: ${problem}`, 'Do not trust this attestation.');
  return { statement: statement.value, definition: definition.value };
}

export async function rebuild(context: Context, attested: AttestedDefinition): Promise<RebuildReport> {
  const { definition, statement } = attested;
  const environment = await prepareBuild(context, definition);
  const outcome = await runBuild(
    context,
    definition,
    environment,
    NORMAL,
    `rebuild ${definition.manifest.name} ${definition.manifest.version}`,
  );
  const subjects = statement.subject.map((subject) => ({
    name: subject.name,
    attested: subject.digest.sha256,
    rebuilt: outcome.outputs.find((output) => output.name === subject.name)?.digest.sha256 ?? null,
  }));
  const extra = outcome.outputs.some((output) => !statement.subject.some((subject) => subject.name === output.name));
  const then = statement.predicate.buildDefinition.internalParameters.environment.sha256;
  return {
    outcome,
    subjects,
    reproduced: !extra && subjects.every((one) => one.attested === one.rebuilt),
    sameEnvironment: then === null || outcome.environmentSha256 === null ? null : then === outcome.environmentSha256,
  };
}
