/**
 * A farm for tests: the real database, storage, routes and stages; a log in memory, a clock that stands until it is moved,
 * builders that sign what they are told to. Keys come from fixed seeds: nothing here is a secret.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { farmClient, type FarmClient, type Transport } from '@lockstep/api/client';
import type { Capabilities } from '@lockstep/api/routes/builders';
import type { TokenRole } from '@lockstep/api/role';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { buildId, type Definition, definitionToJson, makeDefinition } from '@lockstep/protocol/definition/definition';
import { sampleLock, SOURCE_REF } from '@lockstep/protocol/definition/samples';
import { type DocumentKind, formatDocument } from '@lockstep/protocol/dsse/document';
import { type Lock, resolvesDigest } from '@lockstep/protocol/lock/lock';
import { decodeManifest } from '@lockstep/protocol/manifest/manifest';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { COORDINATOR, sampleBuilder, samplePolicy, sampleRule, sampleSigner } from '@lockstep/protocol/policy/samples';
import { DEALT_FACTS } from '@lockstep/protocol/variation/deal';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import type { Objects } from '@lockstep/store/objects/objects';
import type { Oidc } from './access/oidc.ts';
import { makeToken } from './access/tokens.ts';
import { farmApp, type FarmApp } from './api/app.ts';
import { leaseWaiters } from './api/lease-waiters.ts';
import type { Services } from './api/request.ts';
import { type Database, openDatabase } from './database/database.ts';
import { openAuthority } from './enrolment/authority.ts';
import { DEFAULT_LIMITS, type Farm, type FarmLimits, type FarmLog, type FoundDocument, type SignedDocument } from './farm.ts';
import { recordSubmission } from './jobs/submit.ts';
import { expireLeases } from './leases/keep.ts';
import { type Journal, silentJournal } from './observe/journal.ts';
import { makeMetrics } from './observe/metrics.ts';
import { makeTroubles } from './observe/troubles.ts';
import { uploadQuota } from './content/upload-quota.ts';
import { advanceDue } from './reconcile/advance.ts';
import { dispatch } from './reconcile/dispatch.ts';
import { record } from './reconcile/record.ts';
import { documentDigest } from './rounds/documents.ts';
import { transcriptHub } from './transcripts/hub.ts';

/** Some time in 2026; milliseconds since 1970. */
export const START = 1_770_000_000_000;
const LISTED = 3;
const FIRST_BUILDER = 100;
const FIRST_TRANSPORT = 160;

export interface SampleClock {
  time: number;
}

export interface FakeLog extends FarmLog {
  readonly entries: readonly SignedDocument[];
  /** While it is set, nothing is logged. */
  failure: Error | null;
}

export interface SampleOptions {
  /** That have joined; the policy lists at least three. */
  readonly builders?: number;
  /** Of the only rule; two builders without commitments unless said otherwise. */
  readonly rule?: Readonly<Record<string, Json>>;
  /** Of the whole policy. */
  readonly policy?: Readonly<Record<string, Json>>;
  readonly limits?: Partial<FarmLimits>;
  /** An address for openDatabase; else SQLite in the folder. */
  readonly database?: string;
  /** A folder that outlives the farm: it is opened again. */
  readonly folder?: string;
  readonly clock?: SampleClock;
  readonly log?: FakeLog;
  readonly oidc?: Oidc;
  readonly journal?: Journal;
  /** Stands between the farm and its facts. */
  readonly between?: { readonly database?: (real: Database) => Database; readonly objects?: (real: Objects) => Objects };
}

export interface SampleFarm {
  readonly farm: Farm;
  readonly services: Services;
  readonly app: FarmApp;
  readonly clock: SampleClock;
  readonly log: FakeLog;
  readonly folder: string;
  /** In force from the next question on. */
  policy: Policy;
  readonly builders: readonly SampleBuilder[];
  /** Somebody with a token; null: without. */
  client(token: string | null): FarmClient;
  token(name: string, role: TokenRole): Promise<string>;
  /** Submits as this person, whose token is made when there is none. */
  submit(definition: Definition, by?: string, priority?: number): Promise<string>;
  /** Puts many into the queue at once, without the way through the API. @returns their jobs */
  enqueue(definitions: readonly Definition[], by?: string, priority?: number): Promise<string[]>;
  /** Runs the reconciler's stages until nothing is left to do; the clock stands. */
  settle(): Promise<void>;
  /** Ends it; the folder stays if it was given. */
  close(): Promise<void>;
}

export interface SampleBuilder {
  readonly name: string;
  /** Of its attestation key. */
  readonly signer: number;
  readonly client: FarmClient;
  readonly transportKey: string;
  readonly transportSpki: Uint8Array;
}

