/** What an operator does, and what anybody may know. */
import { z } from 'zod';
import { route } from '../route.ts';
import { ANYONE, OPERATORS, READERS, TOKEN_ROLES } from '../role.ts';
import { anyJson, approvalEnvelope, countText, jobName, MAX_DOCUMENT_BODY, name, sha256, signedDocument, time } from '../values.ts';
import { capabilities } from './builders.ts';
import { JOB_STATES } from './jobs.ts';

export const builderView = z
  .strictObject({
    name,
    state: z.enum(['active', 'draining', 'retired']),
    attestationKey: sha256,
    transportKey: sha256,
    /** Whether the policy lists the attestation key. */
    listed: z.boolean(),
    alive: z.boolean(),
    lastSeen: time.nullable(),
    certificateExpires: time,
    running: z.int(),
    capabilities: capabilities.nullable(),
  })
  .meta({ id: 'Builder' });
export type BuilderView = z.infer<typeof builderView>;

const builderParams = z.strictObject({ builder: name });

export const statusReply = z
  .strictObject({
    name: z.string(),
    version: z.string(),
    database: z.string(),
    storage: z.string(),
    /** null when none is in force. */
    policy: z.strictObject({ name: z.string(), version: z.int(), sha256, expires: z.string() }).nullable(),
    log: z.strictObject({ origin: z.string(), key: z.string(), size: z.int() }),
    jobs: z.record(z.enum(JOB_STATES), z.int()),
    builders: z.strictObject({ alive: z.int(), all: z.int() }),
    /** What is wrong now, each with what to do. */
    problems: z.array(z.string()),
  })
  .meta({ id: 'Status' });
export type FarmStatus = z.infer<typeof statusReply>;

export const tokenView = z.strictObject({
  name,
  role: z.enum(TOKEN_ROLES),
  createdAt: time,
  expiresAt: time.nullable(),
  revoked: z.boolean(),
});
const entry = z.strictObject({
  id: z.int(),
  at: time,
  who: z.string(),
  role: z.string(),
  action: z.string(),
  subject: z.string(),
  status: z.int(),
});

export const garbageReply = z.strictObject({
  dryRun: z.boolean(),
  kept: z.strictObject({ count: z.int(), bytes: z.int() }),
  collected: z.strictObject({ count: z.int(), bytes: z.int() }),
  /** Keys of what was (or would be) collected, at most 1000. */
  objects: z.array(z.string()),
});
export type GarbageReport = z.infer<typeof garbageReply>;

