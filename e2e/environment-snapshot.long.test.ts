/** A locked package that the archive no longer has. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { after, test } from 'node:test';
import { debianProject } from './debian-project.ts';
import { leftovers, lockstep, startLockstep, temporaryFolder } from './lockstep.ts';

const home = temporaryFolder();
const env = { LOCKSTEP_HOME: home };
const folder = debianProject();

after(() => assert.deepEqual(leftovers(), []));

test('a package that the archive has dropped comes from a snapshot archive, checked against the lock', async () => {
  for (const verb of ['lock', 'build']) {
    const first = lockstep([verb, folder, '-q'], { env });
    assert.equal(first.status, 0, first.stderr);
  }
  const lock = JSON.parse(readFileSync(`${folder}/lockstep.lock`, 'utf8')) as {
    environment: { packages: { name: string; version: string; sha256: string; path: string }[] };
  };
  const one = lock.environment.packages.find((each) => each.name === 'make' || each.name === 'gcc');
  assert.ok(one !== undefined);
  const blob = `${home}/blobs/${one.sha256.slice(0, 2)}/${one.sha256.slice(2)}`;
  const bytes = readFileSync(blob);
  rmSync(blob);
  const original = readFileSync(`${folder}/lockstep.lock`, 'utf8');
  // A version that no archive has: only the snapshot can serve it, by its path.
  writeFileSync(
    `${folder}/lockstep.lock`,
    original.replace(`"name":"${one.name}","version":"${one.version}"`, `"name":"${one.name}","version":"0:0.0-0"`),
  );
  const tls = temporaryFolder();
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${tls}/key.pem`,
      '-out',
      `${tls}/cert.pem`,
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
    ],
    { stdio: 'ignore' },
  );
  const asked: string[] = [];
  const server = createServer({ key: readFileSync(`${tls}/key.pem`), cert: readFileSync(`${tls}/cert.pem`) }, (request, response) => {
    asked.push(request.url ?? '');
    response.end(request.url === `/archive/${one.path}` ? bytes : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const ran = await startLockstep(['build', folder, '-q', '--json'], {
      env: {
        ...env,
        NODE_EXTRA_CA_CERTS: `${tls}/cert.pem`,
        LOCKSTEP_FETCH_PRIVATE: '1',
        LOCKSTEP_SNAPSHOT: `https://localhost:${port}/archive`,
      },
    }).done;
    assert.ok(asked.includes(`/archive/${one.path}`), ran.stderr);
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  } finally {
    server.close();
    writeFileSync(`${folder}/lockstep.lock`, original);
  }
});
