/**
 * One build of one definition: bring the inputs, prepare the environment, stage a scratch, run the silo, hash what came
 * out ourselves, attest, keep. The result is remembered by build id, so that the same definition is answered at once.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buildId, type Definition, definitionToJson } from '@lockstep/protocol/definition/definition';
import type { BuildId, DigestSet, Sha256 } from '@lockstep/protocol/digest/digest';
import { formatEnvelope, IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Ambient } from '@lockstep/protocol/variation/deal';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import { spdxOf } from '@lockstep/protocol/sbom/spdx';
import { digestFile } from '@lockstep/store/digests';
import { openAttestationKey } from '../attest/key.ts';
import { type Context, step } from '../context.ts';
import { type PreparedEnvironment, prepareEnvironment } from '../environment/prepare.ts';
import { refuseUnavailable } from '../lock/available.ts';
import { scratchSizeMb } from '../scratch/scratch-size.ts';
import { openScratch } from '../scratch/scratch-volume.ts';
import type { SiloResult } from '../silo/result.ts';
import { failureError, runSilo, transcriptTail } from '../silo/run-silo.ts';
import { ensureInputs } from '../inputs/ensure-inputs.ts';
import { CLOCK_INPUT, type Conditions, jobOf, NORMAL, stagedFiles, stagedName } from './job.ts';

export interface BuiltOutput {
  readonly name: string;
  readonly size: number;
  readonly digest: DigestSet;
  readonly executable: boolean;
}

export interface BuildOutcome {
  readonly buildId: BuildId;
  readonly outputs: readonly BuiltOutput[];
  readonly transcript: Sha256;
  readonly environmentSha256: Sha256 | null;
  readonly result: Pick<SiloResult, 'steps' | 'sandbox' | 'startedOn' | 'finishedOn' | 'peakMemory'>;
}

/** Runs the silo once under the given conditions; outputs and transcript go to the content store. No attestation. */
export async function runBuild(
  context: Context,
  definition: Definition,
  environment: PreparedEnvironment,
  conditions: Conditions,
  title: string,
): Promise<BuildOutcome> {
  const volume = await openScratch(context, scratchSizeMb(definition));
  const scratch = volume.path;
  try {
    const result = await step(context, title, async (item) => {
      for (const [index, file] of stagedFiles(definition).entries())
        context.store.blobs.materialise(file.sha256 as Sha256, `${scratch}/${stagedName(index)}`);
      if (conditions.clock !== null) context.store.blobs.materialise(conditions.clock.library, `${scratch}/${CLOCK_INPUT}`);
      const done = await runSilo(context, scratch, jobOf(definition, environment.rootfs, conditions), item, volume.silo);
      if (done.failure !== null)
        throw failureError('BUILD_FAILED', `${definition.manifest.name} ${definition.manifest.version}`, done.failure, '');
      return done;
    });
    const outputs = result.outputs.map((output): BuiltOutput => {
      const path = `${scratch}/outputs/${output.name}`;
      // Hashed by us, from what lies there: the silo ran foreign code, and its word is not taken.
      const { digest, size } = digestFile(path);
      context.store.blobs.adopt(path, digest.sha256);
      return { name: output.name, size, digest, executable: output.executable };
    });
    const transcript = context.store.blobs.adopt(`${scratch}/transcript`);
    return { buildId: buildId(definition), outputs, transcript, environmentSha256: environment.sha256, result };
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'BUILD_FAILED') context.progress.tail(transcriptTail(scratch));
    throw error;
  } finally {
    await volume.destroy();
  }
}

export interface AttestedBuild {
  readonly buildId: BuildId;
  readonly outputs: readonly BuiltOutput[];
  readonly attestation: Sha256;
  readonly sbom: Sha256;
  readonly transcript: Sha256;
  readonly cached: boolean;
}

const resultCell = (id: BuildId): string => `build-${id}`;

/** Everything up to the sandbox: inputs in the store, environment prepared. */
export async function prepareBuild(context: Context, definition: Definition): Promise<PreparedEnvironment> {
  refuseUnavailable(definition.manifest);
  await ensureInputs(context, definition);
  return prepareEnvironment(context, definition.lock.environment);
}

