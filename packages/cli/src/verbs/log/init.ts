/** `lockstep log init`: a new log: key, name, and whom it asks to witness. */
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { initLog, initSharedLog } from '@lockstep/log/sequence/log-home';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly origin: string;
  readonly witnesses?: string;
  readonly state?: string;
  readonly inStorage?: boolean;
}

export function logInit(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) => {
    const policy = options.witnesses === undefined ? null : readNamedFile(options.witnesses).toString('utf8');
    const shared = options.inStorage === true;
    if (shared && options.state !== undefined)
      throw new LockstepError('USAGE', '--state is of a log in a folder', 'With --in-storage the last checkpoint lies in the storage too.');
    const made = shared
      ? initSharedLog(folder, options.origin, policy)
      : initLog(folder, options.origin, policy, options.state ?? null).key;
    const key = formatVerifierKey(made);
    const where = shared
      ? `copy ${folder} to every replica, and set log_in = "storage" in each farm.toml`
      : `serve ${folder}/public as static files`;
    const note = policy === null ? '\nnote: no witnesses: nobody would notice if this log showed others something else' : '';
    print(`${key}\n${where}${note}`, {
      schema: 'lockstep-log-init/v1',
      origin: options.origin,
      key,
      public: shared ? null : `${folder}/public`,
      witnessed: policy !== null,
    });
    return 0;
  });
}
