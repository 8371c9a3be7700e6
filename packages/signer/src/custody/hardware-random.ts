/**
 * Seeds for keys that are made on the node: SHA-512(label ‖ 64 bytes of the kernel's getrandom ‖ 64 bytes of /dev/hwrng).
 * Whoever knows one of the two sources, or chose it, still does not know the seed. Which of them were used is data, and
 * goes with the key.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export type RandomSource = 'hwrng' | 'kernel';

export interface Seed {
  /** 64 bytes; who asked wipes them. */
  readonly bytes: Buffer;
  readonly sources: readonly RandomSource[];
}

export interface HardwareRandom {
  /** @throws LockstepError HOST_CANNOT when hardware was demanded and gave nothing */
  seed(): Promise<Seed>;
}

const LABEL = 'lockstep hardware seed v1\0';
const SOURCE_BYTES = 64;
/** A TPM behind /dev/hwrng gives 32 bytes in some tens of milliseconds; a device that takes this long gives nothing. */
const MAX_WAIT_MS = 5000;
const PAUSE_MS = 10;

export interface HardwareRandomOptions {
  /** Refuse to make a key of the kernel's numbers alone. */
  readonly requireHardware: boolean;
  readonly device?: string;
  readonly maxWaitMs?: number;
}

export function hardwareRandom({ requireHardware, device = '/dev/hwrng', maxWaitMs = MAX_WAIT_MS }: HardwareRandomOptions): HardwareRandom {
  return {
    async seed() {
      const hardware = await readDevice(device, maxWaitMs);
      if (typeof hardware === 'string' && requireHardware)
        throw new LockstepError(
          'HOST_CANNOT',
          `No random numbers from hardware: ${device} ${hardware}`,
          'Load the driver of the board (hw_random, tpm, virtio-rng) and run as a user who may read the device; or allow the kernel’s numbers alone.',
        );
      const kernel = randomBytes(SOURCE_BYTES);
      const hash = createHash('sha512').update(LABEL).update(kernel);
      kernel.fill(0);
      if (typeof hardware === 'string') return { bytes: hash.digest(), sources: ['kernel'] };
      hash.update(hardware);
      hardware.fill(0);
      return { bytes: hash.digest(), sources: ['hwrng', 'kernel'] };
    },
  };
}

/** Bytes, or what is wrong with the device. Never waits inside the kernel: a thread that hangs there cannot be stopped. */
async function readDevice(device: string, maxWaitMs: number): Promise<Buffer | string> {
  let fd: number;
  try {
    fd = openSync(device, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    return `cannot be opened (${codeOf(error)})`;
  }
  try {
    if (!fstatSync(fd).isCharacterDevice()) return 'is not a device';
    const bytes = Buffer.alloc(SOURCE_BYTES);
    let have = 0;
    for (let waited = 0; have < SOURCE_BYTES; waited += PAUSE_MS) {
      const read = readNow(fd, bytes, have);
      if (typeof read === 'string') return read;
      have += read;
      if (have === SOURCE_BYTES) break;
      if (waited >= maxWaitMs) return `gave ${have} of ${SOURCE_BYTES} bytes in ${maxWaitMs} ms`;
      await pause(PAUSE_MS);
    }
    return isStuck(bytes) ? 'gives the same bytes again and again' : bytes;
  } finally {
    closeSync(fd);
  }
}

function readNow(fd: number, bytes: Buffer, have: number): number | string {
  try {
    return readSync(fd, bytes, have, bytes.length - have, null);
  } catch (error) {
    return codeOf(error) === 'EAGAIN' ? 0 : `cannot be read (${codeOf(error)})`;
  }
}

/** The crudest health test (compare SP 800-90B section 4.4.1): a dead source is not counted as one. */
function isStuck(bytes: Buffer): boolean {
  return new Set(bytes).size < 8 || bytes.subarray(0, SOURCE_BYTES / 2).equals(bytes.subarray(SOURCE_BYTES / 2));
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
