/**
 * What runs inside the virtual machine of serial-vm.long.test.ts: a node that answers each request with its SHA-256 and 32 bytes of
 * the machine's hardware random numbers, over the serial line named by its first argument. Stands where `lockstep signer run` goes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { serveSerial } from '@lockstep/signer/serial/node';
import { openTty } from '@lockstep/signer/serial/tty';

function hardwareRandom(): { from: string; hex: string } {
  const bytes = Buffer.alloc(32);
  try {
    const device = openSync('/dev/hwrng', 'r');
    let length = 0;
    // It gives what it has, which can be less than asked for.
    while (length < bytes.length) length += readSync(device, bytes, length, bytes.length - length, null);
    closeSync(device);
    return { from: '/dev/hwrng', hex: bytes.toString('hex') };
  } catch {
    return { from: 'kernel', hex: randomBytes(32).toString('hex') };
  }
}

const [path = '/dev/ttyS1'] = process.argv.slice(2);
const line = openTty(path, { speed: 115200 });
const serving = serveSerial(line, async (request) => {
  const answer = {
    sha256: createHash('sha256').update(request).digest('hex'),
    random: hardwareRandom(),
    interfaces: readdirSync('/sys/class/net'),
  };
  return Buffer.from(JSON.stringify(answer));
});
process.stdout.write(`serving on ${path}\n`);
process.stdout.write(`ended: ${await serving.ended}\n`);
