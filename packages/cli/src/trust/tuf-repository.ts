/**
 * Writes the TUF repository of a policy: a folder of static files. Offline keys sign root and targets; the keys of
 * snapshot and timestamp only say what is current. Signing nodes take the keys over later; the files stay the same.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { POLICY_TARGET } from '@lockstep/protocol/policy/policy';
import {
  formatMetadata,
  metadataBytes,
  parseMetadata,
  type RootMetadata,
  type SnapshotMetadata,
  type TargetsMetadata,
  type TimestampMetadata,
  TUF_SPEC_VERSION,
  type TufKey,
  tufKeyId,
  type TufRole,
  type TufRoleName,
  tufSeconds,
} from '@lockstep/protocol/tuf/metadata';
import { openEd25519Key, type NoteSigner } from '@lockstep/log/key/log-key';
import { writeDurably } from '@lockstep/store/durable';

type Signable = RootMetadata | TargetsMetadata | SnapshotMetadata | TimestampMetadata;

export interface RoleKeys {
  readonly threshold: number;
  readonly keys: readonly { readonly id: string; readonly key: TufKey; readonly signer: NoteSigner }[];
}

const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;

/** Days for which each role's metadata is valid from when it is signed. */
const VALID_DAYS = { root: 365, targets: 365, snapshot: 30, timestamp: 30 } as const;

/** `keys/root-1.pem`, … Made when they are not there, for the first signing only. */
export function openRoleKeys(folder: string, name: TufRoleName, count: number, threshold: number): RoleKeys {
  const keys = Array.from({ length: count }, (_, at) => {
    const signer = openEd25519Key(`${folder}/keys/${name}-${at + 1}.pem`);
    const key: TufKey = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: toHex(signer.publicKey) } };
    return { id: tufKeyId(key), key, signer };
  });
  return { threshold, keys };
}

/** How many keys of a role are in the folder. */
function keyCount(folder: string, name: TufRoleName): number {
  return readdirSync(`${folder}/keys`).filter((file) => new RegExp(`^${name}-[0-9]+\\.pem$`).test(file)).length;
}

/**
 * Signs the policy of a folder as the next version of everything.
 * @param now seconds since 1970
 * @returns the paths that were written
 */
export function signPolicy(folder: string, policy: Uint8Array, now: number, firstThreshold: number): string[] {
  const out = `${folder}/repository`;
  mkdirSync(`${out}/metadata`, { recursive: true });
  mkdirSync(`${out}/targets`, { recursive: true });
  const threshold = rootThreshold(out) ?? firstThreshold;
  const roles = Object.fromEntries(
    ROLES.map((name) => [name, openRoleKeys(folder, name, keyCount(folder, name), name === 'root' || name === 'targets' ? threshold : 1)]),
  ) as Record<TufRoleName, RoleKeys>;
  const short = ROLES.find((name) => roles[name].keys.length < roles[name].threshold);
  if (short !== undefined)
    throw new LockstepError(
      'KEY_INVALID',
      `${folder}/keys has too few keys for the role ${short}`,
      'Bring the offline keys; "lockstep policy init" made them.',
    );
  const written: string[] = [];
  const put = (path: string, text: string | Uint8Array): void => {
    writeDurably(`${out}/${path}`, text);
    written.push(`${out}/${path}`);
  };
  const expires = (name: TufRoleName): string => `${new Date((now + VALID_DAYS[name] * 86_400) * 1000).toISOString().slice(0, 19)}Z`;
  const common = (name: TufRoleName, version: number) => ({ spec_version: TUF_SPEC_VERSION, version, expires: expires(name) });
  const sign = (signed: Signable, name: TufRoleName): string =>
    formatMetadata(
      signed,
      roles[name].keys.map(({ id, signer }) => ({ keyid: id, sig: signer.sign(metadataBytes(signed)) })),
    );
  if (latest(out, 'root') === 0) {
    const root: RootMetadata = {
      _type: 'root',
      ...common('root', 1),
      consistent_snapshot: true,
      keys: Object.fromEntries(ROLES.flatMap((name) => roles[name].keys.map(({ id, key }) => [id, key]))),
      roles: {
        root: roleOf(roles.root),
        targets: roleOf(roles.targets),
        snapshot: roleOf(roles.snapshot),
        timestamp: roleOf(roles.timestamp),
      },
    };
    put('metadata/1.root.json', sign(root, 'root'));
  }
  const digest = sha256Hex(policy);
  put(`targets/${digest}.${POLICY_TARGET}`, policy);
  const targets: TargetsMetadata = {
    _type: 'targets',
    ...common('targets', latest(out, 'targets') + 1),
    targets: { [POLICY_TARGET]: { length: policy.length, hashes: { sha256: digest } } },
  };
  put(`metadata/${targets.version}.targets.json`, sign(targets, 'targets'));
  const info = (version: number) => ({ version, length: null, hashes: null });
  const snapshot: SnapshotMetadata = {
    _type: 'snapshot',
    ...common('snapshot', latest(out, 'snapshot') + 1),
    meta: { 'targets.json': info(targets.version) },
  };
  put(`metadata/${snapshot.version}.snapshot.json`, sign(snapshot, 'snapshot'));
  const timestamp: TimestampMetadata = {
    _type: 'timestamp',
    // One timestamp for each snapshot; written last, so that a reader sees the old state or the new one.
    ...common('timestamp', snapshot.version),
    meta: { 'snapshot.json': info(snapshot.version) },
  };
  put('metadata/timestamp.json', sign(timestamp, 'timestamp'));
  return written;
}

