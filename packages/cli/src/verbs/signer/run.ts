/** `lockstep signer run`: serves requests over a serial line, from a folder, or one by one with `lockstep signer sign`. */
import { noCoreDumps } from '@lockstep/signer/custody/core-dumps';
import { hardwareRandom } from '@lockstep/signer/custody/hardware-random';
import { makeMemoryKey } from '@lockstep/signer/custody/memory-key';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { newSerialMemory, serveSerial } from '@lockstep/signer/serial/node';
import { openTty, SPEEDS } from '@lockstep/signer/serial/tty';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { isKeyUse, KEY_USES } from '@lockstep/protocol/key/key-use';
import { writeDurably } from '@lockstep/store/durable';
import { setTimeout as pause } from 'node:timers/promises';
import { withFarm } from '../../farm/connect.ts';
import { EXIT } from '../../exit-code.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb, type Session } from '../../session.ts';
import { readAnswer } from '../../signer/answer.ts';
import { confirmation } from '../../signer/confirm.ts';
import { serveFarm } from '../../signer/farm-line.ts';
import { serveFolder } from '../../signer/folder-line.ts';
import { openSignerHome } from '../../signer/home.ts';
import { type RunningNode, runNode } from '../../signer/running-node.ts';
import { askOnce, type SecretOptions } from '../../signer/secret-options.ts';
import { tellReady } from '../ready-fd.ts';

interface Options extends CommonOptions, SecretOptions {
  readonly confirm?: boolean;
  readonly yes?: boolean;
  readonly memoryKey?: readonly string[];
  readonly requireHardware?: boolean;
}

interface RunOptions extends Options {
  readonly serial?: string;
  readonly speed: string;
  readonly folder?: string;
  readonly farm?: string;
  readonly ca?: string;
  readonly readyFd?: string;
}

export function signerRun(home: string, options: RunOptions): Promise<void> {
  return runVerb(options, (session) =>
    withNode(home, options, session, async (running) => {
      const { context, print } = session;
      const { serial, folder, farm } = options;
      const [where, second] = [serial, folder, farm].filter((one) => one !== undefined);
      if (where === undefined || second !== undefined)
        throw new LockstepError(
          'USAGE',
          'It is not said where requests come from',
          'Give one of --serial DEVICE, --folder FOLDER and --farm WHERE.',
        );
      print(`${running.card.name} answers on ${where}${keyLines(running.keys)}`, {
        schema: 'lockstep-signer-run/v1',
        card: running.card,
        on: where,
        keys: running.keys.map((key) => ({
          name: key.name,
          use: key.use,
          custody: key.custody,
          id: key.public.id,
          pem: anyKeyToPem(key.public),
        })),
      });
      tellReady(options.readyFd);
      if (folder !== undefined) await serveFolder(folder, running.handle, context.cancelled, (text) => context.progress.warn(text));
      else if (farm !== undefined)
        await withFarm(options, ({ client }) =>
          serveFarm(client, running.handle, context.cancelled, (text) => context.progress.warn(text)),
        );
      else await serveLine(where, options, running, session);
      return 0;
    }),
  );
}

/** A pulled cable ends a line, not the node. */
async function serveLine(device: string, options: RunOptions, running: RunningNode, { context }: Session): Promise<void> {
  const speed = SPEEDS.find((one) => one === Number(options.speed));
  if (speed === undefined)
    throw new LockstepError('USAGE', `${options.speed} is no speed of a serial line`, `Use one of ${SPEEDS.join(', ')}.`);
  const memory = newSerialMemory();
  let first = true;
  while (!context.cancelled.aborted) {
    try {
      const line = openTty(device, { speed });
      first = false;
      const serving = serveSerial(line, running.handle, {
        memory,
        onFailure: (error) => context.progress.warn(`a request failed: ${String(error)}`),
      });
      const stop = (): void => void serving.stop();
      context.cancelled.addEventListener('abort', stop, { once: true });
      const reason = await serving.ended;
      context.cancelled.removeEventListener('abort', stop);
      await line.close();
      if (!context.cancelled.aborted) context.progress.warn(`${device}: ${reason}`);
    } catch (error) {
      // At the start a wrong name is told; later the line may come back.
      if (first || !(error instanceof LockstepError)) throw error;
    }
    await pause(500, undefined, { signal: context.cancelled }).catch(() => undefined);
  }
}

/** `lockstep signer sign`: one request that was carried here, and its answer. */
export function signerSign(home: string, request: string, options: Options & { readonly out: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, (session) =>
    withNode(home, options, session, async (running) => {
      const bytes = new Uint8Array(readNamedFile(request));
      const answer = await running.handle(bytes);
      writeDurably(options.out, answer);
      const { record } = readAnswer(answer, running.card, bytes);
      const said =
        record.result === 'signed'
          ? `SIGNED by ${running.card.name}: ${record.about}`
          : `REFUSED by ${running.card.name} at the step "${record.step}": ${record.reason}`;
      session.print(`${said}\n${options.out}`, {
        schema: 'lockstep-signer-sign/v1',
        answer: options.out,
        result: record.result,
        step: record.step,
        reason: record.reason,
      });
      return record.result === 'signed' ? EXIT.ok : EXIT.refusedByPolicy;
    }),
  );
}

async function withNode(
  home: string,
  options: Options,
  session: Session,
  work: (running: RunningNode) => Promise<number>,
): Promise<number> {
  noCoreDumps();
  const opened = openSignerHome(home);
  const running = await runNode(opened, {
    secret: askOnce(`Passphrase of ${opened.config.name}`, options),
    confirm: confirmation(options),
    clock: session.context.now,
    more: await memoryKeys(options),
  });
  try {
    return await work(running);
  } finally {
    await running.close();
  }
}

/** NAME=USE: made now, of the hardware’s random numbers, and gone when this ends. */
async function memoryKeys(options: Options): Promise<SigningKey[]> {
  const random = hardwareRandom({ requireHardware: options.requireHardware === true });
  return Promise.all(
    (options.memoryKey ?? []).map((spec) => {
      const [name = '', use = ''] = spec.split('=');
      if (!isKeyUse(use))
        throw new LockstepError('USAGE', `--memory-key ${spec} is not NAME=USE`, `A use is one of ${Object.keys(KEY_USES).join(', ')}.`);
      return makeMemoryKey({ name, use, random });
    }),
  );
}

function keyLines(keys: readonly SigningKey[]): string {
  return keys.map((key) => `\n${key.name} (${key.use}, ${key.custody})\n${anyKeyToPem(key.public).trimEnd()}`).join('');
}
