/** `lockstep log mirror`: a verified copy of a log's static files; again to bring it up to date. */
import { mirrorLog } from '@lockstep/log/watch/mirror';
import { logSource } from '@lockstep/log/source/log-source';
import { logKey } from '../../farm-log.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

export function logMirror(where: string, folder: string, options: CommonOptions & { readonly key?: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const report = await mirrorLog(logSource(where), logKey(where, options.key), folder);
    print(
      [`${report.from} → ${report.to} entries, all verified, in ${folder}`, ...report.opaque.map((path) => `opaque: ${path}`)].join('\n'),
      {
        schema: 'lockstep-log-mirror/v1',
        ...report,
        folder,
      },
    );
    return 0;
  });
}
