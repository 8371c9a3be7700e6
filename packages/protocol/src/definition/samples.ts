/** Manifests and locks for tests: one of each that is plain, and generators of many. */
import fc from 'fast-check';
import { type Lock, LOCK_SCHEMA, resolvesDigest } from '../lock/lock.ts';
import { decodeManifest, type Manifest } from '../manifest/manifest.ts';
import type { Json } from '../json/parse.ts';
import { type Definition, makeDefinition } from './definition.ts';

export const SOURCE_REF = 'git+https://host.example/hello.git#refs/tags/v1.0';

export function sampleManifest(): Manifest {
  const decoded = decodeManifest(
    {
      name: 'hello',
      version: '1.0',
      source: { ref: SOURCE_REF },
      environment: { kind: 'rootfs', url: 'https://host.example/root.tar', sha256: 'e'.repeat(64) },
      inputs: [{ file: 'https://host.example/x', sha256: 'f'.repeat(64), to: 'x' }],
      build: { steps: ['make'] },
      outputs: [{ files: 'hello' }],
    },
    [],
  );
  if (!decoded.ok) throw new TypeError(JSON.stringify(decoded.issues));
  return decoded.value;
}

export function sampleLock(): Lock {
  return {
    schema: LOCK_SCHEMA,
    resolves: resolvesDigest(sampleManifest()),
    source: {
      ref: SOURCE_REF,
      files: [
        {
          uri: SOURCE_REF,
          sha256: 'b'.repeat(64),
          size: 10_240,
          to: '.',
          as: 'tree',
          strip: 0,
          fetched: { algorithm: 'gitCommit', digest: 'c'.repeat(40) },
        },
      ],
      date: 1_700_000_000,
      date_from: 'the commit',
      git: { commit: 'c'.repeat(40), tree: 'd'.repeat(40), tag: null },
    },
    environment: { kind: 'rootfs', sha256: 'e'.repeat(64), size: 5, uri: 'https://host.example/root.tar' },
    inputs: [{ uri: 'https://host.example/x', sha256: 'f'.repeat(64), size: 1, to: 'x', as: 'file', strip: 0, fetched: null }],
    links: [],
  };
}

export function sampleDefinition(): Definition {
  return makeDefinition(sampleManifest(), sampleLock());
}

const chars = (letters: string, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...letters), minLength, maxLength });
const lower = 'abcdefghijklmnopqrstuvwxyz';
const hex = (length: number): fc.Arbitrary<string> => chars('0123456789abcdef', length, length);
const part = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  .filter((text) => !/[\u0000-\u001f\u007f-\u009f/]/.test(text) && text !== '.' && text !== '..' && !text.startsWith('-'));
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const line = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !/[\u0000-\u001f\u007f-\u009f]/.test(text));
const size = fc.maxSafeNat();

const sourceRef = fc.oneof(
  fc
    .tuple(chars(lower, 1, 9), chars(`${lower}0123456789-`, 1, 9))
    .map(([name, tag]) => `git+https://${name}.example/${name}#refs/tags/v${tag}x`),
  hex(40).map((commit) => `git+ssh://git@host.example/a/b#${commit}`),
  chars(`${lower}-_.`, 1, 20).map((name) => `https://host.example/${name}`),
  fc.constantFrom('pkg:deb/debian/hello@2.10-3?arch=source', 'pkg:npm/%40scope/name@1.0.0', '.', '../up', './ä'),
);

const step = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 80 }).filter((text) => text.trim() !== '' && !text.includes('\0')),
  fc
    .tuple(fc.string({ unit: 'grapheme', maxLength: 90 }), fc.constantFrom('\n', '\u0001\n', '\u0085', '😀'))
    .map(([text, more]) => `:${more}${text}${more}`),
  fc.record(
    { name: line.filter((text) => text.trim() !== ''), run: fc.constantFrom('true', 'make -j2\n', 'a\tb') },
    { noNullPrototype: true },
  ),
);

