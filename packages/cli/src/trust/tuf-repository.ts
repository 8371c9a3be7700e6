/**
 * Writes the TUF repository of a policy: a folder of static files. Offline keys sign root and targets; the keys of
 * snapshot and timestamp only say what is current. Signing nodes take the keys over later; the files stay the same.
 */
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { requireSignatures } from '@lockstep/protocol/tuf/client-workflow';
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
  const expires = (name: TufRoleName): string => isoTime(now + VALID_DAYS[name] * 86_400);
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
  const targets = nextTargets(folder, policy, now);
  const text = sign(targets, 'targets');
  // A key that has handed over to a signing node still lies here, perhaps: nobody would follow what it signs.
  requireSignatures('targets', parseMetadata('targets', toUtf8(text)), currentRoot(folder));
  put(`targets/${targets.targets[POLICY_TARGET]?.hashes.sha256 ?? ''}.${POLICY_TARGET}`, policy);
  put(`metadata/${targets.version}.targets.json`, text);
  return [...written, ...signCurrency(folder, targets.version, now)];
}

/** The root that the repository ends at. */
export function currentRoot(folder: string): RootMetadata {
  const out = `${folder}/repository`;
  return parseMetadata('root', readFileSync(`${out}/metadata/${latest(out, 'root')}.root.json`)).signed;
}

/** What the offline keys of the targets role sign next. */
export function nextTargets(folder: string, policy: Uint8Array, now: number): TargetsMetadata {
  return {
    _type: 'targets',
    spec_version: TUF_SPEC_VERSION,
    version: latest(`${folder}/repository`, 'targets') + 1,
    expires: isoTime(now + VALID_DAYS.targets * 86_400),
    targets: { [POLICY_TARGET]: { length: policy.length, hashes: { sha256: sha256Hex(policy) } } },
  };
}

/** The root after the present one, in which these roles have other keys. */
export function nextRoot(folder: string, roles: ReadonlyMap<TufRoleName, readonly TufKey[]>, now: number): RootMetadata {
  const root = currentRoot(folder);
  const handed = [...roles].map(
    ([name, keys]) => [name, { keyids: keys.map(tufKeyId), threshold: Math.min(root.roles[name].threshold, keys.length) }] as const,
  );
  const next = { ...root.roles, ...(Object.fromEntries(handed) as Partial<RootMetadata['roles']>) };
  const known = new Map([...Object.values(root.keys), ...[...roles.values()].flat()].map((key) => [tufKeyId(key), key]));
  const used = new Set(Object.values(next).flatMap((role) => role.keyids));
  return {
    ...root,
    version: root.version + 1,
    expires: isoTime(now + VALID_DAYS.root * 86_400),
    keys: Object.fromEntries([...known].filter(([id]) => used.has(id))),
    roles: next,
  };
}

/** Says that this version of the targets is the current one, with the online keys. @returns the paths that were written */
export function signCurrency(folder: string, targetsVersion: number, now: number): string[] {
  const out = `${folder}/repository`;
  const written: string[] = [];
  const put = (name: 'snapshot' | 'timestamp', path: string, signed: SnapshotMetadata | TimestampMetadata): void => {
    const { keys } = openRoleKeys(folder, name, keyCount(folder, name), 1);
    const signatures = keys.map(({ id, signer }) => ({ keyid: id, sig: signer.sign(metadataBytes(signed)) }));
    writeDurably(`${out}/${path}`, formatMetadata(signed, signatures));
    written.push(`${out}/${path}`);
  };
  const version = latest(out, 'snapshot') + 1;
  const common = { spec_version: TUF_SPEC_VERSION, version, expires: isoTime(now + VALID_DAYS.snapshot * 86_400) };
  const info = (of: number) => ({ version: of, length: null, hashes: null });
  put('snapshot', `metadata/${version}.snapshot.json`, { _type: 'snapshot', ...common, meta: { 'targets.json': info(targetsVersion) } });
  // One timestamp for each snapshot; written last, so that a reader sees the old state or the new one.
  put('timestamp', 'metadata/timestamp.json', { _type: 'timestamp', ...common, meta: { 'snapshot.json': info(version) } });
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
  const expires = isoTime(now + VALID_DAYS.timestamp * 86_400);
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
