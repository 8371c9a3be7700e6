/** Sources and inputs as they come: git, https, archives of every hostile kind, closures of npm and cargo locks. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { after, before, test } from 'node:test';
import { leftovers, lockstep, project, type Ran, startLockstep, temporaryFolder } from './lockstep.ts';

const served = new Map<string, Buffer>();
let server: Server;
let origin = '';
let env: Record<string, string> = {};

before(async () => {
  const folder = temporaryFolder();
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
      `${folder}/key.pem`,
      '-out',
      `${folder}/cert.pem`,
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ],
    { stdio: 'ignore' },
  );
  server = createServer({ key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`) }, (request, response) => {
    const path = request.url ?? '/';
    if (path === '/loop') return void response.writeHead(302, { location: '/loop' }).end();
    if (path === '/to-http') return void response.writeHead(302, { location: 'http://localhost/x' }).end();
    if (path === '/short') return void response.writeHead(200, { 'content-length': '1000' }).write('cut', () => response.destroy());
    const body = served.get(path);
    if (body === undefined) return void response.writeHead(404).end();
    return void response.writeHead(200, { 'content-length': String(body.length) }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  origin = `https://localhost:${typeof address === 'object' && address !== null ? address.port : 0}`;
  env = { NODE_EXTRA_CA_CERTS: `${folder}/cert.pem`, LOCKSTEP_FETCH_PRIVATE: '1' };
});

after(() => {
  server.close();
  assert.deepEqual(leftovers(), []);
});

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function serve(path: string, body: Buffer): string {
  served.set(path, body);
  return `ref = "${origin}${path}"\nsha256 = "${sha256(body)}"`;
}

async function run(args: readonly string[], more: Record<string, string> = {}): Promise<Ran> {
  return startLockstep(args, { env: { ...env, ...more } }).done;
}

function errorOf(ran: Ran): { code: string; message: string; hint: string; cause: string | null } {
  return (JSON.parse(ran.stdout) as { error: { code: string; message: string; hint: string; cause: string | null } }).error;
}

/** A tar.gz made by the system's tar in a folder that `make` fills. */
function archive(make: string, options = '-cz'): Buffer {
  const folder = temporaryFolder();
  return execFileSync('/bin/sh', ['-ec', `cd ${folder}; ${make}; tar ${options} -f - *`], { maxBuffer: 64 << 20 });
}

/** One tar member by hand: what GNU tar refuses to write. */
function member(name: string, flag: string, link = '', body = ''): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(flag, 156);
  block.write(link, 157);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([block, Buffer.from(body.padEnd(Math.ceil(body.length / 512) * 512, '\0'))]);
}

const tarOf = (...members: readonly Buffer[]): Buffer => Buffer.concat([...members, Buffer.alloc(10_240)]);

test('an https archive is fetched, checked, unpacked, built, and built again when the origin is gone', async () => {
  const source = serve('/hello-1.tar.gz', archive('mkdir hello-1; echo "int x;" > hello-1/x.c; ln -s x.c hello-1/y.c'));
  const folder = project({ source, steps: ['cat x.c y.c > out; stat -c %Y x.c >> out'] });
  assert.equal((await run(['lock', folder, '-q'])).status, 0);
  served.delete('/hello-1.tar.gz');
  const built = await run(['build', folder, '-q']);
  assert.equal(built.status, 0, built.stderr);
  assert.match(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), /^int x;\nint x;\n\d+\n$/);
});

for (const [name, filter] of [
  ['xz', 'J'],
  ['bzip2', 'j'],
  ['zstd', '-zstd '],
  ['plain tar', ''],
] as const) {
  test(`an archive as ${name}`, async () => {
    const body = filter.startsWith('-')
      ? archive('mkdir d; echo hi > d/f', `-c -${filter}`)
      : archive('mkdir d; echo hi > d/f', `-c${filter}`);
    const folder = project({ source: serve(`/a-${name.replace(' ', '')}`, body), steps: ['cp f out'] });
    const locked = await run(['lock', folder, '-q']);
    assert.equal(locked.status, 0, locked.stderr);
  });
}