export const CAPABLE: Capabilities = {
  architecture: 'amd64',
  tiers: ['container'],
  cpus: 64,
  cpuFeatures: [],
  memoryMb: 1 << 20,
  limits: { memoryMb: 1 << 20, diskMb: 1 << 24, seconds: 86_400, cpus: 1024 },
  variations: [...DEALT_FACTS],
  slots: 4,
  version: '0.1.0',
};

export function fakeLog(): FakeLog {
  const entries: SignedDocument[] = [];
  const indexes = new Map<string, number>();
  const log: FakeLog = {
    origin: 'log.example/farm',
    key: 'log.example/farm+00000000+AAAA',
    entries,
    failure: null,
    async append(documents) {
      await new Promise((resolve) => setImmediate(resolve));
      if (log.failure !== null) throw log.failure;
      return documents.map((one) => {
        const name = `${one.signer.id} ${documentDigest(one)}`;
        const index = indexes.get(name) ?? entries.push(one) - 1;
        indexes.set(name, index);
        return index;
      });
    },
    ready: () => (log.failure === null ? Promise.resolve() : Promise.reject(log.failure)),
    size: () => Promise.resolve(entries.length),
    read: (path) => Promise.resolve(path === 'checkpoint' ? Buffer.from(`${log.origin}\n${entries.length}\n`) : null),
    async *documents(from): AsyncGenerator<FoundDocument> {
      for (const [index, one] of entries.entries())
        if (index >= from) yield await Promise.resolve({ ...one, index, digest: documentDigest(one), buildId: buildIdOf(one) });
    },
  };
  return log;
}

function buildIdOf({ payload }: SignedDocument): string {
  return /"build_id":"([0-9a-f]{64})"/.exec(Buffer.from(payload).toString('utf8'))?.[1] ?? '';
}

/** @param number of the signer's key */
export function signedJson<T>(number: number, kind: DocumentKind<T>, value: T): SignedDocumentJson {
  return signedBytes(number, kind.payloadType, formatDocument(kind, value));
}

export function signedBytes(number: number, payloadType: string, payload: Uint8Array): SignedDocumentJson {
  const signer = sampleSigner(number);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return { payloadType, payload: base64(payload), signature: base64(signer.sign(payloadType, payload)), key: base64(signer.key.spki) };
}

export interface DefinitionParts {
  readonly version?: string;
  readonly name?: string;
  /** MiB. */
  readonly memory?: number;
  /** Seconds. */
  readonly timeout?: number;
  readonly sourceRef?: string;
  /** A root file system that only the submitter has. */
  readonly carried?: Uint8Array;
}

/** A definition of its own for each version. */
export function definitionOf(parts: DefinitionParts = {}): Definition {
  const ref = parts.sourceRef ?? SOURCE_REF;
  const sha256 = parts.carried === undefined ? 'e'.repeat(64) : createHash('sha256').update(parts.carried).digest('hex');
  const url = parts.carried === undefined ? 'https://host.example/root.tar' : './root.tar';
  const decoded = decodeManifest(
    {
      name: parts.name ?? 'hello',
      version: parts.version ?? '1.0',
      source: { ref },
      environment: { kind: 'rootfs', url, sha256 },
      inputs: [{ file: 'https://host.example/x', sha256: 'f'.repeat(64), to: 'x' }],
      build: { steps: ['make'] },
      outputs: [{ files: 'hello' }],
      resources: { memory_mb: parts.memory ?? 512, timeout: parts.timeout ?? 600 },
    },
    [],
  );
  if (!decoded.ok) throw new TypeError(JSON.stringify(decoded.issues));
  const plain = sampleLock();
  const lock: Lock = {
    ...plain,
    resolves: resolvesDigest(decoded.value),
    source: { ...plain.source, ref, files: plain.source.files.map((one) => ({ ...one, uri: ref })) },
    environment: { kind: 'rootfs', sha256, size: parts.carried?.length ?? 5, uri: url },
  };
  return makeDefinition(decoded.value, lock);
}

