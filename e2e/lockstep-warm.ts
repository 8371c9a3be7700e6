/**
 * The real program, main.ts with its arguments, in a thread that stays: starting it anew takes longer than most verbs do.
 * For tests that call many verbs one after the other; what is about processes (signals, descriptors, memory) starts its own.
 */
import { after } from 'node:test';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { CLI, type Ran } from './lockstep.ts';

/** What one call takes at most: a key under a passphrase takes about a second. */
const MAX_WAIT_MS = 120_000;

const WORKER = `
const { parentPort } = require('node:worker_threads');
let count = 0;
parentPort.on('message', async ({ args, env, done, port }) => {
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'])
    process[name].write = (chunk) => { printed[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString(); return true; };
  const before = { ...process.env };
  Object.assign(process.env, env);
  process.argv = [process.execPath, ${JSON.stringify(CLI)}, ...args];
  process.exitCode = 0;
  try {
    // Another address each time, so that it runs again; what it imports is loaded once.
    await import(${JSON.stringify(CLI)} + '?' + ++count);
  } catch (error) {
    printed.stderr += String(error?.stack ?? error);
    process.exitCode = 70;
  }
  for (const name of Object.keys(env)) if (before[name] === undefined) delete process.env[name]; else process.env[name] = before[name];
  port.postMessage({ status: process.exitCode ?? 0, signal: null, ...printed });
  process.exitCode = 0;
  Atomics.store(done, 0, 1);
  Atomics.notify(done, 0);
});
`;

let worker: Worker | null = null;
after(async () => {
  await worker?.terminate();
});

/** Waits for it: like spawnSync, and unlike it in the same process. */
export function lockstepWarm(args: readonly string[], env: Readonly<Record<string, string>>): Ran {
  worker ??= new Worker(WORKER, { eval: true });
  const done = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ args, env, done, port: port2 }, [port2]);
  if (Atomics.wait(done, 0, 0, MAX_WAIT_MS) === 'timed-out') throw new Error(`lockstep ${args.join(' ')}: no end in ${MAX_WAIT_MS} ms`);
  const answer = receiveMessageOnPort(port1) as { message: Ran } | undefined;
  port1.close();
  if (answer === undefined) throw new Error(`lockstep ${args.join(' ')}: no answer`);
  return answer.message;
}
