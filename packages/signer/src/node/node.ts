/**
 * A signing node. A request goes through it in one order, one at a time:
 *   read → answered before? → is this node's memory whole? → judge the evidence → ask a person → sign → write down → answer.
 * Whatever it comes to is in its own log before the answer leaves, and the answer is that entry.
 */
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { sha256Hex, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyToPem } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import type { PlannedSignature } from '@lockstep/protocol/signing/plan';
import type { MadeSignature, SigningRecord } from '@lockstep/protocol/signing/record';
import { parseRequest, requestDigest, type SigningRequest } from '@lockstep/protocol/signing/request';
import type { LogHome } from '@lockstep/log/sequence/log-home';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { requireUse, type SigningKey } from '../custody/signing-key.ts';
import { holdAlone } from './alone.ts';
import { judge } from './judge.ts';
import { type Judged, type JudgeInput, refusal } from './judged.ts';
import { isForGood, isSameStand, type Memory, NOTHING, remember } from './memory.ts';
import { openOwnLog, type OwnLog } from './own-log.ts';

export interface NodeParts {
  readonly name: string;
  /** The root that it pins. */
  readonly root: Uint8Array;
  /** Lines of versions that it may begin. */
  readonly lines: readonly string[];
  readonly keys: readonly SigningKey[];
  /** Threshold keys of which it holds a share: it checks what is signed with them, and others add up. */
  readonly shares: readonly { readonly use: KeyUse; readonly public: AnyKey }[];
  /** Signs its answers and its log's entries; approves nothing. */
  readonly nodeKey: SigningKey;
  readonly log: LogHome;
  /** Seconds since 1970. */
  readonly clock: () => number;
  /** Shows it to a person, and asks; null: nobody is asked. */
  readonly confirm: ((text: string) => Promise<boolean>) | null;
}

export interface SignerNode {
  readonly name: string;
  /** @returns the answer: a Sigstore bundle of the entry in the node's own log */
  answer(request: Uint8Array): Promise<Uint8Array>;
  /**
   * For a holder of a share: judges as `answer` does, and gives the messages of one use instead of signing them. What
   * follows is written down by the `signed` that it returns, before anything leaves.
   */
  approve(request: Uint8Array, use: MadeSignature['use']): Promise<Approved>;
  readonly log: OwnLog;
  close(): Promise<void>;
}

export type Approved =
  | {
      readonly ok: true;
      readonly plan: readonly PlannedSignature[];
      readonly signed: (made: readonly MadeSignature[]) => Promise<void>;
    }
  | { readonly ok: false; readonly reason: string };

interface Answered {
  readonly record: SigningRecord;
  readonly answer: Uint8Array;
}

interface Prepared {
  readonly digest: Sha256;
  readonly judged: Judged;
}

/** @throws LockstepError LOG_CORRUPT, LOG_ROLLED_BACK, KEY_INVALID, STORE_BUSY when another process runs it */
export async function openNode(parts: NodeParts): Promise<SignerNode> {
  requireUse(parts.nodeKey, 'node');
  for (const key of parts.keys) requireUse(key, key.use);
  requireOwnKeys([parts.nodeKey, ...parts.keys, ...parts.shares]);
  const release = await holdAlone(`${parts.log.root}/node.lock`);
  try {
    return await openAlone(parts, release);
  } catch (error) {
    release();
    throw error;
  }
}

