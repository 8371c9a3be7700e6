import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { arMemberAt } from './ar.ts';
import { type Difference, whereTheyDiffer } from './difference.ts';
import type { RandomAccess } from './random-access.ts';
import { elfSectionAt } from './elf.ts';
import { tarMemberAt } from './tar.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-compare-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const access = (bytes: Buffer): RandomAccess => ({
  size: bytes.length,
  read: (offset, length) => bytes.subarray(Math.min(offset, bytes.length), Math.max(0, Math.min(offset + length, bytes.length))),
});

function compare(left: Buffer, right: Buffer): Difference | null {
  writeFileSync(`${folder}/left`, left);
  writeFileSync(`${folder}/right`, right);
  return whereTheyDiffer('name', `${folder}/left`, `${folder}/right`);
}

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

test('whereTheyDiffer finds the first byte, also behind a chunk and where one is longer', () => {
  const bytes = Buffer.alloc((1 << 20) + 10, 'x');
  assert.equal(compare(bytes, bytes), null);
  for (const at of [0, (1 << 20) - 1, 1 << 20, bytes.length - 1]) assert.equal(compare(bytes, changed(bytes, at))?.offset, at);
  assert.equal(compare(bytes, bytes.subarray(0, 5))?.offset, 5);
  assert.deepEqual(compare(Buffer.alloc(0), Buffer.from('a'))?.sizes, [0, 1]);
  assert.equal(compare(Buffer.from('a\u001b[b'), Buffer.from('a\u001b[c'))?.left, 'a·[b');
});

/** tar and ar as the tools of this machine write them. */
function archives(): { tar: Buffer; ar: Buffer; arOfTar: Buffer } {
  const root = `${folder}/tree`;
  mkdirSync(root, { recursive: true });
  const long = 'l'.repeat(120);
  writeFileSync(`${root}/one`, 'content of one');
  writeFileSync(`${root}/${long}`, 'content of long');
  const tar = execFileSync('tar', ['--format=posix', '--sort=name', '-C', root, '-cf', '-', 'one', long]);
  const member = (name: string, content: Buffer): Buffer =>
    Buffer.concat([
      Buffer.from(
        `${`${name}/`.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(content.length).padEnd(10)}\`\n`,
      ),
      content,
      Buffer.alloc(content.length % 2, '\n'),
    ]);
  const ar = Buffer.concat([Buffer.from('!<arch>\n'), member('odd', Buffer.from('abc')), member('even', Buffer.from('abcd'))]);
  return {
    tar,
    ar,
    arOfTar: Buffer.concat([Buffer.from('!<arch>\n'), member('debian-binary', Buffer.from('2.0\n')), member('data.tar', tar)]),
  };
}
const { tar, ar, arOfTar } = archives();

test('tarMemberAt names the member, also a long one, and the field of its header', () => {
  assert.equal(tarMemberAt(access(tar), tar.indexOf('content of one'))?.name, 'one');
  assert.equal(tarMemberAt(access(tar), tar.indexOf('content of long'))?.name, 'l'.repeat(120));
  assert.equal(compare(tar, changed(tar, tar.indexOf('content of one') - 512 + 136))?.where, 'member one (tar header: time)');
  assert.equal(tarMemberAt(access(Buffer.from('no tar')), 0), null);
});

test('arMemberAt names the member, padding and headers counted', () => {
  assert.deepEqual(arMemberAt(access(ar), ar.indexOf('abcd')), { name: 'even', start: ar.indexOf('abcd'), size: 4 });
  assert.equal(arMemberAt(access(ar), 8)?.name, 'odd (ar header)');
  assert.equal(arMemberAt(access(tar), 8), null);
});

test('whereTheyDiffer looks into containers within containers', () => {
  assert.equal(compare(arOfTar, changed(arOfTar, arOfTar.indexOf('content of one')))?.where, 'member data.tar, member one');
  const gzip = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(20)]);
  assert.equal(compare(gzip, changed(gzip, 4))?.where, 'gzip header: time');
  assert.equal(compare(gzip, changed(gzip, 12))?.where, 'gzip-compressed data');
});

test('elfSectionAt names the section, as readelf lists it', () => {
  const bytes = readFileSync(process.execPath).subarray(0, 64);
  assert.equal(elfSectionAt(access(bytes), 10), '(ELF header)');
  assert.equal(elfSectionAt(access(Buffer.from('\x7fELF')), 0), null);
  // A small one of our own: header, .note at 64, .shstrtab at 80, three section headers at 128.
  const elf = Buffer.alloc(128 + 3 * 64);
  elf.write('\x7fELF\x02\x01', 0, 'latin1');
  elf.writeBigUInt64LE(128n, 40);
  elf.writeUInt16LE(64, 58);
  elf.writeUInt16LE(3, 60);
  elf.writeUInt16LE(2, 62);
  elf.write('\0.note\0.shstrtab\0', 80, 'latin1');
  const section = (index: number, name: number, type: number, start: bigint, size: bigint): void => {
    const at = 128 + index * 64;
    elf.writeUInt32LE(name, at);
    elf.writeUInt32LE(type, at + 4);
    elf.writeBigUInt64LE(start, at + 24);
    elf.writeBigUInt64LE(size, at + 32);
  };
  section(1, 1, 7, 64n, 16n);
  section(2, 7, 3, 80n, 17n);
  assert.equal(elfSectionAt(access(elf), 64), '.note');
  assert.equal(elfSectionAt(access(elf), 79), '.note');
  assert.equal(elfSectionAt(access(elf), 80), '.shstrtab');
  assert.equal(elfSectionAt(access(elf), 130), '(section headers)');
  assert.equal(elfSectionAt(access(elf), 100), null);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(elf.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(elf.length + 100), (edits, offset) => {
      const copy = Buffer.from(elf);
      for (const [at, byte] of edits) copy[at] = byte;
      elfSectionAt(access(copy), offset);
    }),
    { numRuns: 1000 },
  );
});

test('the locators take any bytes, and whereTheyDiffer finds the first difference of any two files', () => {
  const seeds = [tar.subarray(0, 4096), ar, arOfTar.subarray(0, 4096)];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { maxLength: 5 }),
      fc.nat(4200),
      (seed, edits, offset) => {
        const bytes = Buffer.from(seed);
        for (const [at, byte] of edits) if (at < bytes.length) bytes[at] = byte;
        tarMemberAt(access(bytes), offset);
        arMemberAt(access(bytes), offset);
        const first = bytes.findIndex((byte, at) => byte !== seed[at]);
        assert.equal(compare(bytes, seed)?.offset ?? -1, first);
      },
    ),
    { numRuns: 1000 },
  );
});
