import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { SiloError } from '../failure.ts';
import { encodeMember, endOfArchive, type Member, paddingOf } from './header.ts';
import { type ArchiveBounds, type IndexedMember, indexArchive } from './index.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-tar-index-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const BOUNDS: ArchiveBounds = { files: 1000, depth: 20, bytes: 1 << 20 };
const scratch = `${folder}/archive`;

/** The members, or the code of the refusal; anything else that is thrown fails the test. */
function index(bytes: Uint8Array, bounds = BOUNDS, strip = 0): IndexedMember[] | string {
  writeFileSync(scratch, bytes);
  const fd = openSync(scratch, 'r');
  try {
    return indexArchive(fd, bytes.length, bounds, strip);
  } catch (error) {
    assert.ok(error instanceof SiloError && error.code.startsWith('ARCHIVE_'), `${String(error)} is not the index's own error`);
    return error.code;
  } finally {
    closeSync(fd);
  }
}

type Part = Buffer | (Partial<Omit<Member, 'size'>> & { name: string; content?: string });

function archive(...parts: Part[]): Buffer {
  const blocks = parts.flatMap((part) => {
    if (Buffer.isBuffer(part)) return [part];
    const content = Buffer.from(part.content ?? '');
    const member: Member = { type: 'file', mode: 0o644, link: '', ...part, size: content.length };
    return [encodeMember(member, 0), content, Buffer.alloc(paddingOf(content.length))];
  });
  const bytes = Buffer.concat(blocks);
  return Buffer.concat([bytes, endOfArchive(bytes.length)]);
}

const file = (name: string, content = ''): Part => ({ name, content });
const link = (name: string, target: string): Part => ({ name, type: 'symlink', link: target });
const hard = (name: string, target: string): Part => ({ name, type: 'hardlink', link: target });
const directory = (name: string): Part => ({ name, type: 'directory', mode: 0o755 });

/** A header block with fields overwritten, and a checksum that is right. */
function raw(
  fields: { name?: string; flag?: string; size?: string; link?: string; mode?: string; magic?: string; prefix?: string },
  body = '',
): Buffer {
  const block = encodeMember({ name: 'x', type: 'file', mode: 0o644, size: 0, link: '' }, 0);
  const put = (offset: number, length: number, text: string | undefined): void => {
    if (text === undefined) return;
    block.fill(0, offset, offset + length);
    block.write(text, offset, length, 'latin1');
  };
  put(0, 100, fields.name);
  put(100, 8, fields.mode);
  put(124, 12, fields.size ?? `${body.length.toString(8).padStart(11, '0')}`);
  put(156, 1, fields.flag);
  put(157, 100, fields.link);
  put(257, 8, fields.magic);
  put(345, 155, fields.prefix);
  return Buffer.concat([checksummed(block), Buffer.from(body), Buffer.alloc(paddingOf(body.length))]);
}

