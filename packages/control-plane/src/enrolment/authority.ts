/**
 * The farm's certificate authority: for transport only. It says who may connect as which builder; what a builder's word is
 * worth is said by the policy, about another key.
 */
import 'reflect-metadata';
import { createHash, createPrivateKey, type KeyObject, webcrypto } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PublicKey,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** An authority is replaced by enrolling again; that should be rare. */
const AUTHORITY_DAYS = 3650;
const SERVER_DAYS = 365;
/** Renewed when half of it is over. A stolen one is of use for so long, and only until the builder is retired. */
const CLIENT_HOURS = 48;

export interface Authority {
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of the certificate in DER: what a joining builder is given to compare. */
  readonly fingerprint: string;
  /** The farm's own certificate and key, made again when it has run out half. @param names host names and addresses */
  serverIdentity(names: readonly string[]): Promise<{ readonly certificate: string; readonly key: string }>;
  /** @param transportKey DER SubjectPublicKeyInfo, which its holder has shown to be their own */
  issue(transportKey: Uint8Array, name: string): Promise<{ readonly certificate: string; readonly expiresAt: number }>;
}

/** Makes the authority where there is none. @param now milliseconds since 1970 */
export async function openAuthority(folder: string, now: () => number): Promise<Authority> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(`${folder}/authority.key.pem`)) await makeAuthority(folder, now());
  const key = await signingKey(readFileSync(`${folder}/authority.key.pem`, 'utf8'));
  const certificate = readFileSync(`${folder}/authority.pem`, 'utf8');
  const own = new X509Certificate(certificate);
  const sign = (publicKey: PublicKey, subject: string, lifetime: number, extensions: readonly Extension[]): Promise<X509Certificate> =>
    X509CertificateGenerator.create({
      serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)))
        .toString('hex')
        .replace(/^./, '1'),
      subject,
      issuer: own.subject,
      // Clocks differ a little.
      notBefore: new Date(now() - HOUR),
      notAfter: new Date(now() + lifetime),
      publicKey,
      signingKey: key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        ...extensions,
      ],
    });
  return {
    certificate,
    fingerprint: createHash('sha256').update(Buffer.from(own.rawData)).digest('hex'),
    async serverIdentity(names) {
      const [certificateFile, keyFile] = [`${folder}/server.pem`, `${folder}/server.key.pem`];
      if (!existsSync(certificateFile) || !isGood(readFileSync(certificateFile, 'utf8'), names, now())) {
        const pair = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
        const made = await sign(await PublicKey.create(pair.publicKey), 'CN=Lockstep farm', SERVER_DAYS * DAY, [
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
          new SubjectAlternativeNameExtension(
            names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
          ),
        ]);
        writeDurably(keyFile, await toPem(pair.privateKey), 0o600);
        writeDurably(certificateFile, made.toString('pem'));
      }
      return { certificate: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    },
    async issue(transportKey, name) {
      const expiresAt = now() + CLIENT_HOURS * HOUR;
      const made = await sign(new PublicKey(transportKey), `CN=${name}`, CLIENT_HOURS * HOUR, [
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
      ]);
      return { certificate: made.toString('pem'), expiresAt };
    },
  };
}

async function makeAuthority(folder: string, now: number): Promise<void> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const made = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Lockstep farm authority',
    notBefore: new Date(now - HOUR),
    notAfter: new Date(now + AUTHORITY_DAYS * DAY),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true)],
  });
  writeDurably(`${folder}/authority.pem`, made.toString('pem'));
  // Last: a key that is there has its certificate beside it.
  createDurably(`${folder}/authority.key.pem`, await toPem(keys.privateKey), 0o600);
}

/** Whether it has more than half of its time left and is for these names. */
function isGood(pem: string, names: readonly string[], now: number): boolean {
  const one = new X509Certificate(pem);
  const told = one.getExtension(SubjectAlternativeNameExtension)?.names.items.map((item) => item.value) ?? [];
  return one.notAfter.getTime() - now > (SERVER_DAYS * DAY) / 2 && names.every((name) => told.includes(name));
}

async function toPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }).export({ type: 'pkcs8', format: 'pem' }).toString();
}

function signingKey(pem: string): Promise<webcrypto.CryptoKey> {
  const key: KeyObject = createPrivateKey(pem);
  return webcrypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), ALGORITHM, false, ['sign']);
}
