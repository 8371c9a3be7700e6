import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import tarStream from 'tar-stream';
import { packTree } from '../seal/outputs.ts';
import { walkTree } from '../seal/walk.ts';
import { encodeMember } from './header.ts';
import { indexArchive } from './index.ts';
import { byBytes, tarWriter, toNewFile } from './write.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-tar-write-`);
after(() => rmSync(folder, { recursive: true, force: true }));

/** What anybody can run to get the same bytes. */
const GNU = [
  '--format=posix',
  '--sort=name',
  '--owner=0',
  '--group=0',
  '--numeric-owner',
  '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime,delete=mtime',
];
const RULES = { files: 10_000, depth: 200, bytes: 1 << 30, rootfs: false, plainModes: false, exclude: new Set<string>() };
const BOUNDS = { files: 10_000, depth: 200, bytes: 1 << 30 };

interface Entry {
  readonly path: string;
  readonly content?: Buffer;
  readonly link?: string;
  readonly mode?: number;
}

let counter = 0;

/** A directory with the entries; without content or link, an entry is a directory. */
function makeTree(entries: readonly Entry[]): string {
  const root = `${folder}/tree-${counter++}`;
  mkdirSync(root);
  for (const { path, content, link, mode } of entries) {
    const slash = path.lastIndexOf('/');
    if (slash > 0) mkdirSync(`${root}/${path.slice(0, slash)}`, { recursive: true });
    if (link !== undefined) symlinkSync(link, `${root}/${path}`);
    else if (content === undefined) mkdirSync(`${root}/${path}`, { recursive: true });
    else writeFileSync(`${root}/${path}`, content);
    if (link === undefined && mode !== undefined) chmodSync(`${root}/${path}`, mode);
  }
  return root;
}

function ours(root: string, mtime: number): Buffer {
  const file = `${root}.ours.tar`;
  const result = toNewFile(file, 0o644, (fd) => packTree(root, walkTree(root, RULES), fd, mtime), false);
  const bytes = readFileSync(file);
  assert.equal(result.size, bytes.length);
  assert.equal(result.sha256, createHash('sha256').update(bytes).digest('hex'));
  assert.deepEqual(packTree(root, walkTree(root, RULES), null, mtime), result, 'without a file, the same digest');
  return bytes;
}

function gnu(root: string, mtime: number): Buffer {
  const names = readdirSync(root).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const input = names.map((name) => `${name}\0`).join('');
  const run = spawnSync('tar', [...GNU, `--mtime=@${mtime}`, '-C', root, '--null', '--verbatim-files-from', '-T', '-', '-cf', '-'], {
    input,
    maxBuffer: 1 << 28,
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
  });
  assert.equal(run.status, 0, run.stderr.toString());
  return run.stdout;
}

interface Read {
  readonly name: string;
  readonly type: string;
  readonly link: string;
  readonly content: Buffer;
}

async function readBack(bytes: Buffer): Promise<Read[]> {
  const extract = tarStream.extract();
  const found: Read[] = [];
  extract.end(bytes);
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, linkname } = entry.header;
    found.push({ name: name.replace(/\/$/, ''), type, link: linkname ?? '', content: Buffer.concat(chunks) });
  }
  return found;
}

async function check(entries: readonly Entry[], mtime = 1_700_000_000): Promise<void> {
  const root = makeTree(entries);
  const bytes = ours(root, mtime);
  assert.ok(bytes.equals(gnu(root, mtime)), 'other bytes than GNU tar');
  const members = walkTree(root, RULES);
  const listed = execFileSync('tar', ['--quoting-style=literal', '-tf', `${root}.ours.tar`], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
  });
  assert.deepEqual(
    listed.split('\n').slice(0, -1),
    members.map(({ name, type }) => (type === 'directory' ? `${name}/` : name)),
  );
  const expected = members.map(({ name, type, link }) => ({
    name,
    type,
    link,
    content: type === 'file' ? readFileSync(`${root}/${name}`) : Buffer.alloc(0),
  }));
  assert.deepEqual(await readBack(bytes), expected);
  const fd = openSync(`${root}.ours.tar`, 'r');
  try {
    const indexed = indexArchive(fd, bytes.length, BOUNDS);
    assert.deepEqual(
      indexed.map(({ name, type, mode, size, link }) => ({ name, type, mode, size, link })),
      members,
    );
    for (const { name, type, offset, size } of indexed)
      if (type === 'file') assert.ok(bytes.subarray(offset, offset + size).equals(readFileSync(`${root}/${name}`)));
  } finally {
    closeSync(fd);
  }
}

/** A path of exactly `length` bytes in components of at most `part`. */
function pathOf(length: number, part: number, letter = 'a'): string {
  let path = '';
  while (path.length < length) {
    if (path !== '') path += '/';
    const left = length - path.length;
    path += letter.repeat(left === part + 1 ? part - 1 : Math.min(part, left));
  }
  return path;
}

for (const length of [99, 100, 101, 154, 155, 156, 157, 255, 256, 257, 512, 1000]) {
  test(`tarWriter writes what GNU tar writes: paths of ${length} bytes`, async () => {
    assert.equal(pathOf(length, 60).length, length);
    await check([{ path: pathOf(length, 60), content: Buffer.from('x') }]);
    await check([{ path: pathOf(length, 60) }]);
    await check([{ path: pathOf(length - 1, 60) }, { path: pathOf(length, 60, 'b'), link: 'x' }]);
    if (length <= 255)
      await check([
        { path: 'z'.repeat(length), content: Buffer.from('x') },
        { path: `d/${'z'.repeat(length)}`, link: 'y' },
      ]);
  });
  test(`tarWriter writes what GNU tar writes: link targets of ${length} bytes`, async () => {
    await check([
      { path: 'l', link: pathOf(length, 60) },
      { path: pathOf(110, 60), link: pathOf(length, 60, 'c') },
    ]);
  });
}

