/** A farm with one builder outside of it, which holds a lease and does whatever a measurement wants of it. */
import { join, transportKeyFile } from '@lockstep/builder/node/join';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { type Definition, definitionToJson, makeDefinition } from '@lockstep/protocol/definition/definition';
import { sampleLock } from '@lockstep/protocol/definition/samples';
import { resolvesDigest } from '@lockstep/protocol/lock/lock';
import { decodeManifest } from '@lockstep/protocol/manifest/manifest';
import { readFileSync } from 'node:fs';
import { BenchError } from './measure.ts';
import { asOperator, changeConfig, type FarmPlan, type RunningFarm } from './running-farm.ts';
import { CAPABILITIES } from './simulated-builders.ts';

const LIMITS = `
[limits]
requests_per_second = 1000000
requests_at_once = 1000000
lease_seconds = 3600
alive_seconds = 3600
`;
/** One builder decides alone (`farm init --home`). Its key is taken over by the builder outside. */
const INIT = ['--name', 'bench', '--home'];
const BUILDER = 'builder-1';
/** Milliseconds without a byte: a large input is hashed and put together before the answer. */
const PATIENCE = 600_000;
const WAIT_SECONDS = 20;

/** @param change of farm.toml besides */
export function builderlessFarm(folder: string, change: (text: string) => string = (text) => text): FarmPlan {
  return { folder, init: INIT, change: changeConfig((text) => change(text.replace(/\[\[builder\]\][^[]*/g, '')) + LIMITS) };
}

export interface Connected {
  readonly client: FarmClient;
  close(): void;
}

function connectAs(farm: RunningFarm, token: string): Connected {
  const transport = httpsTransport({ url: farm.url, authority: farm.authority, identity: null, timeout: PATIENCE });
  return { client: farmClient(transport.send, token), close: () => transport.close() };
}

/** A new token of that role. */
export async function connectSubmitter(farm: RunningFarm, name: string): Promise<Connected & { readonly token: string }> {
  const { token } = await asOperator(farm, (client) => client.call('makeToken', { body: { name, role: 'submitter', days: 1 } }));
  return { ...connectAs(farm, token), token };
}

/** Over the farm's enrolment route. */
export async function connectBuilder(farm: RunningFarm): Promise<Connected> {
  const keyFile = `${farm.folder}/keys/${BUILDER}.pem`;
  const transportFile = transportKeyFile(keyFile);
  const fingerprint = openAttestationKey(transportFile).id;
  const { certificate } = await asOperator(farm, async (client) => {
    const { token } = await client.call('makeJoinToken', { body: { name: BUILDER, fingerprint } });
    return join(client, keyFile, BUILDER, token);
  });
  const identity = { certificate, key: readFileSync(transportFile, 'utf8') };
  const transport = httpsTransport({ url: farm.url, authority: farm.authority, identity: () => identity, timeout: PATIENCE });
  const client = farmClient(transport.send, null);
  await client.call('announce', { body: CAPABILITIES });
  return { client, close: () => transport.close() };
}

export interface HeldLease {
  readonly attempt: number;
  readonly headers: Readonly<Record<string, string>>;
}

export async function leaseOne(submitter: FarmClient, builder: FarmClient, definition: Definition): Promise<HeldLease> {
  await submitter.call('submit', { body: { definition: definitionToJson(definition) as never } });
  const { leases } = await builder.call('lease', { body: { free: 1, waitSeconds: WAIT_SECONDS } });
  const [lease] = leases;
  if (lease === undefined) throw new BenchError('the builder was given no lease');
  return { attempt: lease.attempt, headers: { 'lockstep-lease': lease.token } };
}

/** The slot is free again. */
export async function giveBack(builder: FarmClient, { attempt, headers }: HeldLease): Promise<void> {
  const body = { who: 'build', code: 'BUILD_FAILED', message: 'simulated', hint: '' } as const;
  await builder.call('fail', { params: { attempt: String(attempt) }, headers, body });
}

/** @param carried a root file system that only the submitter has; without one, nothing has to be uploaded */
export function oneDefinition(name: string, carried: { readonly sha256: string; readonly size: number } | null): Definition {
  const url = carried === null ? 'https://host.example/root.tar' : './root.tar';
  const sha256 = carried?.sha256 ?? 'e'.repeat(64);
  const plain = sampleLock();
  const decoded = decodeManifest(
    {
      name,
      version: '1.0',
      source: { ref: plain.source.ref },
      environment: { kind: 'rootfs', url, sha256 },
      inputs: [{ file: 'https://host.example/x', sha256: 'f'.repeat(64), to: 'x' }],
      build: { steps: ['make'] },
      outputs: [{ files: 'hello' }],
    },
    [],
  );
  if (!decoded.ok) throw new TypeError(JSON.stringify(decoded.issues));
  const environment = { kind: 'rootfs', sha256, size: carried?.size ?? 5, uri: url } as const;
  return makeDefinition(decoded.value, { ...plain, resolves: resolvesDigest(decoded.value), environment });
}
