/** `lockstep log monitor`: what is new in a log, by key and by package; alarms (exit code 6) when it is not a continuation. */
import { existsSync } from 'node:fs';
import { monitorLog, type MonitoredEntry } from '@lockstep/log/watch/monitor';
import { logSource } from '@lockstep/log/source/log-source';
import { writeDurably } from '@lockstep/store/durable';
import { logKey } from '../../farm-log.ts';
import { harmlessLine } from '../../show/harmless.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly key?: string;
  readonly state?: string;
  readonly signer?: string;
  readonly package?: string;
}

export function logMonitor(where: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const last = options.state !== undefined && existsSync(options.state) ? readNamedFile(options.state).toString('utf8') : null;
    const report = await monitorLog(logSource(where), logKey(where, options.key), [], last);
    const entries = report.entries.filter(
      (entry) =>
        entry.opaque !== null ||
        ((options.signer === undefined || entry.key?.startsWith(options.signer) === true) &&
          (options.package === undefined || entry.package?.split(' ')[0] === options.package)),
    );
    // Only what was found consistent is remembered.
    if (options.state !== undefined) writeDurably(options.state, report.view.text);
    const { size } = report.view.checkpoint;
    print([`${report.from} → ${size} entries, consistent`, ...entries.map((entry) => harmlessLine(line(entry)))].join('\n'), {
      schema: 'lockstep-log-monitor/v1',
      from: report.from,
      to: size,
      entries,
    });
    return 0;
  });
}

export function line(entry: MonitoredEntry): string {
  if (entry.opaque !== null) return `${entry.index}  OPAQUE  ${entry.key?.slice(0, 16) ?? ''} ${entry.opaque}`;
  const noun = /^application\/vnd\.lockstep\.([a-z-]+)\+json$/.exec(entry.payloadType ?? '')?.[1];
  const what = entry.package ?? noun ?? entry.payloadType ?? '';
  return `${entry.index}  ${entry.key?.slice(0, 16) ?? ''}  ${what}${entry.buildId === null ? '' : `  build ${entry.buildId.slice(0, 16)}`}`;
}
