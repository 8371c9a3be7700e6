/** A folder that others can write into: what is no message is left alone, and the messages beside it are answered. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { askFolder, serveFolder } from './folder-line.ts';

test('serveFolder answers messages, and is ended by nothing that somebody plants beside them', { timeout: 20_000 }, async () => {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-line-`);
  const stop = new AbortController();
  try {
    mkdirSync(`${folder}/in`);
    const planted = (digit: string): string => `${folder}/in/${digit.repeat(64)}.request`;
    mkdirSync(planted('0'));
    symlinkSync('/nowhere', planted('1'));
    symlinkSync('/dev/zero', planted('2'));
    execFileSync('mkfifo', [planted('3')]);
    writeFileSync(planted('4'), '');
    truncateSync(planted('4'), 17 << 20);
    writeFileSync(planted('5'), 'not what its name says');
    const told: string[] = [];
    const handle = (message: Uint8Array): Promise<Uint8Array> => {
      const text = Buffer.from(message).toString();
      return text === 'fail' ? Promise.reject(new TypeError('a fault')) : Promise.resolve(Buffer.from(`${text}!`));
    };
    const serving = serveFolder(folder, handle, stop.signal, (text) => told.push(text));
    const failing = createHash('sha256').update('fail').digest('hex');
    writeFileSync(`${folder}/in/${failing}.request`, 'fail');
    assert.equal(Buffer.from(await askFolder(folder, Buffer.from('hello'), 10)).toString(), 'hello!');
    assert.equal(Buffer.from(await askFolder(folder, Buffer.from('again'), 10)).toString(), 'again!');
    stop.abort();
    await serving;
    for (const digit of ['0', '1', '2', '3', '4']) assert.equal(told.filter((one) => one.includes(planted(digit))).length, 1, digit);
    assert.equal(told.filter((one) => one.includes('a fault')).length, 1);
    assert.throws(() => readFileSync(`${folder}/out/${failing}.answer`));
  } finally {
    stop.abort();
    rmSync(folder, { recursive: true, force: true });
  }
});
