/** One build under the ambient conditions that a round dealt to this builder (protocol/variation/deal), and its attestation. */
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Json } from '@lockstep/protocol/json/parse';
import { type Ambient, DEALT_FACTS } from '@lockstep/protocol/variation/deal';
import { attest, type AttestedBuild, prepareBuild, runBuild } from '../build/build.ts';
import type { Conditions } from '../build/job.ts';
import { type Context, step } from '../context.ts';
import { NO_VARIATION } from '../silo/job.ts';
import type { PreparedEnvironment } from '../environment/prepare.ts';
import { clockLibrary } from './clock-library.ts';
import { hasDisorderfs } from './vary.ts';

/** Begins the reason of an error that names a fact which cannot be varied here. */
const CANNOT_VARY = 'cannot vary ';

/** The fact that an error says cannot be varied; null for other errors. */
export function factThatCannotVary(error: unknown): string | null {
  const reason = error instanceof LockstepError ? error.reason : null;
  return reason?.startsWith(CANNOT_VARY) === true ? reason.slice(CANNOT_VARY.length) : null;
}

export async function buildDealt(context: Context, definition: Definition, ambient: Ambient): Promise<AttestedBuild> {
  const environment = await prepareBuild(context, definition);
  const conditions = dealtConditions(ambient, context.now(), await libraryFor(context, environment, ambient));
  const { name, version } = definition.manifest;
  const facts = Object.keys(ambient);
  const title = `build ${name} ${version}${facts.length === 0 ? '' : ` with another ${facts.join(', ')}`}`;
  const outcome = await runBuild(context, definition, environment, conditions, title);
  return step(context, 'attest', () => attest(context, definition, outcome, ambient));
}

/** null when the clock is left as it is. @throws LockstepError HOST_CANNOT */
export async function libraryFor(context: Context, environment: PreparedEnvironment, ambient: Ambient): Promise<Sha256 | null> {
  if (!Object.hasOwn(ambient, 'clock')) return null;
  const library = await clockLibrary(context, environment);
  if (library === null) throw cannot('clock', 'the clock library cannot be compiled, or does nothing in this environment');
  return library;
}

/**
 * @param now seconds since 1970
 * @throws LockstepError HOST_CANNOT for what this host cannot vary; DOCUMENT_INVALID for what is no such condition
 */
export function dealtConditions(ambient: Ambient, now: number, library: Sha256 | null): Conditions {
  const unknown = Object.keys(ambient).find((fact) => !DEALT_FACTS.includes(fact));
  if (unknown !== undefined) throw invalid(unknown, ambient[unknown] ?? null);
  const given = (fact: string): Json => (Object.hasOwn(ambient, fact) ? (ambient[fact] ?? null) : null);
  const whole = (fact: string, most: number): number | null => {
    const value = given(fact);
    if (value === null) return null;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > most) throw invalid(fact, value);
    return value;
  };
  const exactly = <T extends string>(fact: string, only: T): T | null => {
    const value = given(fact);
    if (value !== null && value !== only) throw invalid(fact, value);
    return value === null ? null : only;
  };
  const cpuModel = given('cpu-model');
  if (cpuModel !== null && (typeof cpuModel !== 'string' || !/^[\x20-\x7e]{1,100}$/.test(cpuModel))) throw invalid('cpu-model', cpuModel);
  const offset = whole('clock', 100 * 366 * 86_400);
  const directoryOrder = exactly('directory-order', 'reverse');
  if (directoryOrder !== null && !hasDisorderfs()) throw cannot('directory-order', 'disorderfs or /dev/fuse is missing');
  return {
    ambient: {
      ...NO_VARIATION,
      directoryOrder,
      addressLayout: exactly('address-layout', 'random'),
      kernelName: exactly('kernel', '2.6'),
      cpuModel,
      memoryTotalMb: whole('memory', 1 << 24),
      load: whole('load', 256),
    },
    fixed: {},
    clock: offset === null || library === null ? null : { library, startAt: Math.floor(now) + offset, slowdown: 1 },
  };
}

function cannot(fact: string, why: string): LockstepError {
  return new LockstepError('HOST_CANNOT', `This host cannot vary ${fact}: ${why}`, 'Run "lockstep doctor"; it says what to install.', {
    reason: `${CANNOT_VARY}${fact}`,
  });
}

function invalid(fact: string, value: Json): LockstepError {
  return new LockstepError(
    'DOCUMENT_INVALID',
    `${JSON.stringify(fact)} = ${JSON.stringify(value)?.slice(0, 80)} is no ambient condition that can be dealt`,
    'spec/commitment.md lists them. The opening was made by another version, or by nobody who deals fairly.',
  );
}
