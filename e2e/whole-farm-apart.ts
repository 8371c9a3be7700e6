/**
 * The farm in roles: PostgreSQL, radosgw, two API replicas that are not root, a witness, three builders. Witness and
 * builders have a network namespace each.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeNamespaces, type Namespaces } from './namespaces.ts';
import { startPostgres } from './postgres.ts';
import { startRadosgw } from './radosgw.ts';
import type { S6Tree, Service } from './s6-tree.ts';
import {
  announced,
  builderKeys,
  commandLine,
  connect,
  joinFarm,
  LIMITS,
  lockstepIn,
  lyingCommand,
  must,
  policyBuilder,
  repolicy,
  RULES,
  type WholeFarm,
  withMounted,
} from './whole-farm-parts.ts';

const NAME = 'farm.test';
const REPLICAS = ['10.77.0.1', '10.77.0.2'] as const;
const WITNESS = '10.77.0.20';
const BUILDERS = ['b1', 'b2', 'b3'] as const;
/** Two ways to find a replica that is there: one name with two addresses, and a list. */
const BY_NAME = `https://${NAME}:7300`;
const BY_LIST = REPLICAS.map((address) => `https://${address}:7300`).join(',');
/** An account of every Debian system that owns nothing. */
const API_USER = 'nobody';

/** @param onStop is told at once how to stop what is not under s6, so that it is stopped whatever happens */
export async function postgresFarm(root: string, tree: S6Tree, onStop: (stop: () => Promise<void>) => void): Promise<WholeFarm> {
  const stops: (() => Promise<void> | void)[] = [];
  onStop(async () => {
    for (const stop of stops.reverse()) await stop();
  });
  const network = makeNamespaces(REPLICAS);
  stops.push(() => network.remove());
  const [postgres, s3] = await Promise.all([startPostgres(), startRadosgw()]);
  stops.push(
    () => s3.stop(),
    () => postgres.stop(),
  );

  // The name has two addresses, here and in each namespace.
  writeFileSync(`${root}/hosts`, `127.0.0.1 localhost\n${REPLICAS.map((address) => `${address} ${NAME}\n`).join('')}`);
  const named = withMounted(root, `${root}/hosts`, '/etc/hosts');

  const witness = await startWitness(root, network);
  const homes = BUILDERS.map((name) => ({ name, home: `${root}/${name}` }));
  const keys = await Promise.all(homes.map(({ home }) => builderKeys(home)));
  const log = await makeConfiguration(
    root,
    witness,
    keys.map(({ attestationPem }, at) => policyBuilder(BUILDERS[at] ?? '', attestationPem)),
    [`storage = "s3://${s3.bucket}/farm?endpoint=${s3.endpoint}&region=us-east-1"`],
  );
  const witnessService = await tree.add('witness', 'witness', {
    WITNESS: witness.folder,
    LISTEN: `${WITNESS}:7380`,
    LOGS: log,
    // Only root may enter a namespace; what runs there is not root.
    LOCKSTEP: commandLine(witness.within, ['s6-setuidgid', API_USER]),
    LOCKSTEP_HOME: `${root}/witness-home`,
    RUN_AS: '',
  });
  await witnessService.ready(30);

  const secrets = { LOCKSTEP_DATABASE: postgres.url, AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey };
  const replicas: Service[] = [];
  for (const [at, address] of REPLICAS.entries()) {
    const folder = replicaFolder(root, at, address);
    const service = await tree.add('farm', `api-${at + 1}`, {
      FARM: folder,
      ROLE: 'api',
      RUN_AS: API_USER,
      LOCKSTEP: commandLine(),
      LOCKSTEP_HOME: `${folder}-home`,
      ...secrets,
    });
    await service.ready(60);
    replicas.push(service);
  }
  const first = `${root}/api-1`;
  const authorityFile = `${first}/authority/authority.pem`;
  const token = readFileSync(`${first}/tokens/operator`, 'utf8').trim();
  const cli: WholeFarm['cli'] = (args, env = {}) =>
    lockstepIn(named, args, { LOCKSTEP_FARM: BY_LIST, LOCKSTEP_FARM_CA: authorityFile, LOCKSTEP_TOKEN: token, ...env });

  const { authority } = await announced(replicas[0] as Service);
  const builders: Service[] = [];
  for (const [at, { name, home }] of homes.entries()) {
    const within = [...network.add(name, `10.77.0.${11 + at}`), ...named];
    await joinFarm({ cli }, { name, home, transport: keys[at]?.transport ?? '' }, at === 0 ? BY_NAME : BY_LIST, authority, within);
    const service = await tree.add('builder', name, { LOCKSTEP: commandLine(within), LOCKSTEP_HOME: home });
    await service.ready(60);
    builders.push(service);
  }
  const inThird = ['nsenter', `--net=/run/netns/lockstep-${process.pid}-b3`, '--', ...named];
  return {
    root,
    replicas,
    honest: ['b1', 'b2'],
    third: {
      name: 'b3',
      service: builders[2] as Service,
      lie: () => (builders[2] as Service).restart({ LOCKSTEP: commandLine(inThird, lyingCommand(root)) }),
    },
    cli,
    // Past the replica that is going to be killed.
    client: connect(`https://${REPLICAS[1]}:7300`, authorityFile, token),
    log: { key: log, url: `${BY_NAME}/log` },
    authorityFile,
    policyFolder: `${root}/base/policy`,
    async cutNetwork(seconds) {
      for (const name of ['b1', 'witness']) network.cut(name);
      await sleep(seconds * 1000);
      for (const name of ['b1', 'witness']) network.mend(name);
    },
    services: [...replicas, witnessService, ...builders],
  };
}

