/** `farm.toml`: what one process of a farm is told (docs/operate.md has every key). Secrets come from the environment. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'smol-toml';
import { type Decoder, boolean, integer, list, oneOf, optional, record, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Json } from '@lockstep/protocol/json/parse';

const name = text('a name of letters, digits and . _ -', (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(value), 100);
const path = text('a path', (value) => value !== '' && !value.includes('\0'), 4096);
const any = text('text', (value) => value !== '', 4096);

const limits = table({
  queue: optional(integer(1, 10_000_000), 200_000),
  lease_seconds: optional(integer(2, 3600), 30),
  alive_seconds: optional(integer(2, 86_400), 60),
  reveal_seconds: optional(integer(1, 86_400), 600),
  prepare_seconds: optional(integer(1, 7 * 86_400), 1800),
  rounds: optional(integer(1, 100), 4),
  spares: optional(integer(0, 16), 2),
  upload_mb: optional(integer(16, 1 << 24), 65_536),
  backoff_seconds: optional(integer(0, 86_400), 5),
  requests_per_second: optional(integer(1, 1_000_000), 200),
  requests_at_once: optional(integer(1, 1_000_000), 1000),
});

const builder = table({
  name,
  /** Attestation key; made where there is none. */
  key: path,
  slots: optional(integer(1, 64), 1),
});

const issuer = table({
  issuer: any,
  audience: any,
  jwks: text('an https address', (value) => /^(?:https:\/\/|http:\/\/127\.0\.0\.1[:/])/.test(value), 2048),
  claims: record(/^[A-Za-z0-9_.:/-]{1,100}$/, any, 20),
  name: any,
});

const decode = table({
  schema: oneOf(['lockstep-farm/v1'] as const),
  name,
  /** HOST:PORT of the API. */
  listen: optional(any, '127.0.0.1:7300'),
  /** Host names and addresses for the API's certificate. */
  names: optional(list(any, 50, 1), ['127.0.0.1', 'localhost']),
  /** A file for SQLite, or postgres://…; LOCKSTEP_DATABASE goes before it, since the address may have a password. */
  database: optional(any, 'farm.sqlite'),
  /** A folder, or s3://BUCKET?endpoint=…, or gs://BUCKET. */
  storage: optional(any, 'storage'),
  log: optional(path, 'log'),
  /** `folder`: the log's files lie in its folder. `storage`: in the farm's storage, for several replicas. */
  log_in: optional(oneOf(['folder', 'storage'] as const), 'folder'),
  policy: optional(path, 'policy'),
  /** The policy's root that this farm pins. */
  root: optional(path, 'policy/repository/metadata/1.root.json'),
  /** Where the coordinator's key is. */
  coordinator: optional(path, 'policy/keys/coordinator.pem'),
  /** The certificate authority for transport; every replica has the same. */
  authority: optional(path, 'authority'),
  /** Folder of a witness that runs in this process; '' for none. */
  witness: optional(
    text('a path', () => true, 4096),
    '',
  ),
  /** Everybody may read log and policy without a token. */
  public: optional(boolean, true),
  /** Store of the local builders: one trust domain. */
  builders_store: optional(path, 'builders'),
  builder: optional(list(builder, 64), []),
  oidc: optional(list(issuer, 20), []),
  limits: optional(limits, defaultsOf(limits)),
});

export type FarmConfig = TypeOf<typeof decode>;

function defaultsOf<T>(decoder: Decoder<T>): T {
  const decoded = decoder({}, []);
  if (!decoded.ok) throw new TypeError('a table with required keys has no defaults');
  return decoded.value;
}

export interface FarmHome {
  readonly folder: string;
  readonly config: FarmConfig;
  /** A path of the configuration: relative ones are below the farm's folder. */
  readonly at: (relative: string) => string;
}

/** @throws LockstepError FARM_UNUSABLE, FILE_NOT_FOUND */
export function readFarmHome(folder: string): FarmHome {
  const file = `${folder}/farm.toml`;
  if (!existsSync(file))
    throw new LockstepError('FILE_NOT_FOUND', `There is no farm in ${folder}`, `Make one: lockstep farm init ${folder}.`);
  let json: unknown;
  try {
    json = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new LockstepError(
      'FARM_UNUSABLE',
      `${file} is no TOML: ${error instanceof Error ? error.message : String(error)}`,
      'Mend it; docs/operate.md has every key.',
    );
  }
  const decoded = decode(JSON.parse(JSON.stringify(json)) as Json, []);
  if (!decoded.ok) throw issueError('FARM_UNUSABLE', decoded.issues, () => ({ file, line: 1, column: 1 }));
  return { folder: resolve(folder), config: decoded.value, at: (relative) => resolve(folder, relative) };
}