export const operatorRoutes = {
  health: route('GET /v1/health', { allow: ANYONE, summary: 'This process answers.', reply: z.strictObject({ status: z.literal('ok') }) }),
  ready: route('GET /v1/ready', {
    allow: ANYONE,
    summary: 'Submissions can be taken: 200, else 503. What else is wrong stands in the checks.',
    reply: z.strictObject({ ready: z.boolean(), checks: z.record(z.string(), z.string()) }),
  }),
  openapi: route('GET /v1/openapi.json', { allow: ANYONE, summary: 'This table.', reply: anyJson }),
  metrics: route('GET /metrics', { allow: READERS, summary: 'Prometheus text format.', reply: 'text' }),
  logFile: route('GET /log/{path+}', {
    allow: ANYONE,
    summary: 'The log’s public files: checkpoint, tiles, statements. On a private farm: for readers.',
    params: z.strictObject({ path: z.string().max(300) }),
    reply: 'bytes',
  }),
  policyFile: route('GET /policy/{path+}', {
    allow: ANYONE,
    summary: 'The signed policy’s repository. On a private farm: for readers.',
    params: z.strictObject({ path: z.string().max(300) }),
    reply: 'bytes',
  }),
  status: route('GET /v1/status', { allow: READERS, summary: 'The farm at a glance.', reply: statusReply }),
  listBuilders: route('GET /v1/builders', {
    allow: READERS,
    summary: 'Every builder that was enrolled.',
    reply: z.strictObject({ builders: z.array(builderView) }),
  }),
  setBuilder: route('POST /v1/builders/{builder}', {
    allow: OPERATORS,
    summary: 'Drain (finishes what it has, gets nothing new), resume, or retire for good.',
    params: builderParams,
    body: z.strictObject({ state: z.enum(['active', 'draining', 'retired']) }),
    reply: z.strictObject({}),
    audited: true,
  }),
  makeJoinToken: route('POST /v1/join-tokens', {
    allow: OPERATORS,
    summary: 'A single-use token with which the holder of this transport key may join under this name.',
    body: z.strictObject({ name, fingerprint: sha256, minutes: z.int().min(1).max(10_080).default(60) }),
    reply: z.strictObject({ token: z.string(), expiresAt: time, /** SHA-256 of the farm's authority. */ authority: sha256 }),
    audited: true,
  }),
  listTokens: route('GET /v1/tokens', {
    allow: OPERATORS,
    summary: 'Tokens, without their secrets.',
    reply: z.strictObject({ tokens: z.array(tokenView) }),
  }),
  makeToken: route('POST /v1/tokens', {
    allow: OPERATORS,
    summary: 'A token for a role. It is shown once.',
    body: z.strictObject({ name, role: z.enum(TOKEN_ROLES), days: z.int().min(1).max(3650).nullable().default(365) }),
    reply: z.strictObject({ token: z.string() }),
    audited: true,
  }),
  revokeToken: route('DELETE /v1/tokens/{token}', {
    allow: OPERATORS,
    summary: 'Revoke a token by its name.',
    params: z.strictObject({ token: name }),
    reply: z.strictObject({}),
    audited: true,
  }),
  submitDocument: route('POST /v1/documents', {
    allow: OPERATORS,
    summary: 'Have a document of an arbiter logged. Its signer has to be named in the policy.',
    body: signedDocument,
    maxBody: MAX_DOCUMENT_BODY,
    reply: z.strictObject({ job: sha256 }),
    audited: true,
  }),
  submitApproval: route('POST /v1/approvals', {
    allow: OPERATORS,
    summary:
      'Have what a release key signed logged: a release record, a verification summary, a change or revocation of a key. Whether it counts is for verifiers to say.',
    body: approvalEnvelope,
    maxBody: MAX_DOCUMENT_BODY,
    reply: z.strictObject({ /** null when it is about keys. */ job: sha256.nullable() }),
    audited: true,
  }),
  setShare: route('POST /v1/shares', {
    allow: OPERATORS,
    summary: 'How much of the farm a submitter gets beside the others, when there is not enough for all: 1 is the usual.',
    body: z.strictObject({ submitter: name, share: z.number().min(0.01).max(1000) }),
    reply: z.strictObject({}),
    audited: true,
  }),
  audit: route('GET /v1/audit', {
    allow: OPERATORS,
    summary: 'Who did what, the newest first.',
    query: z.strictObject({ limit: countText.optional(), before: countText.optional() }),
    reply: z.strictObject({ entries: z.array(entry) }),
  }),
  pin: route('PUT /v1/pins/{job}', {
    allow: OPERATORS,
    summary: 'Keep all that belongs to this job, whatever its age.',
    params: z.strictObject({ job: jobName }),
    body: z.strictObject({ reason: z.string().min(1).max(500) }),
    reply: z.strictObject({}),
    audited: true,
  }),
  unpin: route('DELETE /v1/pins/{job}', {
    allow: OPERATORS,
    summary: 'Stop keeping it.',
    params: z.strictObject({ job: jobName }),
    reply: z.strictObject({}),
    audited: true,
  }),
  collectGarbage: route('POST /v1/garbage', {
    allow: OPERATORS,
    summary: 'Remove what nothing needs. What the log names is never removed.',
    body: z.strictObject({ dryRun: z.boolean(), olderThanHours: z.number().min(0).max(87_600).default(168) }),
    reply: garbageReply,
    audited: true,
  }),
} as const;
