/** Hundreds of builders over HTTPS, each with its certificate, and a long queue: leases a second on SQLite and PostgreSQL. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Database, openDatabase } from '@lockstep/control-plane/database/database';
import type { Job } from '@lockstep/control-plane/jobs/find-job';
import { recordSubmission } from '@lockstep/control-plane/jobs/submit';
import { rankOf } from '@lockstep/control-plane/jobs/queue';
import { buildId } from '@lockstep/protocol/definition/definition';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { startPostgres } from '../../e2e/postgres.ts';
import { makeBuild } from '../farm.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide, percentile } from '../figures.ts';
import { BenchError, type Checkpoint, must } from '../measure.ts';
import { lockstep, type Place } from '../place.ts';
import { changeConfig, type FarmPlan, type RunningFarm, startFarm } from '../running-farm.ts';
import { type BuilderKeys, type SimulatedBuilders, simulateBuilders } from '../simulated-builders.ts';

/** As many builders as a policy takes, and more leases, take minutes: on demand. */
const LARGE = process.env['LOCKSTEP_BENCH_LARGE'] !== undefined;
const BUILDERS = LARGE ? 2000 : 500;
const PROCESSES = LARGE ? 4 : 2;
const QUEUES = [1000, 10_000, 100_000];
/** Leases before the clock starts: to each builder one that was offered to it while it rested. */
const WARM_UP = BUILDERS;
/** Leases while it runs: the queue is as long as it is said to be when it stops. */
const MEASURED = LARGE ? 3000 : 500;
const LIMITS = `
[limits]
requests_per_second = 1000000
requests_at_once = 1000000
queue = 1000000
lease_seconds = 600
alive_seconds = 3600
# One builder each: a failed build is the end of its job, and a slot is free again.
spares = 0
`;

interface Kind {
  readonly name: string;
  readonly farm: RunningFarm;
  /** As openDatabase takes it. */
  readonly database: string;
  readonly builders: SimulatedBuilders;
  /** Jobs that were ever put into its queue. */
  made: number;
  /** The first of them, which the others are copies of. */
  template: Job | null;
}

export async function farmLeases(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('farm-leases');
  const postgres = await startPostgres();
  const kinds: Kind[] = [];
  try {
    process.stderr.write(`  enrolling and connecting ${BUILDERS} builders with each farm\n`);
    kinds.push(await prepare(place, 'sqlite', {}, `${folder}/sqlite/farm/farm.sqlite`));
    kinds.push(await prepare(place, 'postgresql', { LOCKSTEP_DATABASE: postgres.url }, postgres.url));
    const meters = kinds.flatMap((kind): Meter[] =>
      QUEUES.map((queue) => ({
        name: `${kind.name === 'sqlite' ? 'SQLite' : 'PostgreSQL'}, ${queue.toLocaleString('en-US')} jobs queued`,
        // Each measurement warms up for itself.
        take: (run) => (run === 0 ? Promise.resolve({}) : measure(kind, queue)),
      })),
    );
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow(`Leases to ${BUILDERS.toLocaleString('en-US')} builders over HTTPS, each given back and counted`, '/s', metered, 'rate'),
      figureRow('… CPU time of the farm’s process for each', 'ms', metered, 'cpu'),
      figureRow('… from asking to having one, half of them within', 'ms', metered, 'p50'),
      figureRow('… 99 of 100 within', 'ms', metered, 'p99'),
    ];
  } finally {
    for (const { builders, farm } of kinds) {
      builders.stop();
      await farm.stop();
    }
    await postgres.stop();
    place.drop(folder);
  }
}

