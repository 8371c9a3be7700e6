/** A locked Debian environment: assembled twice to the same bytes, rebuilt with the network cut, reproduced elsewhere. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { debianProject } from './debian-project.ts';
import { CLI, leftovers, lockstep, project, temporaryFolder } from './lockstep.ts';

const home = temporaryFolder();
const env = { LOCKSTEP_HOME: home };
const folder = debianProject();

after(() => assert.deepEqual(leftovers(), []));

interface Payload {
  readonly predicate: {
    readonly buildDefinition: {
      readonly internalParameters: { readonly environment: { readonly sha256: string } };
      readonly resolvedDependencies: readonly unknown[];
    };
  };
}

function attestation(): { path: string; payload: Payload } {
  const out = `${folder}/lockstep-out`;
  const path = `${out}/${readdirSync(out).find((name) => name.endsWith('.intoto.json'))}`;
  const envelope = JSON.parse(readFileSync(path, 'utf8')) as { payload: string };
  return { path, payload: JSON.parse(Buffer.from(envelope.payload, 'base64').toString()) as Payload };
}

test('lock, build, and every package is an input with its digest', () => {
  const locked = lockstep(['lock', folder, '-q'], { env });
  assert.equal(locked.status, 0, locked.stderr);
  const built = lockstep(['build', folder, '-q'], { env });
  assert.equal(built.status, 0, built.stderr);
  const { payload } = attestation();
  assert.ok(payload.predicate.buildDefinition.resolvedDependencies.length > 80);
  assert.match(payload.predicate.buildDefinition.internalParameters.environment.sha256, /^[0-9a-f]{64}$/);
});

test('assembled again from the content store, with no network at all, it is the same to the byte', () => {
  const before = attestation().payload.predicate.buildDefinition.internalParameters.environment.sha256;
  const digest = execFileSync('sha256sum', [`${folder}/lockstep-out/out`], { encoding: 'utf8' }).slice(0, 64);
  rmSync(`${home}/environments`, { recursive: true });
  // A network namespace of its own: not even loopback is up.
  const run = spawnSync('unshare', ['--net', '--', process.execPath, CLI, 'build', folder, '--fresh', '--offline', '-q'], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  assert.equal(run.status, 0, run.stderr);
  assert.equal(attestation().payload.predicate.buildDefinition.internalParameters.environment.sha256, before);
  assert.equal(execFileSync('sha256sum', [`${folder}/lockstep-out/out`], { encoding: 'utf8' }).slice(0, 64), digest);
});

test('rebuild reproduces from the attestation alone, refuses another key, and finds a changed file', () => {
  const { path } = attestation();
  const copy = `${temporaryFolder()}/only.intoto.json`;
  cpSync(path, copy);
  const key = `${temporaryFolder()}/key.pem`;
  writeFileSync(key, lockstep(['key'], { env }).stdout);
  const run = lockstep(['rebuild', copy, '--key', key, '--against', `${folder}/lockstep-out/out`, '-q'], { env });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /reproduced out/);
  assert.match(run.stdout, /equal +out is, bit by bit/);
  const other = `${temporaryFolder()}/other.pem`;
  writeFileSync(other, lockstep(['key'], { env: { LOCKSTEP_HOME: temporaryFolder() } }).stdout);
  assert.equal(lockstep(['rebuild', copy, '--key', other, '-q'], { env }).status, 6);
  const changed = `${temporaryFolder()}/out`;
  const bytes = readFileSync(`${folder}/lockstep-out/out`);
  bytes[bytes.indexOf('hello')] = 0x48;
  writeFileSync(changed, bytes);
  const differs = lockstep(['rebuild', copy, '--against', changed, '-q'], { env });
  assert.equal(differs.status, 4);
  assert.match(differs.stdout, /section \.rodata/);
});

test('a package that is neither stored, nor in the archive, nor in a snapshot is named, with the way out', () => {
  const lock = `${folder}/lockstep.lock`;
  const text = readFileSync(lock, 'utf8');
  try {
    const gone = text.replace(/("name":"gcc","version":")[^"]+(",[^}]*"sha256":")[0-9a-f]{64}/, `$10:0.0-0$2${'ab'.repeat(32)}`);
    assert.notEqual(gone, text);
    writeFileSync(lock, gone);
    const run = lockstep(['build', folder, '--json', '-q'], { env });
    const { error } = JSON.parse(run.stdout) as { error: { code: string; message: string; hint: string } };
    assert.equal(error.code, 'INPUT_GONE');
    assert.match(error.message, /gcc 0:0\.0-0/);
    assert.match(error.hint, /lockstep lock --update/);
  } finally {
    writeFileSync(lock, text);
  }
});

test('a root file system tarball is an environment too; its digest is checked', () => {
  const root = temporaryFolder();
  execFileSync('/bin/sh', [
    '-ec',
    `cd ${root}; mkdir -p r/bin r/etc; cp /bin/sh r/bin/; for p in cat ls; do cp /bin/$p r/bin/; done; for f in $(ldd /bin/sh /bin/cat /bin/ls | grep -o '/[^ ]*' | grep '^/lib' | sort -u); do mkdir -p r$(dirname $f); cp -L $f r$f; done; tar -C r -cJf rootfs.tar.xz .`,
  ]);
  const sha256 = execFileSync('sha256sum', [`${root}/rootfs.tar.xz`], { encoding: 'utf8' }).slice(0, 64);
  const good = project({
    environment: `kind = "rootfs"\nurl = "${root}/rootfs.tar.xz"\nsha256 = "${sha256}"`,
    steps: ['ls / > out; cat /etc/passwd >> out'],
  });
  assert.equal(lockstep(['lock', good, '-q'], { env }).status, 0);
  const built = lockstep(['build', good, '-q'], { env });
  assert.equal(built.status, 0, built.stderr);
  assert.ok(existsSync(`${good}/lockstep-out/out`));
  const bad = project({ environment: `kind = "rootfs"\nurl = "${root}/rootfs.tar.xz"\nsha256 = "${'0'.repeat(64)}"` });
  const run = lockstep(['lock', bad, '--json', '-q'], { env });
  assert.equal((JSON.parse(run.stdout) as { error: { code: string } }).error.code, 'DIGEST_MISMATCH');
});
