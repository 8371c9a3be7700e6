/** The first process of the sandbox: runs the steps in order and, being process 1, reaps what they leave behind. */
import type { Job } from '../job/job.ts';
import { STEPS_TARGET } from './place.ts';

export interface StepFile {
  readonly name: string;
  readonly content: string;
}

/**
 * Marks go to descriptor 3, which steps do not inherit: `start N` and `end N STATUS`. They are for the display and the
 * step times only; what counts is the exit status of this process. When it ends, the kernel kills all the rest.
 */
export function stepFiles(job: Job): StepFile[] {
  const lines = ['#!/bin/sh', `cd ${quote(job.fixed.path)} || exit 125`];
  const files: StepFile[] = [];
  for (const [index, step] of job.steps.entries()) {
    files.push({ name: `step-${index}`, content: `${step.run}\n` });
    lines.push(
      `echo start ${index} >&3`,
      `/bin/sh -e ${STEPS_TARGET}/step-${index} 3>&- </dev/null`,
      'status=$?',
      `echo end ${index} $status >&3`,
      '[ $status = 0 ] || exit $status',
    );
  }
  lines.push('exit 0');
  return [...files, { name: 'init', content: `${lines.join('\n')}\n` }];
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
