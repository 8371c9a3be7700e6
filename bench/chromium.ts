/** The proof checks of protocol, bundled without Node, in a headless browser. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { rolldown } from 'rolldown';
import { BenchError } from './measure.ts';
import { findProgram } from './place.ts';
import type { ProofTimes, WrittenProofs } from './proof-times.ts';

const QUIET = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const RUN = `document.getElementById('result').textContent = JSON.stringify(bench.timeProofs(written));`;
const PAGE = `<!doctype html><meta charset="utf-8"><pre id="result"></pre>
<script src="times.js"></script><script src="written.js"></script><script>${RUN}</script>`;

/** @returns what times them in a new browser; null when there is no chromium */
export async function chromiumTimes(folder: string, written: WrittenProofs): Promise<(() => ProofTimes) | null> {
  if (findProgram('chromium') === null) return null;
  const bundle = await rolldown({ input: `${import.meta.dirname}/proof-times.ts`, platform: 'browser', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'iife', name: 'bench', minify: true });
  await bundle.close();
  writeFileSync(`${folder}/times.js`, output[0].code);
  writeFileSync(`${folder}/written.js`, `const written = ${JSON.stringify(written)};`);
  writeFileSync(`${folder}/page.html`, PAGE);
  return () => {
    const options = ['--headless', '--no-sandbox', '--disable-gpu', ...QUIET, `--user-data-dir=${folder}/profile`, '--dump-dom'];
    const run = spawnSync('chromium', [...options, `file://${folder}/page.html`], {
      encoding: 'utf8',
      timeout: 60_000,
      maxBuffer: 64 << 20,
    });
    const found = /<pre id="result">(\{[^<]+\})<\/pre>/.exec(run.stdout)?.[1];
    if (found === undefined) throw new BenchError(`chromium checked no proofs: ${run.stdout.slice(0, 300)} ${run.stderr.slice(-500)}`);
    return JSON.parse(found) as ProofTimes;
  };
}
