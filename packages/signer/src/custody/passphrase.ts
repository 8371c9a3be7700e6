/** Reading a passphrase or a PIN: from the terminal, an open file descriptor or a private file. Never from arguments or the environment, which others see. */
import { close, fstatSync, read } from 'node:fs';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { readPrivateFile } from './private-file.ts';
import { sameBytes } from './same-bytes.ts';
import { MAX_SECRET_INPUT, secretOf } from './secret-input.ts';
import { type ReadLine, readLineWithoutEcho } from './terminal.ts';

export type SecretSource =
  | { readonly from: 'terminal' }
  /** `--passphrase-fd N` */
  | { readonly from: 'fd'; readonly fd: number }
  /** `--passphrase-file PATH`, mode 0600 */
  | { readonly from: 'file'; readonly path: string };

export interface SecretWanted {
  /** As the prompt says it: "Passphrase of release". */
  readonly what: string;
  /** A new one is typed twice; what is read from elsewhere is not. */
  readonly isNew: boolean;
}

/** Two newlines and one byte more than allowed, so that too long is seen. */
const MAX_READ = MAX_SECRET_INPUT + 3;
/** Who cannot type it twice alike in so many attempts should think of another. */
const MAX_ATTEMPTS = 3;
/** Of a descriptor that does not block: whatever fills it does it at once, or is stuck. One that blocks is waited for as long as somebody holds it open. */
const MAX_WAIT_MS = 60_000;
const PAUSE_MS = 20;

/** The caller wipes what it gets. @throws LockstepError USAGE, FILE_NOT_FOUND, KEY_INVALID, CANCELLED, HOST_CANNOT */
export async function readSecret(source: SecretSource, wanted: SecretWanted, readLine: ReadLine = readLineWithoutEcho): Promise<Buffer> {
  if (source.from === 'file') return secretOf(readPrivateFile(source.path, MAX_READ), source.path);
  if (source.from === 'fd') return secretOf(await readDescriptor(source.fd), `file descriptor ${source.fd}`);
  return wanted.isNew ? await askTwice(wanted.what, readLine) : secretOf(await readLine(`${wanted.what}: `), 'the terminal');
}

async function askTwice(what: string, readLine: ReadLine): Promise<Buffer> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const first = secretOf(await readLine(`${what} (new): `), 'the terminal');
    const second = await readLine(`${what} (once more): `);
    const same = sameBytes(first, second);
    second.fill(0);
    if (same) return first;
    first.fill(0);
  }
  throw new LockstepError('PASSPHRASE_WRONG', `${what}: not the same twice`, 'Nothing was changed. Try again.');
}

const readSome = promisify((fd: number, bytes: Buffer, at: number, done: (error: NodeJS.ErrnoException | null, count: number) => void) =>
  read(fd, bytes, at, bytes.length - at, null, (error, count) => done(error, count)),
);

async function readDescriptor(fd: number): Promise<Buffer> {
  const where = `file descriptor ${fd}`;
  if (!Number.isInteger(fd) || fd < 0 || fd === 1 || fd === 2 || !isOpen(fd))
    throw new LockstepError('USAGE', `${where} is not one to read a secret from`, 'Open it in the shell: --passphrase-fd 3 3<FILE');
  if (isatty(fd))
    throw new LockstepError(
      'USAGE',
      `${where} is a terminal, which would show what is typed`,
      'Leave --passphrase-fd away: the terminal is asked without echo.',
    );
  const bytes = Buffer.alloc(MAX_READ);
  let length = 0;
  for (let waited = 0; length < bytes.length; ) {
    const count = await readSome(fd, bytes, length).catch((error: NodeJS.ErrnoException) => (error.code === 'EAGAIN' ? -1 : 0));
    if (count === 0) break;
    if (count > 0) length += count;
    else if ((waited += PAUSE_MS) > MAX_WAIT_MS) break;
    else await pause(PAUSE_MS);
  }
  // Read once: what this process starts later finds nothing there.
  if (fd > 2) close(fd, () => undefined);
  return bytes.subarray(0, length);
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}
