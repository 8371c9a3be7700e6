/**
 * Results that the farm has not acknowledged or not asked for yet. On the disk before anything is said about them, so that
 * neither a farm that is away nor a restart of the builder loses one.
 */
import { randomBytes } from 'node:crypto';
import { integer, list, nullable, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import type { Lease } from '@lockstep/api/routes/builders';
import type { Cells } from '@lockstep/store/cells';

const digest = text('a SHA-256 in hex', isSha256, 64);
const decode = table({
  schema: oneOf(['lockstep-kept-result/v1'] as const),
  /** built: not acknowledged. committed: acknowledged. revealed: the statement is public, bytes may be wanted. */
  state: oneOf(['built', 'committed', 'revealed'] as const),
  attempt: integer(1, Number.MAX_SAFE_INTEGER),
  token: text('a token', () => true, 200),
  job: digest,
  round: integer(0, 1_000_000_000),
  opening: nullable(digest),
  /** Digest of the envelope in the builder's store. */
  attestation: digest,
  statement: digest,
  /** 32 bytes in hex: hides the statement until the reveal. */
  salt: digest,
  /** What the farm may ask for. */
  blobs: list(digest, 100_000),
});

export interface KeptResult {
  readonly state: 'built' | 'committed' | 'revealed';
  readonly attempt: number;
  readonly token: string;
  readonly job: string;
  readonly round: number;
  readonly opening: string | null;
  readonly attestation: Sha256;
  readonly statement: Sha256;
  readonly salt: string;
  readonly blobs: readonly string[];
}

export interface KeptResults {
  all(): KeptResult[];
  /** What was built under exactly these conditions, whoever asked for it then. */
  find(lease: Lease): KeptResult | null;
  put(lease: Lease, result: KeptResult): void;
  update(result: KeptResult): void;
  drop(attempt: number): void;
}

const PREFIX = 'kept-';

export function newSalt(): string {
  return randomBytes(32).toString('hex');
}

/** @param owner of the results, where several builders share one store */
export function keptResults(cells: Cells, owner: string): KeptResults {
  const prefix = `${PREFIX}${sha256Hex(Buffer.from(owner)).slice(0, 16)}-`;
  const read = (name: string): KeptResult | null => {
    const found = cells.get(name);
    if (found === null) return null;
    const decoded = decode(parseJson(Buffer.from(found), name), []);
    // What is damaged is no result; it was never acknowledged as more than a promise to try.
    return decoded.ok ? ({ ...decoded.value } as unknown as KeptResult) : null;
  };
  const names = (): string[] => cells.names().filter((name) => name.startsWith(prefix));
  const write = (name: string, result: KeptResult): void => {
    cells.swap(name, cells.get(name), JSON.stringify({ schema: 'lockstep-kept-result/v1', ...result }));
  };
  const nameOf = (attempt: number): string | undefined => names().find((name) => read(name)?.attempt === attempt);
  return {
    all: () => names().flatMap((name) => read(name) ?? []),
    find: (lease) => read(`${prefix}${conditionsOf(lease)}`),
    put: (lease, result) => write(`${prefix}${conditionsOf(lease)}`, result),
    update(result) {
      const name = nameOf(result.attempt);
      if (name !== undefined) write(name, result);
    },
    drop(attempt) {
      const name = nameOf(attempt);
      if (name !== undefined) cells.remove(name);
    },
  };
}

/** Same definition, same round, same ambient conditions: the same statement will do. */
function conditionsOf({ job, round, opening, ambient }: Lease): string {
  return sha256Hex(Buffer.from(canonicalText({ job, round, opening, ambient: JSON.parse(JSON.stringify(ambient)) as Json }))).slice(0, 40);
}
