/** The manifest, `lockstep.toml`, as a closed schema (spec/manifest.md). Defaults are filled in, so that they are part of the build id. */
import {
  boolean,
  type Decoder,
  integer,
  issue,
  list,
  mapOk,
  nullable,
  oneOf,
  optional,
  record,
  table,
  tableBy,
  tableOf,
  text,
  type TypeOf,
} from '../decode/decode.ts';
import type { Json } from '../json/parse.ts';
import { isProblem, parseSourceRef } from '../source-ref/source-ref.ts';

/** Where system directories are: a build path there would hide the environment. */
const SYSTEM = new Set([
  'bin',
  'boot',
  'dev',
  'etc',
  'inputs',
  'lib',
  'lib32',
  'lib64',
  'libx32',
  'proc',
  'run',
  'sbin',
  'sys',
  'target',
  'tmp',
  'usr',
  'var',
]);
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export const packageName = text('a name of letters, digits and . _ + -', (value) => /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(value), 100);
const version = text('a version of letters, digits and . _ + ~ : -', (value) => /^[A-Za-z0-9][A-Za-z0-9._+~:-]*$/.test(value), 100);
export const sha256Text = text('a SHA-256 in 64 lower-case hex digits', (value) => /^[0-9a-f]{64}$/.test(value), 64);
const fileName = text(
  'a plain file name',
  (value) => /^[A-Za-z0-9_.+~-][A-Za-z0-9_.+~@:-]*$/.test(value) && value !== '.' && value !== '..',
  255,
);

const absolutePath = text(
  'an absolute path outside the system directories, without "." or ".."',
  (value) => isCleanAbsolute(value) && !SYSTEM.has(value.split('/')[1] ?? ''),
  1024,
);
/** Where an input goes: the same form as in the lock and the job. */
const stagePath = text(
  'a relative path without "." or ".."',
  (value) =>
    value !== '' &&
    !value.startsWith('/') &&
    !CONTROL.test(value) &&
    value.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
  1024,
);
const relativePath = text(
  'a relative path without ".."',
  (value) =>
    value !== '' &&
    !value.startsWith('/') &&
    !value.startsWith('-') &&
    !CONTROL.test(value) &&
    !value.split('/').includes('..') &&
    !value.split('/').includes(''),
  1024,
);

