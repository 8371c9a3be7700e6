/**
 * The `.narinfo` of a Nix binary cache, as Nix writes it: fields in Nix's order, hashes in SHA-256 only. A signature covers store
 * path, hash and size of the NAR, and references ("fingerprint"), and nothing else: URL, compression and deriver may be changed by anyone.
 */
import { toUtf8 } from '../bytes/utf8.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { formatNixSignature, type NixKey, type NixSignature, parseNixSignature } from './nix-key.ts';
import { fromNix32, toNix32 } from './nix32.ts';
import { isNixBaseName, NIX_STORE } from './nix-store-path.ts';
import { invalidSignature, requireSignatureBytes } from './refused.ts';

const FORMAT = 'narinfo';
/** A thousand references of 244 bytes each, and as many signatures as anybody gives. */
const MAX_NARINFO = 512 << 10;
const MAX_REFERENCES = 1000;
const MAX_SIGNATURES = 64;
const COMPRESSIONS = ['none', 'xz', 'bzip2', 'gzip', 'zstd', 'br', 'lzip', 'lz4'] as const;

/** What a signature is about. */
export interface NixPathFacts {
  /** `/nix/store/…` */
  readonly storePath: string;
  readonly narSha256: Uint8Array;
  readonly narSize: number;
  /** Without `/nix/store/`, each once, sorted. */
  readonly references: readonly string[];
}

export interface Narinfo extends NixPathFacts {
  /** Relative to the cache. */
  readonly url: string;
  readonly compression: (typeof COMPRESSIONS)[number];
  /** Of the file at `url`, as it is compressed. */
  readonly fileSha256: Uint8Array;
  readonly fileSize: number;
  readonly deriver: string | null;
  readonly system: string | null;
  readonly signatures: readonly NixSignature[];
  /** With it Nix checks the path and asks for no signature. */
  readonly contentAddress: string | null;
}

