/** A hundred trivial definitions through a warm farm, attested, logged and decided, beside a hundred derivations in one `nix-build -j2`. */
import type { FarmClient } from '@lockstep/api/client';
import { buildId, definitionToJson } from '@lockstep/protocol/definition/definition';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint, must } from '../measure.ts';
import { nixBuildMany } from '../nix.ts';
import { type PinnedProject, pinnedProject } from '../pinned-project.ts';
import { findProgram, type Place } from '../place.ts';
import { asOperator, changeConfig, NO_RATE_LIMIT, type RunningFarm, startFarm } from '../running-farm.ts';

const DEFINITIONS = 100;
const WARM_UP = 10;
const SUBMITTED_AT_ONCE = 8;
/** Milliseconds. */
const LOOK_EVERY = 50;
const DONE_WITHIN = 180_000;

export async function farmTrivial(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('farm-trivial');
  const project = pinnedProject(folder, { step: 'echo hi > out' });
  const farms: RunningFarm[] = [];
  const farm = async (name: string, init: readonly string[], change?: (text: string) => string): Promise<RunningFarm> => {
    const running = await startFarm({
      folder: place.folder(`farm-trivial/${name}`),
      init,
      change: changeConfig((text) => `${change?.(text) ?? text}${NO_RATE_LIMIT}`),
    });
    farms.push(running);
    await asOperator(running, project.upload);
    return running;
  };
  try {
    const two = await farm('two', ['--name', 'bench']);
    // One builder that builds two at once: what is built is as much as with Nix.
    const one = await farm('one', ['--name', 'bench', '--home'], (text) => text.replace('[[builder]]', '[[builder]]\nslots = 2'));
    const meters: Meter[] = [
      { name: 'two builders have to agree (k = 2): each is built twice', take: (run) => through(two, project, 'two', run) },
      { name: 'one builder with two slots (k = 1): each is built once', take: (run) => through(one, project, 'one', run) },
      { name: '`nix-build -j2`, sandboxed: each is built once', take: nixMeter(place) },
    ];
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow(`${DEFINITIONS} trivial definitions through a warm farm: built, attested, logged, decided`, 's', metered, 'seconds'),
      figureRow('… peak resident memory of the farm’s process', 'MiB', metered, 'peak'),
    ];
  } finally {
    for (const one of farms) await one.stop();
    place.drop(folder);
  }
}

async function through(farm: RunningFarm, project: PinnedProject, prefix: string, run: number): Promise<Record<string, number>> {
  const count = run === 0 ? WARM_UP : DEFINITIONS;
  const definitions = Array.from({ length: count }, (_, at) => project.definition(`${prefix}-${run}-${at}`));
  const before = performance.now();
  const rest = [...definitions];
  await asOperator(farm, async (client) => {
    const submitter = async (): Promise<void> => {
      for (let one = rest.shift(); one !== undefined; one = rest.shift())
        await client.call('submit', { body: { definition: definitionToJson(one) as never } });
    };
    await Promise.all(Array.from({ length: SUBMITTED_AT_ONCE }, submitter));
    await decided(client, new Set(definitions.map((one) => buildId(one))));
  });
  return { seconds: (performance.now() - before) / 1000, peak: farm.memory().peak / 2 ** 20 };
}

async function decided(client: FarmClient, jobs: ReadonlySet<string>): Promise<void> {
  for (const until = performance.now() + DONE_WITHIN; ; ) {
    const page = await client.call('listJobs', { query: { limit: '200' } });
    const mine = page.jobs.filter((one) => jobs.has(one.job));
    const lost = mine.find((one) => one.state === 'failed' || one.state === 'disputed');
    if (lost !== undefined) throw new BenchError(`${lost.name}: ${lost.state}: ${lost.reason}`);
    if (mine.filter((one) => one.state === 'decided').length === jobs.size) return;
    if (performance.now() > until)
      throw new BenchError(`not decided within ${DONE_WITHIN / 1000} s: ${mine.map((one) => one.reason).join('; ')}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  }
}

function nixMeter(place: Place): Meter['take'] {
  if (findProgram('nix-build') === null) return null;
  const build = nixBuildMany(place.folder('farm-trivial/nix'), DEFINITIONS, 2);
  return (run) => {
    const before = performance.now();
    must(build(String(run)));
    const seconds = (performance.now() - before) / 1000;
    return Promise.resolve({ seconds });
  };
}
