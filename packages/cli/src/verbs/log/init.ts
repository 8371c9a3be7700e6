/** `lockstep log init`: a new log: key, name, and whom it asks to witness. */
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { initLog } from '@lockstep/log/sequence/log-home';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly origin: string;
  readonly witnesses?: string;
  readonly state?: string;
}

export function logInit(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) => {
    const policy = options.witnesses === undefined ? null : readNamedFile(options.witnesses).toString('utf8');
    const home = initLog(folder, options.origin, policy, options.state ?? null);
    const key = formatVerifierKey(home.key);
    const note = policy === null ? '\nnote: no witnesses: nobody would notice if this log showed others something else' : '';
    print(`${key}\nserve ${folder}/public as static files${note}`, {
      schema: 'lockstep-log-init/v1',
      origin: home.origin,
      key,
      public: `${folder}/public`,
      witnessed: policy !== null,
    });
    return 0;
  });
}
