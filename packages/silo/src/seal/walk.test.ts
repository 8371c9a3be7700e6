import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { SiloError } from '../failure.ts';
import { type WalkRules, walkTree } from './walk.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-walk-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const RULES: WalkRules = { files: 100, depth: 10, bytes: 1000, rootfs: false, plainModes: false, exclude: new Set() };
let counter = 0;

/** A new tree in which `make` has run, walked: its names, or the code of the refusal. */
function walk(make: (root: string) => void, rules: Partial<WalkRules> = {}): string[] | string {
  const root = `${folder}/${counter++}`;
  mkdirSync(root);
  make(root);
  try {
    return walkTree(root, { ...RULES, ...rules }).map(({ name }) => name);
  } catch (error) {
    assert.ok(error instanceof SiloError, String(error));
    return error.code;
  }
}

test('walkTree lists in the order of the tar, and leaves out what is excluded at the top only', () => {
  const make = (root: string): void => {
    for (const name of ['a-b', 'a/b', 'a.c', '.git/x', 'a/.git/y']) {
      mkdirSync(`${root}/${name.split('/').slice(0, -1).join('/')}`, { recursive: true });
      writeFileSync(`${root}/${name}`, '');
    }
  };
  assert.deepEqual(walk(make, { exclude: new Set(['.git']) }), ['a', 'a/.git', 'a/.git/y', 'a/b', 'a-b', 'a.c']);
});

for (const [why, make] of Object.entries<(root: string) => void>({
  'absolute link': (root) => symlinkSync('/etc/passwd', `${root}/l`),
  'climbing link': (root) => symlinkSync('../x', `${root}/l`),
  'climbing link below': (root) => {
    mkdirSync(`${root}/a`);
    symlinkSync('../../x', `${root}/a/l`);
  },
  'links that climb together': (root) => {
    mkdirSync(`${root}/a`);
    symlinkSync('..', `${root}/a/x`);
    symlinkSync('a/x/..', `${root}/y`);
  },
  FIFO: (root) => void execFileSync('mkfifo', [`${root}/f`]),
  'setuid file': (root) => {
    writeFileSync(`${root}/f`, '');
    chmodSync(`${root}/f`, 0o4755);
  },
  'setgid directory': (root) => {
    mkdirSync(`${root}/d`);
    chmodSync(`${root}/d`, 0o2755);
  },
  'line feed in a name': (root) => writeFileSync(`${root}/a\nb`, ''),
  'escape in a name': (root) => writeFileSync(`${root}/a\u001b[2J`, ''),
  'text direction in a name': (root) => writeFileSync(`${root}/a\u202eb`, ''),
  'name that is not UTF-8': (root) => writeFileSync(Buffer.concat([Buffer.from(`${root}/a`), Buffer.of(0xff)]), ''),
  'link target that is not UTF-8': (root) => symlinkSync(Buffer.of(0x61, 0xff), `${root}/l`),
  'link target with a control character': (root) => symlinkSync('a\nb', `${root}/l`),
})) {
  test(`walkTree refuses: ${why}`, () => assert.equal(walk(make), 'OUTPUT_REFUSED'));
}

test('walkTree refuses a socket', async () => {
  const root = `${folder}/socket`;
  mkdirSync(root);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${root}/s`, resolve));
  try {
    assert.throws(() => walkTree(root, RULES), { code: 'OUTPUT_REFUSED' });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test('walkTree bounds count, size and depth', () => {
  const many = (root: string): void => [1, 2, 3].forEach((name) => writeFileSync(`${root}/${name}`, 'x'.repeat(10)));
  assert.equal(walk(many, { files: 3 }).length, 3);
  assert.equal(walk(many, { files: 2 }), 'OUTPUT_TOO_LARGE');
  assert.equal(walk(many, { bytes: 30 }).length, 3);
  assert.equal(walk(many, { bytes: 29 }), 'OUTPUT_TOO_LARGE');
  const deep = (root: string): void => void mkdirSync(`${root}/a/b/c`, { recursive: true });
  assert.deepEqual(walk(deep, { depth: 4 }), ['a', 'a/b', 'a/b/c']);
  assert.equal(walk(deep, { depth: 3 }), 'OUTPUT_TOO_LARGE');
});

test('walkTree of a root file system takes absolute links, and drops setuid bits', () => {
  const root = `${folder}/rootfs`;
  mkdirSync(root);
  symlinkSync('/etc/x', `${root}/l`);
  writeFileSync(`${root}/su`, '');
  chmodSync(`${root}/su`, 0o4755);
  mkdirSync(`${root}/tmp`);
  chmodSync(`${root}/tmp`, 0o1777);
  assert.deepEqual(
    walkTree(root, { ...RULES, rootfs: true }).map(({ name, mode }) => [name, mode]),
    [
      ['l', 0o777],
      ['su', 0o755],
      ['tmp', 0o1777],
    ],
  );
});

test('walkTree with plain modes knows only whether the owner can execute', () => {
  const root = `${folder}/modes`;
  mkdirSync(root);
  for (const mode of [0o600, 0o664, 0o700, 0o755, 0o011]) {
    writeFileSync(`${root}/${mode.toString(8).padStart(3, '0')}`, '');
    chmodSync(`${root}/${mode.toString(8).padStart(3, '0')}`, mode);
  }
  assert.deepEqual(
    walkTree(root, { ...RULES, plainModes: true }).map(({ mode }) => mode),
    [0o644, 0o644, 0o644, 0o755, 0o755],
  );
});
