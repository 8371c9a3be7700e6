/** What a passphrase or a PIN may be, wherever it is read from. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** Nobody types more; a file with more is another file. */
export const MAX_SECRET_INPUT = 1024;

/**
 * Without the one newline that an editor leaves at the end. Consumes `bytes`: they are wiped.
 * @throws LockstepError USAGE: it says where it was read, never what
 */
export function secretOf(bytes: Buffer, where: string): Buffer {
  let length = bytes.length;
  if (bytes[length - 1] === 0x0a) length -= bytes[length - 2] === 0x0d ? 2 : 1;
  const secret = Buffer.from(bytes.subarray(0, length));
  bytes.fill(0);
  const problem =
    secret.length === 0
      ? 'is empty'
      : secret.length > MAX_SECRET_INPUT
        ? `has more than ${MAX_SECRET_INPUT} bytes`
        : secret.includes(0x0a) || secret.includes(0x0d) || secret.includes(0)
          ? 'has more than one line'
          : null;
  if (problem === null) return secret;
  secret.fill(0);
  throw new LockstepError('USAGE', `The secret from ${where} ${problem}`, 'It is one line of text.');
}