interface OwnWitness {
  readonly folder: string;
  readonly keys: readonly string[];
  readonly within: readonly string[];
}

async function startWitness(root: string, network: Namespaces): Promise<OwnWitness> {
  const folder = `${root}/witness`;
  const made = must(await lockstepIn([], ['witness-keys', folder, '--name', 'witness.test/w1'], {}), 'witness-keys');
  giveTo(API_USER, folder);
  mkdirSync(`${root}/witness-home`);
  giveTo(API_USER, `${root}/witness-home`);
  return { folder, keys: made.trim().split('\n'), within: network.add('witness', WITNESS) };
}

/** What every replica has a copy of: policy, coordinator’s key, log. @returns the log's verifier key */
async function makeConfiguration(
  root: string,
  witness: OwnWitness,
  builders: readonly Record<string, unknown>[],
  settings: readonly string[],
): Promise<string> {
  const base = `${root}/base`;
  must(await lockstepIn([], ['farm', 'init', base, '--builders', '2', '--no-witness', '--name', 'apart'], {}), 'farm init');
  for (const own of ['log', 'keys', 'farm.toml']) rmSync(`${base}/${own}`, { recursive: true });
  writeFileSync(
    `${root}/witnesses`,
    [...witness.keys.map((key, at) => `witness k${at} ${key} http://${WITNESS}:7380`), 'group w1 all k0 k1', 'quorum w1', ''].join('\n'),
  );
  const made = await lockstepIn(
    [],
    ['log', 'init', `${base}/log`, '--origin', 'log.test/apart', '--in-storage', '--witnesses', `${root}/witnesses`],
    {},
  );
  const log = must(made, 'log init').split('\n')[0] ?? '';
  await repolicy(`${base}/policy`, (policy) => {
    Object.assign(policy, {
      builders,
      rules: RULES,
      logs: [{ key: log, operator: 'operator log', site: 'site log', simulated: true }],
      witnesses: [{ name: 'w1', keys: witness.keys, operator: 'operator w', site: 'site w', simulated: true }],
      witness_quorum: 'w1',
    });
  });
  writeFileSync(
    `${base}/farm.toml`,
    [
      'schema = "lockstep-farm/v1"',
      'name = "apart"',
      'listen = "ADDRESS:7300"',
      `names = ${JSON.stringify([NAME, ...REPLICAS])}`,
      'log_in = "storage"',
      ...settings,
      LIMITS,
    ].join('\n'),
  );
  return log;
}

/** The second replica gets the authority that the first one has made. */
function replicaFolder(root: string, at: number, address: string): string {
  const folder = `${root}/api-${at + 1}`;
  cpSync(`${root}/base`, folder, { recursive: true });
  // Root and targets are signed offline: no replica has their keys.
  for (const role of ['root', 'targets', 'release']) rmSync(`${folder}/policy/keys/${role}-1.pem`, { force: true });
  if (at > 0) {
    mkdirSync(`${folder}/authority`, { mode: 0o700 });
    for (const file of ['authority.pem', 'authority.key.pem']) cpSync(`${root}/api-1/authority/${file}`, `${folder}/authority/${file}`);
  }
  writeFileSync(`${folder}/farm.toml`, readFileSync(`${folder}/farm.toml`, 'utf8').replace('ADDRESS', address));
  mkdirSync(`${folder}-home`);
  for (const own of [folder, `${folder}-home`]) giveTo(API_USER, own);
  return folder;
}

function giveTo(user: string, folder: string): void {
  execFileSync('chown', ['-R', `${user}:`, folder]);
}