function isCleanAbsolute(value: string): boolean {
  return (
    /^\/[^/]/.test(value) &&
    !CONTROL.test(value) &&
    !value.endsWith('/') &&
    value
      .slice(1)
      .split('/')
      .every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

const sourceText: Decoder<string> = (value, path) => {
  if (typeof value !== 'string') return issue(path, value, 'a source reference in quotes');
  const parsed = parseSourceRef(value);
  return isProblem(parsed) ? issue(path, value, parsed.expected, parsed.hint) : { ok: true, value };
};

const source = table({
  /** spec/manifest.md "source". */
  ref: sourceText,
  /** Required for https. */
  sha256: optional(nullable(sha256Text), null),
  /** Unpack an https archive; leading components to drop. */
  unpack: optional(boolean, true),
  strip: optional(integer(0, 16), 1),
  /** Names at the top of a local directory that are not source. */
  exclude: optional(list(fileName, 100), []),
});

const environment = tableOf<EnvironmentSpec>('kind', {
  debian: table({
    kind: oneOf(['debian'] as const),
    suite: text('a suite such as "bookworm", or "host" for the one of this machine', (value) => /^[a-z][a-z0-9.-]*$/.test(value), 64),
    packages: optional(
      list(
        text(
          'a package, or a dependency as in debian/control',
          (value) =>
            /^[a-z0-9][a-z0-9+.:-]*(?: ?\([<>=]{1,2} ?[0-9A-Za-z.+:~-]+\))?(?: ?\| ?[a-z0-9][a-z0-9+.:-]*(?: ?\([<>=]{1,2} ?[0-9A-Za-z.+:~-]+\))?)*$/.test(
              value,
            ),
          300,
        ),
        2000,
      ),
      [],
    ),
    build_depends: optional(boolean, false),
  }),
  rootfs: table({
    kind: oneOf(['rootfs'] as const),
    url: text(
      'https://… or a path to a root file system tarball',
      (value) =>
        value !== '' &&
        !value.startsWith('-') &&
        !CONTROL.test(value) &&
        (/^https:\/\//.test(value) || !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(value)),
      2048,
    ),
    sha256: sha256Text,
  }),
  host: table({ kind: oneOf(['host'] as const) }),
});

export type EnvironmentSpec =
  | { readonly kind: 'debian'; readonly suite: string; readonly packages: readonly string[]; readonly build_depends: boolean }
  | { readonly kind: 'rootfs'; readonly url: string; readonly sha256: string }
  | { readonly kind: 'host' };

const stepText = text('a shell command', (value) => value.trim() !== '' && !value.includes('\0'), 100_000);
const step: Decoder<Step> = (value, path) =>
  typeof value === 'string'
    ? mapOk(stepText(value, path), (run) => ({ name: firstWords(run), run }))
    : table({ name: text('a short name', (name) => name.trim() !== '' && !CONTROL.test(name), 100), run: stepText })(value, path);

export interface Step {
  readonly name: string;
  readonly run: string;
}

function firstWords(run: string): string {
  const line = run.trim().split('\n')[0] ?? '';
  const plain = [...line].filter((character) => !CONTROL.test(character));
  // Cut between characters, never inside a surrogate pair: half of one has no canonical bytes.
  const name = plain.length > 60 ? `${plain.slice(0, 59).join('')}…` : plain.join('');
  return name.trim() === '' ? 'step' : name;
}

const envName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** The silo sets these; a manifest says them with keys of their own. */
const RESERVED_ENV = ['SOURCE_DATE_EPOCH', 'HOME', 'USER', 'LOGNAME', 'TZ', 'LC_ALL', 'LD_PRELOAD'];

const buildEnv: Decoder<Readonly<Record<string, string>>> = (value, path) => {
  const decoded = record(
    envName,
    text('text', (one) => !one.includes('\0'), 65_536),
    500,
  )(value, path);
  if (!decoded.ok) return decoded;
  const reserved = Object.keys(decoded.value).find((name) => RESERVED_ENV.includes(name));
  return reserved === undefined
    ? decoded
    : issue(
        [...path, reserved],
        decoded.value[reserved],
        `another variable than ${reserved}`,
        reserved === 'LD_PRELOAD'
          ? 'Set it within a step, for the command that needs it.'
          : 'It has a key of its own in [build] (locale, timezone, home, user, source_date_epoch).',
      );
};

const buildTable = table({
  path: optional(absolutePath, '/build/source'),
  steps: list(step, 200, 1),
  env: optional(buildEnv, {}),
  locale: optional(
    text('a locale such as "C.UTF-8" or "C"', (value) => /^[A-Za-z0-9_.@-]+$/.test(value), 64),
    'C.UTF-8',
  ),
  timezone: optional(
    text('a time zone such as "UTC"', (value) => /^[A-Za-z0-9_+/:,.-]+$/.test(value), 64),
    'UTC',
  ),
  umask: optional(
    text('a umask such as "022"', (value) => /^0?[0-7]{3}$/.test(value), 4),
    '022',
  ),
  user: optional(
    text('a user name', (value) => /^[a-z_][a-z0-9_-]{0,31}$/.test(value) && value !== 'root' && value !== 'nobody', 32),
    'build',
  ),
  uid: optional(integer(1, 65_000), 1000),
  home: optional(absolutePath, '/home/build'),
  hostname: optional(
    text('a host name', (value) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value), 63),
    'lockstep',
  ),
  source_date_epoch: optional(nullable(integer(0, 0xffff_ffff)), null),
});

/** Home and build path are mounts of their own: one within the other would hide it. */
const build: Decoder<TypeOf<typeof buildTable>> = (value, path) => {
  const decoded = buildTable(value, path);
  if (!decoded.ok || decoded.value.home.split('/')[1] !== decoded.value.path.split('/')[1]) return decoded;
  return issue(
    [...path, 'home'],
    decoded.value.home,
    'a home outside the top directory of the build path',
    `The build path is ${decoded.value.path}.`,
  );
};

const filesOutput = table({ files: relativePath });
const treeOutput = table({ tree: relativePath, name: fileName });
/** Which key is there says what it is: the same form in TOML and in a definition. */
const output = tableBy<OutputSpec>({ files: filesOutput, tree: treeOutput });

export type OutputSpec = TypeOf<typeof filesOutput> | TypeOf<typeof treeOutput>;

const fileInput = table({
  file: text('an https URL', (value) => /^https:\/\/[^@\s]+$/.test(value) && !CONTROL.test(value), 2048),
  sha256: sha256Text,
  to: stagePath,
  unpack: optional(boolean, false),
  strip: optional(integer(0, 16), 1),
});
const npmInput = table({ npm_lock: relativePath, to: optional(stagePath, 'node_modules'), dev: optional(boolean, true) });
const cargoInput = table({ cargo_lock: relativePath, to: optional(stagePath, 'vendor') });
const input = tableBy<InputSpec>({ file: fileInput, npm_lock: npmInput, cargo_lock: cargoInput });

export type InputSpec = TypeOf<typeof fileInput> | TypeOf<typeof npmInput> | TypeOf<typeof cargoInput>;

const MEBI = 1 << 24;
const resources = table({
  cpus: optional(integer(1, 1024), 1),
  memory_mb: optional(integer(32, MEBI), 2048),
  scratch_mb: optional(integer(16, MEBI), 4096),
  /** Seconds. */
  timeout: optional(integer(1, 30 * 86_400), 3600),
  processes: optional(integer(8, 1 << 22), 1024),
  transcript_mb: optional(integer(1, 4096), 64),
  output_files: optional(integer(1, 10_000_000), 100_000),
  output_depth: optional(integer(1, 256), 64),
  output_mb: optional(integer(1, MEBI), 4096),
});

export const decodeManifest = table({
  name: packageName,
  version,
  tier: optional(oneOf(['container', 'vm'] as const), 'container'),
  network: optional(oneOf(['none'] as const), 'none'),
  source,
  environment,
  inputs: optional(list(input, 200), []),
  build,
  outputs: list(output, 200, 1),
  resources: optional(resources, defaultsOf(resources)),
});

export type Manifest = TypeOf<typeof decodeManifest>;

function defaultsOf<T>(decoder: Decoder<T>): T {
  const decoded = decoder({}, []);
  if (!decoded.ok) throw new TypeError('a table with required keys has no defaults');
  return decoded.value;
}

/** A manifest as it stands in a build definition: the same schema, every default written out, every step a table. */
export function manifestToJson(manifest: Manifest): Json {
  return JSON.parse(JSON.stringify(manifest)) as Json;
}
