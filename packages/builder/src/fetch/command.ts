/** Runs one of the host's package clients: no shell, fixed environment, bounded in time and output. */
import { spawn } from 'node:child_process';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_OUTPUT = 256 << 20;

export async function runCommand(
  program: string,
  args: readonly string[],
  options: {
    readonly cwd: string;
    readonly env: Readonly<Record<string, string>>;
    readonly seconds: number;
    readonly cancelled: AbortSignal;
  },
): Promise<CommandResult> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([options.cancelled, AbortSignal.timeout(options.seconds * 1000)]),
    killSignal: 'SIGKILL',
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  let size = 0;
  const keep = (into: Buffer[]) => (bytes: Buffer) => {
    size += bytes.length;
    if (size <= MAX_OUTPUT) into.push(bytes);
    else child.kill('SIGKILL');
  };
  child.stdout.on('data', keep(out));
  child.stderr.on('data', keep(err));
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(commandError(program, error, options.cancelled)));
    child.once('close', (code) => resolve(code ?? 128));
  });
  return { status, stdout: Buffer.concat(out).toString('utf8'), stderr: Buffer.concat(err).toString('utf8') };
}

function commandError(program: string, error: Error, cancelled: AbortSignal): LockstepError {
  if (cancelled.aborted) return new LockstepError('CANCELLED', 'Cancelled', 'Run it again.');
  if ('code' in error && error.code === 'ENOENT')
    return new LockstepError('HOST_CANNOT', `${program} is not installed`, 'Run "lockstep doctor" for the package that has it.');
  return new LockstepError(
    'FETCH_FAILED',
    `${program} was stopped: ${error.message}`,
    'It took too long; check the network and run it again.',
  );
}
