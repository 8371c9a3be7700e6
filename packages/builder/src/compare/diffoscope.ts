/** diffoscope's report on two files, made inside the sandbox: it runs dozens of parsers over foreign bytes. */
import { copyFileSync, readFileSync } from 'node:fs';
import type { Context } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import { ownJob } from '../silo/job.ts';
import { runSilo } from '../silo/run-silo.ts';

const MAX_REPORT = 200_000;

/** @returns text, or null where diffoscope is not installed or gave up */
export async function diffoscopeReport(context: Context, name: string, left: string, right: string): Promise<string | null> {
  if (findOnPath('diffoscope') === null) return null;
  const scratch = context.store.newScratch();
  try {
    copyFileSync(left, `${scratch}/inputs/first`);
    copyFileSync(right, `${scratch}/inputs/second`);
    const plain = name.replace(/[^A-Za-z0-9._+-]/g, '_');
    const run = `mkdir a b; cp /inputs/first a/${plain}; cp /inputs/second b/${plain}; diffoscope --no-progress --max-text-report-size ${MAX_REPORT} --text report.txt a/${plain} b/${plain} || [ $? = 1 ]`;
    const job = ownJob({
      profile: 'build',
      inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
      steps: [{ name: 'diffoscope', run }],
      outputs: [{ kind: 'files', path: 'report.txt' }],
    });
    const result = await runSilo(context, scratch, { ...job, limits: { ...job.limits, timeoutSeconds: 180 } }, null);
    return result.failure === null ? readFileSync(`${scratch}/outputs/report.txt`, 'utf8') : null;
  } finally {
    context.store.dropScratch(scratch);
  }
}
