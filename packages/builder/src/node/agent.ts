/**
 * A building node: asks for work, builds it, keeps what came out, says what it may say when it may. It only pulls. When the
 * farm is away it keeps on asking; what it has built it delivers later, also after a restart of its own.
 */
import type { FarmClient } from '@lockstep/api/client';
import { FarmError } from '@lockstep/api/problem';
import type { Duty, Lease } from '@lockstep/api/routes/builders';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context, Progress } from '../context.ts';
import { type Ceilings, capabilitiesOf } from './capabilities.ts';
import { deliver, revealResult, uploadWanted } from './deliver.ts';
import { type KeptResult, keptResults } from './kept-results.ts';
import { transcriptSender } from './transcript-sender.ts';
import type { AttestedBuild } from '../build/build.ts';
import { buildLeased, type Exclusive, repeatLeased } from './work.ts';

export interface AgentOptions {
  readonly context: Context;
  readonly client: FarmClient;
  /** Tells results of several builders in one store apart. */
  readonly name: string;
  readonly slots: number;
  readonly ceilings: Ceilings;
  readonly once: Exclusive;
  readonly say: (level: 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, string | number>>) => void;
  /** Looks for itself whether it is time to reveal, and throws if not; without it the farm's word is taken. */
  readonly beforeReveal?: (duty: Duty) => Promise<void>;
  /** Called when the farm was reached for the first time. */
  readonly ready?: () => void;
}

export interface Agent {
  /** Resolves when it has ended by itself, with why: it was retired, or its certificate has run out. */
  readonly ended: Promise<Error>;
  /** Takes nothing new, ends what is running, waits for it. */
  close(): Promise<void>;
}

/** Seconds for which the farm may keep a question open. */
const WAIT = 20;
/** Milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const ANNOUNCE_EVERY = 60_000;
/** A farm that cannot give what is to be built gives it to somebody else, or later. */
const FETCH_TRIES = 6;
/** Each may hold a part of an upload in memory. */
const DUTIES_AT_ONCE = 4;

