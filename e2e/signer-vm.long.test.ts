/**
 * The signing node itself inside a machine without a network card: its key is made there of hardware random numbers and is in
 * the machine’s memory only; evidence comes and signatures go over the serial port.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { CLI } from './lockstep.ts';
import { makeReleaseLog, releaseKeys, requireApprovedBy, verdict } from './release-log.ts';
import { startSignerVm } from './signer-vm.ts';

interface Serves {
  readonly card: Record<string, unknown>;
  readonly keys: readonly { readonly custody: string; readonly pem: string }[];
}

test('lockstep signer run in a virtual machine: approves over its serial port, and refuses forged evidence', {
  timeout: 280_000,
}, async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-vm-`);
  const farm = await makeReleaseLog({ witnessed: true });
  try {
    const vm = await startSignerVm(folder, {
      entry: CLI,
      runs: [
        ['signer', 'init', '/tmp/air', '--name', 'air', '--root', '/app/root.json'],
        ['signer', 'run', '/tmp/air', '--serial', '/dev/ttyS1', '--memory-key', 'air=release-dsse', '--require-hardware', '--json'],
      ],
      // The silo is looked for by every verb, and used by none of these.
      files: { '/app/root.json': readFileSync(farm.rootFile), '/app/lockstep-silo': '' },
      ready: /lockstep-signer-run/,
    });
    try {
      const serves = JSON.parse(/\{"schema":"lockstep-signer-run\/v1".*\}/.exec(vm.console())?.[0] ?? '') as Serves;
      const [key] = serves.keys;
      assert.equal(key?.custody, 'memory');
      releaseKeys(farm, { air: key.pem });
      writeFileSync(`${folder}/card.json`, JSON.stringify(serves.card));
      const node = ['--node', `${folder}/card.json@serial:${vm.line}`];
      const built = await farm.build('1');
      assert.equal(verdict(farm, built.file).ok, false, 'nobody has approved it yet');

      const forged = `${folder}/forged.json`;
      farm.run('release', 'request', built.file, ...farm.trust, ...node, '--out', forged);
      const text = readFileSync(forged, 'utf8');
      const at = text.indexOf('\\"payload\\":\\"') + 40;
      writeFileSync(forged, `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`);
      const refused = farm.ends(5, 'release', 'ask', forged, ...node, '--out', `${folder}/answer`);
      assert.match(refused.stdout, /^REFUSED by air at "/m);
      t.diagnostic(refused.stdout);

      farm.run('release', 'approve', built.file, ...farm.trust, ...node, '--into', farm.log.folder);
      requireApprovedBy(farm, built.file, 'air');
    } finally {
      await vm.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
