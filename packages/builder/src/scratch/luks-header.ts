/**
 * An empty volume in the LUKS1 on-disk format (cryptsetup's "LUKS On-Disk Format Specification", version 1.2.3), with
 * one passphrase. Written here, since qemu-img measures the CPU for two seconds to choose the iterations of PBKDF2, and
 * on a busy machine fails to. They protect passphrases that can be guessed; this one is a random key.
 */
import { createCipheriv, createHash, pbkdf2Sync, randomBytes, randomUUID } from 'node:crypto';

const SECTOR = 512;
/** Two keys of AES-256: one for the data, one for the tweak of XTS. */
const KEY_BYTES = 64;
const STRIPES = 4000;
/** What the format asks for at least. */
const ITERATIONS = 1000;
const DIGEST_BYTES = 20;
const SLOTS = 8;
const [ENABLED, DISABLED] = [0x00ac71f3, 0x0000dead];
const FIRST_SLOT_SECTOR = 8;
/** Sectors of one slot's key material, rounded up to 4 KiB. */
const SLOT_SECTORS = Math.ceil((KEY_BYTES * STRIPES) / 4096) * 8;
export const PAYLOAD_BYTES = 2 << 20;

/** The first 2 MiB of a volume; what follows is the payload. The master key is known to nobody but who has the passphrase. */
export function luksHeader(passphrase: Buffer): Buffer {
  const master = randomBytes(KEY_BYTES);
  const [digestSalt, slotSalt] = [randomBytes(32), randomBytes(32)];
  const slotKey = pbkdf2Sync(passphrase, slotSalt, ITERATIONS, KEY_BYTES, 'sha256');
  const split = splitKey(master);
  const header = Buffer.alloc(PAYLOAD_BYTES);
  header.write('LUKS\xba\xbe', 0, 'latin1');
  header.writeUInt16BE(1, 6);
  header.write('aes', 8);
  header.write('xts-plain64', 40);
  header.write('sha256', 72);
  header.writeUInt32BE(PAYLOAD_BYTES / SECTOR, 104);
  header.writeUInt32BE(KEY_BYTES, 108);
  pbkdf2Sync(master, digestSalt, ITERATIONS, DIGEST_BYTES, 'sha256').copy(header, 112);
  digestSalt.copy(header, 132);
  header.writeUInt32BE(ITERATIONS, 164);
  header.write(randomUUID(), 168);
  for (let slot = 0; slot < SLOTS; slot++) {
    const at = 208 + slot * 48;
    header.writeUInt32BE(slot === 0 ? ENABLED : DISABLED, at);
    if (slot === 0) {
      header.writeUInt32BE(ITERATIONS, at + 4);
      slotSalt.copy(header, at + 8);
    }
    header.writeUInt32BE(FIRST_SLOT_SECTOR + slot * SLOT_SECTORS, at + 40);
    header.writeUInt32BE(STRIPES, at + 44);
  }
  encryptSectors(split, slotKey).copy(header, FIRST_SLOT_SECTOR * SECTOR);
  for (const secret of [master, slotKey, split]) secret.fill(0);
  return header;
}

/** Anti-forensic splitter (section 2.4): without any one of the stripes there is no key. */
function splitKey(key: Buffer): Buffer {
  const split = randomBytes(KEY_BYTES * STRIPES);
  let mixed = Buffer.alloc(KEY_BYTES);
  for (let at = 0; at < split.length - KEY_BYTES; at += KEY_BYTES) mixed = diffuse(xor(mixed, split.subarray(at, at + KEY_BYTES)));
  xor(mixed, key).copy(split, split.length - KEY_BYTES);
  return split;
}

function diffuse(block: Buffer): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  for (let index = 0; index * 32 < block.length; index++) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(index);
    parts.push(
      createHash('sha256')
        .update(counter)
        .update(block.subarray(index * 32, index * 32 + 32))
        .digest(),
    );
  }
  return Buffer.concat(parts);
}

function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ (other[at] ?? 0)));
}

/** plain64: the tweak of a sector is its number within the material, little-endian. */
function encryptSectors(bytes: Buffer, key: Buffer): Buffer {
  const sectors: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const tweak = Buffer.alloc(16);
    tweak.writeUInt32LE(at / SECTOR);
    sectors.push(createCipheriv('aes-256-xts', key, tweak).update(bytes.subarray(at, at + SECTOR)));
  }
  return Buffer.concat(sectors);
}
