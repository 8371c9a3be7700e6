/** Shows a person what is about to be signed, on the terminal of the node itself, and asks. Only the word "yes" is one. */
import { createInterface } from 'node:readline/promises';
import { createReadStream, createWriteStream, openSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { harmless } from '../show/harmless.ts';

export async function confirmOnTerminal(text: string): Promise<boolean> {
  let input: number;
  try {
    input = openSync('/dev/tty', 'r+');
  } catch (error) {
    throw new LockstepError(
      'HOST_CANNOT',
      `Nobody can be asked: there is no terminal (${error instanceof Error ? error.message : String(error)})`,
      'Run the node on a terminal, or without --confirm.',
    );
  }
  const terminal = createInterface({
    input: createReadStream('', { fd: input }),
    output: createWriteStream('', { fd: input, autoClose: false }),
  });
  try {
    const answer = await terminal.question(`\n${harmless(text)}\n\nSign this? Type "yes": `);
    return answer.trim() === 'yes';
  } finally {
    terminal.close();
  }
}

export type Confirm = (text: string) => Promise<boolean>;

/** --confirm asks on the terminal; --yes was said before; neither: nobody is asked, and what needs a person is refused. */
export function confirmation({ confirm, yes }: { readonly confirm?: boolean; readonly yes?: boolean }): Confirm | null {
  if (confirm === true) return confirmOnTerminal;
  if (yes !== true) return null;
  return (text) => {
    process.stderr.write(`${harmless(text)}\nyes (--yes)\n`);
    return Promise.resolve(true);
  };
}