interface Hostile {
  readonly name: string;
  readonly body: () => Buffer;
  readonly code: string;
  readonly cause?: string;
}

const HOSTILE: readonly Hostile[] = [
  { name: 'climbs', body: () => tarOf(member('../../etc/cron.d/x', '0', '', 'x')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  { name: 'is absolute', body: () => tarOf(member('/etc/cron.d/x', '0', '', 'x')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  { name: 'links out', body: () => tarOf(member('d/x', '2', '../../../etc/passwd')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  {
    name: 'links out and writes through the link',
    body: () => tarOf(member('d/x', '2', '/etc'), member('d/x/passwd', '0', '', 'x')),
    code: 'FETCH_REFUSED',
    cause: 'ARCHIVE_UNSAFE',
  },
  {
    name: 'writes through an inner link',
    body: () => tarOf(member('d/', '5'), member('l', '2', 'd'), member('l/x', '0', '', 'x')),
    code: 'FETCH_REFUSED',
    cause: 'ARCHIVE_UNSAFE',
  },
  { name: 'hard-links out', body: () => tarOf(member('d/x', '1', '/etc/passwd')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  { name: 'has a device', body: () => tarOf(member('d/x', '3')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  { name: 'has a FIFO', body: () => tarOf(member('d/x', '6')), code: 'FETCH_REFUSED', cause: 'ARCHIVE_UNSAFE' },
  {
    name: 'has a member twice',
    body: () => tarOf(member('d/x', '0', '', 'a'), member('d/x', '0', '', 'b')),
    code: 'FETCH_REFUSED',
    cause: 'ARCHIVE_UNSAFE',
  },
  { name: 'is cut off', body: () => member('d/x', '0', '', 'a'), code: 'FETCH_REFUSED', cause: 'ARCHIVE_INVALID' },
  { name: 'is a web page', body: () => Buffer.from('<html>'.repeat(200)), code: 'FETCH_REFUSED', cause: 'ARCHIVE_INVALID' },
  { name: 'is a zip', body: () => Buffer.from('PK\u0003\u0004'.padEnd(600, 'x')), code: 'FETCH_REFUSED' },
  {
    name: 'is a bomb',
    body: () => execFileSync('/bin/sh', ['-c', 'head -c 2000000000 /dev/zero | gzip -1'], { maxBuffer: 64 << 20 }),
    code: 'FETCH_TOO_LARGE',
  },
];

for (const one of HOSTILE) {
  test(`an archive that ${one.name} is refused`, async () => {
    const ran = await run(['lock', project({ source: serve(`/${one.name.replaceAll(' ', '-')}`, one.body()) }), '--json', '-q']);
    const error = errorOf(ran);
    assert.equal(error.code, one.code, error.message);
    if (one.cause !== undefined) assert.equal(error.cause, one.cause, error.message);
    assert.notEqual(ran.status, 0);
  });
}

test('other bytes than the manifest names, endless redirects, another scheme and a cut answer are refused', async () => {
  served.set('/x', Buffer.from('x'));
  const wrong = await run(['lock', project({ source: `ref = "${origin}/x"\nsha256 = "${'0'.repeat(64)}"` }), '--json', '-q']);
  assert.equal(errorOf(wrong).code, 'DIGEST_MISMATCH');
  for (const [path, code] of [
    ['/loop', 'FETCH_REFUSED'],
    ['/to-http', 'FETCH_REFUSED'],
    ['/short', 'FETCH_FAILED'],
    ['/gone', 'FETCH_FAILED'],
  ] as const) {
    const ran = await run(['lock', project({ source: `ref = "${origin}${path}"\nsha256 = "${'0'.repeat(64)}"` }), '--json', '-q']);
    assert.equal(errorOf(ran).code, code, path);
  }
});

test('an https source without a SHA-256 is refused, and the error offers the one that was found', async () => {
  served.set('/y', Buffer.from('y'));
  const error = errorOf(await run(['lock', project({ source: `ref = "${origin}/y"` }), '--json', '-q']));
  assert.equal(error.code, 'SOURCE_REF_INVALID');
  assert.match(error.hint, new RegExp(sha256(Buffer.from('y'))));
});

test('a manifest may not reach this machine or its network unless the settings allow it', async () => {
  for (const ref of [`${origin}/x`, 'https://127.0.0.1:1/x', 'https://169.254.169.254/x', 'https://[::1]:1/x']) {
    const error = errorOf(
      await run(['lock', project({ source: `ref = "${ref}"\nsha256 = "${'0'.repeat(64)}"` }), '--json', '-q'], {
        LOCKSTEP_FETCH_PRIVATE: '0',
      }),
    );
    assert.equal(error.code, 'FETCH_REFUSED', ref);
  }
  const git = errorOf(
    await run(['lock', project({ source: 'ref = "git+https://localhost:1/x#refs/tags/v1"' }), '--json', '-q'], {
      LOCKSTEP_FETCH_PRIVATE: '0',
    }),
  );
  assert.equal(git.code, 'FETCH_REFUSED');
});

function repository(): string {
  const folder = temporaryFolder();
  const script = `cd ${folder}; git init -q -b main .; git config user.name t; git config user.email t@example.org
echo one > f; printf 'a\\r\\n' > crlf; printf '* text=auto eol=crlf\\nsecret export-ignore\\n$Id$ ident\\n' > .gitattributes; echo keep > secret; ln -s f link; git add .; git commit -qm one; git tag -a v1 -m one
echo two > f; git commit -qam two; git tag light; git checkout -q -b feature`;
  execFileSync('/bin/sh', ['-ec', script], {
    env: { ...process.env, GIT_COMMITTER_DATE: '2020-01-02T03:04:05Z', GIT_AUTHOR_DATE: '2020-01-02T03:04:05Z', HOME: folder },
  });
  return folder;
}

interface GitLock {
  readonly source: {
    readonly ref: string;
    readonly date: number;
    readonly git: { readonly commit: string; readonly tree: string; readonly tag: string | null };
  };
}

test('a git source: an annotated tag is recorded with its object, commit and tree; the tree is that of the blobs', async () => {
  const repo = repository();
  const folder = project({
    source: `ref = "git+file://${repo}#refs/tags/v1"`,
    steps: ['cat f secret > out; od -c crlf | head -1 >> out; readlink link >> out; ls -a | tr "\\n" " " >> out'],
  });
  const locked = await run(['lock', folder, '-q']);
  assert.equal(locked.status, 0, locked.stderr);
  const lock = JSON.parse(readFileSync(`${folder}/lockstep.lock`, 'utf8')) as GitLock;
  const git = (args: string): string =>
    execFileSync('git', ['-C', repo, '-c', 'safe.directory=*', ...args.split(' ')], { encoding: 'utf8' }).trim();
  assert.equal(lock.source.git.commit, git('rev-parse v1^{commit}'));
  assert.equal(lock.source.git.tree, git('rev-parse v1^{tree}'));
  assert.equal(lock.source.git.tag, git('rev-parse v1'));
  assert.equal(lock.source.date, Date.parse('2020-01-02T03:04:05Z') / 1000);
  assert.equal((await run(['build', folder, '-q'])).status, 0);
  const out = readFileSync(`${folder}/lockstep-out/out`, 'utf8');
  assert.match(out, /^one\nkeep\n/, 'export-ignore of the tree does not hide a file');
  assert.match(out, /a {2}\\n/, 'line ends are those of the blob, not those that .gitattributes asks for');
  assert.match(out, /\nf\n/);
});

test('a git source: lightweight tags and branches are warned about; a branch is locked to its commit; what is missing fails', async () => {
  const repo = repository();
  const light = await run(['lock', project({ source: `ref = "git+file://${repo}#refs/tags/light"` }), '-q']);
  assert.match(light.stderr, /lightweight/);
  const folder = project({ source: `ref = "git+file://${repo}#refs/heads/feature"`, steps: ['cp f out'] });
  const unlocked = await run(['build', folder, '--json', '-q']);
  assert.equal(errorOf(unlocked).code, 'LOCK_MISSING', 'a moving reference is refused until it is locked');
  const branch = await run(['lock', folder, '-q']);
  assert.match(branch.stderr, /branch, which moves/);
  const lock = JSON.parse(readFileSync(`${folder}/lockstep.lock`, 'utf8')) as GitLock;
  assert.match(lock.source.ref, new RegExp(`#${lock.source.git.commit}$`));
  assert.equal((await run(['build', folder, '-q'])).status, 0);
  const missing = await run(['lock', project({ source: `ref = "git+file://${repo}#refs/tags/none"` }), '--json', '-q']);
  assert.equal(errorOf(missing).code, 'FETCH_FAILED');
});

test('a lock that names one source and holds the digest of another is found out', async () => {
  const repo = repository();
  const folder = project({ source: `ref = "git+file://${repo}#refs/tags/v1"`, steps: ['cp f out'] });
  await run(['lock', folder, '-q']);
  const other = project({ source: `ref = "git+file://${repo}#refs/tags/light"`, steps: ['cp f out'] });
  await run(['lock', other, '-q']);
  const digest = (path: string): string =>
    /"sha256":"([0-9a-f]{64})"/.exec(readFileSync(`${path}/lockstep.lock`, 'utf8').replaceAll(' ', ''))?.[1] ?? '';
  writeFileSync(`${folder}/lockstep.lock`, readFileSync(`${folder}/lockstep.lock`, 'utf8').replaceAll(digest(folder), digest(other)));
  const ran = await run(['build', folder, '--json', '-q']);
  assert.equal(errorOf(ran).code, 'SOURCE_CHANGED');
});

test('a tag that was moved is found out when the source is fetched again', async () => {
  const repo = repository();
  const folder = project({ source: `ref = "git+file://${repo}#refs/tags/v1"`, steps: ['cp f out'] });
  await run(['lock', folder, '-q']);
  execFileSync(
    'git',
    [
      '-C',
      repo,
      '-c',
      'safe.directory=*',
      '-c',
      'user.name=t',
      '-c',
      'user.email=t@example.org',
      'tag',
      '-f',
      '-a',
      'v1',
      '-m',
      'moved',
      'feature',
    ],
    { stdio: 'ignore' },
  );
  const ran = await run(['build', folder, '--json', '-q'], { LOCKSTEP_HOME: temporaryFolder() });
  assert.equal(errorOf(ran).code, 'SOURCE_CHANGED');
});

test('a directory source with something that cannot be a source is refused', () => {
  const folder = project({});
  spawnSync('mkfifo', [`${folder}/pipe`]);
  assert.equal(errorOf(lockstep(['lock', folder, '--json', '-q'])).code, 'FETCH_REFUSED');
});

test('the closure of a package-lock.json is laid out as node_modules, with its programs, and no network is needed', async () => {
  const folder = project({
    inputs: '[[inputs]]\nnpm_lock = "package-lock.json"',
    steps: [
      'ls node_modules | tr "\\n" " " > out; readlink node_modules/.bin/semver >> out; test -x node_modules/.bin/semver',
      'grep -c version node_modules/semver/package.json >> out',
    ],
  });
  writeFileSync(`${folder}/package.json`, '{"name":"x","version":"1.0.0","dependencies":{"semver":"7.7.2"}}');
  const made = spawnSync('npm', ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    encoding: 'utf8',
  });
  assert.equal(made.status, 0, made.stderr);
  const locked = await run(['lock', folder, '-q']);
  assert.equal(locked.status, 0, locked.stderr);
  const built = await run(['build', folder, '-q', '--offline']);
  assert.equal(built.status, 0, built.stderr);
  assert.match(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), /^semver .*\.\.\/semver\/bin\/semver\.js/);
  const text = readFileSync(`${folder}/package-lock.json`, 'utf8');
  writeFileSync(`${folder}/package-lock.json`, text.replace(/"integrity": "sha512-./, '"integrity": "sha512-A'));
  assert.ok(['DIGEST_MISMATCH', 'LOCK_INVALID'].includes(errorOf(await run(['lock', folder, '--json', '-q'])).code));
});

test('the closure of a Cargo.lock becomes a vendor directory', async () => {
  const crate = archive('mkdir -p tiny-1.0.0/src; echo "pub fn x() {}" > tiny-1.0.0/src/lib.rs; echo "[package]" > tiny-1.0.0/Cargo.toml');
  served.set('/tiny/1.0.0', crate);
  const folder = project({
    inputs: '[[inputs]]\ncargo_lock = "Cargo.lock"',
    steps: ['cat vendor/tiny-1.0.0/src/lib.rs .cargo/config.toml vendor/tiny-1.0.0/.cargo-checksum.json > out'],
  });
  writeFileSync(
    `${folder}/Cargo.lock`,
    `version = 3\n[[package]]\nname = "tiny"\nversion = "1.0.0"\nsource = "registry+https://example.org/index"\nchecksum = "${sha256(crate)}"\n[[package]]\nname = "own"\nversion = "0.1.0"\n`,
  );
  const more = { LOCKSTEP_CARGO_DL: `${origin}/{crate}/{version}` };
  const locked = await run(['lock', folder, '-q'], more);
  assert.equal(locked.status, 0, locked.stderr);
  assert.equal((await run(['build', folder, '-q', '--offline'])).status, 0);
  assert.match(
    readFileSync(`${folder}/lockstep-out/out`, 'utf8'),
    /pub fn x\(\) \{\}\n\[source.crates-io\][\s\S]*"package":"[0-9a-f]{64}"/,
  );
});

test('a file input by URL and SHA-256 is put where it is wanted', async () => {
  const body = Buffer.from('data');
  served.set('/data', body);
  const folder = project({
    inputs: `[[inputs]]\nfile = "${origin}/data"\nsha256 = "${sha256(body)}"\nto = "third/party.bin"`,
    steps: ['cp third/party.bin out'],
  });
  assert.equal((await run(['lock', folder, '-q'])).status, 0);
  assert.equal((await run(['build', folder, '-q'])).status, 0);
  assert.equal(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), 'data');
});

test('init writes a manifest that works for what it finds', async () => {
  const cases: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    ['make', { Makefile: 'all:\n\techo hi > made\n' }, /make/],
    ['autotools', { 'configure.ac': 'AC_INIT(x, 1)', 'Makefile.am': '' }, /autoreconf/],
    ['CMake', { 'CMakeLists.txt': 'project(x)' }, /cmake --build/],
    ['Meson', { 'meson.build': "project('x')" }, /meson compile/],
    ['npm', { 'package.json': '{"scripts":{"build":"tsc"}}', 'package-lock.json': '{}' }, /npm_lock/],
    [
      'Debian source',
      { 'debian/control': 'Source: x\nBuild-Depends: debhelper-compat (= 13), zlib1g-dev\n', 'debian/rules': '' },
      /zlib1g-dev/,
    ],
  ];
  for (const [kind, files, says] of cases) {
    const folder = temporaryFolder();
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(`${folder}/${name}`.replace(/\/[^/]*$/, ''), { recursive: true });
      writeFileSync(`${folder}/${name}`, content);
    }
    const ran = lockstep(['init', folder, '--json', '-q']);
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal((JSON.parse(ran.stdout) as { kind: string }).kind, kind);
    assert.match(readFileSync(`${folder}/lockstep.toml`, 'utf8'), says);
    assert.equal(lockstep(['init', folder, '-q']).status, 2, 'does not replace what is there');
  }
  assert.equal(lockstep(['init', temporaryFolder(), '-q']).status, 2, 'says when it finds nothing');
});
