/** `lockstep log show`: a log's key and checkpoint, or one entry with what was signed. */
import { existsSync } from 'node:fs';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { readLogKey } from '@lockstep/log/sequence/log-home';
import { describeEntry } from '@lockstep/log/watch/monitor';
import { readEntry, resolveStatement } from '@lockstep/log/watch/make-bundle';
import { openLog } from '../../farm-log.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { harmlessLine } from '../../show/harmless.ts';
import { line } from './monitor.ts';

export function logShow(where: string, index: string | undefined, options: CommonOptions & { readonly key?: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    // Its operator may look before anything was published.
    if (index === undefined && existsSync(`${where}/log.json`) && !existsSync(`${where}/public/checkpoint`)) {
      const key = formatVerifierKey(readLogKey(where));
      print(`${key}\nnothing was published yet`, { schema: 'lockstep-log-show/v1', key, checkpoint: null });
      return 0;
    }
    const { source, key, view } = await openLog(where, options.key);
    if (index === undefined) {
      print(`${formatVerifierKey(key)}\n\n${view.text.trimEnd()}`, {
        schema: 'lockstep-log-show/v1',
        key: formatVerifierKey(key),
        checkpoint: view.text,
      });
      return 0;
    }
    if (!/^[0-9]{1,15}$/.test(index)) throw new LockstepError('USAGE', `${JSON.stringify(index)} is no index`, 'Indexes count from 0.');
    const bytes = await readEntry(source, Number(index), view.checkpoint.size);
    const entry = await describeEntry(source, { index: Number(index), bytes });
    const statement = entry.digest === null ? null : await resolveStatement(source, parseLogEntry(bytes));
    const payload = statement === null ? null : fromUtf8(statement.payload);
    print([harmlessLine(line(entry)), fromUtf8(bytes) ?? '', ...(payload === null ? [] : [payload])].join('\n'), {
      schema: 'lockstep-log-show/v1',
      entry,
      body: fromUtf8(bytes),
      payload,
    });
    return 0;
  });
}
