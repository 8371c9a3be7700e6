/** Everything that a build statement has to be in itself, whoever signed it and whatever is expected of it. */
import { decodeDefinition, type Definition, definitionToJson } from '../definition/definition.ts';
import { formatIssue, formatPath } from '../decode/issue-error.ts';
import { type BuildId, sha256Hex } from '../digest/digest.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { isFarmId } from '../farm-id/farm-id.ts';
import { canonicalText } from '../json/canonical.ts';
import { type Json, parseJson } from '../json/parse.ts';
import { lockProblem } from '../lock/consistency.ts';
import { decodeStatement, type Statement } from '../statement/statement.ts';
import { dependenciesOf } from './dependencies.ts';

/** The parts in the order in which they are looked at. */
export const PROVENANCE_PARTS = ['statement', 'definition', 'inputs', 'environment'] as const;
export type ProvenancePart = (typeof PROVENANCE_PARTS)[number];

export interface Provenance {
  readonly statement: Statement;
  readonly definition: Definition;
  readonly buildId: BuildId;
}

export interface ProvenanceProblem {
  readonly part: ProvenancePart;
  readonly problem: string;
}

export function isProblem(read: Provenance | ProvenanceProblem): read is ProvenanceProblem {
  return 'problem' in read;
}

/** @param payload of an in-toto envelope whose signature was checked */
export function readProvenance(payload: Uint8Array): Provenance | ProvenanceProblem {
  const statement = readStatement(payload);
  if (typeof statement === 'string') return { part: 'statement', problem: statement };
  const { buildDefinition, runDetails } = statement.predicate;
  const external = buildDefinition.externalParameters;
  if (!isFarmId(external.farm_id)) return { part: 'statement', problem: `farm_id ${JSON.stringify(external.farm_id)} is malformed` };
  if (runDetails.builder.id !== `urn:lockstep:farm:${external.farm_id}`)
    return { part: 'statement', problem: `builder.id ${JSON.stringify(runDetails.builder.id)} is not of the farm ${external.farm_id}` };
  const definition = decodeDefinition(external.definition);
  if (!definition.ok)
    return { part: 'definition', problem: definition.issues.map((one) => `${formatPath(one.path)}: expected ${one.expected}`).join('; ') };
  const text = canonicalText(definitionToJson(definition.value));
  const id = sha256Hex(toUtf8(text)) as BuildId;
  const problem = definitionProblem(statement, definition.value, text, id);
  if (problem !== null) return { part: 'definition', problem };
  const listed = canonicalText(JSON.parse(JSON.stringify(buildDefinition.resolvedDependencies)) as Json);
  if (listed !== canonicalText(JSON.parse(JSON.stringify(dependenciesOf(definition.value))) as Json))
    return { part: 'inputs', problem: 'resolvedDependencies do not match the lock' };
  const { environment } = buildDefinition.internalParameters;
  const kind = definition.value.lock.environment.kind;
  if (environment.kind !== kind || (environment.pinned === 'yes') !== (kind !== 'host'))
    return { part: 'environment', problem: 'the environment is not the one of the lock' };
  if (kind !== 'host' && environment.sha256 === null) return { part: 'environment', problem: 'it is pinned, but its digest is missing' };
  return { statement, definition: definition.value, buildId: id };
}

/** @param text the definition's canonical JSON */
function definitionProblem(statement: Statement, definition: Definition, text: string, id: BuildId): string | null {
  const { externalParameters, internalParameters } = statement.predicate.buildDefinition;
  // Whoever hashes the definition as it stands must come to the same id, so nothing may be left to a default.
  if (canonicalText(externalParameters.definition) !== text) return 'it is not written out in full';
  if (id !== internalParameters.build_id) return `its canonical SHA-256 is ${id}, the statement says ${internalParameters.build_id}`;
  if (externalParameters.source_ref !== definition.lock.source.ref) return 'source_ref is not the one of the lock';
  return lockProblem(definition.manifest, definition.lock);
}

function readStatement(payload: Uint8Array): Statement | string {
  let json: Json;
  try {
    json = parseJson(payload, 'payload');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const decoded = decodeStatement(json);
  return decoded.ok ? decoded.value : decoded.issues.slice(0, 3).map(formatIssue).join('; ');
}