/** JSON that the manifest's schema takes, optional keys there or not. */
export const manifestJson: fc.Arbitrary<Json> = fc
  .record(
    {
      name: chars(`${lower}0123456789`, 1, 20),
      version: chars('0123456789.~+:-', 0, 9).map((text) => `1${text}`),
      tier: fc.constantFrom('container', 'vm'),
      network: fc.constant('none'),
      source: fc.record(
        {
          ref: sourceRef,
          sha256: fc.option(hex(64)),
          unpack: fc.boolean(),
          strip: fc.integer({ min: 0, max: 16 }),
          exclude: fc.array(fc.constantFrom('.git', 'node_modules', 'a@b:c'), { maxLength: 3 }),
        },
        { requiredKeys: ['ref'], noNullPrototype: true },
      ),
      environment: fc.oneof(
        fc.constant({ kind: 'host' }),
        fc.record(
          { kind: fc.constant('rootfs'), url: fc.constantFrom('https://host.example/r.tar', './r.tar'), sha256: hex(64) },
          { noNullPrototype: true },
        ),
        fc.record(
          {
            kind: fc.constant('debian'),
            suite: fc.constantFrom('bookworm', 'host'),
            packages: fc.array(fc.constantFrom('gcc', 'libc6-dev (>= 2.1)', 'a1 | b2 (<< 3~)'), { maxLength: 3 }),
            build_depends: fc.boolean(),
          },
          { requiredKeys: ['kind', 'suite'], noNullPrototype: true },
        ),
      ),
      inputs: fc.array(
        fc.oneof(
          fc.record(
            {
              file: fc.constant('https://host.example/x'),
              sha256: hex(64),
              to: path,
              unpack: fc.boolean(),
              strip: fc.integer({ min: 0, max: 16 }),
            },
            { requiredKeys: ['file', 'sha256', 'to'], noNullPrototype: true },
          ),
          fc.record({ npm_lock: path, to: path, dev: fc.boolean() }, { requiredKeys: ['npm_lock'], noNullPrototype: true }),
          fc.record({ cargo_lock: path, to: path }, { requiredKeys: ['cargo_lock'], noNullPrototype: true }),
        ),
        { maxLength: 3 },
      ),
      build: fc.record(
        {
          path: fc.constantFrom('/build/source', '/root/ä b'),
          steps: fc.array(step, { minLength: 1, maxLength: 3 }),
          env: fc.dictionary(
            chars('ABCDEF_', 1, 6).filter((name) => name !== '__proto__'),
            fc.string({ unit: 'binary', maxLength: 10 }).filter((text) => !text.includes('\0')),
            {
              maxKeys: 4,
              noNullPrototype: true,
            },
          ),
          umask: fc.constantFrom('022', '0077', '000'),
          uid: fc.integer({ min: 1, max: 65_000 }),
          source_date_epoch: fc.option(fc.nat()),
        },
        { requiredKeys: ['steps'], noNullPrototype: true },
      ),
      outputs: fc.array(
        fc.oneof(
          fc.record({ files: path }, { noNullPrototype: true }),
          fc.record({ tree: path, name: fc.constantFrom('a.tar', 'b@1:2') }, { noNullPrototype: true }),
        ),
        { minLength: 1, maxLength: 3 },
      ),
      resources: fc.record(
        { cpus: fc.integer({ min: 1, max: 1024 }), timeout: fc.integer({ min: 1, max: 9999 }) },
        { requiredKeys: [], noNullPrototype: true },
      ),
    },
    { requiredKeys: ['name', 'version', 'source', 'environment', 'build', 'outputs'], noNullPrototype: true },
  )
  .map((value) => value as Json);

const lockedFile = fc.record(
  {
    uri: line,
    sha256: hex(64),
    size,
    to: fc.oneof(fc.constant('.'), path),
    as: fc.constantFrom('file' as const, 'tree' as const),
    strip: fc.integer({ min: 0, max: 16 }),
    fetched: fc.option(
      fc.oneof(
        fc.record({ algorithm: fc.constant('sha512' as const), digest: hex(128) }, { noNullPrototype: true }),
        fc.record({ algorithm: fc.constant('sha256' as const), digest: hex(64) }, { noNullPrototype: true }),
        fc.record({ algorithm: fc.constant('gitCommit' as const), digest: hex(40) }, { noNullPrototype: true }),
      ),
    ),
  },
  { noNullPrototype: true },
);

export const lock: fc.Arbitrary<Lock> = fc.record(
  {
    schema: fc.constant(LOCK_SCHEMA),
    resolves: hex(64),
    source: fc.record(
      {
        ref: line,
        files: fc.array(lockedFile, { minLength: 1, maxLength: 3 }),
        date: fc.integer({ min: 0, max: 0xffff_ffff }),
        date_from: line,
        git: fc.option(fc.record({ commit: hex(40), tree: hex(64), tag: fc.option(hex(40)) }, { noNullPrototype: true })),
      },
      { noNullPrototype: true },
    ),
    environment: fc.oneof(
      fc.constant({ kind: 'host' as const }),
      fc.record({ kind: fc.constant('rootfs' as const), sha256: hex(64), size, uri: line }, { noNullPrototype: true }),
      fc.record(
        {
          kind: fc.constant('debian' as const),
          distribution: fc.constantFrom('debian', 'ubuntu'),
          suite: line,
          architecture: line,
          packages: fc.array(
            fc.record(
              {
                name: fc.constantFrom('g++', 'libc6', 'a.b'),
                version: fc.constantFrom('1:2.0-1+b1', '0~rc1'),
                architecture: fc.constantFrom('amd64', 'all'),
                size,
                sha256: hex(64),
                path: fc.constantFrom('pool/main/g/g++_1.deb', 'a%3a1'),
                bootstrap: fc.boolean(),
              },
              { noNullPrototype: true },
            ),
            { minLength: 1, maxLength: 4 },
          ),
        },
        { noNullPrototype: true },
      ),
    ),
    inputs: fc.array(lockedFile, { maxLength: 3 }),
    links: fc.array(fc.record({ path, target: line }, { noNullPrototype: true }), { maxLength: 3 }),
  },
  { noNullPrototype: true },
);
