/** The farm's log as its control plane sees it: the sequencer with its witnesses, opened when something is appended. */
import type { FarmLog, FoundDocument } from '@lockstep/control-plane/farm';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { LogHome } from '@lockstep/log/sequence/log-home';
import type { WitnessClient } from '@lockstep/log/sequence/publish';
import { openSequencer, type Sequencer } from '@lockstep/log/sequence/sequencer';
import { checkSubmission } from '@lockstep/log/sequence/submission';
import { documentsFrom } from '@lockstep/log/watch/entries-about';
import { viewLog } from '@lockstep/log/watch/log-view';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { witnessKeysOf } from '../farm-log.ts';

export interface SequencedLog extends FarmLog {
  close(): Promise<void>;
}

export function sequencedLog(home: LogHome, witnesses: WitnessClient | null): SequencedLog {
  let opening: Promise<Sequencer> | null = null;
  const sequencer = async (): Promise<Sequencer> => {
    opening ??= openSequencer(home, witnesses);
    try {
      return await opening;
    } catch (error) {
      // Witnesses that were away may be back when it is tried again.
      opening = null;
      throw error;
    }
  };
  const view = async () => {
    try {
      return await viewLog(home.source, home.key, witnessKeysOf(home));
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'FILE_NOT_FOUND') return null;
      throw error;
    }
  };
  return {
    origin: home.origin,
    key: formatVerifierKey(home.key),
    async append(documents) {
      const checked = documents.map(checkSubmission);
      const open = await sequencer();
      return Promise.all(checked.map((one) => open.append(one)));
    },
    async ready() {
      await sequencer();
    },
    size: async () => (await view())?.checkpoint.size ?? 0,
    read: (path, maxBytes) => home.source.read(path, maxBytes),
    async *documents(from): AsyncGenerator<FoundDocument> {
      const seen = await view();
      if (seen === null) return;
      // What is about keys belongs to no job.
      for await (const { index, payloadType, payload, digest, buildId, signature, key } of documentsFrom(home.source, seen, from))
        if (buildId !== '') yield { index, payloadType, payload, digest, buildId, signature, signer: key };
    },
    async close() {
      if (opening === null) return;
      await (await opening.catch(() => null))?.close();
    },
  };
}
