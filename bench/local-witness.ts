/** Starts and ends the witness of a benchmark. */
import { type ChildProcess, fork } from 'node:child_process';
import { formatVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { BenchError } from './measure.ts';
import type { WitnessReady } from './witness-process.ts';

export interface LocalWitness {
  /** A log's witness policy that asks for both of its keys, post-quantum and not. */
  readonly policy: string;
  follow(log: VerifierKey): Promise<void>;
  stop(): void;
}

export async function startWitness(folder: string): Promise<LocalWitness> {
  const child = fork(`${import.meta.dirname}/witness-process.ts`, [folder], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const { url, ed25519, mlDsa } = (await answerOf(child)) as WitnessReady;
  return {
    policy: `witness a ${ed25519} ${url}\nwitness b ${mlDsa} ${url}\ngroup both all a b\nquorum both\n`,
    async follow(log) {
      child.send(formatVerifierKey(log));
      await answerOf(child);
    },
    stop: () => child.disconnect(),
  };
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (status: number | null): void => reject(new BenchError(`the witness ended with status ${status}`));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message);
    });
  });
}
