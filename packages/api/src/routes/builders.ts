/** What a building node asks of the farm. It only ever pulls: nothing connects into it. */
import { z } from 'zod';
import { LONG_PATIENCE, route } from '../route.ts';
import { ANYONE, BUILDERS } from '../role.ts';
import { anyJson, attempt, attemptText, base64, MAX_DOCUMENT_BODY, MAX_PART_BYTES, name, sha256, signedDocument, time } from '../values.ts';
import { partsBody, partsReply } from './jobs.ts';

/** What a builder can do, by its own word: it decides what it is offered, and is trusted for nothing else. */
export const capabilities = z
  .strictObject({
    architecture: z.string().regex(/^[a-z0-9_]{1,20}$/),
    tiers: z.array(z.enum(['container'])),
    cpus: z.int().min(1).max(4096),
    cpuFeatures: z.array(z.string().max(40)).max(400),
    memoryMb: z.int().min(1),
    /** The most that it gives to one build. */
    limits: z.strictObject({ memoryMb: z.int().min(1), diskMb: z.int().min(1), seconds: z.int().min(1), cpus: z.int().min(1) }),
    /** Ambient facts that it can vary. */
    variations: z.array(z.string().regex(/^[a-z-]{1,40}$/)).max(32),
    /** Builds at once. */
    slots: z.int().min(1).max(256),
    version: z.string().max(60),
  })
  .meta({ id: 'Capabilities' });
export type Capabilities = z.infer<typeof capabilities>;

export const leaseView = z
  .strictObject({
    attempt,
    /** Sent with every call about this attempt, as the header Lockstep-Lease. */
    token: z.string(),
    job: sha256,
    round: z.int(),
    /** `repeat`: builders disagree, and each is asked whether it gets its own bytes again; nothing of it is signed or logged. */
    purpose: z.enum(['build', 'repeat']),
    /** SHA-256 of the opening; null where the policy asks for no commitments: then the statement is given at once. */
    opening: sha256.nullable(),
    ambient: z.record(z.string(), anyJson),
    /** Without a heartbeat by then it is leased to somebody else. */
    expiresAt: time,
  })
  .meta({ id: 'Lease' });
export type Lease = z.infer<typeof leaseView>;

/** What is wanted of a builder about work that it has done. */
export const duty = z
  .strictObject({
    attempt,
    job: sha256,
    opening: sha256.nullable(),
    /** `reveal`: everybody has committed. `upload`: these bytes are missing. `drop`: nothing of it is wanted any more. */
    wants: z.enum(['reveal', 'upload', 'drop']),
    digests: z.array(sha256),
    /** With `reveal`: where in the log it shows that nobody can commit any more. The builder looks for itself. */
    evidence: z.array(z.int().min(0)).default([]),
  })
  .meta({ id: 'Duty' });
export type Duty = z.infer<typeof duty>;

const ofAttempt = z.strictObject({ attempt: attemptText });