export function startAgent(options: AgentOptions): Agent {
  const { context, client, say } = options;
  const stop = new AbortController();
  const kept = keptResults(context.store.cells, options.name);
  let heartbeat = 10;
  let heldChanged: () => void = () => undefined;

  const pause = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      stop.signal.addEventListener(
        'abort',
        () => {
          clearTimeout(timer);
          resolve();
        },
        { once: true },
      );
    });
  /** Until it works, or the farm says no, or this agent ends. @param most how often it is tried */
  const insist = async <T>(what: string, work: () => Promise<T>, most = Number.POSITIVE_INFINITY): Promise<T> => {
    let tried = 1;
    for (let wait = FIRST_PAUSE; ; wait = Math.min(LONGEST_PAUSE, wait * 2)) {
      try {
        return await work();
      } catch (error) {
        const later = isAway(error);
        if (stop.signal.aborted || later === null || tried++ >= most) throw error;
        say('warn', `the farm is away: ${what} is tried again`, { error: error instanceof Error ? error.message : String(error) });
        await pause(Math.max(wait * (0.5 + Math.random()), later * 1000));
        if (stop.signal.aborted) throw error;
      }
    }
  };
  /** Insists on each call by itself: what was done before one that failed is not done again. */
  const patient = (what: string, most?: number): FarmClient => ({
    call: (name, given) => insist(what, () => client.call(name, given), most),
  });
  const announce = async (): Promise<void> => {
    const told = await insist('joining', () => client.call('announce', { body: capabilitiesOf(context, options.slots, options.ceilings) }));
    heartbeat = told.heartbeatSeconds;
    if (!told.listed) say('warn', 'the policy does not list this builder’s attestation key: it is offered nothing');
  };

  const work = async (lease: Lease): Promise<void> => {
    say('info', 'leased', { attempt: lease.attempt, job: lease.job });
    const before = lease.purpose === 'repeat' ? null : kept.find(lease);
    if (before !== null) {
      // Built before, for a lease that was lost meanwhile.
      const result = { ...before, state: 'built' as const, attempt: lease.attempt, token: lease.token };
      kept.put(lease, result);
      return give(result);
    }
    const cancelled = new AbortController();
    const sender = transcriptSender(client, lease.attempt, lease.token);
    const beat = setInterval(() => {
      client
        .call('heartbeat', { params: { attempt: String(lease.attempt) }, headers: { 'lockstep-lease': lease.token } })
        .catch((error: unknown) => {
          // A farm that is away may be back before the lease has run out; one that says no has given the work to somebody else.
          if (error instanceof FarmError && error.code === 'LEASE_STALE') cancelled.abort();
        });
    }, heartbeat * 1000);
    const ended = (): void => cancelled.abort();
    stop.signal.addEventListener('abort', ended, { once: true });
    try {
      const own: Context = {
        ...context,
        cancelled: cancelled.signal,
        progress: sendingProgress(context.progress, (bytes) => sender.write(bytes)),
      };
      if (lease.purpose === 'repeat') {
        const outputs = await repeatLeased(
          own,
          patient('fetching what is to be built', FETCH_TRIES),
          lease,
          options.ceilings,
          options.once,
        );
        await sender.finish(2000);
        await repeated(lease, outputs);
        return;
      }
      const result = await buildLeased(own, patient('fetching what is to be built', FETCH_TRIES), lease, options.ceilings, options.once);
      kept.put(lease, result);
      await sender.finish(2000);
      await give(result);
    } catch (error) {
      await sender.finish(500);
      if (cancelled.signal.aborted) {
        say('info', 'the lease is over', { attempt: lease.attempt });
        if (!stop.signal.aborted) return;
      }
      await insist('saying that it failed', () =>
        client.call('fail', {
          params: { attempt: String(lease.attempt) },
          body: failureOf(error),
          headers: { 'lockstep-lease': lease.token },
        }),
      ).catch((refused: unknown) => say('info', 'the failure is not wanted any more', { attempt: lease.attempt, error: String(refused) }));
      say('warn', 'failed', { attempt: lease.attempt, error: error instanceof Error ? error.message.slice(0, 500) : String(error) });
    } finally {
      clearInterval(beat);
      stop.signal.removeEventListener('abort', ended);
    }
  };
  const give = async (result: KeptResult): Promise<void> => {
    try {
      const now = await deliver(context, patient('delivering a result'), result);
      kept.update(now);
      say('info', now.state, { attempt: result.attempt, job: result.job });
      heldChanged();
    } catch (error) {
      if (stop.signal.aborted) return;
      heldChanged();
      // Kept: if the same work is leased to this builder again, it is there.
      say('info', 'the result is not wanted now, and kept', {
        attempt: result.attempt,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  };
  const repeated = async (lease: Lease, outputs: AttestedBuild['outputs']): Promise<void> => {
    const { same } = await insist('telling of a repetition', () =>
      client.call('repeated', {
        params: { attempt: String(lease.attempt) },
        body: { outputs: outputs.map((one) => ({ name: one.name, sha256: one.digest.sha256 })) },
        headers: { 'lockstep-lease': lease.token },
      }),
    );
    say('info', same ? 'repeated with the same bytes' : 'repeated with OTHER bytes', { attempt: lease.attempt, job: lease.job });
  };
  const perform = async (duty: Duty): Promise<void> => {
    const result = kept.all().find((one) => one.attempt === duty.attempt);
    if (result === undefined) return;
    try {
      if (duty.wants === 'reveal') {
        await insist('looking into the log', () => options.beforeReveal?.({ ...duty, opening: result.opening }) ?? Promise.resolve());
        kept.update(await revealResult(context, patient('revealing'), result));
        say('info', 'revealed', { attempt: result.attempt, job: result.job });
      } else if (duty.wants === 'upload') await uploadWanted(context, patient('uploading'), result, duty.digests);
      else kept.drop(duty.attempt);
    } catch (error) {
      if (stop.signal.aborted) return;
      say('warn', `what the farm wants could not be done: ${duty.wants}`, {
        attempt: duty.attempt,
        error: error instanceof Error ? error.message : String(error),
      });
      await pause(FIRST_PAUSE);
    }
  };

  const slotLoop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        const { leases } = await insist('asking for work', () =>
          client.call('lease', { body: { free: 1, waitSeconds: WAIT }, signal: stop.signal }),
        );
        for (const lease of leases) await work(lease);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (isShutOut(error)) throw error;
        say('error', 'asking for work failed', { error: error instanceof Error ? error.message : String(error) });
        await pause(LONGEST_PAUSE / 5);
      }
    }
  };
  /** Asks what is wanted of what is kept; asks again at once when something else is kept. */
  const dutyLoop = async (): Promise<void> => {
    // What was built and not acknowledged when this builder ended last.
    for (const result of kept.all()) if (result.state === 'built') await give(result);
    while (!stop.signal.aborted) {
      const changed = new AbortController();
      heldChanged = () => changed.abort();
      // Also what the farm did not take, as far as is known here: it may have, and may want more of it, or nothing any more.
      const holds = kept.all().map((one) => one.attempt);
      if (holds.length === 0) {
        await Promise.race([
          pause(ANNOUNCE_EVERY),
          new Promise((resolve) => changed.signal.addEventListener('abort', resolve, { once: true })),
        ]);
        continue;
      }
      try {
        const { duties } = await client.call('lease', {
          body: { free: 0, waitSeconds: WAIT, holds: holds.slice(0, 4096) },
          signal: AbortSignal.any([stop.signal, changed.signal]),
        });
        // A few at a time: one that cannot be done now holds up no other.
        const left = [...duties];
        const some = async (): Promise<void> => {
          for (let duty = left.shift(); duty !== undefined; duty = left.shift()) await perform(duty);
        };
        await Promise.all(Array.from({ length: DUTIES_AT_ONCE }, some));
      } catch (error) {
        if (stop.signal.aborted) return;
        if (changed.signal.aborted) continue;
        if (isShutOut(error)) throw error;
        say('warn', 'asking what is wanted failed', { error: error instanceof Error ? error.message : String(error) });
        await pause(FIRST_PAUSE * 2);
      }
    }
  };
  const announceLoop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await pause(ANNOUNCE_EVERY);
      if (!stop.signal.aborted) await announce();
    }
  };
  const run = async (): Promise<void> => {
    await announce();
    options.ready?.();
    await Promise.all([announceLoop(), dutyLoop(), ...Array.from({ length: options.slots }, slotLoop)]);
  };
  const running = run();
  return {
    ended: new Promise((resolve) => {
      running.catch((error: unknown) => {
        if (!stop.signal.aborted) resolve(error instanceof Error ? error : new Error(String(error)));
      });
    }),
    async close() {
      stop.abort();
      // It was told why, if it ended by itself.
      await running.catch(() => undefined);
    },
  };
}
/** The farm does not know this builder any more: asking again will not help. */
function isShutOut(error: unknown): boolean {
  return error instanceof FarmError && error.code === 'UNAUTHENTICATED';
}