async function openAlone(parts: NodeParts, release: () => void): Promise<SignerNode> {
  const log = await openOwnLog(parts.log, parts.nodeKey);
  let memory: Memory = NOTHING;
  /** Index of the entry that answered a request for good: grows with the log, and is no part of what is judged by. */
  const answered = new Map<string, number>();
  const learn = (record: SigningRecord, index: number): void => {
    memory = remember(memory, record);
    if (isForGood(record) && !answered.has(record.request)) answered.set(record.request, index);
  };
  for await (const { index, record } of log.records()) learn(record, index);

  /** It is not known whether the last entry is in the log: then neither is what this node has signed, until it is read again. */
  let unsure = false;
  const write = async (record: SigningRecord): Promise<Answered> => {
    const entry = await log.entryOf(record);
    unsure = true;
    const index = await log.append(entry);
    unsure = false;
    learn(record, index);
    return { record, answer: await log.bundle(index) };
  };
  const now = (): number => Math.max(parts.clock(), memory.time);

  /** Everything before the signing. @param again also what was signed before: a share can be used again for the same release */
  const prepare = async (bytes: Uint8Array, again: boolean): Promise<Answered | Prepared> => {
    if (unsure)
      throw new LockstepError(
        'STORE_UNUSABLE',
        'This node could not write to its log, and does not know whether the last entry is there',
        'Mend its disk, and start it again: it then reads its log.',
      );
    const digest = requestDigest(bytes);
    const before = answered.get(digest);
    if (before !== undefined) {
      const record = await log.record(before);
      if (!again || record.result === 'refused') return { record, answer: await log.bundle(before) };
    }
    const refuse = (step: string, reason: string, judged: Partial<Judged> = {}): Promise<Answered> =>
      write(recordOf(parts.name, digest, { about: 'a request', steps: [], now: now(), ...judged }, { step, reason }, []));
    let request: SigningRequest;
    try {
      request = parseRequest(bytes);
    } catch (error) {
      if (error instanceof LockstepError) return refuse('request', error.message);
      throw error;
    }
    const forgotten = await memoryProblem(request, parts.name, log, memory, before !== undefined);
    if (forgotten !== null) return refuse('memory', forgotten);
    const judged = judgedSafely(request, {
      memory,
      root: parts.root,
      keys: [...parts.keys, ...parts.shares],
      lines: parts.lines,
      now: now(),
    });
    if (judged.refused !== null) return refuse(judged.refused.step, judged.refused.reason, judged);
    if (parts.confirm === null && judged.needsPerson)
      return refuse(
        'person',
        'no evidence stands behind it, only a person can say so, and nobody is asked at this node (--confirm)',
        judged,
      );
    if (parts.confirm !== null && !(await parts.confirm(judged.shown))) return refuse('person', 'the person who was asked said no', judged);
    return { digest, judged };
  };

  const answer = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const prepared = await prepare(bytes, false);
    if ('answer' in prepared) return prepared.answer;
    const { digest, judged } = prepared;
    const end = async (record: SigningRecord): Promise<Uint8Array> => (await write(record)).answer;
    try {
      const made = await signAll(judged.plan, parts.keys);
      if (made.length === 0)
        return await end(
          recordOf(parts.name, digest, judged, { step: 'keys', reason: 'it holds shares only: begin a session with its holders' }, []),
        );
      return await end(recordOf(parts.name, digest, judged, null, made));
    } catch (error) {
      if (!(error instanceof LockstepError) || (error.code !== 'CUSTODY_FAILED' && error.code !== 'CEREMONY_FAILED')) throw error;
      return end(recordOf(parts.name, digest, judged, { step: 'custody', reason: error.message }, []));
    }
  };

  const approve = async (bytes: Uint8Array, use: MadeSignature['use']): Promise<Approved> => {
    const prepared = await prepare(bytes, true);
    if ('answer' in prepared) return { ok: false, reason: `${prepared.record.step}: ${prepared.record.reason}` };
    const { digest, judged } = prepared;
    const known = memory;
    const plan = judged.plan.filter((one) => one.use === use);
    if (plan.length === 0) return { ok: false, reason: `keys: nothing of it is signed with a key for ${use}` };
    return {
      ok: true,
      plan,
      signed: (made) =>
        alone(async () => {
          // It was judged by what was known then; another release may have been signed since.
          if (!isSameStand(memory, known) || unsure)
            throw new LockstepError(
              'SIGNING_REFUSED',
              'This node has signed or refused something else meanwhile',
              'Ask again: begin a new session.',
            );
          await write(recordOf(parts.name, digest, judged, null, made));
        }),
    };
  };

  // One at a time: what one request teaches, the next is judged by.
  let last: Promise<unknown> = Promise.resolve();
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
  return {
    name: parts.name,
    log,
    answer: (bytes) => alone(() => answer(bytes)),
    approve: (bytes, use) => alone(() => approve(bytes, use)),
    close: async () => {
      await last;
      for (const key of [...parts.keys, parts.nodeKey]) await key.close();
      await log.close();
      release();
    },
  };
}

