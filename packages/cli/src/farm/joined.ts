/** What a builder keeps of having joined a farm: its address, its authority, the certificate. */
import { existsSync, readFileSync } from 'node:fs';
import { integer, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { Store } from '@lockstep/store/store';
import { writeDurably } from '@lockstep/store/durable';

export interface Joined {
  readonly name: string;
  readonly url: string;
  readonly authority: string;
  readonly certificate: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const line = text('text', () => true, 100_000);
const decode = table({
  schema: oneOf(['lockstep-joined/v1'] as const),
  name: line,
  url: line,
  authority: line,
  certificate: line,
  expiresAt: integer(0, Number.MAX_SAFE_INTEGER),
});

const fileOf = (store: Store): string => `${store.keys}/farm.json`;

export function keepJoined(store: Store, joined: Joined): void {
  writeDurably(fileOf(store), `${JSON.stringify({ schema: 'lockstep-joined/v1', ...joined })}\n`, 0o600);
}

/** @throws LockstepError USAGE when it has not joined */
export function readJoined(store: Store): Joined {
  const file = fileOf(store);
  if (!existsSync(file))
    throw new LockstepError(
      'USAGE',
      'This builder has joined no farm',
      'An operator makes a token with "lockstep farm join-token"; then: lockstep builder join.',
    );
  const decoded = decode(parseJson(readFileSync(file), file), []);
  if (!decoded.ok) throw new LockstepError('STORE_CORRUPT', `${file} is damaged`, 'Join again.');
  const { schema: _schema, ...joined } = decoded.value;
  return joined;
}

/** The policy's root that this builder pins. */
export function pinnedRootFile(store: Store): string {
  return `${store.keys}/root.json`;
}
