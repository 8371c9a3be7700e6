/** Wires one process of a farm together: database, storage, log, policy, API, reconciler, and what else runs in it. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { oidcVerifier } from '@lockstep/control-plane/access/oidc';
import { farmApp, type FarmApp } from '@lockstep/control-plane/api/app';
import { leaseWaiters } from '@lockstep/control-plane/api/lease-waiters';
import type { Services } from '@lockstep/control-plane/api/request';
import { type FarmServer, startServer } from '@lockstep/control-plane/api/server';
import { type Database, openDatabase } from '@lockstep/control-plane/database/database';
import { uploadQuota } from '@lockstep/control-plane/content/upload-quota';
import { openAuthority } from '@lockstep/control-plane/enrolment/authority';
import type { Farm, FarmLimits } from '@lockstep/control-plane/farm';
import { errorFields, type Journal } from '@lockstep/control-plane/observe/journal';
import { makeMetrics } from '@lockstep/control-plane/observe/metrics';
import { makeTroubles } from '@lockstep/control-plane/observe/troubles';
import { type Reconciler, startReconciler } from '@lockstep/control-plane/reconcile/reconciler';
import { transcriptHub } from '@lockstep/control-plane/transcripts/hub';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { openLogHome, openSharedLogHome } from '@lockstep/log/sequence/log-home';
import { localWitnesses } from '@lockstep/log/witness/local-client';
import { openWitness } from '@lockstep/log/witness/witness-home';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import { patientObjects } from '@lockstep/store/objects/patient-objects';
import { openObjects } from '@lockstep/store/objects/open-objects';
import { probeObjects } from '@lockstep/store/objects/probe';
import type { Policy } from '@lockstep/protocol/policy/policy';
import type { Store } from '@lockstep/store/store';
import { readTrustedPolicy } from '../trust/trusted-policy.ts';
import { renewCurrency } from '../trust/tuf-repository.ts';
import { VERSION } from '../version.ts';
import type { FarmConfig, FarmHome } from './farm-config.ts';
import { type SequencedLog, sequencedLog } from './sequenced-log.ts';

export interface OpenFarm {
  readonly farm: Farm;
  readonly services: Services;
  readonly app: FarmApp;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly journal: Journal;
  /** Keeps which versions of the policy were seen. */
  readonly store: Store;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Stands between the farm and what it keeps its facts in: tests let it fail there. */
  readonly between?: {
    readonly database?: (real: Database) => Database;
    readonly objects?: (real: Objects) => Objects;
    readonly log?: (real: SequencedLog) => SequencedLog;
  };
}

/** Milliseconds after which the policy is read again: a new version is in force then. */
const POLICY_AGE = 30_000;

/** @throws LockstepError FARM_UNUSABLE, HOST_CANNOT, LOG_UNUSABLE, POLICY_UNTRUSTED */
export async function openFarm(home: FarmHome, options: OpenOptions): Promise<OpenFarm> {
  const { journal, now } = options;
  const { between } = options;
  const opened = await openDatabase(databaseOf(home), (error) => journal('warn', 'the database', errorFields(error)));
  const database = between?.database?.(opened) ?? opened;
  // What is open has to be closed when the rest cannot be opened: a connection that listens would keep the process.
  const opening: { close(): unknown }[] = [database];
  try {
    const storage = await openObjects(storageOf(home));
    opening.unshift(storage);
    await probeObjects(storage);
    const objects = patientObjects(between?.objects?.(storage) ?? storage);
    const sequenced = await openLog(home, objects, now);
    opening.unshift(sequenced);
    return await assemble(home, options, { database, objects, log: between?.log?.(sequenced) ?? sequenced });
  } catch (error) {
    for (const one of opening)
      await Promise.resolve(one.close()).catch((failed: unknown) => journal('warn', 'closing', errorFields(failed)));
    throw error;
  }
}

async function assemble(
  home: FarmHome,
  options: OpenOptions,
  { database, objects, log }: { readonly database: Database; readonly objects: Objects; readonly log: SequencedLog },
): Promise<OpenFarm> {
  const { journal, now } = options;
  const { config, at } = home;
  const farm: Farm = {
    name: config.name,
    version: VERSION,
    database,
    objects,
    log,
    policy: policyReader(home, options),
    coordinatorKey: coordinatorId(at(config.coordinator)),
    sign: (kind, value) => signDocument(at(config.coordinator), kind, value),
    quota: uploadQuota(objects, limitsOf(config).uploadBytes),
    limits: limitsOf(config),
    now,
    journal,
    metrics: makeMetrics(),
    troubles: makeTroubles(),
    replica: `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`,
  };
  farm.policy();
  const services: Services = {
    farm,
    authority: await openAuthority(at(config.authority), now),
    transcripts: transcriptHub(farm),
    waiters: leaseWaiters(farm),
    policyFile: (path) => readPublic(`${at(config.policy)}/repository/${path}`),
  };
  return {
    farm,
    services,
    app: farmApp(services, oidcVerifier(config.oidc, now)),
    async close() {
      services.transcripts.close();
      services.waiters.close();
      await log.close();
      await objects.close();
      await database.close();
    },
  };
}

