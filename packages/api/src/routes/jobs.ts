/** Submissions and jobs: a job is the work on one build definition, however often it was submitted. */
import { z } from 'zod';
import { LONG_PATIENCE, route } from '../route.ts';
import { READERS, SUBMITTERS } from '../role.ts';
import { anyJson, attempt, countText, jobName, MAX_PART_BYTES, MAX_PARTS, name, sha256, time } from '../values.ts';

export const JOB_STATES = [
  /** Waits for builders. */
  'queued',
  /** A round is open, builders lease it. */
  'building',
  /** Enough have committed: they reveal. */
  'revealing',
  /** Builders disagree: waits for arbiters. */
  'disputed',
  /** The quorum has agreed (or arbiters have resolved), and the outputs are here. */
  'decided',
  /** No agreement is to be had: it failed to build, or arbiters have accepted nothing. */
  'failed',
  'cancelled',
] as const;
export const jobState = z.enum(JOB_STATES);
export type JobState = z.infer<typeof jobState>;

/** A definition with a lock of 20,000 packages. */
const MAX_DEFINITION_BODY = 16 << 20;

const failure = z.strictObject({
  /** Who failed: the build, or the farm around it. */
  who: z.enum(['build', 'farm']),
  code: z.string().max(64),
  message: z.string().max(4000),
  hint: z.string().max(1000),
});
export type Failure = z.infer<typeof failure>;

export const attemptView = z
  .strictObject({
    attempt,
    builder: name,
    round: z.int(),
    state: z.enum(['leased', 'committed', 'revealed', 'failed', 'expired', 'cancelled', 'superseded', 'repeated', 'unstable']),
    leasedAt: time,
    endedAt: time.nullable(),
    failure: failure.nullable(),
    transcriptBytes: z.int(),
  })
  .meta({ id: 'Attempt view' });

export const output = z.strictObject({ name: z.string(), size: z.int().optional(), sha256, sha512: z.string(), blake2b512: z.string() });

export const jobView = z
  .strictObject({
    job: sha256,
    name: z.string(),
    version: z.string(),
    source: z.string(),
    tier: z.string(),
    state: jobState,
    submitter: name,
    priority: z.int(),
    submittedAt: time,
    updatedAt: time,
    /** Why it stands where it stands, in one sentence. */
    reason: z.string(),
    quorum: z.int(),
    round: z.int(),
    /** Who has approved what was agreed on as a release; null: nobody, it is unsigned. */
    approval: z.string().nullable(),
    /** Whether earlier attempts came to another end under the same conditions. */
    flaky: z.boolean(),
    outputs: z.array(output),
    /** The decision (lockstep-decision/v1); null before there is one. */
    decision: anyJson.nullable(),
    outcomeIndex: z.int().nullable(),
    attempts: z.array(attemptView),
  })
  .meta({ id: 'Job' });
export type JobView = z.infer<typeof jobView>;
export type AttemptView = z.infer<typeof attemptView>;

export const jobLine = jobView.omit({ outputs: true, decision: true, attempts: true, outcomeIndex: true }).meta({ id: 'Job line' });
export type JobLine = z.infer<typeof jobLine>;

const jobParams = z.strictObject({ job: jobName });
const inputParams = z.strictObject({ sha256 });

export const partsBody = z.strictObject({
  size: z.int().min(0),
  /** SHA-256 of each part, in order. */
  parts: z.array(sha256).max(MAX_PARTS),
});
export const partsReply = z.strictObject({ present: z.array(sha256), complete: z.boolean() });

