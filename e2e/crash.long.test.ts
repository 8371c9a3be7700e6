/** kill -9 and Ctrl-C at any moment: the store stays whole, nothing of the build lives on, and the next run works. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { build, leftovers, lockstep, project, startLockstep, temporaryFolder } from './lockstep.ts';

const home = temporaryFolder();
const env = { LOCKSTEP_HOME: home };

/** Every blob that can be seen has the bytes that its name promises. */
function assertWhole(): void {
  for (const folder of readdirSync(`${home}/blobs`)) {
    for (const name of readdirSync(`${home}/blobs/${folder}`)) {
      if (name.endsWith('.part')) continue;
      const digest = createHash('sha256')
        .update(readFileSync(`${home}/blobs/${folder}/${name}`))
        .digest('hex');
      assert.equal(digest, folder + name);
    }
  }
}

async function settled(): Promise<void> {
  for (let tries = 0; tries < 50 && leftovers().length > 0; tries++) await delay(50);
  assert.deepEqual(leftovers(), []);
}

after(settled);

const folder = project({ steps: ['(setsid sleep 54321 &); head -c 2000000 /dev/urandom > /tmp/x; sleep 0.3; echo done > out'] });

test('kill -9 at forty moments of a build', async () => {
  assert.equal(lockstep(['lock', folder, '-q'], { env }).status, 0);
  for (let moment = 0; moment < 40; moment++) {
    const { child, done } = startLockstep(['build', folder, '-q', '--fresh'], { env });
    await delay(20 + moment * 22);
    child.kill('SIGKILL');
    await done;
    await settled();
    assertWhole();
  }
  const run = lockstep(['build', folder, '-q', '--fresh'], { env });
  assert.equal(run.status, 0, run.stderr);
  assert.equal(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), 'done\n');
  assert.deepEqual(readdirSync(`${home}/scratch`), [], 'the next run has swept the scratches of the dead');
});

test('Ctrl-C and SIGTERM end a build with its name, and leave nothing', async () => {
  const slow = project({ steps: ["trap '' INT TERM; sleep 30; echo x > out"] });
  assert.equal(lockstep(['lock', slow, '-q'], { env }).status, 0);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    for (const wait of [150, 400, 1200]) {
      const { child, done } = startLockstep(['build', slow, '--json', '-q'], { env });
      await delay(wait);
      child.kill(signal);
      const ran = await done;
      assert.ok(ran.status !== 0 || ran.signal !== null);
      if (ran.stdout !== '') assert.equal((JSON.parse(ran.stdout) as { error: { code: string } }).error.code, 'CANCELLED', ran.stdout);
      await settled();
      assertWhole();
    }
  }
});

test('two builds at once do not disturb each other', async () => {
  const runs = await Promise.all(
    [0, 1, 2].map(() => startLockstep(['build', folder, '-q', '--fresh', '--out', temporaryFolder()], { env }).done),
  );
  for (const ran of runs) assert.equal(ran.status, 0, ran.stderr);
});

test('a blob whose bytes have changed is not handed out', async () => {
  const { writeFileSync, chmodSync } = await import('node:fs');
  const one = project({ steps: ['echo precious > out'] });
  const built = build(one, ['--json'], env);
  const digest = (JSON.parse(built.stdout) as { outputs: { digest: { sha256: string } }[] }).outputs[0]?.digest.sha256 ?? '';
  const path = `${home}/blobs/${digest.slice(0, 2)}/${digest.slice(2)}`;
  assert.ok(existsSync(path));
  chmodSync(path, 0o644);
  writeFileSync(path, 'poisoned\n');
  const again = lockstep(['build', one, '--json', '-q'], { env });
  assert.equal((JSON.parse(again.stdout) as { error: { code: string } }).error.code, 'STORE_CORRUPT');
});

test('a source blob whose bytes have changed is not built', async () => {
  const { chmodSync, writeFileSync } = await import('node:fs');
  const one = project({ files: { data: 'GOOD' }, steps: ['cp data out'] });
  assert.equal(lockstep(['lock', one, '-q'], { env }).status, 0);
  const lock = JSON.parse(readFileSync(`${one}/lockstep.lock`, 'utf8')) as { source: { files: { sha256: string }[] } };
  const digest = lock.source.files[0]?.sha256 ?? '';
  const path = `${home}/blobs/${digest.slice(0, 2)}/${digest.slice(2)}`;
  const bytes = readFileSync(path);
  bytes.write('EVIL', bytes.indexOf('GOOD'));
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
  const run = lockstep(['build', one, '--json', '-q', '--fresh'], { env });
  assert.equal((JSON.parse(run.stdout) as { error: { code: string } }).error.code, 'STORE_CORRUPT');
});
