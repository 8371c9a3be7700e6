/** Opens a page in a headless browser and reads what its scripts put, in base64, into the element `result`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/** @param work a folder with page.html; the browser's profile is made in it */
export function resultOfPage(work: string): unknown {
  const run = spawnSync(
    'chromium',
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--user-data-dir=${work}/profile`,
      '--dump-dom',
      `file://${work}/page.html`,
    ],
    { encoding: 'utf8', timeout: 60_000, maxBuffer: 64 << 20 },
  );
  const encoded = /<pre id="result">([^<]+)<\/pre>/.exec(run.stdout)?.[1];
  assert.ok(encoded !== undefined, `no result: ${run.stdout.slice(0, 500)} ${run.stderr.slice(-500)}`);
  return JSON.parse(Buffer.from(encoded, 'base64').toString());
}
