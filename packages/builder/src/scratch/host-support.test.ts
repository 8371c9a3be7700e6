import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostFacts, refusalOf } from './host-support.ts';
import { isScratchKind, type SecretKind } from './scratch-kind.ts';

const SWAPS = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';
const ABLE: HostFacts = {
  root: true,
  swaps: SWAPS,
  memoryMb: 4000,
  hasProgram: () => true,
  hasFile: () => true,
  kernel: '6.1',
  drivers: '',
};

const CASES: readonly (readonly [string, SecretKind, Partial<HostFacts>, RegExp | null])[] = [
  ['all there', 'luks', {}, null],
  ['all there', 'qemu-luks', {}, null],
  ['all there', 'tmpfs', {}, null],
  ['swap on a disk', 'tmpfs', { swaps: `${SWAPS}/dev/vda2 partition 1048572 0 -2\n` }, /swap is on/],
  ['swap in memory', 'tmpfs', { swaps: `${SWAPS}/dev/zram0 partition 1048572 0 100\n` }, /swap is on/],
  ['swap on a disk', 'qemu-luks', { swaps: `${SWAPS}/dev/vda2 partition 1048572 0 -2\n` }, null],
  ['little memory', 'tmpfs', { memoryMb: 999 }, /1000 MiB, and 999 MiB/],
  ['no dm-crypt', 'luks', { hasFile: (path) => path === '/dev/mapper/control' }, /no dm-crypt/],
  ['dm-crypt built in', 'luks', { hasFile: () => false, drivers: '237 loop-control\n236 device-mapper\n229 fuse\n' }, null],
  ['dm-crypt as a module', 'luks', { hasFile: (path) => path === '/lib/modules/6.1/kernel/drivers/md/dm-crypt.ko.xz' }, null],
  ['no FUSE', 'qemu-luks', { hasFile: (path) => path !== '/dev/fuse' }, /no \/dev\/fuse/],
  ['no daemon', 'qemu-luks', { hasProgram: (name) => name !== 'qemu-storage-daemon' }, /^qemu-storage-daemon not installed/],
  ['no cryptsetup', 'luks', { hasProgram: (name) => name !== 'cryptsetup' }, /^cryptsetup not installed/],
  ['not root', 'tmpfs', { root: false }, /root/],
];

for (const [what, kind, facts, reason] of CASES) {
  test(`refusalOf: ${kind}, ${what}: ${reason === null ? 'taken' : 'refused'}`, () => {
    const refusal = refusalOf(kind, 1000, { ...ABLE, ...facts });
    if (reason === null) assert.equal(refusal, null);
    else assert.match(refusal?.reason ?? '', reason);
    assert.notEqual(refusal?.remedy, '');
  });
}

test('isScratchKind: a closed list', () => {
  assert.equal(isScratchKind('auto'), true);
  for (const text of ['', 'PLAIN', 'fscrypt', 'toString']) assert.equal(isScratchKind(text), false);
});