/** @param fresh build even if this definition was built before */
export async function build(context: Context, definition: Definition, fresh: boolean): Promise<AttestedBuild> {
  const id = buildId(definition);
  // What the machine itself provided is not pinned, so an earlier answer may be about another machine.
  if (!fresh && definition.lock.environment.kind !== 'host') {
    const known = readCached(context, id);
    if (known !== null) return known;
  }
  const environment = await prepareBuild(context, definition);
  const outcome = await runBuild(
    context,
    definition,
    environment,
    NORMAL,
    `build ${definition.manifest.name} ${definition.manifest.version}`,
  );
  return step(context, 'attest', () => attest(context, definition, outcome, null));
}

/** Sign what was seen, and keep it. */
export function attest(context: Context, definition: Definition, outcome: BuildOutcome, variation: Ambient | null): AttestedBuild {
  const { blobs } = context.store;
  const key = openAttestationKey(context.settings.keyFile);
  const sbom = blobs.put(canonicalBytes(spdxOf(definition)));
  blobs.put(canonicalBytes(definitionToJson(definition)));
  const statement = statementOfBuild({
    definition,
    farmId: context.settings.farmId,
    outputs: outcome.outputs,
    sandbox: {
      ...(outcome.result.sandbox ?? { runtime: 'unknown', cgroup: 'unknown', kernel: 'unknown' }),
      silo: context.settings.version,
    },
    environmentSha256: outcome.environmentSha256,
    variation,
    byproducts: [
      { name: 'transcript', sha256: outcome.transcript, size: blobs.size(outcome.transcript) ?? 0 },
      { name: 'sbom', sha256: sbom, size: blobs.size(sbom) ?? 0 },
    ],
    builderVersion: context.settings.version,
    invocationId: randomUUID(),
    startedOn: outcome.result.startedOn,
    finishedOn: outcome.result.finishedOn,
  });
  const payload = canonicalBytes(JSON.parse(JSON.stringify(statement)) as Json);
  const signature = key.sign(pae(IN_TOTO_PAYLOAD, payload));
  const attestation = blobs.put(formatEnvelope({ payloadType: IN_TOTO_PAYLOAD, payload, signatures: [{ keyid: key.id, sig: signature }] }));
  const built = { buildId: outcome.buildId, outputs: outcome.outputs, attestation, sbom, transcript: outcome.transcript, cached: false };
  // What was built under other conditions answers nobody who asked for a build.
  if (variation !== null) return built;
  const record = {
    outputs: outcome.outputs,
    attestation,
    sbom,
    transcript: outcome.transcript,
    key: key.id,
    farmId: context.settings.farmId,
  };
  const cell = resultCell(outcome.buildId);
  context.store.cells.swap(cell, context.store.cells.get(cell), JSON.stringify(record));
  return built;
}

/** Only what is still whole in the store, and was attested under the farm id and key of today, counts. */
function readCached(context: Context, id: BuildId): AttestedBuild | null {
  const text = context.store.cells.get(resultCell(id));
  if (text === null) return null;
  const record = JSON.parse(text) as {
    outputs: BuiltOutput[];
    attestation: Sha256;
    sbom: Sha256;
    transcript: Sha256;
    farmId: string;
    key: string;
  };
  const { blobs } = context.store;
  const whole = [record.attestation, record.sbom, record.transcript, ...record.outputs.map((output) => output.digest.sha256)].every(
    (digest) => blobs.has(digest),
  );
  if (!whole || record.farmId !== context.settings.farmId || record.key !== openAttestationKey(context.settings.keyFile).id) return null;
  return {
    buildId: id,
    outputs: record.outputs,
    attestation: record.attestation,
    sbom: record.sbom,
    transcript: record.transcript,
    cached: true,
  };
}

/** Statement bytes of a stored attestation, for those who want to read it. */
export function readAttestation(context: Context, digest: Sha256): Buffer {
  return readFileSync(context.store.blobs.path(digest));
}