function coordinatorId(file: string): string {
  // Where it is missing none is made: the policy would not list it.
  if (!existsSync(file))
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `${file} does not exist`,
      'Copy the coordinator’s key there, or name it in farm.toml (coordinator).',
    );
  return openAttestationKey(file).id;
}

export interface RunningApi {
  readonly server: FarmServer;
  readonly reconciler: Reconciler;
  close(): Promise<void>;
}

/** API and reconciler of an opened farm. */
export async function startApi({ farm, services, app }: OpenFarm, home: FarmHome): Promise<RunningApi> {
  const [host, port] = addressOf(home.config.listen);
  const identity = await services.authority.serverIdentity(home.config.names);
  const server = await startServer(farm, app, {
    host,
    port,
    // The authority is shown too: whoever joins compares its fingerprint.
    identity: { certificate: `${identity.certificate}\n${services.authority.certificate}`, key: identity.key },
    authority: services.authority.certificate,
  });
  const reconciler = startReconciler(farm);
  return {
    server,
    reconciler,
    async close() {
      // First whoever waits for work, then whoever is being answered, then the work itself.
      services.waiters.close();
      services.transcripts.close();
      await server.close();
      await reconciler.close();
    },
  };
}

export function databaseOf({ config, at }: FarmHome, env: Readonly<Record<string, string | undefined>> = process.env): string {
  const where = env['LOCKSTEP_DATABASE'] ?? config.database;
  return /^postgres(?:ql)?:\/\//.test(where) ? where : at(where);
}

export function storageOf({ config, at }: FarmHome): string {
  return /^[a-z0-9]+:\/\//.test(config.storage) ? config.storage : at(config.storage);
}

async function openLog({ config, at }: FarmHome, objects: Farm['objects'], now: () => number): Promise<SequencedLog> {
  const log = config.log_in === 'storage' ? openSharedLogHome(at(config.log), objects, 'log') : openLogHome(at(config.log));
  const own = config.witness === '' ? [] : [openWitness(at(config.witness), null, [log.key], () => now() / 1000)];
  return sequencedLog(log, log.witnesses === null ? null : localWitnesses(log.witnesses, log.origin, log.source, own));
}

function policyReader(home: FarmHome, { store, now, journal }: OpenOptions): () => Policy {
  const { config, at } = home;
  let read: { readonly policy: Policy; readonly at: number; readonly until: number } | null = null;
  return () => {
    const time = now();
    if (read !== null && time - read.at < POLICY_AGE && time >= read.at) return read.policy;
    try {
      renewWhereKeysAre(at(config.policy), time / 1000, journal);
      const { policy, currentUntil } = readTrustedPolicy(at(config.root), at(config.policy), store.cells, time / 1000);
      if (currentUntil <= time / 1000)
        throw new LockstepError(
          'POLICY_UNTRUSTED',
          'Nothing says any more that the policy is current',
          'Renew it with "lockstep policy sign", or leave the snapshot and timestamp keys with the farm.',
        );
      if (read?.policy.version !== policy.version) journal('info', 'policy', { name: policy.name, version: policy.version });
      read = { policy, at: time, until: currentUntil * 1000 };
    } catch (error) {
      // A file that is being replaced may be read again in a moment; what has expired is not used, whatever happens.
      if (read === null || read.until <= time || Date.parse(read.policy.expires) <= time) throw error;
      journal('error', 'the policy could not be read again', errorFields(error));
      read = { ...read, at: time };
    }
    return read.policy;
  };
}

/** Snapshot and timestamp keys may be with a farm: they say what is current, and nothing else. */
function renewWhereKeysAre(folder: string, now: number, journal: Journal): void {
  if (
    !['snapshot', 'timestamp'].every((role) => existsSync(`${folder}/keys/${role}-1.pem`)) ||
    !existsSync(`${folder}/repository/metadata/timestamp.json`)
  )
    return;
  if (renewCurrency(folder, now)) journal('info', 'snapshot and timestamp of the policy are renewed');
}

function limitsOf({ limits, public: isPublic }: FarmConfig): FarmLimits {
  return {
    queue: limits.queue,
    leaseSeconds: limits.lease_seconds,
    aliveSeconds: limits.alive_seconds,
    revealSeconds: limits.reveal_seconds,
    prepareSeconds: limits.prepare_seconds,
    rounds: limits.rounds,
    spares: limits.spares,
    backoffSeconds: limits.backoff_seconds,
    uploadBytes: limits.upload_mb * 2 ** 20,
    rate: { perSecond: limits.requests_per_second, burst: limits.requests_at_once },
    isPublic,
  };
}

export function addressOf(listen: string): [string, number] {
  const match = /^([0-9a-zA-Z.:[\]-]+):([0-9]{1,5})$/.exec(listen);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535)
    throw new LockstepError('USAGE', `${JSON.stringify(listen)} is no address`, 'Write HOST:PORT; port 0 takes any free one.');
  return [(match[1] ?? '').replace(/^\[|\]$/g, ''), port];
}

function readPublic(path: string): Uint8Array | null {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(path) : null;
}
