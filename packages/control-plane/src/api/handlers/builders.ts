/** What builders ask. */
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { decodeDefinition } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { builderRoutes } from '@lockstep/api/routes/builders';
import { definitionKey, inputKey } from '../../content/keys.ts';
import { finishResult, putUploadPart, uploadState } from '../../content/results.ts';
import { enrol, renew } from '../../enrolment/enrol.ts';
import { CHANGED, type Farm } from '../../farm.ts';
import { dutiesOf } from '../../leases/duties.ts';
import { type LeaseProof, readHeldAttempt } from '../../leases/held.ts';
import { failAttempt, heartbeat } from '../../leases/keep.ts';
import { type BuilderIdentity, leaseTasks } from '../../leases/lease.ts';
import { finishRepeat } from '../../rounds/repeat.ts';
import { commit, reveal } from '../../rounds/take-part.ts';
import { appendTranscript } from '../../transcripts/append.ts';
import { bytesResponse, streamResponse } from '../answer.ts';
import { type Handlers, proofOf } from '../request.ts';
import type { Principal } from '../../access/principal.ts';

const MAX_DEFINITION = 16 << 20;

export const builderHandlers: Handlers<keyof typeof builderRoutes> = {
  enrol: ({ farm, authority }, { body }) => enrol(farm, authority, body),
  renew: ({ farm, authority }, { principal, transportSpki }) => {
    if (transportSpki === null)
      throw new LockstepError(
        'FORBIDDEN',
        'A certificate is renewed over a connection with it',
        'Connect with the certificate of the builder.',
      );
    return renew(farm, authority, builderOf(principal), transportSpki);
  },
  async announce({ farm }, { body, principal }) {
    const builder = builderOf(principal);
    const can = JSON.stringify(body);
    const before = await farm.database.reads
      .selectFrom('builders')
      .select(['capabilities', 'last_seen'])
      .where('name', '=', builder.name)
      .executeTakeFirst();
    await farm.database.write(async (tx) => {
      await tx.updateTable('builders').set({ capabilities: can, last_seen: farm.now() }).where('name', '=', builder.name).execute();
      // It can do what it could not before, or it was away: what waits for builders is looked at again.
      if (before?.capabilities !== can || isAway(farm, before.last_seen))
        await tx
          .updateTable('jobs')
          .set({ not_before: 0 })
          .where('state', '=', 'queued')
          .where('ready', '=', 0)
          .where('failures', '=', 0)
          .execute();
    });
    const { state } = await farm.database.reads
      .selectFrom('builders')
      .select('state')
      .where('name', '=', builder.name)
      .executeTakeFirstOrThrow();
    farm.database.notify(CHANGED.jobs);
    return {
      name: builder.name,
      listed: farm.policy().builders.some((one) => one.key.id === builder.attestationKey),
      draining: state !== 'active',
      heartbeatSeconds: farm.limits.leaseSeconds / 3,
    };
  },
  async lease({ farm, waiters }, { body, principal, signal }) {
    const builder = builderOf(principal);
    await noteAlive(farm, builder);
    // Whoever waits longer than that would count as away.
    const until = farm.now() + Math.min(body.waitSeconds, farm.limits.aliveSeconds / 3) * 1000;
    for (;;) {
      const ticket = waiters.ticket(builder.name);
      const [leases, duties] = await Promise.all([
        leaseTasks(farm, builder, builder.isActive ? body.free : 0),
        dutiesOf(farm, builder, body.holds),
      ]);
      const left = until - farm.now();
      if (leases.length > 0 || duties.length > 0 || left <= 0 || signal.aborted || waiters.closed()) {
        ticket.drop();
        return { leases, duties };
      }
      await ticket.wait(left, signal);
    }
  },
  async definition({ farm }, call) {
    const attempt = await readHeldAttempt(farm.database, proofOf(call), ['leased', 'committed', 'revealed']);
    return bytesResponse(await definitionBytes(farm, attempt.job));
  },
  async input({ farm }, call) {
    const { sha256 } = call.params;
    const attempt = await readHeldAttempt(farm.database, proofOf(call), ['leased']);
    await requireCarried(farm, attempt.job, sha256);
    const size = await farm.objects.size(inputKey(sha256));
    const stream = size === null ? null : await farm.objects.stream(inputKey(sha256));
    if (size === null || stream === null)
      throw new LockstepError(
        'NOT_FOUND',
        `The input sha256:${sha256} is no longer in the farm’s storage`,
        'Submit again: that uploads it.',
      );
    return streamResponse(stream, size);
  },
  heartbeat: async ({ farm }, call) => {
    const proof = proofOf(call);
    await noteAlive(farm, proof.builder);
    return { expiresAt: await heartbeat(farm, proof) };
  },
  appendTranscript: async ({ farm }, call) => ({ next: await appendTranscript(farm, proofOf(call), call.params.offset, call.body) }),
  async commit({ farm }, call) {
    await commit(farm, proofOf(call), call.body);
    return {};
  },
  reveal: async ({ farm }, call) => ({ wanted: await reveal(farm, proofOf(call), call.body) }),
  uploadState: ({ farm }, call) => uploadState(farm, proofOf(call), call.params.sha256),
  async putUploadPart({ farm }, call) {
    await putUploadPart(farm, proofOf(call), call.params.sha256, call.params.part, call.body);
    return {};
  },
  async finishUpload({ farm }, call) {
    await finishResult(farm, proofOf(call), call.params.sha256, call.body.size, call.body.parts);
    return {};
  },
  repeated: async ({ farm }, call) => ({ same: await finishRepeat(farm, proofOf(call), call.body.outputs) }),
  async fail({ farm }, call) {
    await failAttempt(farm, proofOf(call) satisfies LeaseProof, call.body);
    return {};
  },
};

function builderOf(principal: Principal): BuilderIdentity {
  if (principal.builder === null)
    throw new LockstepError('FORBIDDEN', 'Only builders do this', 'Connect with the certificate of a builder.');
  return principal.builder;
}

async function noteAlive(farm: Farm, builder: BuilderIdentity): Promise<void> {
  const now = farm.now();
  if ((builder.lastSeen ?? 0) > now - (farm.limits.aliveSeconds * 1000) / 6) return;
  await farm.database.write((tx) => tx.updateTable('builders').set({ last_seen: now }).where('name', '=', builder.name).execute());
  if (!isAway(farm, builder.lastSeen)) return;
  await farm.database.write((tx) =>
    tx.updateTable('jobs').set({ not_before: 0 }).where('state', '=', 'queued').where('ready', '=', 0).where('failures', '=', 0).execute(),
  );
  farm.database.notify(CHANGED.jobs);
}

function isAway(farm: Farm, lastSeen: number | null): boolean {
  return (lastSeen ?? 0) < farm.now() - farm.limits.aliveSeconds * 1000;
}

async function definitionBytes(farm: Farm, job: string): Promise<Uint8Array> {
  const bytes = await farm.objects.get(definitionKey(job), MAX_DEFINITION);
  if (bytes === null)
    throw new LockstepError('NOT_FOUND', `The definition of ${job.slice(0, 12)} is not in the farm’s storage`, 'Submit it again.');
  return bytes;
}

async function requireCarried(farm: Farm, job: string, sha256: string): Promise<void> {
  const decoded = decodeDefinition(parseJson(await definitionBytes(farm, job), 'definition'));
  if (!decoded.ok || !carriedInputs(decoded.value).some((one) => one.sha256 === sha256))
    throw new LockstepError(
      'NOT_FOUND',
      `sha256:${sha256} is no input that the farm has for this job`,
      'Fetch what the lock names from where it comes from.',
    );
}
