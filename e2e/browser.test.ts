/** The verdict function, bundled without Node, run in a real browser: the same answer as here, for good and for bad. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { rolldown } from 'rolldown';
import { build, lockstep, project, ROOT, temporaryFolder } from './lockstep.ts';
import { resultOfPage } from './in-chromium.ts';

const ENTRY = `
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { publicKeyFromPem } from '@lockstep/protocol/key/p256';
import { verifyArtifact } from '@lockstep/protocol/verdict/verify';
globalThis.verifyAll = (cases) => cases.map(({ attestation, artifact, pem, expect }) =>
  verifyArtifact({ attestation: fromBase64(attestation), artifact, keys: [{ name: 'key', key: publicKeyFromPem(pem) }], expect }));
`;

test('verifyArtifact in chromium gives the same verdicts as in Node', async (t) => {
  if (spawnSync('chromium', ['--version']).status !== 0) {
    assert.equal(process.env['CI'], undefined, 'chromium is missing: apt-get install chromium');
    t.skip('chromium is not installed: the browser was NOT tested');
    return;
  }
  const folder = project({ steps: ['echo hi > out'] });
  assert.equal(build(folder).status, 0);
  const out = `${folder}/lockstep-out`;
  const attestation = readFileSync(`${out}/${readdirSync(out).find((name) => name.endsWith('.intoto.json'))}`);
  const pem = lockstep(['key']).stdout;
  const sha256 =
    (
      JSON.parse(Buffer.from((JSON.parse(attestation.toString()) as { payload: string }).payload, 'base64').toString()) as {
        subject: { digest: { sha256: string } }[];
      }
    ).subject[0]?.digest.sha256 ?? '';
  const flipped = Buffer.from(attestation);
  flipped[flipped.length >> 1] = (flipped[flipped.length >> 1] ?? 0) ^ 1;
  const cases = [
    { attestation: attestation.toString('base64'), artifact: { name: 'out', sha256 }, pem, expect: {} },
    { attestation: flipped.toString('base64'), artifact: { name: 'out', sha256 }, pem, expect: {} },
    { attestation: attestation.toString('base64'), artifact: { name: 'out', sha256: '0'.repeat(64) }, pem, expect: {} },
    {
      attestation: attestation.toString('base64'),
      artifact: { name: 'out', sha256 },
      pem,
      expect: { source: 'git+https://example.org/x#refs/tags/v1' },
    },
  ];
  const work = temporaryFolder();
  writeFileSync(`${ROOT}/packages/protocol/browser-entry.js`, ENTRY);
  let script: string;
  try {
    const bundle = await rolldown({ input: `${ROOT}/packages/protocol/browser-entry.js`, platform: 'browser', logLevel: 'silent' });
    const { output } = await bundle.generate({ format: 'iife', minify: true });
    script = output[0].code;
    assert.deepEqual(output[0].imports, []);
    await bundle.close();
  } finally {
    spawnSync('rm', ['-f', `${ROOT}/packages/protocol/browser-entry.js`]);
  }
  assert.doesNotMatch(script, /require\(|["'`]node:/, 'nothing of Node is in the bundle');
  assert.doesNotMatch(script, /TOML/, 'a verifier needs no TOML parser');
  const page = `<!doctype html><meta charset="utf-8"><pre id="result"></pre><script>${script.replaceAll('</script', '<\\/script')}</script><script>document.getElementById('result').textContent = btoa(unescape(encodeURIComponent(JSON.stringify(verifyAll(${JSON.stringify(cases)})))))</script>`;
  writeFileSync(`${work}/page.html`, page);
  const inBrowser = resultOfPage(work);

  const { verifyArtifact } = await import('@lockstep/protocol/verdict/verify');
  const { publicKeyFromPem } = await import('@lockstep/protocol/key/p256');
  const here = cases.map((one) =>
    verifyArtifact({
      attestation: Buffer.from(one.attestation, 'base64'),
      artifact: one.artifact,
      keys: [{ name: 'key', key: publicKeyFromPem(one.pem) }],
      expect: one.expect,
    }),
  );
  assert.deepEqual(inBrowser, JSON.parse(JSON.stringify(here)));
  assert.deepEqual(
    here.map((verdict) => verdict.ok),
    [true, false, false, false],
  );
});
