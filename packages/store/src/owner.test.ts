import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { ownerLives, ownerTag } from './owner.ts';

test('ownerLives tells a process from another one that was given its id', async () => {
  const tag = ownerTag();
  assert.equal(ownerLives(tag), true);
  const [pid = '', rest = ''] = tag.split('-');
  const earlier = (Number.parseInt(rest.slice(0, 12), 16) - 1).toString(16).padStart(12, '0');
  assert.equal(ownerLives(`${pid}-${earlier}${rest.slice(12)}`), false, 'the same id, started at another time');
  const child = spawn('true');
  await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(ownerLives(`${child.pid}-${rest}`), false, 'a process that has ended');
  assert.equal(ownerLives('nonsense'), null);
});