/** What is signed. @throws LockstepError ENVELOPE_INVALID */
export function nixFingerprint(facts: NixPathFacts): Uint8Array {
  requireFacts(facts);
  const references = facts.references.map((one) => `${NIX_STORE}/${one}`).join(',');
  return toUtf8(`1;${facts.storePath};sha256:${toNix32(facts.narSha256)};${facts.narSize};${references}`);
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatNarinfo(info: Narinfo): string {
  requireFacts(info);
  requireSignatureBytes(FORMAT, 'SHA-256 of the file', info.fileSha256, 32);
  if (!isSize(info.fileSize)) throw invalidSignature(FORMAT, 'the size of the file is none');
  if (!isUrl(info.url)) throw invalidSignature(FORMAT, 'the URL is not a relative one');
  if (!COMPRESSIONS.includes(info.compression)) throw invalidSignature(FORMAT, 'the compression is unknown');
  if (info.deriver !== null && info.deriver !== 'unknown-deriver' && !isNixBaseName(info.deriver))
    throw invalidSignature(FORMAT, 'the deriver is not a store path');
  if (info.system !== null && !/^[a-z0-9_]{1,40}-[a-z0-9_]{1,40}$/.test(info.system))
    throw invalidSignature(FORMAT, 'the system is malformed');
  if (info.contentAddress !== null && !isContentAddress(info.contentAddress))
    throw invalidSignature(FORMAT, 'the content address is malformed');
  if (info.signatures.length > MAX_SIGNATURES) throw invalidSignature(FORMAT, 'it has too many signatures');
  const signatures = info.signatures.map(formatNixSignature);
  if (new Set(signatures).size !== signatures.length) throw invalidSignature(FORMAT, 'a signature is there twice');
  return [
    `StorePath: ${info.storePath}`,
    `URL: ${info.url}`,
    `Compression: ${info.compression}`,
    `FileHash: sha256:${toNix32(info.fileSha256)}`,
    `FileSize: ${info.fileSize}`,
    `NarHash: sha256:${toNix32(info.narSha256)}`,
    `NarSize: ${info.narSize}`,
    `References: ${info.references.join(' ')}`,
    ...(info.deriver === null ? [] : [`Deriver: ${info.deriver}`]),
    ...(info.system === null ? [] : [`System: ${info.system}`]),
    ...signatures.map((one) => `Sig: ${one}`),
    ...(info.contentAddress === null ? [] : [`CA: ${info.contentAddress}`]),
    '',
  ].join('\n');
}

/** Takes one spelling: what `formatNarinfo` writes, and Nix too. @throws LockstepError ENVELOPE_INVALID */
export function parseNarinfo(text: string): Narinfo {
  if (text.length > MAX_NARINFO) throw invalidSignature(FORMAT, 'it is too long');
  const lines = text.split('\n');
  const next = (field: string): string | null => {
    if (lines[0]?.startsWith(`${field}: `) !== true) return null;
    return lines.shift()?.slice(field.length + 2) ?? null;
  };
  const required = (field: string): string => {
    const value = next(field);
    if (value === null) throw invalidSignature(FORMAT, `${field} is missing or not in its place`);
    return value;
  };
  const hash = (field: string): Uint8Array => {
    const match = /^sha256:([0-9a-z]{52})$/.exec(required(field));
    const bytes = fromNix32(match?.[1] ?? '', 32);
    if (bytes === null) throw invalidSignature(FORMAT, `${field} is not a SHA-256 in Nix's base 32`);
    return bytes;
  };
  const size = (field: string): number => {
    const value = required(field);
    return /^[0-9]{1,16}$/.test(value) ? Number(value) : -1;
  };
  // In the order of the file: the fields of an object are read from top to bottom.
  const parsed: Narinfo = {
    storePath: required('StorePath'),
    url: required('URL'),
    compression: required('Compression') as Narinfo['compression'],
    fileSha256: hash('FileHash'),
    fileSize: size('FileSize'),
    narSha256: hash('NarHash'),
    narSize: size('NarSize'),
    references: required('References')
      .split(' ')
      .filter((one) => one !== ''),
    deriver: next('Deriver'),
    system: next('System'),
    signatures: [...signatureLines(() => next('Sig'))],
    contentAddress: next('CA'),
  };
  // Also compares what the reading above leaves open: spaces, leading zeros, lines behind the last one.
  if (formatNarinfo(parsed) !== text) throw invalidSignature(FORMAT, 'it is not written as Nix writes one');
  return parsed;
}

/** Whether this key, under this name, signed the path. */
export function verifyNarinfo(info: Narinfo, key: NixKey): boolean {
  if (!areFacts(info)) return false;
  const message = nixFingerprint(info);
  return info.signatures.some(({ name, signature }) => name === key.name && verifyEd25519(key.publicKey, message, signature));
}

function* signatureLines(next: () => string | null): Generator<NixSignature> {
  for (let count = 0; count <= MAX_SIGNATURES; count++) {
    const line = next();
    if (line === null) return;
    yield parseNixSignature(line);
  }
}

function requireFacts(facts: NixPathFacts): void {
  if (!areFacts(facts)) throw invalidSignature(FORMAT, 'store path, hash, size or references are malformed');
}

function areFacts(facts: NixPathFacts): boolean {
  const { storePath, narSha256, narSize, references } = facts;
  return (
    storePath.startsWith(`${NIX_STORE}/`) &&
    isNixBaseName(storePath.slice(NIX_STORE.length + 1)) &&
    narSha256.length === 32 &&
    isSize(narSize) &&
    references.length <= MAX_REFERENCES &&
    references.every((one, index) => isNixBaseName(one) && (index === 0 || (references[index - 1] ?? '') < one))
  );
}

/** Nix calls a size of 0 unknown. */
function isSize(size: number): boolean {
  return Number.isSafeInteger(size) && size > 0;
}

function isUrl(url: string): boolean {
  return (
    url.length <= 500 &&
    /^[A-Za-z0-9._+=-]+(?:\/[A-Za-z0-9._+=-]+)*$/.test(url) &&
    !url.split('/').some((one) => one === '.' || one === '..')
  );
}

function isContentAddress(text: string): boolean {
  const match = /^(?:text|fixed|fixed:r):sha256:([0-9a-z]{52})$/.exec(text);
  return match !== null && fromNix32(match[1] ?? '', 32) !== null;
}
