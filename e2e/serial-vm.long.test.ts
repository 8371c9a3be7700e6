/** The node's end of the serial line really inside a machine that has no network card (spec/serial.md). Takes about a minute. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { askOverSerial } from '@lockstep/signer/serial/client';
import { openTty } from '@lockstep/signer/serial/tty';
import { startSignerVm } from './signer-vm.ts';

interface Answer {
  readonly sha256: string;
  readonly random: { readonly from: string; readonly hex: string };
  readonly interfaces: readonly string[];
}

test('askOverSerial reaches a node in a virtual machine whose only way out is its serial port', { timeout: 240_000 }, async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-vm-`);
  const begun = performance.now();
  const seconds = (): string => ((performance.now() - begun) / 1000).toFixed(1);
  try {
    const program = { entry: `${import.meta.dirname}/signer-vm-node.ts`, runs: [['/dev/ttyS1']], ready: /serving on/ };
    const vm = await startSignerVm(folder, program);
    try {
      t.diagnostic(`serving after ${seconds()} s, kernel fetched and booted under emulation`);
      const line = openTty(vm.line, { speed: 115200 });
      const ask = async (request: Uint8Array): Promise<Answer> =>
        JSON.parse(Buffer.from(await askOverSerial(line, request, { timeoutSeconds: 60 })).toString()) as Answer;

      const requests = [randomBytes(1), Buffer.from('{"evidence":[]}'), randomBytes(64 * 1024)];
      const answers: Answer[] = [];
      for (const request of requests) {
        const answer = await ask(request);
        assert.equal(answer.sha256, createHash('sha256').update(request).digest('hex'));
        assert.deepEqual(
          answer.interfaces.filter((name) => name !== 'lo'),
          [],
        );
        assert.equal(answer.random.from, '/dev/hwrng');
        answers.push(answer);
        t.diagnostic(`${request.length} bytes answered at ${seconds()} s`);
      }
      assert.equal(new Set(answers.map((answer) => answer.random.hex)).size, requests.length);
      // The last answer is fetched again, not made again.
      assert.deepEqual(await ask(requests.at(-1)!), answers.at(-1));
      await line.close();
    } finally {
      await vm.stop();
      assert.ok(vm.qemu.exitCode !== null || vm.qemu.signalCode !== null);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    t.diagnostic(`all of it took ${seconds()} s`);
  }
});

test('startSignerVm says why a machine does not serve, and leaves none behind', { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-vm-`);
  try {
    const program = { entry: `${import.meta.dirname}/signer-vm-node.ts`, runs: [['/dev/nothing']], ready: /serving on/ };
    await assert.rejects(startSignerVm(folder, program), /does not serve[^]*LINK_FAILED/);
    assert.equal(spawnSync('pgrep', ['-f', folder]).status, 1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