/** Whether this node is where it was when it last handed out a checkpoint; as text, why not. */
async function memoryProblem(
  request: SigningRequest,
  name: string,
  log: OwnLog,
  memory: Memory,
  signedBefore: boolean,
): Promise<string | null> {
  if (memory.rolledBack) return 'SIGNER_ROLLED_BACK: this node was found to be an older copy of itself before, and signs nothing any more';
  if (!Object.hasOwn(request.nodes, name)) return `the request is not for this node (${name})`;
  const checkpoint = request.nodes[name] ?? null;
  // Before its first signature there is nothing to forget, and a request that it remembers can only have the same signed again:
  // whoever asked without a checkpoint then may repeat it.
  if (checkpoint === null)
    return !memory.signed || signedBefore ? null : 'the request has no checkpoint of this node’s log: hand in that of its last answer';
  try {
    await log.requireContinues(checkpoint);
    return null;
  } catch (error) {
    if (error instanceof LockstepError && (error.code === 'SIGNER_ROLLED_BACK' || error.code === 'SIGNING_REFUSED'))
      return `${error.code}: ${error.message}`;
    throw error;
  }
}

async function signAll(plan: readonly PlannedSignature[], keys: readonly SigningKey[]): Promise<MadeSignature[]> {
  const made: MadeSignature[] = [];
  for (const one of plan)
    for (const key of keys.filter((candidate) => candidate.use === one.use)) {
      const signature = await key.sign(one.message);
      const second = one.second === null ? null : await key.sign(one.second(signature));
      made.push({
        use: one.use,
        format: one.format,
        file: one.file,
        key: { name: key.name, id: key.public.id, pem: anyKeyToPem(key.public), number: key.minisignKeyId ?? null },
        message: sha256Hex(one.message),
        signature: toBase64(signature),
        second: second === null ? null : toBase64(second),
      });
    }
  return made;
}

type RecordParts = Pick<Judged, 'about' | 'steps' | 'now'> & Partial<Pick<Judged, 'release' | 'tuf' | 'learned'>>;

function recordOf(
  node: string,
  request: Sha256,
  parts: RecordParts,
  refused: { readonly step: string; readonly reason: string } | null,
  signatures: readonly MadeSignature[],
): SigningRecord {
  return {
    schema: 'lockstep-signing-record/v1',
    request,
    node,
    time: isoTime(parts.now),
    result: refused === null ? 'signed' : 'refused',
    step: refused?.step ?? '',
    reason: oneLine(refused?.reason ?? '', 2000),
    about: oneLine(parts.about, 500) || 'a request',
    steps: parts.steps.map((step) => ({ ...step, detail: step.detail.slice(0, 4000).toWellFormed() })),
    release: refused === null ? (parts.release ?? null) : null,
    tuf: refused === null ? (parts.tuf ?? null) : null,
    // What a refused request says is not learned; but how far it has seen the log is told to whoever is behind.
    learned: refused === null || refused.step === 'log-memory' ? (parts.learned ?? null) : null,
    signatures,
  };
}

/** One key under two uses would sign as either. */
function requireOwnKeys(keys: readonly { readonly use: KeyUse; readonly public: AnyKey }[]): void {
  const seen = new Map<string, KeyUse>();
  for (const key of keys) {
    const other = seen.get(key.public.id);
    if (other !== undefined && other !== key.use)
      throw new LockstepError(
        'KEY_INVALID',
        `One key of this node is there for ${other} and for ${key.use}`,
        'Make a key for each use: lockstep key new. A signature for one could else be shown as one for the other.',
      );
    seen.set(key.public.id, key.use);
  }
}

/** A fault of ours in reading somebody's evidence is a refusal: a node that died of it could be made to die of it again. */
function judgedSafely(request: SigningRequest, input: JudgeInput): Judged {
  try {
    return judge(request, input);
  } catch (error) {
    return refusal('a request', 'fault', `a fault of this program: ${error instanceof Error ? error.message : String(error)}`, input.now);
  }
}

function oneLine(text: string, length: number): string {
  return text
    .replaceAll(/[\u0000-\u001f\u007f]/g, ' ')
    .slice(0, length)
    .toWellFormed();
}
