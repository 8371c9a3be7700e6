/** How a node is reached from here: in this process, over a serial line, by files. The same bytes go and come, whichever it is. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { askOverSerial } from '@lockstep/signer/serial/client';
import { noCoreDumps } from '@lockstep/signer/custody/core-dumps';
import { openTty, type Speed, SPEEDS } from '@lockstep/signer/serial/tty';
import { type ConnectedFarm, connectFarm } from '../farm/connect.ts';
import { askThroughFarm } from './farm-line.ts';
import { askFolder } from './folder-line.ts';
import { openSignerHome } from './home.ts';
import type { NodeCard } from './node-card.ts';
import { type RunningNode, runNode } from './running-node.ts';
import { askOnce, type SecretOptions } from './secret-options.ts';

export interface LineTo {
  readonly card: NodeCard;
  ask(message: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface LineOptions extends SecretOptions {
  /** The authority of a farm that is not of this machine. */
  readonly ca?: string;
  /** The farm that the caller named. */
  readonly farm?: string;
  readonly timeoutSeconds: number;
  /** For a node of this process: asks a person. */
  readonly confirm: ((text: string) => Promise<boolean>) | null;
  readonly progress?: (text: string) => void;
}

/** @throws LockstepError USAGE, LINK_FAILED, and what opening a node throws */
export function lineTo(card: NodeCard, options: LineOptions): LineTo {
  const [kind, ...rest] = (card.via ?? '').split(':');
  const where = rest.join(':');
  if (kind === 'local') return localLine(card, where, options);
  if (kind === 'folder')
    return { card, ask: (message) => askFolder(where, message, options.timeoutSeconds), close: () => Promise.resolve() };
  if (kind === 'serial') return serialLine(card, where, options);
  if (kind === 'farm') return farmLine(card, where, options);
  throw new LockstepError(
    'USAGE',
    `It is not said how ${card.name} is reached: ${JSON.stringify(card.via)}`,
    'Say it behind its card, CARD@VIA: local:FOLDER, folder:FOLDER, serial:DEVICE@SPEED or farm:WHERE. By hand: lockstep release request --out, lockstep signer sign, lockstep release import.',
  );
}

function localLine(card: NodeCard, folder: string, options: LineOptions): LineTo {
  let running: Promise<RunningNode> | null = null;
  return {
    card,
    async ask(message) {
      // This process holds its keys from here on.
      if (running === null) noCoreDumps();
      running ??= runNode(openSignerHome(folder), {
        secret: askOnce(`Passphrase of ${card.name}`, options),
        confirm: options.confirm,
        clock: () => Date.now() / 1000,
      });
      return (await running).handle(message);
    },
    async close() {
      if (running !== null) await (await running).close();
    },
  };
}

function farmLine(card: NodeCard, where: string, options: LineOptions): LineTo {
  let farm: ConnectedFarm | null = null;
  return {
    card,
    ask(message) {
      farm ??= connectFarm({ ...options, farm: where });
      return askThroughFarm(farm.client, card.name, message, options.timeoutSeconds);
    },
    close() {
      farm?.close();
      return Promise.resolve();
    },
  };
}

function serialLine(card: NodeCard, where: string, options: LineOptions): LineTo {
  const [device = '', speedText = '115200'] = where.split('@');
  const speed = SPEEDS.find((one) => one === Number(speedText));
  if (speed === undefined)
    throw new LockstepError('USAGE', `${speedText} is no speed of a serial line`, `Use one of ${SPEEDS.join(', ')}.`);
  let line: ReturnType<typeof openTty> | null = null;
  return {
    card,
    ask(message) {
      line ??= openTty(device, { speed: speed satisfies Speed });
      const { progress } = options;
      return askOverSerial(line, message, {
        timeoutSeconds: options.timeoutSeconds,
        ...(progress === undefined
          ? {}
          : {
              onProgress: (at) =>
                progress(`${card.name}: ${at.received === null ? `${at.sent} of ${at.size} bytes sent` : `${at.received} bytes received`}`),
            }),
      });
    },
    async close() {
      await line?.close();
    },
  };
}
