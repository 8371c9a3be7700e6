import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { readFromScratch } from '../source/samples.ts';
import { initLog, type LogHome, openLogHome } from './log-home.ts';
import { document, nextTurn, readFolder } from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

const disk = mkdtempSync(`${tmpdir()}/lockstep-full-`);
const ballast = `${disk}/ballast`;
before(() => {
  const run = spawnSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', 'size=256k', 'lockstep-full', disk], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
});
after(() => {
  spawnSync('/usr/bin/umount', [disk]);
  rmSync(disk, { recursive: true });
});

const big = (label: string): ReturnType<typeof document> => document(label, `statement ${label}`.padEnd(3000, '.'));

interface Full {
  readonly home: LogHome;
  readonly sequencer: Sequencer;
  readonly acknowledged: Map<string, number>;
  readonly refused: string[];
}

/** Appends until the disk has been full for a while. */
async function fill(name: string): Promise<Full> {
  writeFileSync(ballast, Buffer.alloc(96 << 10));
  const home = initLog(`${disk}/${name}`, 'log.example.org/farm', null);
  const sequencer = await openSequencer(home, null);
  const acknowledged = new Map<string, number>();
  const refused: string[] = [];
  for (let at = 0; refused.length < 30; at++) {
    assert.ok(at < 1000, 'it becomes full');
    try {
      acknowledged.set(`d${at}`, await sequencer.append(big(`d${at}`)));
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'STORE_UNUSABLE');
      refused.push(`d${at}`);
    }
    await nextTurn();
  }
  assert.ok(acknowledged.size > 3);
  return { home, sequencer, acknowledged, refused };
}

function requireAll({ home, acknowledged }: Full): void {
  const reading = readFromScratch(readFolder(`${home.root}/public`), home.key);
  const found = reading.entries.map(String);
  assert.equal(new Set(found).size, found.length);
  for (const [label, index] of acknowledged) {
    assert.equal(found[index], `entry ${label}`);
    const { digest, statement } = big(label);
    const there = readFolder(`${home.root}/public`)(`statement/${digest.slice(0, 2)}/${digest.slice(2)}`);
    assert.deepEqual(there, Buffer.from(statement), label);
  }
}

const leftovers = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.part') || name.endsWith('.lock'));

test('append on a full disk loses nothing that was acknowledged; the same process goes on once there is space', async () => {
  const full = await fill('same');
  requireAll(full);
  rmSync(ballast);
  for (const label of full.refused.slice(0, 5)) full.acknowledged.set(label, await full.sequencer.append(big(label)));
  requireAll(full);
  await full.sequencer.close();
  rmSync(full.home.root, { recursive: true });
});

test('append on a full disk loses nothing that was acknowledged; another process goes on once there is space', async () => {
  const full = await fill('another');
  rmSync(ballast);
  const again = await openSequencer(openLogHome(full.home.root), null);
  requireAll(full);
  for (const label of [...full.refused.slice(0, 5), ...full.acknowledged.keys()]) {
    const index = await again.append(big(label));
    assert.equal(index, full.acknowledged.get(label) ?? index);
    full.acknowledged.set(label, index);
  }
  requireAll(full);
  await again.close();
  rmSync(full.home.root, { recursive: true });
});

test('a full disk leaves no half-written files behind: each attempt would take more of what is left', async () => {
  const full = await fill('leftovers');
  const left = leftovers(full.home.root);
  rmSync(ballast);
  rmSync(full.home.root, { recursive: true });
  assert.deepEqual(
    left.map((name) => name.replace(/\d+-[0-9a-f]+/, 'X')),
    [],
  );
});
