import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { mutated } from '../source/samples.ts';
import { folderStaging, formatStaged, parseStaged } from './staging.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const folder = mkdtempSync(`${tmpdir()}/lockstep-staging-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const anyFiles = fc
  .uniqueArray(fc.tuple(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), fc.uint8Array({ maxLength: 100 })), {
    selector: ([path]) => path,
    maxLength: 6,
  })
  .map((files) => new Map(files));

test('parseStaged reads what formatStaged writes', () => {
  fc.assert(
    fc.property(anyFiles, (files) => {
      assert.deepEqual(parseStaged(formatStaged(files)), new Map([...files].map(([path, bytes]) => [path, Uint8Array.from(bytes)])));
    }),
  );
});

test(`parseStaged of mutated bytes is files that are all in them, or a TypeError (${RUNS} cases)`, () => {
  const valid = fc.sample(anyFiles, { numRuns: 20, seed: 1 }).map(formatStaged);
  fc.assert(
    fc.property(mutated(valid), (bytes) => {
      let files: Map<string, Uint8Array>;
      try {
        files = parseStaged(bytes);
      } catch (error) {
        return assert.ok(error instanceof TypeError && /cut off/.test(error.message), String(error));
      }
      const size = [...files].reduce((sum, [, content]) => sum + 6 + content.length, 0);
      assert.ok(size <= bytes.length);
    }),
    { numRuns: RUNS },
  );
});

test('folderStaging keeps a group under its digest, and says when it holds other bytes', async () => {
  const staging = folderStaging(`${folder}/a`);
  const files = new Map([['tile/0/000', Buffer.from('hashes')]]);
  const digest = await staging.put(files);
  assert.equal(await staging.put(files), digest, 'again is the same');
  writeFileSync(`${folder}/a/not-a-digest`, '');
  assert.deepEqual(await staging.get(digest), new Map([['tile/0/000', new Uint8Array(Buffer.from('hashes'))]]));
  const path = `${folder}/a/${digest}`;
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.length; at++) {
    writeFileSync(path, bytes.with(at, (bytes[at] ?? 0) ^ 1));
    await assert.rejects(async () => staging.get(digest), TypeError);
    await assert.rejects(async () => staging.put(files), TypeError);
  }
  await staging.remove(digest);
  assert.equal(await staging.get(digest), null);
  await staging.remove(digest);
  assert.deepEqual(readdirSync(`${folder}/a`), ['not-a-digest']);
});
