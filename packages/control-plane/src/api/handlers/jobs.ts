/** Submissions and jobs. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { JobState } from '@lockstep/api/routes/jobs';
import type { jobRoutes } from '@lockstep/api/routes/jobs';
import type { Principal } from '../../access/principal.ts';
import { finishInput, inputState, putInputPart } from '../../content/inputs.ts';
import { resultKey } from '../../content/keys.ts';
import type { Farm } from '../../farm.ts';
import { cancelJob, retryJob } from '../../jobs/change.ts';
import { findJob, type Job } from '../../jobs/find-job.ts';
import { submit, type Submitter } from '../../jobs/submit.ts';
import { jobLine, jobView } from '../../jobs/view.ts';
import { whyWaits } from '../../jobs/why.ts';
import { readTranscript, transcriptState } from '../../transcripts/read.ts';
import { bytesResponse, streamResponse } from '../answer.ts';
import { eventStream } from '../event-stream.ts';
import type { Handlers } from '../request.ts';

const MOST_JOBS = 500;
const ENDED: readonly JobState[] = ['decided', 'failed', 'cancelled'];
/** Milliseconds: in case an event was lost. */
const LOOK_AGAIN = 3000;

export const jobHandlers: Handlers<keyof typeof jobRoutes> = {
  submit: ({ farm }, { body, principal }) => submit(farm, submitterOf(principal), body.definition, body.priority),
  inputState: ({ farm }, { params, principal }) => inputState(farm, principal.name, params.sha256),
  async putInputPart({ farm }, { params, body, principal }) {
    await putInputPart(farm, principal.name, params.sha256, params.part, body);
    return {};
  },
  async finishInput({ farm }, { params, body, principal }) {
    await finishInput(farm, principal.name, params.sha256, body.size, body.parts);
    return {};
  },
  async listJobs({ farm }, { query }) {
    const limit = Math.min(MOST_JOBS, query.limit ?? 50);
    let search = farm.database.reads.selectFrom('jobs').selectAll().orderBy('position', 'desc').limit(limit);
    if (query.state !== undefined) search = search.where('state', '=', query.state);
    if (query.before !== undefined) search = search.where('position', '<', query.before);
    const jobs = await search.execute();
    return { jobs: jobs.map(jobLine), next: jobs.length < limit ? null : (jobs.at(-1)?.position ?? null) };
  },
  job: async ({ farm }, { params }) => jobView(farm, await findJob(farm.database.reads, params.job)),
  async why({ farm }, { params }) {
    const job = await findJob(farm.database.reads, params.job);
    return { job: job.job, state: job.state as JobState, waitsFor: await whyWaits(farm, job) };
  },
  async followJob({ farm }, { params, signal }) {
    const { job } = await findJob(farm.database.reads, params.job);
    return eventStream(signal, (writer) => {
      let last = '';
      const look = async (): Promise<void> => {
        const line = jobLine(await findJob(farm.database.reads, job));
        const text = JSON.stringify(line);
        if (text !== last) writer.send('job', line);
        last = text;
        if (ENDED.includes(line.state)) writer.end();
      };
      const lookSafely = (): void =>
        void look().catch((error: unknown) => farm.journal('warn', 'a job could not be followed', { job, error: String(error) }));
      const stop = farm.database.onNotify((what) => {
        if (what === `job ${job}`) lookSafely();
      });
      const timer = setInterval(lookSafely, LOOK_AGAIN);
      farm.metrics.followers.inc({ of: 'job' });
      lookSafely();
      return () => {
        farm.metrics.followers.dec({ of: 'job' });
        stop();
        clearInterval(timer);
      };
    });
  },
  cancelJob: async ({ farm }, { params, principal }) => ({ state: await cancelJob(farm, submitterOf(principal), params.job) }),
  retryJob: async ({ farm }, { params, principal }) => ({ state: await retryJob(farm, submitterOf(principal), params.job) }),
  async output({ farm }, { params }) {
    const job = await findJob(farm.database.reads, params.job);
    const view = await jobView(farm, job);
    if (!view.outputs.some((one) => one.sha256 === params.sha256))
      throw new LockstepError(
        'NOT_FOUND',
        `The job ${job.job.slice(0, 12)} has no agreed output with this digest`,
        job.state === 'decided' ? 'See "lockstep farm why JOB".' : `It is ${job.state}.`,
      );
    const key = resultKey(params.sha256);
    const size = await farm.objects.size(key);
    const stream = size === null ? null : await farm.objects.stream(key);
    if (size === null || stream === null)
      throw new LockstepError(
        'NOT_FOUND',
        'The output is not in the farm’s storage',
        'Restore the storage from a backup, or build again with "lockstep farm retry".',
      );
    return streamResponse(stream, size);
  },
  async transcript({ farm }, { params, query, principal }) {
    await requireTranscript(farm, principal, params.attempt);
    const part = await readTranscript(farm, params.attempt, query.from ?? 0);
    return bytesResponse(part?.bytes ?? new Uint8Array());
  },
  async followTranscript({ farm, transcripts }, { params, query, principal, headers, signal }) {
    await requireTranscript(farm, principal, params.attempt);
    const resumed = /^[0-9]{1,15}$/.exec(headers.get('last-event-id') ?? '')?.[0];
    const from = resumed === undefined ? (query.from ?? 0) : Number(resumed);
    return eventStream(signal, (writer) => {
      farm.metrics.followers.inc({ of: 'transcript' });
      const stop = transcripts.follow(params.attempt, from, {
        chunk: (start, bytes) => writer.send('chunk', Buffer.from(bytes).toString('base64'), String(start + bytes.length)),
        end: () => {
          writer.send('end', null);
          writer.end();
        },
      });
      return () => {
        farm.metrics.followers.dec({ of: 'transcript' });
        stop();
      };
    });
  },
};

function submitterOf(principal: Principal): Submitter {
  return { name: principal.name, isOperator: principal.role === 'operator' };
}

/**
 * What a build prints can give its result away: until everybody has committed only operators and those who submitted it
 * see it, and never a builder.
 */
async function requireTranscript(farm: Farm, principal: Principal, attempt: number): Promise<void> {
  const { job: name } = await transcriptState(farm, attempt);
  const job: Job = await findJob(farm.database.reads, name);
  if (principal.role === 'operator' || !['queued', 'building', 'revealing'].includes(job.state)) return;
  const own =
    principal.role === 'submitter' &&
    (await farm.database.reads
      .selectFrom('submissions')
      .select('submission')
      .where('job', '=', name)
      .where('submitter', '=', principal.name)
      .executeTakeFirst()) !== undefined;
  if (!own)
    throw new LockstepError(
      'FORBIDDEN',
      'The transcript can be read when the round is over',
      'Until then only those who submitted the job see it.',
    );
}