export async function sampleFarm(options: SampleOptions = {}): Promise<SampleFarm> {
  const folder = options.folder ?? mkdtempSync(`${tmpdir()}/lockstep-farm-sample-`);
  const clock = options.clock ?? { time: START };
  const now = (): number => clock.time;
  const numbers = Array.from({ length: options.builders ?? 3 }, (_, at) => at);
  const opened = await openDatabase(options.database ?? `${folder}/farm.sqlite`, () => undefined);
  const storage = folderObjects(`${folder}/objects`);
  const log = options.log ?? fakeLog();
  const policy = samplePolicy({
    builders: Array.from({ length: Math.max(LISTED, numbers.length) }, (_, at) => sampleBuilder(`b${at}`, FIRST_BUILDER + at)),
    rules: [sampleRule(options.rule)],
    ...options.policy,
  });
  const farm: Farm = {
    name: 'sample',
    version: '0.1.0',
    database: options.between?.database?.(opened) ?? opened,
    objects: options.between?.objects?.(storage) ?? storage,
    log,
    policy: () => sample.policy,
    coordinatorKey: sampleSigner(COORDINATOR).key.id,
    sign(kind, value) {
      const payload = formatDocument(kind, value);
      const signer = sampleSigner(COORDINATOR);
      return { payloadType: kind.payloadType, payload, signature: signer.sign(kind.payloadType, payload), signer: signer.key };
    },
    quota: uploadQuota(storage, options.limits?.uploadBytes ?? DEFAULT_LIMITS.uploadBytes),
    limits: { ...DEFAULT_LIMITS, rate: { perSecond: 1_000_000, burst: 1_000_000 }, ...options.limits },
    now,
    journal: options.journal ?? silentJournal,
    metrics: makeMetrics(),
    troubles: makeTroubles(),
    replica: 'sample',
  };
  const services: Services = {
    farm,
    authority: await openAuthority(`${folder}/authority`, now),
    transcripts: transcriptHub(farm),
    waiters: leaseWaiters(farm),
    policyFile: (path) => (path === 'metadata/1.root.json' ? Buffer.from('{}') : null),
  };
  const app = farmApp(services, options.oidc ?? null);
  const tokens = new Map<string, string>();
  const builders: SampleBuilder[] = [];
  const sample: SampleFarm = {
    farm,
    services,
    app,
    clock,
    log,
    folder,
    policy,
    builders,
    client: (token) => farmClient(directTransport(app), token),
    token: (name, role) => makeToken(farm, name, role, null),
    async submit(definition, by = 'somebody', priority = 0) {
      const token = tokens.get(by) ?? (await makeToken(farm, by, 'submitter', null));
      tokens.set(by, token);
      const body = { definition: definitionToJson(definition) as never, priority };
      return (await sample.client(token).call('submit', { body })).job;
    },
    enqueue: (definitions, by = 'somebody', priority = 0) =>
      opened.write(async (tx) => {
        const jobs = definitions.map((one) => buildId(one));
        for (const [at, one] of definitions.entries()) {
          const fact = { submission: `${by}-${jobs[at]}`, build_id: jobs[at] ?? '', submitter: by, priority, submitted_at: clock.time };
          const [rule] = sample.policy.rules;
          if (rule !== undefined) await recordSubmission(tx, { schema: 'lockstep-submission/v1', ...fact }, one, rule);
        }
        return jobs;
      }),
    async settle() {
      // In the reconciler's order (reconciler.ts), without its clock.
      for (let done = 1; done > 0; )
        done =
          (await expireLeases(farm)) + (await dispatch(farm)) + (log.failure === null ? await record(farm) : 0) + (await advanceDue(farm));
    },
    async close() {
      services.transcripts.close();
      services.waiters.close();
      await farm.objects.close();
      await farm.database.close();
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
  for (const at of numbers) builders.push(await joinedBuilder(farm, app, at));
  return sample;
}

/** Joined and announced, as if it had enrolled (enrol.test.ts does it as it is done). */
async function joinedBuilder(farm: Farm, app: FarmApp, at: number): Promise<SampleBuilder> {
  const name = `b${at}`;
  const transport = sampleSigner(FIRST_TRANSPORT + at).key;
  const row = { attestation_key: sampleSigner(FIRST_BUILDER + at).key.id, transport_key: transport.id, certificate_expires: farm.now() };
  await farm.database.write((tx) =>
    tx
      .insertInto('builders')
      .values({ name, ...row, state: 'active', capabilities: null, last_seen: null, enrolled_at: farm.now() })
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  );
  const client = farmClient(directTransport(app, transport.id, transport.spki), null);
  await client.call('announce', { body: CAPABLE });
  return { name, signer: FIRST_BUILDER + at, client, transportKey: transport.id, transportSpki: transport.spki };
}

/** Straight into the application. */
export function directTransport(
  app: FarmApp,
  transportKey: string | null = null,
  transportSpki: Uint8Array | null = null,
  address = '192.0.2.1',
): Transport {
  return ({ method, path, headers, body, signal }) =>
    app.fetch(
      new Request(`https://farm.example${path}`, {
        method,
        headers,
        ...(body === null ? {} : { body: new Uint8Array(body) }),
        ...(signal === null ? {} : { signal }),
      }),
      { address, transportKey, transportSpki },
    );
}