/**
 * Says again that what was signed last is current: with the online keys alone, which can delay and never substitute.
 * @param now seconds since 1970
 * @returns whether it was time to
 */
export function renewCurrency(folder: string, now: number): boolean {
  const out = `${folder}/repository`;
  const snapshot = parseMetadata('snapshot', readFileSync(`${out}/metadata/${latest(out, 'snapshot')}.snapshot.json`)).signed;
  const timestamp = parseMetadata('timestamp', readFileSync(`${out}/metadata/timestamp.json`)).signed;
  const half = (VALID_DAYS.timestamp * 86_400) / 2;
  if (Math.min(tufSeconds(snapshot.expires), tufSeconds(timestamp.expires)) - now > half) return false;
  const version = snapshot.version + 1;
  const expires = `${new Date((now + VALID_DAYS.timestamp * 86_400) * 1000).toISOString().slice(0, 19)}Z`;
  const sign = (signed: Signable, name: TufRoleName): string =>
    formatMetadata(
      signed,
      openRoleKeys(folder, name, keyCount(folder, name), 1).keys.map(({ id, signer }) => ({
        keyid: id,
        sig: signer.sign(metadataBytes(signed)),
      })),
    );
  writeDurably(`${out}/metadata/${version}.snapshot.json`, sign({ ...snapshot, version, expires }, 'snapshot'));
  writeDurably(
    `${out}/metadata/timestamp.json`,
    sign({ ...timestamp, version, expires, meta: { 'snapshot.json': { version, length: null, hashes: null } } }, 'timestamp'),
  );
  return true;
}

function roleOf({ keys, threshold }: RoleKeys): TufRole {
  return { keyids: keys.map((one) => one.id), threshold };
}

function latest(out: string, name: TufRoleName): number {
  const versions = readdirSync(`${out}/metadata`).flatMap((file) => {
    const match = /^([1-9][0-9]*)\.([a-z]+)\.json$/.exec(file);
    return match?.[2] === name ? [Number(match[1])] : [];
  });
  return Math.max(0, ...versions);
}

function rootThreshold(out: string): number | null {
  const version = latest(out, 'root');
  const path = `${out}/metadata/${version}.root.json`;
  return version === 0 || !existsSync(path) ? null : parseMetadata('root', readFileSync(path)).signed.roles.root.threshold;
}
