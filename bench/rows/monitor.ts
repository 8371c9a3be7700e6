/** Row 10: reading a whole log as its monitor does: every entry and tile hashed, every signature checked, every statement read. */
import { buildId } from '@lockstep/protocol/definition/definition';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { initLog } from '@lockstep/log/sequence/log-home';
import { openSequencer } from '@lockstep/log/sequence/sequencer';
import { checkSubmission, type CheckedSubmission } from '@lockstep/log/sequence/submission';
import { monitorLog } from '@lockstep/log/watch/monitor';
import { signedSubmission } from '../documents.ts';
import { ambientsOf, BUILDERS, buildStatement, makeBuild, makeFarm } from '../farm.ts';
import { type FigureRow, figureRow, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';

const ENTRIES = 2000;
/** Newer than the checkpoint from which the warm-up goes on. */
const NEW = 200;

export async function monitor(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('monitor');
  try {
    process.stderr.write(`  making a log of ${ENTRIES} build statements\n`);
    const home = initLog(folder, 'log.example.org/bench', null);
    const sequencer = await openSequencer(home, null);
    const statements = buildStatements();
    await Promise.all(statements.slice(0, ENTRIES - NEW).map((one) => sequencer.append(one)));
    const before = sequencer.published();
    await Promise.all(statements.slice(ENTRIES - NEW).map((one) => sequencer.append(one)));
    await sequencer.close();
    const read = async (last: string | null): Promise<Record<string, number>> => {
      const start = performance.now();
      const { entries, from } = await monitorLog(home.source, home.key, [], last);
      const milliseconds = performance.now() - start;
      if (from + entries.length !== ENTRIES || entries.some((one) => one.package === null)) throw new BenchError('an entry was not read');
      return { rate: (entries.length / milliseconds) * 1000 };
    };
    const metered = await meterSideBySide(
      [{ name: '`monitorLog`, from nothing', take: (run) => read(run === 0 ? before : null) }],
      runs,
      checkpoint,
    );
    return [figureRow(`Entries monitored, of a log of ${ENTRIES.toLocaleString('en-US')} build statements`, '/s', metered, 'rate')];
  } finally {
    place.drop(folder);
  }
}

function buildStatements(): CheckedSubmission[] {
  const farm = makeFarm();
  return Array.from({ length: ENTRIES / BUILDERS }, (_, number) => {
    const definition = makeBuild(number, 0);
    return ambientsOf(farm, buildId(definition)).map((ambient, at) => {
      const payload = buildStatement(definition, number, at, ambient);
      return checkSubmission(signedSubmission(farm.builders[at]!, IN_TOTO_PAYLOAD, payload));
    });
  }).flat();
}
