/** The whole of a signing node: request in, evidence, signatures, an entry in its own log that is durable, answer out. */
import { type FigureRow, figureRow, type Meter, meterSideBySide, percentile } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { DEBIAN_PACKAGES, makeReleases, type Release } from '../signing.ts';
import { checkpointOf, judged, openBenchNode } from '../signing-node.ts';

const ASKED = 40;

export async function signingNode(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  process.stderr.write(`  preparing ${2 * ASKED} releases\n`);
  const metered = await meterSideBySide(
    [
      meter('a small lock', makeReleases(0, ASKED), place),
      meter(`${DEBIAN_PACKAGES} Debian packages in each statement`, makeReleases(DEBIAN_PACKAGES, ASKED), place),
    ],
    runs,
    checkpoint,
  );
  return [
    figureRow('Requests that a node answers, each another release: bounded by the evidence check', '/s', metered, 'rate'),
    figureRow('… half of them within', 'ms', metered, 'p50'),
    figureRow('… 99 of 100 within', 'ms', metered, 'p99'),
    figureRow('… of it the evidence check and two Ed25519 signatures', 'ms', metered, 'check'),
    figureRow('… of it memory, log and answer: bounded by fsync and signatures in portable code', 'ms', metered, 'log'),
  ];
}

let nodes = 0;

function meter(name: string, releases: readonly Release[], place: Place): Meter {
  return {
    name,
    take: async () => {
      const folder = place.folder(`signing-node/${nodes++}`);
      const { node, keys } = await openBenchNode(folder, ['release-dsse']);
      const [key] = keys;
      if (key === undefined) throw new BenchError('the node has no key');
      const latencies: number[] = [];
      let check = 0;
      try {
        let newest: string | null = null;
        for (const release of releases) {
          const request = release.request(newest);
          const start = performance.now();
          const answer = await node.answer(request);
          latencies.push(performance.now() - start);
          newest = checkpointOf(answer);
          const again = performance.now();
          for (const { message } of judged(request, key).plan) await key.sign(message);
          check += performance.now() - again;
        }
      } finally {
        await node.close();
        place.drop(folder);
      }
      const total = latencies.reduce((sum, one) => sum + one, 0);
      return {
        rate: (releases.length / total) * 1000,
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
        check: check / releases.length,
        log: (total - check) / releases.length,
      };
    },
  };
}