export const jobRoutes = {
  submit: route('POST /v1/submissions', {
    allow: SUBMITTERS,
    summary: 'Submit a build definition. The same definition again joins the job that there is.',
    body: z.strictObject({ definition: anyJson, priority: z.int().min(-100).max(100).default(0) }),
    maxBody: MAX_DEFINITION_BODY,
    reply: z.strictObject({ submission: z.string(), job: sha256, state: jobState, cached: z.boolean() }),
    audited: true,
  }),
  inputState: route('GET /v1/inputs/{sha256}', {
    allow: SUBMITTERS,
    summary: 'Which parts of an input the caller has uploaded. Others’ uploads are not told of.',
    params: inputParams,
    reply: partsReply,
  }),
  putInputPart: route('PUT /v1/inputs/{sha256}/parts/{part}', {
    allow: SUBMITTERS,
    summary: 'One part of an input that no builder can fetch itself (a directory, a local root file system).',
    params: z.strictObject({ sha256, part: sha256 }),
    body: 'bytes',
    maxBody: MAX_PART_BYTES,
    reply: z.strictObject({}),
  }),
  finishInput: route('POST /v1/inputs/{sha256}', {
    allow: SUBMITTERS,
    summary: 'All parts are there: put together and hashed by the farm.',
    params: inputParams,
    patience: LONG_PATIENCE,
    body: partsBody,
    maxBody: 1 << 20,
    reply: z.strictObject({}),
  }),
  listJobs: route('GET /v1/jobs', {
    allow: READERS,
    summary: 'Jobs, the newest first.',
    query: z.strictObject({
      state: jobState.optional(),
      limit: countText.optional(),
      /** Position of the last job of the page before. */
      before: countText.optional(),
    }),
    reply: z.strictObject({ jobs: z.array(jobLine), next: z.int().nullable() }),
  }),
  job: route('GET /v1/jobs/{job}', {
    allow: READERS,
    summary: 'One job with its attempts and its decision.',
    params: jobParams,
    reply: jobView,
  }),
  why: route('GET /v1/jobs/{job}/why', {
    allow: READERS,
    summary: 'What a job waits for.',
    params: jobParams,
    reply: z.strictObject({ job: sha256, state: jobState, waitsFor: z.array(z.string()) }),
  }),
  followJob: route('GET /v1/jobs/{job}/events', {
    allow: READERS,
    summary: 'Server-sent events: `job` with a job line at each change; ends when nothing more can happen.',
    params: jobParams,
    reply: 'events',
  }),
  cancelJob: route('POST /v1/jobs/{job}/cancel', {
    allow: SUBMITTERS,
    summary: 'Stop working on it. A submitter can cancel what only they submitted.',
    params: jobParams,
    reply: z.strictObject({ state: jobState }),
    audited: true,
  }),
  retryJob: route('POST /v1/jobs/{job}/retry', {
    allow: SUBMITTERS,
    summary: 'Try a failed or cancelled job again. Its history is kept.',
    params: jobParams,
    reply: z.strictObject({ state: jobState }),
    audited: true,
  }),
  output: route('GET /v1/jobs/{job}/outputs/{sha256}', {
    allow: READERS,
    summary: 'An output that was agreed on, by its digest. The reader hashes it again.',
    params: z.strictObject({ job: jobName, sha256 }),
    reply: 'bytes',
  }),
  transcript: route('GET /v1/attempts/{attempt}/transcript', {
    allow: READERS,
    summary: 'What a build printed, raw, from an offset on. Whoever shows it makes it harmless.',
    params: z.strictObject({
      attempt: z
        .string()
        .regex(/^[1-9][0-9]{0,15}$/)
        .transform(Number),
    }),
    query: z.strictObject({ from: countText.optional() }),
    reply: 'bytes',
  }),
  followTranscript: route('GET /v1/attempts/{attempt}/transcript/events', {
    allow: READERS,
    summary: 'Server-sent events: `chunk` with base64 bytes, its id is the offset after it (Last-Event-ID resumes); `end` at the end.',
    params: z.strictObject({
      attempt: z
        .string()
        .regex(/^[1-9][0-9]{0,15}$/)
        .transform(Number),
    }),
    query: z.strictObject({ from: countText.optional() }),
    reply: 'events',
  }),
} as const;
