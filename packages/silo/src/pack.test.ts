import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { packDirectory } from './pack.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-pack-`);
after(() => rmSync(folder, { recursive: true, force: true }));

function makeTree(root: string, names: readonly string[], mode: number, time: number): void {
  mkdirSync(root, { recursive: true });
  for (const name of names) {
    mkdirSync(`${root}/${name.split('/').slice(0, -1).join('/')}`, { recursive: true });
    writeFileSync(`${root}/${name}`, name);
    chmodSync(`${root}/${name}`, mode);
    utimesSync(`${root}/${name}`, time, time);
  }
  symlinkSync('b/c', `${root}/link`);
  mkdirSync(`${root}/.git`);
  writeFileSync(`${root}/.git/HEAD`, String(time));
}

test('packDirectory gives the same bytes for the same files, whatever their times, masks and order of making', () => {
  makeTree(`${folder}/one`, ['a', 'b/c', 'b/d'], 0o644, 1);
  makeTree(`${folder}/two`, ['b/d', 'b/c', 'a'], 0o600, 2);
  const one = packDirectory(`${folder}/one`, `${folder}/one.tar`, new Set(['.git']));
  const two = packDirectory(`${folder}/two`, `${folder}/two.tar`, new Set(['.git']));
  assert.deepEqual(one, two);
  assert.equal(one.members, 5);
  const bytes = readFileSync(`${folder}/one.tar`);
  assert.equal(createHash('sha256').update(bytes).digest('hex'), one.sha256);
  assert.equal(bytes.length, one.size);
  writeFileSync(`${folder}/two/a`, 'A');
  assert.notEqual(packDirectory(`${folder}/two`, `${folder}/three.tar`, new Set(['.git'])).sha256, one.sha256);
});

test('packDirectory does not write over a file, nor through a link', () => {
  mkdirSync(`${folder}/empty`);
  writeFileSync(`${folder}/there`, 'kept');
  symlinkSync('there', `${folder}/through`);
  for (const name of ['there', 'through'])
    assert.throws(() => packDirectory(`${folder}/empty`, `${folder}/${name}`, new Set()), { code: 'EEXIST' });
  assert.equal(readFileSync(`${folder}/there`, 'utf8'), 'kept');
});
