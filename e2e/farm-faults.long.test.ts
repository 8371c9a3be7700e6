/** A few of the faults of `npm run farm-faults`, so that every test run has some. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { killInTurn } from './faults/kill.ts';
import { makeReport } from './faults/report.ts';
import { KILL_CASES, nameOf } from './faults/steps.ts';

const CASES = [
  'farm killed after api commit',
  'farm killed within write advance',
  'farm killed after compose results',
  'a builder killed before keep committed',
];

test('what is killed at a step and started again loses nothing: a few of the steps', async () => {
  const root = mkdtempSync(`${tmpdir()}/lockstep-faults-`);
  const said: string[] = [];
  const report = makeReport((line) => said.push(line));
  const queue = KILL_CASES.filter((one) => CASES.includes(nameOf(one)));
  assert.equal(queue.length, CASES.length, 'a case has another name now');
  await killInTurn(`${root}/farm`, queue, report);
  assert.ok(report.end(), said.join('\n'));
  rmSync(root, { recursive: true, force: true });
});
