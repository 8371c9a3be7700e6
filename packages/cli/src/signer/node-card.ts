/** A node's card: its name, the keys by which its answers are known, and how it is reached from here. No secret. */
import { nullable, oneOf, optional, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';

export const decodeCard = table({
  schema: oneOf(['lockstep-node/v1'] as const),
  name: text('a name', (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(value), 100),
  key: text('a public key in PEM', (value) => value.startsWith('-----BEGIN PUBLIC KEY'), 2000),
  log: text('a verifier key', (value) => value !== '', 1000),
  box: optional(nullable(text('32 bytes in hex', (value) => /^[0-9a-f]{64}$/.test(value), 64)), null),
  /** local:FOLDER, folder:FOLDER, serial:DEVICE[@SPEED] or farm:WHERE; null: carried by hand. */
  via: optional(nullable(text('how it is reached', (value) => value !== '', 4096)), null),
});
export type NodeCard = TypeOf<typeof decodeCard>;