export const builderRoutes = {
  enrol: route('POST /v1/enrolments', {
    allow: ANYONE,
    summary: 'Join the farm with a single-use token that was made for the fingerprint of this key.',
    body: z.strictObject({
      token: z.string().max(200),
      name,
      /** DER SubjectPublicKeyInfo of the key of the connection, ECDSA P-256. */
      transportKey: base64.max(200),
      /** The attestation key, another one: it counts only if the policy lists it. */
      attestationKey: base64.max(200),
      /** Signatures of both keys over the same words (spec/api.md): they are really theirs. */
      transportProof: base64.max(200),
      attestationProof: base64.max(200),
    }),
    reply: z.strictObject({ certificate: z.string(), authority: z.string(), expiresAt: time }),
    audited: true,
  }),
  renew: route('POST /v1/builder/certificate', {
    allow: BUILDERS,
    summary: 'A new short-lived certificate for the key of the connection.',
    reply: z.strictObject({ certificate: z.string(), authority: z.string(), expiresAt: time }),
  }),
  announce: route('POST /v1/builder', {
    allow: BUILDERS,
    summary: 'What this builder can do; what the farm expects of it.',
    body: capabilities,
    reply: z.strictObject({
      name,
      /** Whether the policy lists its attestation key; while it does not, it is offered nothing. */
      listed: z.boolean(),
      draining: z.boolean(),
      heartbeatSeconds: z.number(),
    }),
  }),
  lease: route('POST /v1/builder/leases', {
    allow: BUILDERS,
    summary: 'Work, and what is wanted of work that was done. Waits up to `waitSeconds` for something to do.',
    body: z.strictObject({
      /** Builds that it could begin now. */
      free: z.int().min(0).max(256),
      waitSeconds: z.number().min(0).max(30),
      /** Attempts that it still keeps results of, so that it hears what became of them. */
      holds: z.array(attempt).max(4096).default([]),
    }),
    reply: z.strictObject({ leases: z.array(leaseView), duties: z.array(duty) }),
  }),
  definition: route('GET /v1/attempts/{attempt}/definition', {
    allow: BUILDERS,
    summary: 'The build definition of a leased job, canonical JSON.',
    params: ofAttempt,
    reply: 'bytes',
  }),
  input: route('GET /v1/attempts/{attempt}/inputs/{sha256}', {
    allow: BUILDERS,
    summary: 'An input that only the submitter had. Nothing else can be read by a digest.',
    params: z.strictObject({ attempt: attemptText, sha256 }),
    reply: 'bytes',
  }),
  heartbeat: route('POST /v1/attempts/{attempt}/heartbeat', {
    allow: BUILDERS,
    summary: 'Still at it.',
    params: ofAttempt,
    reply: z.strictObject({ expiresAt: time }),
  }),
  appendTranscript: route('PUT /v1/attempts/{attempt}/transcript/{offset}', {
    allow: BUILDERS,
    summary: 'What the build printed next. An offset that is there already is taken as said again.',
    params: z.strictObject({
      attempt: attemptText,
      offset: z
        .string()
        .regex(/^(?:0|[1-9][0-9]{0,15})$/)
        .transform(Number),
    }),
    body: 'bytes',
    maxBody: 1 << 20,
    reply: z.strictObject({ next: z.int() }),
  }),
  commit: route('POST /v1/attempts/{attempt}/commitment', {
    allow: BUILDERS,
    summary: 'The salted commitment (spec/commitment.md). Frees the slot; the lease stands until the round is over.',
    params: ofAttempt,
    body: signedDocument,
    reply: z.strictObject({}),
  }),
  reveal: route('POST /v1/attempts/{attempt}/reveal', {
    allow: BUILDERS,
    summary: 'The statement, with what opens the commitment. Answers which bytes are wanted.',
    params: ofAttempt,
    body: z.strictObject({ reveal: signedDocument.nullable(), statement: signedDocument }),
    maxBody: MAX_DOCUMENT_BODY,
    reply: z.strictObject({ wanted: z.array(sha256) }),
  }),
  uploadState: route('GET /v1/attempts/{attempt}/uploads/{sha256}', {
    allow: BUILDERS,
    summary: 'Which parts are there, to go on after an interruption.',
    params: z.strictObject({ attempt: attemptText, sha256 }),
    reply: partsReply,
  }),
  putUploadPart: route('PUT /v1/attempts/{attempt}/uploads/{sha256}/parts/{part}', {
    allow: BUILDERS,
    summary: 'One part of what the statement names, by the part’s own digest.',
    params: z.strictObject({ attempt: attemptText, sha256, part: sha256 }),
    body: 'bytes',
    maxBody: MAX_PART_BYTES,
    reply: z.strictObject({}),
  }),
  finishUpload: route('POST /v1/attempts/{attempt}/uploads/{sha256}', {
    allow: BUILDERS,
    summary: 'All parts are there: put together and hashed by the farm.',
    params: z.strictObject({ attempt: attemptText, sha256 }),
    patience: LONG_PATIENCE,
    body: partsBody,
    maxBody: 1 << 20,
    reply: z.strictObject({}),
  }),
  repeated: route('POST /v1/attempts/{attempt}/repeated', {
    allow: BUILDERS,
    summary: 'What came out of a repetition under the same conditions.',
    params: ofAttempt,
    body: z.strictObject({ outputs: z.array(z.strictObject({ name: z.string().max(255), sha256 })).max(100_000) }),
    maxBody: MAX_DOCUMENT_BODY,
    reply: z.strictObject({ same: z.boolean() }),
  }),
  fail: route('POST /v1/attempts/{attempt}/failure', {
    allow: BUILDERS,
    summary: 'It came to no result.',
    params: ofAttempt,
    body: z.strictObject({
      who: z.enum(['build', 'farm']),
      code: z.string().max(64),
      message: z.string().max(4000),
      hint: z.string().max(1000),
    }),
    reply: z.strictObject({}),
  }),
} as const;