async function prepare(place: Place, name: string, env: Readonly<Record<string, string>>, database: string): Promise<Kind> {
  const keys = Array.from({ length: BUILDERS }, (_, at) => ({ name: `b-${at}`, ...newKey() }));
  const plan: FarmPlan = {
    folder: place.folder(`farm-leases/${name}`),
    init: ['--name', 'bench', '--home'],
    change: (farm) => {
      changeConfig((text) => text.replace(/\[\[builder\]\][^[]*/g, '') + LIMITS)(farm);
      listBuilders(farm, keys);
    },
    env,
  };
  const builders = simulateBuilders(keys, PROCESSES);
  const farm = await startFarm(plan);
  try {
    await builders.enrol(farm);
    await builders.connect(farm);
  } catch (error) {
    builders.stop();
    await farm.stop();
    throw error;
  }
  return { name, farm, database, builders, made: 0, template: null };
}

function newKey(): { attestationKey: string; publicKey: string } {
  const pair = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { attestationKey: pair.privateKey, publicKey: pair.publicKey };
}

/** As whoever signs the policy would. */
function listBuilders(farm: string, keys: readonly (BuilderKeys & { readonly publicKey: string })[]): void {
  const file = `${farm}/policy/policy.json`;
  const policy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  policy['version'] = 2;
  policy['builders'] = keys.map(({ name, publicKey }) => ({
    name,
    key: publicKey,
    domain: { operator: `operator ${name}`, site: `site ${name}`, lineage: 'simulated', simulated: true },
  }));
  writeFileSync(file, JSON.stringify(policy));
  must(lockstep(['policy', 'sign', `${farm}/policy`]));
}

async function measure(kind: Kind, queue: number): Promise<Record<string, number>> {
  const before = performance.now();
  await fill(kind, queue + WARM_UP + MEASURED);
  const filled = (performance.now() - before) / 1000;
  return { ...(await lease(kind.farm, kind.builders, MEASURED)), filled };
}

interface Moment {
  readonly at: number;
  readonly cpu: number;
  readonly total: number;
}

async function lease(farm: RunningFarm, builders: SimulatedBuilders, leases: number): Promise<Record<string, number>> {
  let begun: Moment | null = null;
  let ended: Moment | null = null;
  const { latencies } = await builders.work((total) => {
    const now = { at: performance.now(), cpu: farm.cpu(), total };
    if (begun === null && total >= WARM_UP) begun = now;
    if (begun !== null && total >= begun.total + leases) ended = now;
    return ended !== null;
  });
  const [from, to] = [begun, ended] as unknown as Moment[];
  if (from === undefined || to === undefined) throw new BenchError('no leases');
  const measured = latencies.slice(WARM_UP);
  return {
    rate: ((to.total - from.total) / (to.at - from.at)) * 1000,
    cpu: ((to.cpu - from.cpu) / (to.total - from.total)) * 1000,
    p50: percentile(measured, 0.5),
    p99: percentile(measured, 0.99),
  };
}

/** A queue as submissions leave it: the first through the code that records them, the others as copies of its row. */
async function fill(kind: Kind, count: number): Promise<void> {
  const database = await openDatabase(kind.database, (error) =>
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`),
  );
  try {
    const definition = makeBuild(0, 0);
    const build_id = buildId(definition);
    if (kind.made === 0) {
      const policy = parsePolicy(readFileSync(`${kind.farm.folder}/policy/policy.json`), 'policy.json');
      const fact = {
        schema: 'lockstep-submission/v1',
        submission: 'first',
        build_id,
        submitter: 'bench',
        priority: 0,
        submitted_at: Date.now(),
      } as const;
      // As it is before the farm has looked at it.
      kind.template = await database.write(async (tx) => {
        await recordSubmission(tx, fact, definition, policy.rules[0]!);
        return tx.selectFrom('jobs').selectAll().where('job', '=', build_id).executeTakeFirstOrThrow();
      });
      kind.made = 1;
    }
    const { left } = await database.reads
      .selectFrom('jobs')
      .select((of) => of.fn.countAll().as('left'))
      .where('state', '=', 'queued')
      .executeTakeFirstOrThrow();
    await copies(database, kind, count - Number(left));
  } finally {
    await database.close();
  }
}

const ROWS_AT_ONCE = 500;

async function copies(database: Database, kind: Kind, count: number): Promise<void> {
  if (kind.template === null) return;
  const { position, ...first } = kind.template;
  for (const enough = kind.made + count; kind.made < enough; ) {
    const from = kind.made;
    const rows = Array.from({ length: Math.min(ROWS_AT_ONCE, enough - from) }, (_, at) => {
      const name = `package-${from + at}`;
      const own = { position: position + from + at, job: createHash('sha256').update(name).digest('hex'), name };
      return { ...first, ...own, rank: rankOf(0, own.position) };
    });
    await database.write(async (tx) => {
      await tx.insertInto('jobs').values(rows).execute();
      await tx
        .insertInto('submissions')
        .values(
          rows.map((one) => ({
            submission: one.name,
            job: one.job,
            submitter: one.submitter,
            priority: 0,
            submitted_at: one.submitted_at,
          })),
        )
        .execute();
    });
    kind.made += rows.length;
  }
}
