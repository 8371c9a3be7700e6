/** How verbs write to a log and read from one: the sequencer with its witnesses, and Sigstore bundles of what was appended. */
import { existsSync, readFileSync } from 'node:fs';
import { type Bundle } from '@lockstep/protocol/bundle/bundle';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { type LogHome, readLogKey } from '@lockstep/log/sequence/log-home';
import { openSequencer } from '@lockstep/log/sequence/sequencer';
import { checkSubmission, type Submission } from '@lockstep/log/sequence/submission';
import { type LogSource, logSource } from '@lockstep/log/source/log-source';
import { type LogView, viewLog } from '@lockstep/log/watch/log-view';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { httpWitnesses } from '@lockstep/log/witness/client';

export interface Appended {
  readonly index: number;
  readonly bundle: Bundle;
}

/** All of them in one group, in this order; resolves when the checkpoint that covers them is published. */
export async function appendTo(home: LogHome, submissions: readonly Submission[]): Promise<Appended[]> {
  const witnesses = home.witnesses === null ? null : httpWitnesses(home.witnesses, home.origin, home.source);
  const checked = submissions.map(checkSubmission);
  const sequencer = await openSequencer(home, witnesses);
  try {
    const indexes = await Promise.all(checked.map((one) => sequencer.append(one)));
    const view = await viewLog(home.source, home.key, witnessKeysOf(home));
    return await Promise.all(indexes.map(async (index) => ({ index, bundle: await makeBundle(home.source, home.key, view, index) })));
  } finally {
    await sequencer.close();
  }
}

export function witnessKeysOf(home: LogHome): VerifierKey[] {
  return home.witnesses?.witnesses.map((one) => one.key) ?? [];
}

export interface OpenedLog {
  readonly source: LogSource;
  readonly key: VerifierKey;
  readonly view: LogView;
}

/** @param vkey of the log: the key itself, or a file with it; its operator's own folder needs none */
export async function openLog(where: string, vkey: string | undefined, witnesses: readonly VerifierKey[] = []): Promise<OpenedLog> {
  const source = logSource(where);
  const key = logKey(where, vkey);
  return { source, key, view: await viewLog(source, key, witnesses) };
}

export function logKey(where: string, vkey: string | undefined): VerifierKey {
  if (vkey !== undefined) return parseVerifierKey((existsSync(vkey) ? readFileSync(vkey, 'utf8') : vkey).trim());
  if (existsSync(`${where}/log.json`)) return readLogKey(where);
  throw new LockstepError(
    'USAGE',
    'Nothing was given to trust',
    'Give --key VKEY: the line that the log’s operator gets from "lockstep log show".',
  );
}
