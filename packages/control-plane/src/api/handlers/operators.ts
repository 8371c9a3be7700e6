/** What operators do, and what anybody may know. */
import { capabilities } from '@lockstep/api/routes/builders';
import type { operatorRoutes } from '@lockstep/api/routes/operators';
import { openApi } from '@lockstep/api/openapi';
import type { TokenRole } from '@lockstep/api/role';
import { takeApproval } from '../../rounds/approvals.ts';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { authorize, type Principal } from '../../access/principal.ts';
import { makeToken, revokeToken } from '../../access/tokens.ts';
import { pinKey } from '../../content/keys.ts';
import { makeJoinToken } from '../../enrolment/enrol.ts';
import { CHANGED, type Farm } from '../../farm.ts';
import { collectGarbage } from '../../garbage/collect.ts';
import { findJob } from '../../jobs/find-job.ts';
import { farmProblems } from '../../jobs/why.ts';
import { countJobs } from '../../reconcile/tidy.ts';
import { keepDocument, readSigned } from '../../rounds/documents.ts';
import { bytesResponse, jsonResponse } from '../answer.ts';
import type { Handlers } from '../request.ts';
import { READERS } from '@lockstep/api/role';

const MAX_LOG_FILE = 32 << 20;
const MOST_AUDITED = 1000;
/** What never changes may be kept by whoever fetched it. */
const FOREVER = { 'cache-control': 'public, max-age=31536000, immutable' };

export const operatorHandlers: Handlers<keyof typeof operatorRoutes> = {
  health: () => ({ status: 'ok' }),
  ready: async ({ farm }) => {
    const checks = await readiness(farm);
    // Without witnesses nothing is logged, and submissions are taken all the same.
    const ready = ['database', 'storage', 'policy'].every((name) => checks[name] === 'ok');
    // The status is what a load balancer reads; the schema is the same.
    return ready ? { ready, checks } : (jsonResponse({ ready, checks }, 503) as never);
  },
  openapi: ({ farm }) => openApi(farm.version) as never,
  async metrics({ farm }) {
    return new Response(await farm.metrics.text(), { headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } });
  },
  async logFile({ farm }, { params, principal }) {
    requireReader(farm, principal);
    const bytes = isPublicPath(params.path) ? await farm.log.read(params.path, MAX_LOG_FILE) : null;
    if (bytes === null) throw new LockstepError('NOT_FOUND', `The log has no file ${params.path}`, 'See spec/log.md for what there is.');
    return bytesResponse(bytes, params.path === 'checkpoint' ? { 'cache-control': 'no-cache' } : FOREVER);
  },
  policyFile({ farm, policyFile }, { params, principal }) {
    requireReader(farm, principal);
    const bytes = isPublicPath(params.path) ? policyFile(params.path) : null;
    if (bytes === null)
      throw new LockstepError('NOT_FOUND', `The policy has no file ${params.path}`, 'It has metadata/ and targets/ (spec/policy.md).');
    return bytesResponse(bytes, { 'cache-control': 'no-cache' });
  },
  async status({ farm }) {
    const policy = policyInForce(farm);
    const counts = await countJobs(farm);
    const { reads } = farm.database;
    const all = await reads.selectFrom('builders').select(['last_seen']).where('state', '!=', 'retired').execute();
    const count = (state: string): number => counts.get(state) ?? 0;
    return {
      name: farm.name,
      version: farm.version,
      database: farm.database.name,
      storage: farm.objects.name,
      policy: policy === null ? null : { name: policy.name, version: policy.version, sha256: policy.sha256, expires: policy.expires },
      log: { origin: farm.log.origin, key: farm.log.key, size: await farm.log.size() },
      jobs: {
        queued: count('queued'),
        building: count('building'),
        revealing: count('revealing'),
        disputed: count('disputed'),
        decided: count('decided'),
        failed: count('failed'),
        cancelled: count('cancelled'),
      },
      builders: { alive: all.filter((one) => isAlive(farm, one.last_seen)).length, all: all.length },
      problems: await farmProblems(farm),
    };
  },
  async listBuilders({ farm }) {
    const { reads } = farm.database;
    const listed = new Set<string>(policyInForce(farm)?.builders.map((one) => one.key.id) ?? []);
    const running = await reads
      .selectFrom('attempts')
      .select((expression) => ['builder', expression.fn.countAll<number>().as('count')])
      .where('state', '=', 'leased')
      .groupBy('builder')
      .execute();
    const counts = new Map(running.map((one) => [one.builder, Number(one.count)]));
    const rows = await reads.selectFrom('builders').selectAll().orderBy('name').execute();
    return {
      builders: rows.map((row) => ({
        name: row.name,
        state: row.state as 'active',
        attestationKey: row.attestation_key,
        transportKey: row.transport_key,
        listed: listed.has(row.attestation_key),
        alive: isAlive(farm, row.last_seen),
        lastSeen: row.last_seen,
        certificateExpires: row.certificate_expires,
        running: counts.get(row.name) ?? 0,
        capabilities: row.capabilities === null ? null : capabilities.parse(JSON.parse(row.capabilities)),
      })),
    };
  },
  async setBuilder({ farm }, { params, body }) {
    const { numUpdatedRows } = await farm.database.write((tx) =>
      tx
        .updateTable('builders')
        .set({ state: body.state })
        .where('name', '=', params.builder)
        .where('state', '!=', 'retired')
        .executeTakeFirst(),
    );
    if (Number(numUpdatedRows) === 0)
      throw new LockstepError(
        'NOT_FOUND',
        `There is no builder ${params.builder} that is not retired`,
        'See "lockstep farm builders"; who is retired joins anew.',
      );
    farm.database.notify(CHANGED.jobs);
    return {};
  },
  makeJoinToken: async ({ farm, authority }, { body }) => ({
    ...(await makeJoinToken(farm, body.name, body.fingerprint, body.minutes)),
    authority: authority.fingerprint,
  }),
  async setShare({ farm }, { body }) {
    await farm.database.write((tx) =>
      tx
        .insertInto('shares')
        .values({ submitter: body.submitter, share: body.share, used: 0 })
        .onConflict((conflict) => conflict.column('submitter').doUpdateSet({ share: body.share }))
        .execute(),
    );
    return {};
  },
  async listTokens({ farm }) {
    const rows = await farm.database.reads.selectFrom('tokens').selectAll().orderBy('name').execute();
    return {
      tokens: rows.map((row) => ({
        name: row.name,
        role: row.role as TokenRole,
        createdAt: row.created_at,
        expiresAt: row.expires_at,
        revoked: row.revoked_at !== null,
      })),
    };
  },
  makeToken: async ({ farm }, { body }) => ({ token: await makeToken(farm, body.name, body.role, body.days) }),
  async revokeToken({ farm }, { params }) {
    await revokeToken(farm, params.token);
    return {};
  },
  async submitDocument({ farm }, { body }) {
    const document = readSigned(body);
    const resolution = readDocument(RESOLUTION, document.payloadType, document.payload);
    const members = farm.policy().arbiters?.members ?? [];
    if (resolution === null || !members.some((one) => one.key.id === document.signer.id))
      throw new LockstepError(
        'DOCUMENT_INVALID',
        'The farm logs resolutions of the policy’s arbiters only',
        'Sign it with the key of an arbiter: lockstep quorum resolve.',
      );
    const { job } = await findJob(farm.database.reads, resolution.build_id);
    await farm.database.write(async (tx) => {
      await keepDocument(tx, farm, job, document);
      await tx.updateTable('jobs').set({ due: 1 }).where('job', '=', job).execute();
    });
    farm.database.notify(CHANGED.jobs);
    return { job };
  },
  async submitApproval({ farm }, { body }) {
    return takeApproval(farm, body);
  },
  async audit({ farm }, { query }) {
    let search = farm.database.reads
      .selectFrom('audit')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(Math.min(MOST_AUDITED, query.limit ?? 100));
    if (query.before !== undefined) search = search.where('id', '<', query.before);
    return { entries: await search.execute() };
  },
  async pin({ farm }, { params, body, principal }) {
    const { job } = await findJob(farm.database.reads, params.job);
    await farm.objects.put(
      pinKey(job),
      canonicalBytes({ schema: 'lockstep-pin/v1', build_id: job, reason: body.reason, by: principal.name, pinned_at: farm.now() }),
    );
    return {};
  },
  async unpin({ farm }, { params }) {
    const { job } = await findJob(farm.database.reads, params.job);
    await farm.objects.remove(pinKey(job));
    return {};
  },
  collectGarbage: ({ farm }, { body }) => collectGarbage(farm, body.dryRun, body.olderThanHours),
};

