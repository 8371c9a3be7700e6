/** How a verb finds a farm: `--farm` or LOCKSTEP_FARM, a folder of this machine or an address; and what it shows there. */
import { existsSync, readFileSync } from 'node:fs';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { parseJson } from '@lockstep/protocol/json/parse';
import { defaultStorePath } from '@lockstep/store/store';

export interface FarmOptions {
  readonly farm?: string;
  readonly ca?: string;
}

export interface ConnectedFarm {
  readonly client: FarmClient;
  readonly url: string;
  close(): void;
}

/** Written by a farm when it starts, for whoever is on the same machine. */
export const CLIENT_FILE = 'client.json';
export const OPERATOR_TOKEN = 'tokens/operator';

const decodeClient = table({
  schema: oneOf(['lockstep-farm-client/v1'] as const),
  url: text('an address', () => true, 2048),
  authority: text('PEM', () => true, 20_000),
});

export function defaultFarmFolder(): string {
  return `${defaultStorePath(process.env)}/farm`;
}

/** @throws LockstepError USAGE, FARM_UNREACHABLE */
export function connectFarm(options: FarmOptions): ConnectedFarm {
  const where = options.farm ?? process.env['LOCKSTEP_FARM'] ?? defaultFarmFolder();
  const token = process.env['LOCKSTEP_TOKEN'] ?? null;
  if (/^https:\/\//.test(where)) {
    const file = options.ca ?? process.env['LOCKSTEP_FARM_CA'];
    return connect(where.replace(/\/+$/, ''), file === undefined ? null : readFileSync(file, 'utf8'), token);
  }
  if (/^[a-z]+:\/\//.test(where)) throw new LockstepError('USAGE', `${where} is no address of a farm`, 'Farms are spoken to over https.');
  const file = `${where}/${CLIENT_FILE}`;
  if (!existsSync(file))
    throw new LockstepError(
      'FARM_UNREACHABLE',
      `No farm has run in ${where}`,
      'Start one with "lockstep farm", or give --farm ADDRESS with --ca FILE and LOCKSTEP_TOKEN.',
    );
  const decoded = decodeClient(parseJson(readFileSync(file), file), []);
  if (!decoded.ok) throw new LockstepError('FARM_UNUSABLE', `${file} is damaged`, 'Start the farm again: it is written anew.');
  const own = `${where}/${OPERATOR_TOKEN}`;
  return connect(decoded.value.url, decoded.value.authority, token ?? (existsSync(own) ? readFileSync(own, 'utf8').trim() : null));
}

function connect(url: string, authority: string | null, token: string | null): ConnectedFarm {
  const transport = httpsTransport({ url, authority, identity: null });
  return { client: farmClient(transport.send, token), url, close: () => transport.close() };
}

/** Runs `work` with a connection that is closed afterwards, so that the program can end. */
export async function withFarm<T>(options: FarmOptions, work: (farm: ConnectedFarm) => Promise<T>): Promise<T> {
  const farm = connectFarm(options);
  try {
    return await work(farm);
  } finally {
    farm.close();
  }
}
