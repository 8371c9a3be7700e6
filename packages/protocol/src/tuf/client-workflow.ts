/**
 * From the one pinned root to the targets that count: the client workflow of TUF 1.0.34 (section 5), from files alone.
 * Pure: whoever calls gives the files, the time that it starts at, and what was seen before.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { fromHex, toHex } from '../bytes/hex.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import {
  parseMetadata,
  type RootMetadata,
  type SignedMetadata,
  type TargetsMetadata,
  tufKeyId,
  type TufRoleName,
  tufSeconds,
} from './metadata.ts';

/** Versions that were accepted before: nothing older is accepted again (rollback, section 5.4 to 5.6). */
export interface SeenVersions {
  readonly root: number;
  readonly timestamp: number;
  readonly snapshot: number;
  readonly targets: number;
}

export interface TrustedTargets {
  readonly root: RootMetadata;
  readonly targets: TargetsMetadata;
  readonly seen: SeenVersions;
  /** Seconds since 1970 until which the metadata that says what is current is valid. */
  readonly currentUntil: number;
}

/** A root is never rotated more often than that at once (section 5.3.3 asks for a bound). */
const MAX_ROOTS = 1000;

export const NOTHING_SEEN: SeenVersions = { root: 0, timestamp: 0, snapshot: 0, targets: 0 };

/**
 * @param pinned the root that somebody trusts, of whatever version
 * @param file reads from the repository: `metadata/2.root.json`; null when it is not there
 * @param now seconds since 1970, fixed for the whole of it (section 5.1)
 * @throws LockstepError ROOT_INVALID, POLICY_UNTRUSTED
 */
export function trustedTargets(
  pinned: Uint8Array,
  file: (path: string) => Uint8Array | null,
  now: number,
  seen: SeenVersions,
): TrustedTargets {
  const root = updateRoot(pinned, file);
  refuse(root.version < seen.root, `root version ${root.version} is older than version ${seen.root}, which was seen before`);
  refuse(tufSeconds(root.expires) <= now, `the root expired at ${root.expires}`);

  const timestamp = openMetadata('timestamp', root, need(file, 'metadata/timestamp.json'));
  refuse(
    timestamp.version < seen.timestamp,
    `timestamp version ${timestamp.version} is older than ${seen.timestamp}, which was seen before`,
  );
  const snapshotInfo = timestamp.meta['snapshot.json'];
  const snapshotBytes = need(file, `metadata/${snapshotInfo.version}.snapshot.json`);
  requireInfo('snapshot', snapshotBytes, snapshotInfo);
  const snapshot = openMetadata('snapshot', root, snapshotBytes);
  refuse(snapshot.version !== snapshotInfo.version, 'the snapshot is not the version that the timestamp names');
  refuse(snapshot.version < seen.snapshot, `snapshot version ${snapshot.version} is older than ${seen.snapshot}, which was seen before`);

  const targetsInfo = snapshot.meta['targets.json'];
  if (targetsInfo === undefined) return refuse(true, 'the snapshot names no targets');
  const targetsBytes = need(file, `metadata/${targetsInfo.version}.targets.json`);
  requireInfo('targets', targetsBytes, targetsInfo);
  const targets = openMetadata('targets', root, targetsBytes);
  refuse(targets.version !== targetsInfo.version, 'the targets are not the version that the snapshot names');
  refuse(targets.version < seen.targets, `targets version ${targets.version} is older than ${seen.targets}, which was seen before`);
  refuse(tufSeconds(targets.expires) <= now, `the targets expired at ${targets.expires}`);
  return {
    root,
    targets,
    seen: { root: root.version, timestamp: timestamp.version, snapshot: snapshot.version, targets: targets.version },
    currentUntil: Math.min(tufSeconds(timestamp.expires), tufSeconds(snapshot.expires)),
  };
}

/** The bytes of a target, by the digest that the targets role signed. @throws LockstepError POLICY_UNTRUSTED */
export function readTarget(trusted: TrustedTargets, name: string, file: (path: string) => Uint8Array | null): Uint8Array {
  const info = Object.hasOwn(trusted.targets.targets, name) ? trusted.targets.targets[name] : undefined;
  if (info === undefined) return refuse(true, `the targets name no ${name}`);
  const bytes = need(file, `targets/${info.hashes.sha256}.${name}`);
  requireInfo(name, bytes, info);
  return bytes;
}

/** Section 5.3: each next root is signed by the one before and by itself. */
function updateRoot(pinned: Uint8Array, file: (path: string) => Uint8Array | null): RootMetadata {
  let trusted = parseMetadata('root', pinned);
  requireSignatures('root', trusted, trusted.signed);
  for (let count = 0; count <= MAX_ROOTS; count++) {
    const next = file(`metadata/${trusted.signed.version + 1}.root.json`);
    if (next === null) return trusted.signed;
    const parsed = parseMetadata('root', next);
    refuse(parsed.signed.version !== trusted.signed.version + 1, 'a root has another version than its name says');
    requireSignatures('root', parsed, trusted.signed);
    requireSignatures('root', parsed, parsed.signed);
    trusted = parsed;
  }
  return refuse(true, `there are more than ${MAX_ROOTS} newer roots`);
}

function openMetadata<N extends Exclude<TufRoleName, 'root'>>(name: N, root: RootMetadata, bytes: Uint8Array) {
  const parsed = parseMetadata(name, bytes);
  requireSignatures(name, parsed, root);
  return parsed.signed;
}

/** Counts keys by their material: one key under two ids is one vote, and a signature that is there twice is one. */
export function requireSignatures(name: TufRoleName, metadata: SignedMetadata<unknown>, root: RootMetadata): void {
  const role = root.roles[name];
  const votes = new Set<string>();
  for (const keyid of new Set(role.keyids)) {
    const key = Object.hasOwn(root.keys, keyid) ? root.keys[keyid] : undefined;
    if (key === undefined || tufKeyId(key) !== keyid) continue;
    const publicKey = fromHex(key.keyval.public, 32) ?? new Uint8Array(0);
    const signed = metadata.signatures.some((one) => one.keyid === keyid && verifyEd25519(publicKey, metadata.bytes, one.sig));
    if (signed) votes.add(key.keyval.public);
  }
  if (votes.size >= role.threshold) return;
  refuse(true, `${name} metadata is signed by ${votes.size} of the ${role.threshold} keys that it needs`);
}

function requireInfo(
  name: string,
  bytes: Uint8Array,
  info: { readonly length: number | null; readonly hashes: { readonly sha256: string } | null },
): void {
  refuse(
    info.length !== null && bytes.length !== info.length,
    `${name} has ${bytes.length} bytes, not the ${info.length} that were signed`,
  );
  refuse(info.hashes !== null && toHex(sha256(bytes)) !== info.hashes.sha256, `${name} has another SHA-256 than the one that was signed`);
}

function need(file: (path: string) => Uint8Array | null, path: string): Uint8Array {
  return file(path) ?? refuse(true, `${path} is missing`);
}

function refuse(when: true, why: string): never;
function refuse(when: boolean, why: string): void;
function refuse(when: boolean, why: string): void {
  if (when)
    throw new LockstepError(
      'POLICY_UNTRUSTED',
      `The policy cannot be trusted: ${why}`,
      'Get the newest metadata from whoever publishes the policy. If it stays so, ask them through another channel.',
    );
}
