/** Definitions whose build is a word repeated: what a job has to come to is known without a run. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { environmentKey } from '@lockstep/builder/environment/environment-key';
import { buildId, type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import { LOCK_SCHEMA, type LockedEnvironment, parseLock, resolvesDigest } from '@lockstep/protocol/lock/lock';
import { decodeManifest } from '@lockstep/protocol/manifest/manifest';

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export interface Wanted {
  readonly word: string;
  readonly bytes?: number;
  readonly seconds?: number;
  /** `differ`: each builder gets other bytes. */
  readonly kind?: 'same' | 'differ' | 'fail';
  /** Another source for each: so that uploading it is part of the submission. */
  readonly ownSource?: boolean;
}

export interface TestJob {
  readonly job: string;
  readonly definition: Definition;
  /** What has to be uploaded with it, by digest. */
  readonly carried: ReadonlyMap<string, Buffer>;
  /** SHA-256 of its output. */
  readonly output: string;
  readonly kind: 'same' | 'differ' | 'fail';
}

const ROOTFS = Buffer.from('a root file system that nobody unpacks\n');
const SOURCE = Buffer.from('a source that nobody reads\n');

export function testJob(wanted: Wanted): TestJob {
  const { word, bytes = 40, seconds = 0, kind = 'same' } = wanted;
  const source = wanted.ownSource === true ? Buffer.from(`source of ${word}\n`) : SOURCE;
  const decoded = decodeManifest(
    {
      name: 'faults',
      version: '1',
      source: { ref: '.' },
      environment: { kind: 'rootfs', url: './rootfs.tar', sha256: sha256(ROOTFS) },
      build: { steps: [`emit ${word} ${bytes} ${seconds} ${kind} end`] },
      outputs: [{ files: 'out' }],
      resources: { memory_mb: 64, scratch_mb: 64, timeout: 60 },
    },
    [],
  );
  if (!decoded.ok) throw new TypeError(JSON.stringify(decoded.issues));
  const definition = makeDefinition(decoded.value, {
    schema: LOCK_SCHEMA,
    resolves: resolvesDigest(decoded.value),
    source: {
      ref: '.',
      files: [{ uri: 'directory', sha256: sha256(source), size: source.length, to: '.', as: 'tree', strip: 0, fetched: null }],
      date: 1_700_000_000,
      date_from: 'this test',
      git: null,
    },
    environment: { kind: 'rootfs', sha256: sha256(ROOTFS), size: ROOTFS.length, uri: `sha256:${sha256(ROOTFS)}` },
    inputs: [],
    links: [],
  });
  return {
    job: buildId(definition),
    definition,
    carried: new Map([ROOTFS, source].map((one) => [sha256(one), one])),
    output: sha256(Buffer.alloc(bytes, `${word}\n`)),
    kind,
  };
}

/** As if the environment had been prepared before: the silo of this test does not look into it. */
export function prepareFor(store: string): void {
  prepare(store, testJob({ word: 'any' }).definition.lock.environment);
}

/** @param lock a file */
export function prepareAs(store: string, lock: string): void {
  prepare(store, parseLock(readFileSync(lock), lock).environment);
}

function prepare(store: string, environment: LockedEnvironment): void {
  const path = `${store}/environments/${environmentKey(environment)}`;
  mkdirSync(`${store}/environments`, { recursive: true });
  writeFileSync(`${path}.ext4`, '');
  writeFileSync(`${path}.json`, JSON.stringify({ sha256: sha256('the environment of this test') }));
}
