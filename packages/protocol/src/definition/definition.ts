/** The build definition: manifest and lock as canonical JSON; its SHA-256 is the build id. Same id, same bytes, or it is a finding. */
import { type Decoded, oneOf, table, type TypeOf } from '../decode/decode.ts';
import { type BuildId, sha256Hex } from '../digest/digest.ts';
import { canonicalBytes } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { decodeLock, type Lock } from '../lock/lock.ts';
import { decodeManifest, type Manifest, manifestToJson } from '../manifest/manifest.ts';

export const DEFINITION_SCHEMA = 'lockstep-definition/v1';

const decode = table({ schema: oneOf([DEFINITION_SCHEMA] as const), manifest: decodeManifest, lock: decodeLock });

export type Definition = TypeOf<typeof decode>;

export function makeDefinition(manifest: Manifest, lock: Lock): Definition {
  return { schema: DEFINITION_SCHEMA, manifest, lock };
}

export function definitionToJson(definition: Definition): Json {
  return {
    schema: definition.schema,
    manifest: manifestToJson(definition.manifest),
    lock: JSON.parse(JSON.stringify(definition.lock)) as Json,
  };
}

export function decodeDefinition(value: Json | undefined): Decoded<Definition> {
  return decode(value, []);
}

export function buildId(definition: Definition): BuildId {
  return sha256Hex(canonicalBytes(definitionToJson(definition))) as BuildId;
}
