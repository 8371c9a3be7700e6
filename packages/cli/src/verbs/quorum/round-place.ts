/** Where a round is: the policy, the log, and what the log has about the build. */
import type { Context } from '@lockstep/builder/context';
import type { Round } from '@lockstep/protocol/commitment/round';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { roundOf } from '@lockstep/protocol/quorum/redecide';
import { type LogHome, openLogHome } from '@lockstep/log/sequence/log-home';
import { type AboutBuild, entriesAbout } from '@lockstep/log/watch/entries-about';
import { viewLog } from '@lockstep/log/watch/log-view';
import { witnessKeysOf } from '../../farm-log.ts';
import type { CommonOptions } from '../../session.ts';
import { policyFrom } from '../policy/explain.ts';

export interface RoundOptions extends CommonOptions {
  readonly policy: string;
  readonly root?: string;
  readonly log: string;
  readonly key?: string;
}

export interface RoundPlace {
  readonly context: Context;
  readonly policy: Policy;
  readonly home: LogHome;
  readonly id: string;
  readonly entries: readonly AboutBuild[];
  /** The newest round; null when none was opened. */
  readonly round: Round | null;
  readonly size: number;
}

export async function placeOf(context: Context, options: RoundOptions, id: string): Promise<RoundPlace> {
  const policy = policyFrom(context, options.policy, options.root);
  const home = openLogHome(options.log);
  const empty = (await home.files.read('checkpoint')) === null;
  const view = empty ? null : await viewLog(home.source, home.key, witnessKeysOf(home));
  const entries = view === null ? [] : await entriesAbout(home.source, view, id);
  return { context, policy, home, id, entries, round: roundOf(policy, entries, id), size: view?.checkpoint.size ?? 0 };
}
