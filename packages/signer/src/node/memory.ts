/**
 * What a node remembers: everything that its own log has, in its order. There is no other state, so none can be forged,
 * forgotten or put back by itself; whoever restores an older log is noticed by the checkpoints that were handed out.
 */
import { fromHex } from '@lockstep/protocol/bytes/hex';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import { releaseDigest, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { lineKey } from '@lockstep/protocol/signing/check-evidence';
import type { Learned, SigningRecord } from '@lockstep/protocol/signing/record';
import { type TufRoleName, tufSeconds } from '@lockstep/protocol/tuf/metadata';

export interface Memory {
  /** Seconds since 1970: the latest that it has seen. */
  readonly time: number;
  readonly seen: Learned['seen'];
  readonly logs: ReadonlyMap<string, TreeHead>;
  /** The last release of a package on a line. */
  readonly releases: ReadonlyMap<string, { readonly version: string; readonly record: Sha256; readonly release: ReleaseRecord }>;
  /** The last metadata that it signed of each role; `message` is the SHA-256 of its bytes. */
  readonly roles: ReadonlyMap<TufRoleName, { readonly version: number; readonly message: string | null; readonly names: number | null }>;
  /** Whether it has signed anything, ever. */
  readonly signed: boolean;
  /** It was found to be an older copy of itself: for good. */
  readonly rolledBack: boolean;
}

export const NOTHING: Memory = {
  time: 0,
  seen: { root: 0, timestamp: 0, snapshot: 0, targets: 0, policy: 0 },
  logs: new Map(),
  releases: new Map(),
  roles: new Map(),
  signed: false,
  rolledBack: false,
};

/** Refusals that another try may mend, with the same request: somebody said no, what keeps the key was away, or it has shares only. */
const NOT_FOR_GOOD = new Set(['person', 'custody', 'keys']);
/** How a refusal begins when the node’s disk was restored. */
const ROLLED_BACK = 'SIGNER_ROLLED_BACK';

export function remember(memory: Memory, record: SigningRecord): Memory {
  const { learned, release, tuf } = record;
  const root = learned === null ? null : fromHex(learned.log.root, 32);
  return {
    // What was refused was perhaps refused because the node’s own clock was wrong; what was signed was in its time.
    time: record.result === 'signed' ? Math.max(memory.time, tufSeconds(record.time)) : memory.time,
    seen: learned?.seen ?? memory.seen,
    logs:
      learned === null || root === null ? memory.logs : new Map([...memory.logs, [learned.log.origin, { size: learned.log.size, root }]]),
    releases:
      release === null || record.result !== 'signed'
        ? memory.releases
        : new Map([
            ...memory.releases,
            [lineKey(release.name, release.line), { version: release.version, record: releaseDigest(release), release }],
          ]),
    roles:
      tuf === null || record.result !== 'signed'
        ? memory.roles
        : new Map([
            ...memory.roles,
            [tuf.role, { version: tuf.version, message: record.signatures[0]?.message ?? null, names: tuf.names }],
          ]),
    signed: memory.signed || record.result === 'signed',
    rolledBack: memory.rolledBack || (record.result === 'refused' && record.step === 'memory' && record.reason.startsWith(ROLLED_BACK)),
  };
}

/** Whether the same request has the same answer from now on. */
export function isForGood(record: SigningRecord): boolean {
  return record.result === 'signed' || !NOT_FOR_GOOD.has(record.step);
}

/** Whether whatever was judged by one would be judged alike by the other. */
export function isSameStand(one: Memory, other: Memory): boolean {
  return (
    one.seen === other.seen &&
    one.logs === other.logs &&
    one.releases === other.releases &&
    one.roles === other.roles &&
    one.rolledBack === other.rolledBack
  );
}