function checksummed(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block.subarray(0, 512)) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`.length;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}
const pax = (...records: [string, string][]): Buffer => raw({ flag: 'x' }, records.map(([key, value]) => record(key, value)).join(''));
const globalPax = (...records: [string, string][]): Buffer =>
  raw({ flag: 'g' }, records.map(([key, value]) => record(key, value)).join(''));
const names = (found: IndexedMember[] | string): string[] | string => (typeof found === 'string' ? found : found.map(({ name }) => name));

for (const format of ['ustar', 'gnu', 'posix', 'oldgnu', 'v7']) {
  test(`indexArchive reads what GNU tar writes: ${format}`, () => {
    const root = `${folder}/gnu-${format}`;
    const deep = format === 'v7' ? 'deep' : Array.from({ length: 4 }, (_, index) => String(index).repeat(50)).join('/');
    mkdirSync(`${root}/${deep}`, { recursive: true });
    writeFileSync(`${root}/${deep}/file`, 'deep', { mode: 0o644 });
    writeFileSync(`${root}/a`, 'content of a', { mode: 0o755 });
    writeFileSync(`${root}/empty`, '');
    if (format !== 'v7') writeFileSync(`${root}/ünï`, 'ü');
    if (['gnu', 'posix', 'oldgnu'].includes(format)) {
      writeFileSync(`${root}/${'é'.repeat(127)}`, 'long');
      symlinkSync('t'.repeat(150), `${root}/long-link`);
    }
    symlinkSync('a', `${root}/link`);
    linkSync(`${root}/a`, `${root}/hard`);
    const run = spawnSync('tar', [`--format=${format}`, '--sort=name', '-C', root, '-cf', '-', '.'], {
      env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
    });
    assert.equal(run.status, 0, run.stderr.toString());
    const found = index(run.stdout);
    assert.ok(typeof found !== 'string', found as string);
    const byName = new Map(found.map((member) => [member.name, member]));
    const contentOf = (name: string): string => {
      const member = byName.get(name);
      assert.ok(member !== undefined, `${name} is missing`);
      return run.stdout.toString('utf8', member.offset, member.offset + member.size);
    };
    assert.equal(contentOf('a'), 'content of a');
    assert.equal(contentOf('hard'), 'content of a');
    assert.equal(byName.get('hard')?.type, 'file');
    assert.equal(contentOf('empty'), '');
    assert.equal(contentOf(`${deep}/file`), 'deep');
    assert.deepEqual([byName.get('link')?.type, byName.get('link')?.link], ['symlink', 'a']);
    assert.equal(byName.get(deep)?.type ?? 'directory', 'directory');
    if (['gnu', 'posix', 'oldgnu'].includes(format)) {
      assert.equal(contentOf('é'.repeat(127)), 'long');
      assert.equal(byName.get('long-link')?.link, 't'.repeat(150));
    }
  });
}

test('indexArchive takes plain members and normalises their names', () => {
  const found = index(
    archive(raw({ name: './', flag: '5' }), raw({ name: './a//b/./c' }, 'abc'), link('a/l', '../a/b'), link('top', './a/b/../b')),
  );
  assert.ok(typeof found !== 'string');
  assert.deepEqual(
    found.map(({ name, type, size, link: target }) => [name, type, size, target]),
    [
      ['a/b/c', 'file', 3, ''],
      ['a/l', 'symlink', 0, '../a/b'],
      ['top', 'symlink', 0, './a/b/../b'],
    ],
  );
});

for (const [why, parts] of Object.entries<Part[]>({
  'absolute name': [raw({ name: '/etc/passwd' })],
  'absolute name in a prefix': [raw({ name: 'passwd', prefix: '/etc' })],
  'climbing name': [raw({ name: '../x' })],
  'climbing name in the middle': [raw({ name: 'a/../../x' })],
  'climbing name that comes back': [raw({ name: 'a/../b' })],
  'climbing name in a pax header': [pax(['path', '../x']), file('ok')],
  'absolute name in a pax header': [pax(['path', '/x']), file('ok')],
  'climbing GNU long name': [raw({ name: '././@LongLink', flag: 'L' }, '../x\0'), file('ok')],
  'absolute symbolic link': [link('l', '/etc/passwd')],
  'climbing symbolic link': [link('l', '..')],
  'climbing symbolic link, below': [link('a/l', '../../x')],
  'climbing symbolic link that comes back': [link('a/l', '../../archive/a')],
  'climbing symbolic link in a pax header': [pax(['linkpath', '../x']), link('l', 'ok')],
  'climbing GNU long link': [raw({ name: '././@LongLink', flag: 'K' }, '../x\0'), link('l', 'ok')],
  'empty symbolic link': [raw({ name: 'l', flag: '2' })],
  'links that climb together': [directory('a'), link('a/x', '..'), link('y', 'a/x/..')],
  'links that climb together, the other way round': [link('y', 'a/x/..'), directory('a'), link('a/x', '..')],
  'links that climb in a chain': [link('a/b/one', '../..'), link('two', 'a/b/one/a/b/one'), link('three', 'a/../two/../x')],
  'member below a symbolic link': [link('a', 'b'), file('a/x')],
  'member below a symbolic link that comes later': [file('a/x'), link('a', 'b')],
  'member below a link and deeper': [link('a', '.'), file('a/b/c')],
  'member below a file': [file('a'), file('a/b')],
  'file twice': [file('a'), file('a')],
  'file twice in other spellings': [file('a/b'), raw({ name: './a//b' })],
  'file, then directory': [file('a'), directory('a')],
  'directory, then symbolic link': [directory('a'), link('a', 'b')],
  'hard link over a file': [file('a'), file('b'), hard('b', 'a')],
  'hard link to nothing': [hard('a', 'b')],
  'hard link to what comes later': [hard('a', 'b'), file('b')],
  'hard link to a symbolic link': [link('a', 'b'), hard('c', 'a')],
  'hard link to a directory': [directory('a'), hard('c', 'a')],
  'hard link that is absolute': [file('etc/passwd'), raw({ name: 'h', flag: '1', link: '/etc/passwd' })],
  'hard link that climbs': [file('a'), raw({ name: 'h', flag: '1', link: '../a' })],
  'character device': [raw({ name: 'd', flag: '3' })],
  'block device': [raw({ name: 'd', flag: '4' })],
  FIFO: [raw({ name: 'd', flag: '6' })],
  'GNU sparse file': [raw({ name: 's', flag: 'S' })],
  'pax sparse file': [
    pax(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', 's'], ['GNU.sparse.realsize', '1099511627776']),
    file('s'),
  ],
  'GNU volume header': [raw({ name: 'v', flag: 'V' })],
  'GNU multi-volume': [raw({ name: 'v', flag: 'M' })],
  'GNU dumpdir': [raw({ name: 'v', flag: 'D' })],
  'unknown type': [raw({ name: 'v', flag: 'Z' })],
  'global pax path': [globalPax(['path', 'x']), file('a')],
  'global pax linkpath': [globalPax(['linkpath', 'x']), file('a')],
  'global pax size': [globalPax(['size', '0']), file('a')],
  'line feed in a name': [raw({ name: 'a\nb' })],
  'escape sequence in a name': [raw({ name: 'a\u001b[2J' })],
  'text direction in a name': [pax(['path', 'a\u202e']), file('x')].map((part, position) =>
    position === 0 ? raw({ flag: 'x' }, Buffer.from('13 path=a\u202e\n').toString('latin1')) : part,
  ),
  'component of 256 bytes': [pax(['path', 'a'.repeat(256)]), file('x')],
})) {
  test(`indexArchive refuses as unsafe: ${why}`, () => {
    const bytes = archive(...parts);
    if (why === 'text direction in a name') bytes.set(Buffer.from('14 path=a\u202e\n'), 512);
    if (why === 'text direction in a name') assert.notEqual(typeof index(bytes), 'object');
    else assert.equal(index(bytes), 'ARCHIVE_UNSAFE');
  });
}

test('indexArchive takes links that climb and stay inside, and loops, which lead nowhere', () => {
  for (const parts of [
    [directory('a/b'), link('a/b/up', '../..'), link('x', 'a/b/up/a')],
    [link('x', 'x')],
    [link('x', 'y/..'), link('y', 'x/..')],
    [link('a', 'b/../c'), directory('b'), file('c')],
  ])
    assert.equal(typeof index(archive(...parts)), 'object');
});

test('indexArchive: a comment in a global pax header is what git writes, and is fine', () => {
  assert.deepEqual(names(index(archive(globalPax(['comment', 'c'.repeat(40)]), file('a')))), ['a']);
});

test('indexArchive strips leading components, and measures links from where they come to lie', () => {
  assert.deepEqual(names(index(archive(directory('top'), file('top/a'), file('top/b/c')), BOUNDS, 1)), ['a', 'b/c']);
  assert.equal(index(archive(link('top/l', '../x')), BOUNDS, 1), 'ARCHIVE_UNSAFE');
  assert.equal(index(archive(link('top/a/l', '../../x')), BOUNDS, 1), 'ARCHIVE_UNSAFE');
  assert.deepEqual(names(index(archive(link('top/a/l', '../x')), BOUNDS, 1)), ['a/l']);
  assert.equal(index(archive(file('one/a'), file('two/a')), BOUNDS, 1), 'ARCHIVE_UNSAFE');
  const found = index(archive(file('one/a', 'x'), hard('one/b', 'one/a')), BOUNDS, 1);
  assert.ok(typeof found !== 'string');
  assert.equal(found[1]?.offset, found[0]?.offset);
});

for (const [why, bytes] of Object.entries({
  empty: Buffer.alloc(0),
  'not a tar': Buffer.alloc(10_240, 'x'),
  'a gzip': Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(1021)]),
  'no end': archive(file('a')).subarray(0, 512),
  'half a header': archive(file('a'), file('b')).subarray(0, 700),
  'content cut off': archive(file('a', 'x'.repeat(2000))).subarray(0, 1024),
  'header that promises more than there is': archive(raw({ name: 'a', size: '77777777777' })),
  'wrong checksum': archive(file('a')).map((byte, at) => (at === 0 ? byte ^ 1 : byte)),
  'checksum that is not a number': archive(file('a')).map((byte, at) => (at === 150 ? 0x78 : byte)),
  'size that is not a number': archive(raw({ name: 'a', size: '12x' })),
  'negative size': archive(raw({ name: 'a', size: '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff' })),
  'size beyond 2^53': archive(raw({ name: 'a', size: '\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff' })),
  'name that is not UTF-8': archive(raw({ name: 'a\xff' })),
  'pax record without length': archive(raw({ flag: 'x' }, 'path=x\n'), file('a')),
  'pax record that is too long': archive(raw({ flag: 'x' }, '99 path=x\n'), file('a')),
  'pax record that is too short': archive(raw({ flag: 'x' }, '5 path=x\n'), file('a')),
  'pax record without key': archive(raw({ flag: 'x' }, '5 =x\n'), file('a')),
  'pax size in hexadecimal': archive(pax(['size', '0x10']), file('a')),
  'pax size that is negative': archive(pax(['size', '-1']), file('a')),
  'pax size beyond the archive': archive(pax(['size', '9007199254740991']), file('a')),
  'pax header cut off': archive(raw({ flag: 'x', size: '00000177777' })),
})) {
  test(`indexArchive refuses as broken: ${why}`, () => assert.equal(index(Buffer.from(bytes)), 'ARCHIVE_INVALID'));
}

test('indexArchive refuses bombs by count, size, depth and header, and takes what just fits', () => {
  const many = (count: number): Buffer => archive(...Array.from({ length: count }, (_, position) => file(`f${position}`)));
  assert.equal(typeof index(many(10), { ...BOUNDS, files: 10 }), 'object');
  assert.equal(index(many(11), { ...BOUNDS, files: 10 }), 'ARCHIVE_TOO_LARGE');
  assert.equal(typeof index(archive(file('a', 'x'.repeat(600)), file('b', 'x'.repeat(400))), { ...BOUNDS, bytes: 1000 }), 'object');
  assert.equal(index(archive(file('a', 'x'.repeat(600)), file('b', 'x'.repeat(401))), { ...BOUNDS, bytes: 1000 }), 'ARCHIVE_TOO_LARGE');
  assert.equal(typeof index(archive(file('a/a/a')), { ...BOUNDS, depth: 3 }), 'object');
  assert.equal(index(archive(file('a/a/a/a')), { ...BOUNDS, depth: 3 }), 'ARCHIVE_TOO_LARGE');
  assert.equal(index(archive(raw({ flag: 'x', size: '00010000000' }))), 'ARCHIVE_TOO_LARGE');
  assert.equal(
    index(archive(file('a', 'x'.repeat(600)), hard('b', 'a')), { ...BOUNDS, bytes: 1000 }),
    'ARCHIVE_TOO_LARGE',
    'a hard link is a copy here',
  );
});

test('indexArchive refuses a sparse giant without reading it', () => {
  const path = `${folder}/giant.tar`;
  writeFileSync(path, raw({ name: 'giant', size: '17777777777' }));
  truncateSync(path, 512 + 0o17777777777 + 1 + 1024);
  const fd = openSync(path, 'r');
  try {
    const start = performance.now();
    assert.throws(() => indexArchive(fd, 512 + 0o17777777777 + 1 + 1024, BOUNDS), { code: 'ARCHIVE_TOO_LARGE' });
    assert.ok(performance.now() - start < 1000);
  } finally {
    closeSync(fd);
  }
});

test('indexArchive answers a thousand long links that climb in bounded time', () => {
  const target = `${'a/../'.repeat(700)}x`;
  const start = performance.now();
  index(archive(...Array.from({ length: 1000 }, (_, position) => link(`l${position}`, `l${(position + 1) % 1000}/../${target}`))));
  assert.ok(performance.now() - start < 5000);
});

const seed = archive(
  directory('d'),
  file('d/a', 'content'),
  link('d/l', '../d/a'),
  hard('h', 'd/a'),
  pax(['path', 'long/name'], ['mtime', '1.5']),
  file('x', 'y'),
  raw({ name: '././@LongLink', flag: 'L' }, `${'n'.repeat(150)}\0`),
  file('x', 'z'),
  file('ü', 'z'),
  globalPax(['comment', 'x']),
);

test('indexArchive of a mutated archive throws nothing but its own errors, and what it takes lies inside', () => {
  const headers = Array.from({ length: Math.floor(seed.length / 512) }, (_, position) => position * 512);
  const edit = fc.tuple(
    fc.constantFrom(...headers),
    fc.nat(511),
    fc.oneof(fc.nat(255), fc.constantFrom(0, 0x20, 0x2e, 0x2f, 0x30, 0x37, 0x80, 0xff)),
  );
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      fc.option(fc.nat(seed.length)),
      fc.nat(2),
      (edits, repair, cut, strip) => {
        const bytes = Buffer.from(seed);
        for (const [header, at, byte] of edits) bytes[header + at] = byte;
        // Half of them with right checksums, or nothing behind the checksum would ever be reached.
        if (repair) for (const [header] of edits) checksummed(bytes.subarray(header, header + 512));
        const given = cut === null ? bytes : bytes.subarray(0, cut);
        const found = index(given, BOUNDS, strip);
        if (typeof found === 'string') return;
        accepted++;
        for (const member of found) {
          assert.ok(member.name !== '' && !member.name.startsWith('/') && !member.name.split('/').includes('..'));
          if (member.type === 'file') assert.ok(member.offset + member.size <= given.length);
          assert.ok((member.mode & ~0o777) === 0 && Number.isSafeInteger(member.mtime));
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(accepted > 100, `only ${accepted} were accepted: the test shows nothing`);
});

test('the seed of the mutations is itself accepted', () => {
  assert.deepEqual(names(index(seed)), ['d', 'd/a', 'd/l', 'h', 'long/name', 'n'.repeat(150), 'ü']);
  assert.equal(readFileSync(scratch).length, seed.length);
});
