/** What a builder would have made of a job, made in this process: statements that differ and agree on the outputs. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { AttestationKey } from '@lockstep/builder/attest/key';
import type { Capabilities, Lease } from '@lockstep/api/routes/builders';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { type Sha256, digestBytes } from '@lockstep/protocol/digest/digest';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import type { Ambient } from '@lockstep/protocol/variation/deal';
import type { TestJob } from './definitions.ts';

export const HAND_CAPABILITIES: Capabilities = {
  architecture: 'amd64',
  tiers: ['container'],
  cpus: 2,
  cpuFeatures: [],
  memoryMb: 4096,
  limits: { memoryMb: 4096, diskMb: 100_000, seconds: 3600, cpus: 64 },
  variations: ['cpu-model', 'memory'],
  slots: 2,
  version: 'by hand',
};

export interface HandBuilt {
  readonly salt: string;
  readonly digest: Sha256;
  readonly statement: SignedDocumentJson;
  readonly blobs: ReadonlyMap<string, Buffer>;
  commitment(opening: string, key: string): Sha256;
}

export function handBuilt(job: TestJob, key: AttestationKey, ambient: Lease['ambient']): HandBuilt {
  const out = Buffer.alloc(40, `${/emit (\S+)/.exec(JSON.stringify(job.definition))?.[1] ?? ''}\n`);
  const transcript = Buffer.from(`by hand ${randomUUID()}\n`);
  const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  const now = Math.floor(Date.now() / 1000);
  const statement = statementOfBuild({
    definition: job.definition,
    farmId: 'faults-home-1',
    outputs: [{ name: 'out', digest: digestBytes(out) }],
    sandbox: { runtime: 'fake', cgroup: 'none', kernel: 'none', silo: 'by hand' },
    environmentSha256: digestOf(Buffer.from('the environment of this test')) as Sha256,
    variation: ambient as Ambient,
    byproducts: [
      { name: 'transcript', sha256: digestOf(transcript), size: transcript.length },
      { name: 'sbom', sha256: digestOf(transcript), size: transcript.length },
    ],
    builderVersion: 'by hand',
    invocationId: randomUUID(),
    startedOn: now,
    finishedOn: now,
  } as Parameters<typeof statementOfBuild>[0]);
  const payload = canonicalBytes(JSON.parse(JSON.stringify(statement)) as Json);
  const signed = pae(IN_TOTO_PAYLOAD, payload);
  const digest = digestBytes(signed).sha256;
  const salt = randomBytes(32).toString('hex');
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    salt,
    digest,
    statement: { payloadType: IN_TOTO_PAYLOAD, payload: base64(payload), signature: base64(key.sign(signed)), key: base64(key.spki) },
    blobs: new Map([out, transcript].map((one) => [digestOf(one), one])),
    commitment: (opening, id) => commitmentOf({ opening: opening as Sha256, key: id as Sha256, salt, statement: digest }),
  };
}
