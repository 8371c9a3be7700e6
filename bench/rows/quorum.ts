/** Row 9: decisions of the quorum, from claims that were read before, and from what a log has, byte by byte. */
import { advance, openRound, type Round, type RoundEvent } from '@lockstep/protocol/commitment/round';
import { buildId } from '@lockstep/protocol/definition/definition';
import type { Claim } from '@lockstep/protocol/quorum/claim';
import { decideQuorum, type QuorumInput } from '@lockstep/protocol/quorum/decide';
import { type LoggedEntry, redecide } from '@lockstep/protocol/quorum/redecide';
import {
  ambientsOf,
  BUILDERS,
  entriesOfBuild,
  type Farm,
  isDisputed,
  makeBuild,
  makeFarm,
  outputOf,
  roundDocuments,
  sha256Of,
} from '../farm.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';

const DECIDED = 10_000;
const REDECIDED = 500;
/** Fewer of these: each has 150 kB to read. */
const REDECIDED_LARGE = 50;
/** About what the environment of a small C package has. */
const DEBIAN_PACKAGES = 150;

export async function quorum(_place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  process.stderr.write(`  preparing ${DECIDED} definitions, each with ${BUILDERS} claims and a round\n`);
  const farm = makeFarm();
  const inputs = Array.from({ length: DECIDED }, (_, number) => inputOf(farm, number));
  const small = Array.from({ length: REDECIDED }, (_, number) => loggedOf(farm, number, 0));
  const large = Array.from({ length: REDECIDED_LARGE }, (_, number) => loggedOf(farm, number, DEBIAN_PACKAGES));
  const again = (name: string, builds: readonly Logged[]): Meter => ({
    name,
    take: () => rateOf(builds, (one) => redecide(farm.policy, one.entries, one.buildId)?.decision.result),
  });
  const metered = await meterSideBySide(
    [
      {
        name: '`decideQuorum`: claims and rounds are there, 10,000 definitions',
        take: () => rateOf(inputs, (one) => decideQuorum(one).result),
      },
      again('`redecide`: 16 documents as bytes, 500 definitions', small),
      again(`${REDECIDED_LARGE} definitions, each with an environment of ${DEBIAN_PACKAGES} Debian packages`, large),
    ],
    runs,
    checkpoint,
  );
  return [figureRow(`Decisions over ${BUILDERS} builders, signatures checked before`, '/s', metered, 'rate')];
}

function inputOf(farm: Farm, number: number): QuorumInput {
  const definition = makeBuild(number, 0);
  const id = buildId(definition);
  const ambients = ambientsOf(farm, id);
  const claims = farm.builders.map(({ key }, at): Claim => {
    const { name, digest } = outputOf(number, at);
    return {
      statement: sha256Of(`${number} ${at}`),
      signer: key.id,
      definition,
      buildId: id,
      outputs: [{ name, sha256: digest.sha256, sha512: digest.sha512, blake2b512: digest.blake2b512 }],
      ambient: ambients[at]!,
      environment: 'e'.repeat(64),
    };
  });
  return { policy: farm.policy, definition, claims, round: finishedRound(farm, id, claims), votes: [] };
}

function finishedRound(farm: Farm, id: Claim['signer'], claims: readonly Claim[]): Round {
  const documents = roundDocuments(
    farm,
    id,
    claims.map((one) => one.ambient),
    claims.map((one) => one.statement),
  );
  const signer = (at: number): Claim['signer'] => farm.builders[at]!.key.id;
  const events: RoundEvent[] = [
    ...documents.commitments.map((document, at) => ({ kind: 'commitment' as const, index: 1 + at, signer: signer(at), document })),
    ...documents.reveals.map((document, at) => ({ kind: 'reveal' as const, index: 1 + BUILDERS + at, signer: signer(at), document })),
  ];
  return events.reduce((round, event) => advance(round, event, new Set()), openRound(documents.opening, documents.digest, 0));
}

interface Logged {
  readonly buildId: string;
  readonly entries: readonly LoggedEntry[];
}

function loggedOf(farm: Farm, number: number, packages: number): Logged {
  const definition = makeBuild(number, packages);
  return { buildId: buildId(definition), entries: entriesOfBuild(farm, definition, number) };
}

function rateOf<T>(all: readonly T[], decide: (one: T) => string | undefined): Promise<Record<string, number>> {
  const start = performance.now();
  const results = all.map(decide);
  const milliseconds = performance.now() - start;
  const wrong = results.findIndex((result, number) => result !== (isDisputed(number) ? 'disputed' : 'agreed'));
  if (wrong !== -1) throw new BenchError(`definition ${wrong} was decided as ${results[wrong]}`);
  return Promise.resolve({ rate: (all.length / milliseconds) * 1000 });
}
