/** One line from /dev/tty in raw mode: not echoed, and not taken from whatever standard input is. */
import { constants, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { MAX_SECRET_INPUT } from './secret-input.ts';

/** The caller wipes the bytes. */
export type ReadLine = (prompt: string) => Promise<Buffer>;

const KEY = { interrupt: 0x03, end: 0x04, backspace: 0x08, newline: 0x0a, enter: 0x0d, erase: 0x15, delete: 0x7f };

/** @throws LockstepError HOST_CANNOT without a terminal, CANCELLED on Ctrl-C */
export async function readLineWithoutEcho(prompt: string): Promise<Buffer> {
  const fd = openTerminal();
  const terminal = new ReadStream(fd);
  const line = new SecretLine();
  try {
    terminal.setRawMode(true);
    // Only now: whoever waits for the prompt types into a terminal that no longer echoes.
    writeSync(fd, prompt);
    await new Promise<void>((resolve, reject) => {
      terminal.on('data', (chunk: Buffer) => {
        try {
          if (line.take(chunk)) resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error('no line'));
        } finally {
          chunk.fill(0);
        }
      });
      terminal.once('error', reject);
      terminal.once('end', () => reject(cancelled('The terminal was closed')));
    });
    return line.bytes();
  } finally {
    line.wipe();
    terminal.setRawMode(false);
    writeSync(fd, '\n');
    terminal.destroy();
  }
}

function openTerminal(): number {
  try {
    return openSync('/dev/tty', constants.O_RDWR | constants.O_NOCTTY);
  } catch {
    throw new LockstepError(
      'HOST_CANNOT',
      'There is no terminal to ask for a secret',
      'Give it by --passphrase-fd N or --passphrase-file PATH.',
    );
  }
}

/** What was typed so far. A class: it owns the bytes and wipes them. */
export class SecretLine {
  private readonly typed = Buffer.alloc(MAX_SECRET_INPUT);
  private length = 0;

  /** @returns whether the line is whole. @throws LockstepError CANCELLED, USAGE */
  take(chunk: Uint8Array): boolean {
    for (const byte of chunk) {
      if (byte === KEY.enter || byte === KEY.newline) return true;
      if (byte === KEY.end) {
        if (this.length > 0) return true;
        throw cancelled('No secret was given');
      }
      if (byte === KEY.interrupt) throw cancelled('Cancelled at the terminal');
      if (byte === KEY.erase) this.wipe();
      else if (byte === KEY.backspace || byte === KEY.delete) this.back();
      else this.add(byte);
    }
    return false;
  }

  bytes(): Buffer {
    return Buffer.from(this.typed.subarray(0, this.length));
  }

  wipe(): void {
    this.typed.fill(0);
    this.length = 0;
  }

  private add(byte: number): void {
    if (this.length === MAX_SECRET_INPUT)
      throw new LockstepError('USAGE', `The secret has more than ${MAX_SECRET_INPUT} bytes`, 'It is one line of text.');
    this.typed[this.length++] = byte;
  }

  /** One character: with UTF-8 its continuation bytes too. */
  private back(): void {
    while (this.length > 0) {
      const last = this.typed[--this.length] ?? 0;
      this.typed[this.length] = 0;
      if ((last & 0xc0) !== 0x80) return;
    }
  }
}

function cancelled(message: string): LockstepError {
  return new LockstepError('CANCELLED', message, 'Nothing was changed.');
}
