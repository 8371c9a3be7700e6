/**
 * A builder's own look at the round before it reveals: in the witnessed log, with the policy of its own pinned root, not by
 * the farm's word. A farm that was broken into could otherwise ask one builder to reveal, and let another one copy.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FarmClient } from '@lockstep/api/client';
import { FarmError } from '@lockstep/api/problem';
import type { Duty } from '@lockstep/api/routes/builders';
import type { LogSource } from '@lockstep/log/source/log-source';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { witnessKeys } from '@lockstep/protocol/policy/witnessing';
import { roundOf } from '@lockstep/protocol/quorum/redecide';
import { parseMetadata } from '@lockstep/protocol/tuf/metadata';
import { toEntry } from '@lockstep/protocol/verdict/verify-release';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { writeDurably } from '@lockstep/store/durable';
import type { Store } from '@lockstep/store/store';
import { viewPolicyLog } from '../policy-log.ts';
import { readTrustedPolicy } from '../trust/trusted-policy.ts';

/** Entries that a round can have: its opening, a commitment of each on the roster, the closing; and those of earlier rounds. */
const MOST_EVIDENCE = 2000;
const MAX_METADATA = 1 << 20;
const MAX_ROOTS = 100;

export interface RevealGuard {
  /** @throws LockstepError ROUND_REFUSED when the log does not show that nobody can commit any more */
  check(duty: Duty): Promise<void>;
}

/** @param rootFile the policy's root that this builder pins */
export function revealGuard(client: FarmClient, store: Store, rootFile: string): RevealGuard {
  const source = farmLogSource(client);
  return {
    async check(duty) {
      const policy = await fetchPolicy(client, store, rootFile);
      const opened = await viewPolicyLog(policy, source);
      const keys = policy.logs.map((one) => one.key);
      const entries = [];
      for (const index of [...new Set(duty.evidence)].slice(0, MOST_EVIDENCE)) {
        const bundle = await makeBundle(source, opened.key, opened.view, index);
        entries.push(toEntry(openBundle(bundle, keys, witnessKeys(policy))));
      }
      const round = roundOf(policy, entries, duty.job);
      const refuse = (why: string): LockstepError =>
        new LockstepError(
          'ROUND_REFUSED',
          `The log does not show that it is time to reveal: ${why}`,
          'Ask the farm’s operator; somebody may want this result before others have committed.',
        );
      if (round === null || round.digest !== duty.opening) throw refuse('the round that was committed to is not in it');
      if (round.phase !== 'revealing') throw refuse('not all have committed, and no coordinator has closed the round');
    },
  };
}

/** The log's public files, over the connection of the builder. */
function farmLogSource(client: FarmClient): LogSource {
  return {
    name: 'the farm’s log',
    async read(path, maxBytes) {
      try {
        return await bounded(await client.call('logFile', { params: { path } }), maxBytes);
      } catch (error) {
        if (error instanceof FarmError && error.code === 'NOT_FOUND') return null;
        throw error;
      }
    },
  };
}

/** The repository's files that the client workflow of TUF asks for, as the farm has them; believed only by the pinned root. */
async function fetchPolicy(client: FarmClient, store: Store, rootFile: string): Promise<Policy> {
  const folder = `${store.root}/policy`;
  const fetchFile = async (path: string): Promise<Uint8Array | null> => {
    try {
      const bytes = await bounded(await client.call('policyFile', { params: { path } }), MAX_METADATA * 16);
      mkdirSync(dirname(`${folder}/${path}`), { recursive: true });
      writeDurably(`${folder}/${path}`, bytes);
      return bytes;
    } catch (error) {
      if (error instanceof FarmError && error.code === 'NOT_FOUND') return null;
      throw error;
    }
  };
  const missing = (path: string): LockstepError => new LockstepError('POLICY_UNTRUSTED', `The farm has no ${path}`, 'Ask its operator.');
  for (let version = 1; version <= MAX_ROOTS && (await fetchFile(`metadata/${version}.root.json`)) !== null; version++);
  const timestamp = await fetchFile('metadata/timestamp.json');
  if (timestamp === null) throw missing('metadata/timestamp.json');
  const snapshotPath = `metadata/${parseMetadata('timestamp', timestamp).signed.meta['snapshot.json'].version}.snapshot.json`;
  const snapshot = await fetchFile(snapshotPath);
  if (snapshot === null) throw missing(snapshotPath);
  const targetsPath = `metadata/${parseMetadata('snapshot', snapshot).signed.meta['targets.json']?.version ?? 0}.targets.json`;
  const targets = await fetchFile(targetsPath);
  if (targets === null) throw missing(targetsPath);
  for (const [name, { hashes }] of Object.entries(parseMetadata('targets', targets).signed.targets))
    await fetchFile(`targets/${hashes.sha256}.${name}`);
  const { policy } = readTrustedPolicy(rootFile, folder, store.cells, Date.now() / 1000);
  return policy;
}

async function bounded(response: Response, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > maxBytes) throw new LockstepError('FETCH_TOO_LARGE', 'The farm sent a file that is too large', 'Ask its operator.');
    parts.push(part);
  }
  return Buffer.concat(parts);
}