/** null when there is none: the farm says so among its problems. */
function policyInForce(farm: Farm): Policy | null {
  try {
    return farm.policy();
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}

function isAlive(farm: Farm, lastSeen: number | null): boolean {
  return (lastSeen ?? 0) >= farm.now() - farm.limits.aliveSeconds * 1000;
}

function requireReader(farm: Farm, principal: Principal): void {
  if (!farm.limits.isPublic) authorize(principal, [...READERS, 'builder']);
}

/** Names of files as logs and policies have them; nothing that leads elsewhere. */
function isPublicPath(path: string): boolean {
  return /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/.test(path) && !path.split('/').some((part) => part.startsWith('.'));
}

async function readiness(farm: Farm): Promise<Record<string, string>> {
  const check = async (work: () => unknown): Promise<string> => {
    try {
      await work();
      return 'ok';
    } catch (error) {
      farm.journal('warn', 'not ready', { error: error instanceof Error ? error.message : String(error) });
      // Details are for the journal: anybody may ask this.
      return error instanceof LockstepError ? error.code : 'failed';
    }
  };
  return {
    database: await check(() => farm.database.reads.selectFrom('facts').select('name').limit(1).execute()),
    storage: await check(() => farm.objects.size('ready')),
    log: await check(() => farm.log.size()),
    policy: await check(() => farm.policy()),
    ...Object.fromEntries(farm.troubles.list().map(({ of, code }) => [`stage ${of}`, code])),
  };
}
