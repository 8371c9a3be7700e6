import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPrivateAddress } from './https.ts';

test('isPrivateAddress: addresses of this machine and its network', () => {
  for (const address of [
    ...[
      '0.0.0.0',
      '10.0.0.1',
      '100.64.0.1',
      '127.0.0.1',
      '127.255.255.254',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '198.18.0.1',
    ],
    ...['224.0.0.1', '255.255.255.255', '::', '::1', '::ffff:127.0.0.1', '::FFFF:10.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:a9fe:a9fe'],
    ...['64:ff9b::7f00:1', 'fc00::1', 'fd12::1', 'fe80::1', 'febf::1', 'ff02::1'],
  ])
    assert.equal(isPrivateAddress(address), true, address);
});

// node:net's BlockList compares an IPv4 address with ::ffff:0:0/96 too, so that subnet holds all of IPv4.
test('isPrivateAddress: addresses of everybody, of both families', () => {
  for (const address of [
    '1.1.1.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00::1',
    '::ffff:8.8.8.8',
  ])
    assert.equal(isPrivateAddress(address), false, address);
});