/** Seconds to wait when the farm is away or busy; null when it has said no. */
function isAway(error: unknown): number | null {
  if (error instanceof FarmError)
    return error.status >= 500 || error.status === 429 ? Math.min(LONGEST_PAUSE / 1000, error.retryAfter ?? 1) : null;
  if (error instanceof LockstepError) return error.code === 'FARM_UNREACHABLE' ? 0 : null;
  return isCutOff(error) ? 0 : null;
}

/** The farm, or the way to it, has gone in the middle of an answer: whether it did what was asked is not known. */
function isCutOff(error: unknown): boolean {
  if (error instanceof SyntaxError) return true;
  return error instanceof Error && 'code' in error && ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(String(error.code));
}

/** The build failed, or what is around it: the farm tries the one elsewhere, and not the other. */
function failureOf(error: unknown): { who: 'build' | 'farm'; code: string; message: string; hint: string } {
  if (!(error instanceof LockstepError))
    return { who: 'farm', code: 'INTERNAL', message: String(error).slice(0, 4000), hint: 'A fault of the builder.' };
  const who = ['BUILD_FAILED', 'SOURCE_CHANGED', 'DIGEST_MISMATCH', 'MANIFEST_INVALID'].includes(error.code) ? 'build' : 'farm';
  return { who, code: error.code, message: error.message.slice(0, 4000), hint: error.hint.slice(0, 1000) };
}

/** What builds print goes to the farm as well. */
function sendingProgress(shown: Progress, send: (bytes: Buffer) => void): Progress {
  return {
    ...shown,
    start(title) {
      const item = shown.start(title);
      return {
        ...item,
        output(bytes) {
          item.output(bytes);
          send(bytes);
        },
      };
    },
  };
}