for (const size of [0, 1, 511, 512, 513, 1023, 1024, 9215, 9216, 9217, 9728, 10_240, 10_241, 1 << 20, (1 << 20) + 1]) {
  test(`tarWriter writes what GNU tar writes: a file of ${size} bytes`, async () => {
    await check([
      { path: 'a', content: Buffer.alloc(size, 'x') },
      { path: 'b', content: Buffer.alloc(0) },
    ]);
  });
}

test('tarWriter writes what GNU tar writes: names that are not ASCII, also where a field cuts a character', async () => {
  await check([
    { path: 'ünï', content: Buffer.from('x') },
    { path: '日本/語', link: '../ü' },
    { path: '😀/' + 'ä'.repeat(127), content: Buffer.from('x') },
  ]);
  await check([
    { path: `x${'é'.repeat(60)}/y`, content: Buffer.from('x') },
    { path: 'l', link: `x${'é'.repeat(60)}` },
  ]);
});

test('tarWriter writes what GNU tar writes: order of names that share a beginning', async () => {
  const names = ['a', 'a-b', 'a.b', 'a/b', 'a/-', 'a0', 'B', '_', '-x', '--help', 'a b', '~', 'ä', 'z', '!', '#a'].filter(
    (name) => name !== 'a',
  );
  await check(names.map((path) => ({ path, content: Buffer.from(path) })));
});

test('tarWriter writes what GNU tar writes: modes and times', async () => {
  for (const mtime of [0, 1, 0o7777777, 0xffff_ffff, 2 ** 33 - 1])
    await check(
      [
        { path: 'a', content: Buffer.from('x'), mode: 0o755 },
        { path: 'b', content: Buffer.from('x'), mode: 0o600 },
        { path: 'c', mode: 0o700 },
      ],
      mtime,
    );
});

test('tarWriter writes what GNU tar writes: nothing', async () => check([]));

test('encodeMember writes what GNU tar writes for a file of 8 GiB', () => {
  const path = `${folder}/giant`;
  writeFileSync(path, '', { mode: 0o644 });
  chmodSync(path, 0o644);
  for (const size of [2 ** 33 - 1, 2 ** 33, 2 ** 33 + 5]) {
    truncateSync(path, size);
    const blocks = size < 2 ** 33 ? 1 : 3;
    const run = spawnSync('sh', [
      '-c',
      `tar "$@" | head -c ${blocks * 512}`,
      'sh',
      ...GNU,
      '--mtime=@0',
      '-C',
      folder,
      '-cf',
      '-',
      'giant',
    ]);
    assert.ok(encodeMember({ name: 'giant', type: 'file', mode: 0o644, size, link: '' }, 0).equals(run.stdout), String(size));
  }
  rmSync(path);
});

test('tarWriter writes what GNU tar writes, and it is read back, for any tree', async () => {
  const part = fc.oneof(
    fc
      .string({ unit: fc.constantFrom(...'ab-.ü日'), minLength: 1, maxLength: 70 })
      .filter((text) => Buffer.byteLength(text) <= 255 && text !== '.' && text !== '..'),
    fc.constantFrom('a', 'b', 'c', 'd'),
  );
  const entry = fc.tuple(
    fc.array(part, { minLength: 1, maxLength: 4 }),
    fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 2000 }), fc.array(part, { minLength: 1, maxLength: 4 })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 8 }), fc.nat(), async (wanted, mtime) => {
      const taken = new Map<string, Entry>();
      for (const [parts, what] of wanted) {
        const path = parts.join('/');
        const above = parts.slice(0, -1).map((_, index) => parts.slice(0, index + 1).join('/'));
        const clash = [...taken.values()].some(
          (one) =>
            one.path === path || one.path.startsWith(`${path}/`) || (above.includes(one.path) && (one.content ?? one.link) !== undefined),
        );
        if (!clash)
          taken.set(path, {
            path,
            ...(what === null ? {} : typeof what === 'number' ? { content: Buffer.alloc(what, 'x') } : { link: what.join('/') }),
          });
      }
      await check([...taken.values()], mtime);
    }),
    { numRuns: 150 },
  );
});

test('byBytes is the order of UTF-8 bytes by component, whatever the units of JavaScript say', () => {
  const order = ['a', 'a/b', 'a-b', 'a.b', '\uffff', '😀'];
  assert.deepEqual(
    [...order]
      .reverse()
      .map((name) => ({ name }))
      .sort(byBytes)
      .map(({ name }) => name),
    order,
  );
});

test('tarWriter says so when a file became shorter, and when it has no content', () => {
  const path = `${folder}/short`;
  writeFileSync(path, 'abc');
  const fd = openSync(path, 'r');
  try {
    const member = { name: 'short', type: 'file', mode: 0o644, size: 5, link: '' } as const;
    assert.throws(() => tarWriter(null, 0).add(member, { fd, offset: 0 }), { code: 'SANDBOX_FAILED' });
    assert.throws(() => tarWriter(null, 0).add(member, null), TypeError);
  } finally {
    closeSync(fd);
  }
});
