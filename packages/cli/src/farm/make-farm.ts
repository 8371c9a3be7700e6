/** A new farm in a folder: keys, policy, log, witness, builders, an operator's token. Asks nothing. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { arch, hostname, release } from 'node:os';
import { resolve } from 'node:path';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { initLog } from '@lockstep/log/sequence/log-home';
import { openWitness } from '@lockstep/log/witness/witness-home';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { writeDurably } from '@lockstep/store/durable';
import { openRoleKeys, signPolicy } from '../trust/tuf-repository.ts';

export interface NewFarm {
  readonly name: string;
  /** How many builders run in the farm's process. Their failure domains are declared, on one machine: the policy calls them simulated. */
  readonly builders: number;
  readonly witness: boolean;
  readonly listen: string;
}

const YEAR = 365 * 86_400;

/** @param now seconds since 1970 @throws LockstepError FARM_UNUSABLE when there is one */
export function makeFarm(folder: string, what: NewFarm, now: number): void {
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
    expires: `${new Date((now + YEAR) * 1000).toISOString().slice(0, 19)}Z`,
    builders: builders.map(({ name, key }, at) => ({ name, key: pem(`${root}/${key}`), domain: domain(at) })),
    coordinators: [{ name: 'coordinator', key: pem(`${root}/policy/keys/coordinator.pem`) }],
    release: { threshold: 1, keys: [{ name: 'release', key: pem(`${root}/policy/keys/release.pem`) }] },
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
  // Last: a folder with this file is a farm.
  writeFileSync(`${root}/farm.toml`, farmToml(what, builders, witness !== null), { mode: 0o600 });
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
