/** From a definition to the job of a silo. A pure function: the same definition, the same job. */
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { LockedFile } from '@lockstep/protocol/lock/lock';
import { type Ambient, NO_VARIATION, type SiloInput, type SiloJob } from '../silo/job.ts';

/** What `build --vary` may change although the definition fixes it: advice about a build, never a farm's business. */
export interface FixedOverrides {
  readonly path?: string;
  readonly home?: string;
  readonly user?: string;
  readonly uid?: number;
  readonly umask?: number;
  readonly hostname?: string;
  readonly cpus?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Another wall clock: see vary/clock-shim.ts. `startAt` in seconds since 1970. */
export interface ClockPlan {
  readonly library: Sha256;
  readonly startAt: number;
  readonly slowdown: number;
}

export interface Conditions {
  readonly ambient: Ambient;
  readonly fixed: FixedOverrides;
  readonly clock: ClockPlan | null;
}

export const NORMAL: Conditions = { ambient: NO_VARIATION, fixed: {}, clock: null };

/** Where the clock library lies in a scratch. */
export const CLOCK_INPUT = 'inputs/clock.so';

export function jobOf(definition: Definition, rootfs: SiloJob['rootfs'], conditions: Conditions): SiloJob {
  const { manifest, lock } = definition;
  const { build, resources } = manifest;
  const path = conditions.fixed.path ?? build.path;
  const uid = conditions.fixed.uid ?? build.uid;
  return {
    schema: 'lockstep-job/v1',
    profile: 'build',
    rootfs,
    inputs: stagedFiles(definition).map((file, index) => stagedInput(file, index, path)),
    env: { LC_ALL: build.locale, TZ: build.timezone, ...build.env, ...conditions.fixed.env },
    steps: [...linkSteps(lock.links), ...build.steps],
    outputs: manifest.outputs.map((output) =>
      'files' in output ? { kind: 'files', path: output.files } : { kind: 'tree', path: output.tree, name: output.name },
    ),
    fixed: {
      path,
      home: conditions.fixed.home ?? build.home,
      user: conditions.fixed.user ?? build.user,
      uid,
      gid: uid,
      umask: conditions.fixed.umask ?? Number.parseInt(build.umask, 8),
      hostname: conditions.fixed.hostname ?? build.hostname,
      cpus: conditions.fixed.cpus ?? resources.cpus,
      sourceDate: lock.source.date,
    },
    limits: {
      memoryMb: resources.memory_mb,
      scratchMb: resources.scratch_mb,
      pids: resources.processes,
      timeoutSeconds: resources.timeout,
      transcriptMb: resources.transcript_mb,
      outputFiles: resources.output_files,
      outputDepth: resources.output_depth,
      outputMb: resources.output_mb,
    },
    ambient: {
      ...conditions.ambient,
      clock:
        conditions.clock === null ? null : { library: CLOCK_INPUT, startAt: conditions.clock.startAt, slowdown: conditions.clock.slowdown },
    },
    network: 'none',
    keepImage: null,
  };
}

export function stagedFiles(definition: Definition): readonly LockedFile[] {
  return [...definition.lock.source.files, ...definition.lock.inputs];
}

export function stagedName(index: number): string {
  return `inputs/${index}`;
}

function stagedInput(file: LockedFile, index: number, path: string): SiloInput {
  return { path: stagedName(index), target: file.to === '.' ? path : `${path}/${file.to}`, as: file.as, strip: file.strip };
}

/** Well below what the silo takes in one step. */
const LINKS_PER_STEP = 200;

/** npm makes the programs of a package executable and links them; done here in the open, as steps of their own. */
function linkSteps(links: Definition['lock']['links']): { name: string; run: string }[] {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = links.map(({ path, target }) => {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const program = quote(`${folder}/${target}`);
    return `mkdir -p ${quote(folder)}; [ ! -e ${program} ] || { chmod +x ${program}; ln -sf ${quote(target)} ${quote(path)}; }`;
  });
  const steps: { name: string; run: string }[] = [];
  for (let at = 0; at < lines.length; at += LINKS_PER_STEP)
    steps.push({ name: 'link the programs of npm packages', run: lines.slice(at, at + LINKS_PER_STEP).join('\n') });
  return steps;
}
