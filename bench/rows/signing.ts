/** Evidence checked and a release signed, for each way to keep a key. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { anyKeyToPem, verifySignature } from '@lockstep/protocol/key/any-key';
import type { Algorithm } from '@lockstep/protocol/key/key-use';
import { makeFileKey, openFileKey, openPkcs8 } from '@lockstep/signer/custody/file-key';
import { hardwareRandom } from '@lockstep/signer/custody/hardware-random';
import { makePkcs11Key } from '@lockstep/signer/custody/make-pkcs11-key';
import { makeMemoryKey } from '@lockstep/signer/custody/memory-key';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint, must } from '../measure.ts';
import { findProgram, type Place } from '../place.ts';
import { makeReleases, NOW } from '../signing.ts';
import { judged, noPassphrase } from '../signing-node.ts';

const CHECKED = 20;
const SIGNED = 1000;
/** Each is a process of its own. */
const PROCESSES = 50;
const PIN = 'bench-pin';
const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
const MESSAGE = randomBytes(1000);

export async function signing(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('signing');
  const [release] = makeReleases(0, 1);
  if (release === undefined) throw new BenchError('no release was made');
  const request = release.request(null);
  const opened: SigningKey[] = [];
  const meter = async (name: string, key: Promise<SigningKey> | null): Promise<Meter> => {
    if (key === null) return { name, take: null };
    const signer = await key;
    opened.push(signer);
    return { name, take: async (run) => ({ whole: await checkAndSign(signer, request), alone: await signOnly(signer, run) }) };
  };
  const before = process.env['SOFTHSM2_CONF'];
  try {
    const token = prepareToken(folder);
    const file = (algorithm: Algorithm): Promise<SigningKey> => fileKey(folder, algorithm);
    const inToken = (algorithm: Algorithm): Promise<SigningKey> | null => (token ? tokenKey(algorithm) : null);
    const meters = [
      await meter('a file, Ed25519', file('ed25519')),
      await meter('a file, P-256', file('ecdsa-p256')),
      await meter('memory, Ed25519', makeMemoryKey({ name: 'memory', use: 'release-dsse', random: RANDOM, algorithm: 'ed25519' })),
      await meter('PKCS#11 (SoftHSM2), Ed25519', inToken('ed25519')),
      await meter('PKCS#11 (SoftHSM2), P-256', inToken('ecdsa-p256')),
      await openssl(folder),
      minisign(folder),
    ];
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow('Evidence of 7 documents checked, record and VSA signed: bounded by the check, of one processor', '/s', metered, 'whole'),
      figureRow(
        '… signatures of 1 kB alone: bounded by OpenSSL and a thread’s turn, by the token, by starting a process',
        '/s',
        metered,
        'alone',
      ),
    ];
  } finally {
    for (const key of opened) await key.close();
    if (before === undefined) delete process.env['SOFTHSM2_CONF'];
    else process.env['SOFTHSM2_CONF'] = before;
  }
}

const RANDOM = hardwareRandom({ requireHardware: false });

async function fileKey(folder: string, algorithm: Algorithm): Promise<SigningKey> {
  const path = `${folder}/${algorithm}.json`;
  await makeFileKey({ path, name: algorithm, use: 'release-dsse', algorithm, passphrase: null, now: new Date(NOW * 1000) });
  return openFileKey(path, noPassphrase);
}

/** A token of its own, in the bench's place. @returns false when SoftHSM2 is not installed */
function prepareToken(folder: string): boolean {
  if (!existsSync(MODULE) || findProgram('softhsm2-util') === null) return false;
  const tokens = `${folder}/tokens`;
  must({ argv: ['mkdir', tokens] });
  // The library reads this when it is loaded into this process.
  process.env['SOFTHSM2_CONF'] = `${folder}/softhsm2.conf`;
  writeFileSync(`${folder}/softhsm2.conf`, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  must({ argv: ['softhsm2-util', '--init-token', '--free', '--label', 'bench', '--pin', PIN, '--so-pin', PIN] });
  return true;
}

function tokenKey(algorithm: Algorithm): Promise<SigningKey> {
  const pin = (): Promise<Uint8Array> => Promise.resolve(Buffer.from(PIN));
  const place = { module: MODULE, tokenLabel: 'bench', keyLabel: algorithm, name: algorithm, use: 'release-dsse', pin } as const;
  return makePkcs11Key({ ...place, algorithm });
}

async function checkAndSign(key: SigningKey, request: Uint8Array): Promise<number> {
  const start = performance.now();
  for (let count = 0; count < CHECKED; count++) for (const { message } of judged(request, key).plan) await key.sign(message);
  return perSecond(CHECKED, start);
}

async function signOnly(key: SigningKey, run: number): Promise<number> {
  const signature = await key.sign(MESSAGE);
  if (!verifySignature(key.public, MESSAGE, signature)) throw new BenchError(`${key.name} signs wrong`);
  const count = run === 0 ? 10 : SIGNED;
  const start = performance.now();
  for (let at = 0; at < count; at++) await key.sign(MESSAGE);
  return perSecond(count, start);
}

/** With the same kind of key in a file that OpenSSL reads. */
async function openssl(folder: string): Promise<Meter> {
  const name = '`openssl pkeyutl -sign`, Ed25519: one process each';
  if (findProgram('openssl') === null) return { name, take: null };
  const { header, pkcs8 } = await openPkcs8(`${folder}/ed25519.json`, noPassphrase);
  writeFileSync(`${folder}/key.der`, pkcs8);
  writeFileSync(`${folder}/public.pem`, anyKeyToPem(header.public));
  writeFileSync(`${folder}/message`, MESSAGE);
  const sign = ['openssl', 'pkeyutl', '-sign', '-rawin', '-keyform', 'DER', '-inkey', `${folder}/key.der`, '-in', `${folder}/message`];
  return { name, take: () => processes([...sign, '-out', `${folder}/signature`]) };
}

function minisign(folder: string): Meter {
  const name = '`minisign -S`: one process each';
  if (findProgram('minisign') === null) return { name, take: null };
  must({ argv: ['minisign', '-G', '-W', '-p', `${folder}/minisign.pub`, '-s', `${folder}/minisign.key`] });
  writeFileSync(`${folder}/message`, MESSAGE);
  return { name, take: () => processes(['minisign', '-S', '-W', '-s', `${folder}/minisign.key`, '-m', `${folder}/message`]) };
}

function processes([program = '', ...args]: readonly string[]): Promise<Record<string, number>> {
  const start = performance.now();
  for (let count = 0; count < PROCESSES; count++)
    if (spawnSync(program, args, { stdio: 'ignore' }).status !== 0) throw new BenchError(`${program} did not sign`);
  return Promise.resolve({ alone: perSecond(PROCESSES, start) });
}

function perSecond(count: number, start: number): number {
  return (count / (performance.now() - start)) * 1000;
}
