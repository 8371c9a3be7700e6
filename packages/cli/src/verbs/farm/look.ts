/** `lockstep farm status|jobs|builders|why|tokens|audit`: what a farm says of itself. */
import type { JobLine, JobState } from '@lockstep/api/routes/jobs';
import { JOB_STATES } from '@lockstep/api/routes/jobs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type FarmOptions, withFarm } from '../../farm/connect.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { harmlessLine } from '../../show/harmless.ts';

type Options = CommonOptions & FarmOptions;

export function farmStatus(options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client, url }) => {
      const status = await client.call('status');
      const jobs = JOB_STATES.filter((state) => status.jobs[state] > 0).map((state) => `${status.jobs[state]} ${state}`);
      print(
        [
          `${status.name} at ${url}, version ${status.version}`,
          `  jobs      ${jobs.join(', ') || 'none'}`,
          `  builders  ${status.builders.alive} of ${status.builders.all} are here`,
          status.policy === null
            ? '  policy    none is in force'
            : `  policy    ${status.policy.name} version ${status.policy.version}, until ${status.policy.expires}`,
          `  log       ${status.log.origin}, ${status.log.size} entries`,
          `  database  ${status.database}`,
          `  storage   ${status.storage}`,
          ...status.problems.map((one) => `  problem: ${harmlessLine(one)}`),
        ].join('\n'),
        { schema: 'lockstep-farm-status/v1', url, ...status },
      );
      return 0;
    }),
  );
}

export function farmJobs(options: Options & { readonly state?: string; readonly limit: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const state = JOB_STATES.find((one) => one === options.state) ?? null;
      if (options.state !== undefined && state === null)
        throw new LockstepError('USAGE', `--state ${options.state} is none`, `Use one of ${JOB_STATES.join(', ')}.`);
      const { jobs } = await client.call('listJobs', { query: { limit: options.limit, ...(state === null ? {} : { state }) } });
      print(jobs.map(line).join('\n') || 'no jobs', { schema: 'lockstep-farm-jobs/v1', jobs });
      return 0;
    }),
  );
}

function line(job: JobLine): string {
  return `${job.job.slice(0, 12)}  ${job.state.padEnd(9)}  ${job.name} ${job.version}${job.flaky ? ' (flaky)' : ''}  ${harmlessLine(job.reason)}`;
}

export function farmBuilders(options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const { builders } = await client.call('listBuilders');
      const text = builders.map((one) =>
        [
          one.name.padEnd(20),
          (one.state === 'active' ? (one.alive ? 'here' : 'away') : one.state).padEnd(9),
          `${one.running} running`,
          one.capabilities === null ? '' : `${one.capabilities.architecture}, ${one.capabilities.slots} slots`,
          one.listed ? '' : 'NOT LISTED in the policy',
          `key ${one.attestationKey.slice(0, 12)}`,
        ]
          .filter((part) => part !== '')
          .join('  '),
      );
      print(text.join('\n') || 'no builders', { schema: 'lockstep-farm-builders/v1', builders });
      return 0;
    }),
  );
}

const ENDED: readonly JobState[] = ['decided', 'failed', 'cancelled'];

export function farmWhy(job: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const [view, why] = [await client.call('job', { params: { job } }), await client.call('why', { params: { job } })];
      print(
        [
          `${view.job}  ${view.name} ${view.version}`,
          `${view.reason.startsWith(view.state) ? '' : `${view.state}: `}${harmlessLine(view.reason)}${view.flaky ? ' (flaky)' : ''}`,
          ...why.waitsFor.map((one) => `  waits for ${harmlessLine(one)}`),
          ...view.attempts.map(
            (one) =>
              `  attempt ${one.attempt}, round ${one.round}: ${one.builder} ${one.state}${one.failure === null ? '' : `, the ${one.failure.who} failed: ${harmlessLine(one.failure.message)}`}${one.transcriptBytes > 0 ? `, ${one.transcriptBytes} bytes of transcript` : ''}`,
          ),
          ...(view.approval === null ? [] : [`  approved by ${harmlessLine(view.approval)}`]),
          ...view.outputs.map((one) => `  ${one.sha256}  ${one.name}`),
          ...(ENDED.includes(view.state) || why.waitsFor.length > 0 ? [] : ['  nothing is known that it waits for']),
        ].join('\n'),
        { schema: 'lockstep-farm-why/v1', ...view, waitsFor: why.waitsFor },
      );
      return 0;
    }),
  );
}

export function farmAudit(options: Options & { readonly limit: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const { entries } = await client.call('audit', { query: { limit: options.limit } });
      print(
        entries
          .map(
            (one) =>
              `${new Date(one.at).toISOString()}  ${one.status}  ${one.role} ${harmlessLine(one.who)}  ${one.action} ${harmlessLine(one.subject)}`,
          )
          .join('\n'),
        { schema: 'lockstep-farm-audit/v1', entries },
      );
      return 0;
    }),
  );
}

export function farmTokens(options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const { tokens } = await client.call('listTokens');
      print(
        tokens
          .map(
            (one) =>
              `${one.name}  ${one.role}  ${one.revoked ? 'revoked' : one.expiresAt === null ? 'does not expire' : `until ${new Date(one.expiresAt).toISOString()}`}`,
          )
          .join('\n'),
        {
          schema: 'lockstep-farm-tokens/v1',
          tokens,
        },
      );
      return 0;
    }),
  );
}
