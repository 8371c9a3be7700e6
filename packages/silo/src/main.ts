/** `lockstep-silo run|plan|pack`: the command line of the silo. */
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, realpathSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SiloError } from './failure.ts';
import { cgroupVersion } from './host/cgroup.ts';
import { hostFacts, hostPart } from './host/host-part.ts';
import { packDirectory } from './pack.ts';
import { fakeFiles } from './plan/fakes.ts';
import { baseScript, diskScript, rootScript } from './plan/mount-script.ts';
import { ociConfig } from './plan/oci.ts';
import { stepFiles } from './plan/steps.ts';
import { personality } from './run/container.ts';
import { readJobFile, run } from './run/run.ts';

const USAGE = `usage: lockstep-silo run SCRATCH [--runtime runc|crun] [--ready-fd N] [--events-fd N]
       lockstep-silo plan SCRATCH
       lockstep-silo pack DIRECTORY FILE [--exclude NAME]...

run   reads SCRATCH/job.json and SCRATCH/inputs/, writes SCRATCH/outputs/, transcript and result.json, exits:
      0 the build succeeded, 1 it failed, 2 usage, 3 this host cannot
plan  prints what run would do: mounts, limits, steps; changes nothing
pack  writes one directory as one canonical tar and prints its digest
`;

/** Exit statuses of spec/scratch.md. */
const EXIT = { ok: 0, failed: 1, usage: 2, hostCannot: 3 } as const;

async function main(argv: string[]): Promise<number> {
  // What is made for the build is looked at by the build's own users; whoever started this may be more careful with its files.
  process.umask(0o022);
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      runtime: { type: 'string', default: 'runc' },
      owner: { type: 'string', default: '0' },
      'ready-fd': { type: 'string' },
      'events-fd': { type: 'string' },
      exclude: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  });
  const [verb, first, second] = positionals;
  if (values.help) {
    process.stdout.write(USAGE);
    return EXIT.ok;
  }
  if (verb === 'pack' && first !== undefined && second !== undefined) {
    process.stdout.write(`${JSON.stringify(packDirectory(realpathSync(first), second, new Set(values.exclude)))}\n`);
    return EXIT.ok;
  }
  if (verb === 'plan' && first !== undefined) {
    process.stdout.write(`${JSON.stringify(planOf(realpathSync(first)), null, 2)}\n`);
    return EXIT.ok;
  }
  if (verb === 'run' && first !== undefined && (values.runtime === 'runc' || values.runtime === 'crun')) {
    return runScratch(
      realpathSync(first),
      values.runtime,
      Number(values.owner),
      descriptor(values['ready-fd']),
      descriptor(values['events-fd']),
    );
  }
  process.stderr.write(USAGE);
  return EXIT.usage;
}

function descriptor(text: string | undefined): number | null {
  if (text === undefined) return null;
  const fd = Number(text);
  if (!Number.isInteger(fd) || fd < 0)
    throw new SiloError('JOB_INVALID', `${JSON.stringify(text)} is not a file descriptor`, 'Give a number, such as 3.');
  fstatSync(fd);
  return fd;
}

async function runScratch(
  scratch: string,
  runtime: 'runc' | 'crun',
  owner: number,
  readyFd: number | null,
  eventsFd: number | null,
): Promise<number> {
  const cancel = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => cancel.abort());
  const emit = (event: Record<string, unknown>): void => {
    if (eventsFd !== null) writeSync(eventsFd, `${JSON.stringify(event)}\n`);
  };
  const result = await run({
    scratch,
    runtime,
    owner,
    id: randomBytes(6).toString('hex'),
    cancelled: cancel.signal,
    now: () => Date.now() / 1000,
    ready: () => {
      emit({ event: 'ready' });
      if (readyFd === null) return;
      writeSync(readyFd, '\n');
      closeSync(readyFd);
    },
    events: {
      stepStarted: (index, name) => emit({ event: 'step-started', index, name }),
      stepEnded: (index, name, exitCode, seconds) => emit({ event: 'step-ended', index, name, exitCode, seconds }),
      output: (bytes) => emit({ event: 'output', bytes: bytes.toString('base64') }),
    },
  });
  if (result.failure === null) return EXIT.ok;
  process.stderr.write(`lockstep-silo: ${result.failure.message}\n  ${result.failure.hint}\n`);
  return result.failure.code === 'HOST_CANNOT' ? EXIT.hostCannot : EXIT.failed;
}

function planOf(scratch: string): Record<string, unknown> {
  const job = readJobFile(scratch);
  const config = ociConfig(job, hostPart(job, cgroupVersion(), 0, 'plan'));
  return {
    job,
    mounts: [baseScript(), diskScript(job, `${scratch}/disk.img`), rootScript(job, [])].join('\n').split('\n'),
    files: [...stepFiles(job), ...fakeFiles(job, hostFacts())],
    personality: personality(job),
    oci: config,
  };
}

main(process.argv.slice(2)).then(
  (status) => {
    // Everything that was written was written synchronously; nothing is waited for.
    process.exit(status);
  },
  (error: unknown) => {
    const known = error instanceof SiloError;
    process.stderr.write(
      `lockstep-silo: ${known ? `${error.message}\n  ${error.hint}` : error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exitCode = known
      ? error.code === 'HOST_CANNOT'
        ? EXIT.hostCannot
        : EXIT.failed
      : error instanceof TypeError
        ? EXIT.usage
        : EXIT.failed;
  },
);
