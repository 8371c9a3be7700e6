/** in-toto Statement v1 (in-toto attestation framework, spec/v1/statement.md) with SLSA Provenance v1 as its predicate. */
import {
  type Decoded,
  type Decoder,
  integer,
  list,
  nullable,
  oneOf,
  optional,
  record,
  table,
  text,
  type TypeOf,
} from '../decode/decode.ts';
import type { Json } from '../json/parse.ts';

export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PROVENANCE_TYPE = 'https://slsa.dev/provenance/v1';
/** No domain name is owned by this project yet; a URN promises nothing that a browser could open. */
export const BUILD_TYPE = 'urn:lockstep:build:sealed:v1';

const hex = (digits: number, name: string): Decoder<string> =>
  text(`${name} in ${digits} lower-case hex digits`, (value) => value.length === digits && /^[0-9a-f]+$/.test(value), digits);
const name = text('a name', (value) => value !== '', 4096);

export const subject = table({
  name,
  digest: table({ sha256: hex(64, 'SHA-256'), sha512: hex(128, 'SHA-512'), blake2b512: hex(128, 'BLAKE2b-512') }),
  /** in-toto ResourceDescriptor: the size in bytes, so that whoever downloads it knows when to stop. Older builders left it out. */
  annotations: optional(nullable(table({ size: integer(0, Number.MAX_SAFE_INTEGER) })), null),
});

const dependency = table({
  name,
  uri: optional(
    text('a URI', (value) => value !== '', 4096),
    '',
  ),
  digest: record(
    /^[a-zA-Z0-9]+$/,
    text('a digest in hex', (value) => /^[0-9a-f]{40,128}$/.test(value), 128),
    8,
  ),
});

const anyJson: Decoder<Json> = (value, path) =>
  value === undefined ? { ok: false, issues: [{ path, expected: 'a value', found: 'nothing', hint: '' }] } : { ok: true, value };

/** `Date.parse` alone takes 30 February for 2 March. */
function isDate(value: string): boolean {
  const time = Date.parse(value);
  return !Number.isNaN(time) && new Date(time).toISOString() === value.replace('Z', '.000Z');
}

/** RFC 3339 in UTC, to the second. */
const timestamp = text('a time like 2026-01-31T12:00:00Z', (value) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) && isDate(value), 20);

/** Closed: SLSA v1.2 asks verifiers to refuse external parameters that they do not know. */
const externalParameters = table({
  farm_id: text('a farm id', () => true, 64),
  source_ref: text('a source reference', () => true, 2048),
  definition: anyJson,
});

const variation = table({ ambient: record(/^[a-z_-]+$/, anyJson, 32) });

const internalParameters = table({
  build_id: hex(64, 'build id'),
  tier: oneOf(['container'] as const),
  sandbox: table({ runtime: name, cgroup: name, kernel: name, silo: name }),
  variation: nullable(variation),
  environment: table({
    kind: oneOf(['debian', 'rootfs', 'host'] as const),
    pinned: oneOf(['yes', 'no'] as const),
    sha256: nullable(hex(64, 'SHA-256')),
  }),
});

const provenance = table({
  buildDefinition: table({
    buildType: oneOf([BUILD_TYPE] as const),
    externalParameters,
    internalParameters,
    resolvedDependencies: list(dependency, 200_000, 1),
  }),
  runDetails: table({
    builder: table({ id: text('a URI', (value) => /^[a-z][a-z0-9+.-]*:/.test(value), 2048), version: record(/^[a-z]+$/, name, 8) }),
    metadata: table({ invocationId: name, startedOn: timestamp, finishedOn: timestamp }),
    byproducts: list(table({ name, digest: table({ sha256: hex(64, 'SHA-256') }), size: integer(0, Number.MAX_SAFE_INTEGER) }), 16),
  }),
});

const statement = table({
  _type: oneOf([STATEMENT_TYPE] as const),
  subject: list(subject, 10_000_000, 1),
  predicateType: oneOf([PROVENANCE_TYPE] as const),
  predicate: provenance,
});

export type Statement = TypeOf<typeof statement>;
export type Dependency = TypeOf<typeof dependency>;

export function decodeStatement(value: Json): Decoded<Statement> {
  return statement(value, []);
}
