/** A new farm in a folder: keys, policy, log, witness, builders, an operator's token. Asks nothing. */
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, hostname, release } from 'node:os';
import { resolve } from 'node:path';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { initLog } from '@lockstep/log/sequence/log-home';
import { openWitness } from '@lockstep/log/witness/witness-home';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { makeFileKey } from '@lockstep/signer/custody/file-key';
import { writeDurably } from '@lockstep/store/durable';
import { initSigner } from '../signer/home.ts';
import { openRoleKeys, signPolicy } from '../trust/tuf-repository.ts';

export interface NewFarm {
  readonly name: string;
  /** How many builders run in the farm's process. Their failure domains are declared, on one machine: the policy calls them simulated. */
  readonly builders: number;
  readonly witness: boolean;
  /** A signing node of its own, in the same folder: to begin with, and for a home. */
  readonly signer: boolean;
  readonly listen: string;
}

const YEAR = 365 * 86_400;

/** @param now seconds since 1970 @throws LockstepError FARM_UNUSABLE when there is one */
export async function makeFarm(folder: string, what: NewFarm, now: number): Promise<void> {
  const root = resolve(folder);
  if (existsSync(`${root}/farm.toml`))
    throw new LockstepError(
      'FARM_UNUSABLE',
      `There is a farm in ${folder} already`,
      'Choose another folder; a farm is never started again over one.',
    );
  mkdirSync(`${root}/policy/keys`, { recursive: true, mode: 0o700 });
  mkdirSync(`${root}/keys`, { recursive: true, mode: 0o700 });
  const origin = `${slug(hostname())}.invalid/${what.name}`;
  const witnessName = `${slug(hostname())}.invalid/${what.name}-witness`;
  const witness = what.witness ? openWitness(`${root}/witness`, witnessName, [], () => now) : null;
  const witnessKeys = witness === null ? [] : [witness.ed25519.key, witness.mlDsa.key].map(formatVerifierKey);
  const witnessPolicy =
    witness === null
      ? null
      : [
          ...witnessKeys.map((key, at) => `witness k${at} ${key} http://127.0.0.1:1`),
          `group own all ${witnessKeys.map((_key, at) => `k${at}`).join(' ')}`,
          'quorum own',
          '',
        ].join('\n');
  const log = initLog(`${root}/log`, origin, witnessPolicy);
  const builders = Array.from({ length: what.builders }, (_, at) => ({ name: `builder-${at + 1}`, key: `keys/builder-${at + 1}.pem` }));
  const domain = (at: number): Record<string, unknown> => ({
    operator: what.builders === 1 ? what.name : `${what.name}-operator-${at + 1}`,
    site: what.builders === 1 ? slug(hostname()) : `${what.name}-site-${at + 1}`,
    lineage: `linux ${release()} ${arch()}`,
    simulated: what.builders > 1,
  });
  const pem = (file: string): string => publicKeyToPem(publicKeyFromSpki(new Uint8Array(openAttestationKey(file).spki)));
  for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const) openRoleKeys(`${root}/policy`, role, 1, 1);
  const policy = {
    schema: 'lockstep-policy/v1',
    name: what.name,
    version: 1,
    expires: isoTime(now + YEAR),
    builders: builders.map(({ name, key }, at) => ({ name, key: pem(`${root}/${key}`), domain: domain(at) })),
    coordinators: [{ name: 'coordinator', key: pem(`${root}/policy/keys/coordinator.pem`) }],
    release: await releaseOf(what, root, now),
    logs: [{ key: formatVerifierKey(log.key), operator: what.name, site: slug(hostname()), simulated: what.builders > 1 }],
    witnesses:
      witness === null
        ? []
        : [{ name: 'own', keys: witnessKeys, operator: `${what.name}-witness`, site: `${what.name}-witness`, simulated: true }],
    witness_quorum: witness === null ? 'none' : 'own',
    rules: [
      {
        packages: '*',
        tier: 'container',
        quorum: what.builders,
        commitments: what.builders === 1 ? 'none' : 'required',
        variations: what.builders === 1 ? [] : ['cpu-model', 'memory'],
        sources: ['*'],
      },
    ],
  };
  writeDurably(`${root}/policy/policy.json`, `${JSON.stringify(policy, null, 2)}\n`);
  signPolicy(`${root}/policy`, Buffer.from(`${JSON.stringify(policy, null, 2)}\n`), now, 1);
  if (what.signer) await makeSigner(what, root, now);
  // Last: a folder with this file is a farm.
  writeFileSync(`${root}/farm.toml`, farmToml(what, builders, witness !== null), { mode: 0o600 });
}

/** Keys of its own signing node: approved is what that signs, and nothing in the farm can. */
async function releaseOf(what: NewFarm, root: string, now: number): Promise<Record<string, unknown> | null> {
  if (!what.signer) return null;
  const make = async (name: string, use: 'release-dsse' | 'release-minisign'): Promise<string> =>
    anyKeyToPem(
      (await makeFileKey({ path: `${root}/signer/keys/${name}.json`, name, use, passphrase: null, now: new Date(now * 1000) })).public,
    );
  return {
    threshold: 1,
    keys: [{ name: 'release', key: await make('release', 'release-dsse') }],
    formats: [{ name: 'minisign', use: 'release-minisign', key: await make('minisign', 'release-minisign') }],
  };
}

async function makeSigner(what: NewFarm, root: string, now: number): Promise<void> {
  const pinned = new Uint8Array(readFileSync(`${root}/policy/repository/metadata/1.root.json`));
  await initSigner(`${root}/signer`, pinned, { name: `${what.name}-signer`, lines: ['main'], coordinators: [] }, new Date(now * 1000));
}

function farmToml(what: NewFarm, builders: readonly { name: string; key: string }[], witness: boolean): string {
  return [
    '# One process of a Lockstep farm. Every key: docs/operate.md.',
    'schema = "lockstep-farm/v1"',
    `name = "${what.name}"`,
    `listen = "${what.listen}"`,
    'names = ["127.0.0.1", "localhost"]',
    'database = "farm.sqlite"',
    'storage = "storage"',
    ...(witness
      ? ['# A witness on the same machine shows that it works; one elsewhere shows that nobody forked the log.', 'witness = "witness"']
      : []),
    ...builders.flatMap(({ name, key }) => ['', '[[builder]]', `name = "${name}"`, `key = "${key}"`]),
    '',
  ].join('\n');
}

function slug(name: string): string {
  const made = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return made === '' ? 'host' : made.slice(0, 40);
}
