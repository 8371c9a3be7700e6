/** Runs cases one after the other on one farm: the role dies at its step, is started again, and everything is checked. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Auditor, auditor } from './invariants.ts';
import type { Role } from './roles.ts';
import type { Report } from './report.ts';
import { type KillCase, nameOf } from './steps.ts';
import { type Trigger, TRIGGERS } from './triggers.ts';
import type { JobView } from '@lockstep/api/routes/jobs';
import { makeWorld, type World } from './world.ts';

/** Milliseconds within which a step is reached. */
const REACHED = 30_000;
const LOOK = 20;

interface Lane {
  readonly world: World;
  readonly auditor: Auditor;
  readonly ends: Map<string, readonly JobView['state'][]>;
}

/** @param queue cases that are left; several may take from it at once */
export async function killInTurn(folder: string, queue: KillCase[], report: Report): Promise<void> {
  let lane: Lane | null = null;
  for (let count = 0; ; count++) {
    const next = queue.shift();
    if (next === undefined) break;
    const work = async (): Promise<void> => {
      lane ??= await newLane(`${folder}-${count}`);
      await runCase(lane, next, `w${count}`);
    };
    if (!(await report.run(nameOf(next), next.known ?? null, work, () => lane?.world.root ?? folder))) continue;
    // What is broken says nothing about the next case.
    await (lane as Lane | null)?.world.close();
    lane = null;
  }
  await (lane as Lane | null)?.world.close();
}

async function newLane(root: string): Promise<Lane> {
  const world = await makeWorld(root);
  const ends = new Map<string, readonly JobView['state'][]>();
  return { world, auditor: auditor(world, ends), ends };
}

async function runCase({ world, auditor, ends }: Lane, wanted: KillCase, word: string): Promise<void> {
  const trigger: Trigger = TRIGGERS[wanted.trigger];
  const builders = [...world.builders.values()].map(({ role }) => role);
  const targets = wanted.role === 'farm' ? [world.farm] : builders;
  const known = new Set(world.acknowledged.keys());
  const job = (await trigger.setup?.(world, word)) ?? null;
  for (const one of targets) await one.arm(wanted.step, wanted.phase);
  const looking = new AbortController();
  const looked = look(auditor, looking.signal);
  try {
    const run = trigger.run(world, word, job);
    run.catch(() => undefined);
    const ended = await firstEnded(targets);
    if (ended === null) throw new Error('the step was not reached');
    for (const one of targets) if (one.isRunning()) await one.arm('none', 'before').catch(() => one.ended(2000));
    for (const one of targets) if (!one.isRunning()) await one.start();
    await run;
  } finally {
    looking.abort();
    await looked;
  }
  if (trigger.ends !== undefined) for (const id of world.acknowledged.keys()) if (!known.has(id)) ends.set(id, trigger.ends);
  await auditor.check();
  // Disarmed: nobody is to die of it later.
  for (const one of [world.farm, ...builders]) {
    if (!one.isRunning()) throw new Error(`${one.name} has ended by itself; see ${one.log}`);
    await one.arm('none', 'before');
  }
}

/** Every checkpoint that is published meanwhile. */
async function look(auditor: Auditor, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await auditor.note();
    await delay(LOOK);
  }
}

async function firstEnded(roles: readonly Role[]): Promise<Role | null> {
  for (const until = Date.now() + REACHED; Date.now() < until; await delay(10)) {
    const ended = roles.find((one) => !one.isRunning());
    if (ended !== undefined) return ended;
  }
  return null;
}
