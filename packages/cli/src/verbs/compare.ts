/** `lockstep compare A B`: what differs in two results, and why: repeats one, then bisects over the conditions that differ. */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compareTwoResults, type ResultConditions, type TwoResultsReport } from '@lockstep/builder/compare/two-results';
import { type Difference, whereTheyDiffer } from '@lockstep/builder/compare/difference';
import { readAttestedDefinition } from '@lockstep/builder/rebuild/rebuild';
import { buildId } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Statement } from '@lockstep/protocol/statement/statement';
import type { Ambient } from '@lockstep/protocol/variation/deal';
import { sha256File } from '@lockstep/store/digests';
import { EXIT } from '../exit-code.ts';
import { readNamedFile } from '../read-file.ts';
import { type CommonOptions, runVerb } from '../session.ts';
import { harmless, harmlessLine } from '../show/harmless.ts';
import { differenceLine } from './vary.ts';

interface Options extends CommonOptions {
  readonly build: boolean;
}

export function compareVerb(first: string, second: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const [a, b] = [resultOf(first), resultOf(second)];
    if (a.id !== b.id) {
      print(`Two different definitions: ${a.id} and ${b.id}. Their results may differ.`, {
        schema: 'lockstep-compare/v1',
        verdict: 'different definitions',
        first: a.id,
        second: b.id,
      });
      return EXIT.failed;
    }
    const outputs = [...new Set([...a.outputs.keys(), ...b.outputs.keys()])].sort();
    const differing = outputs.filter((name) => a.outputs.get(name) !== b.outputs.get(name));
    if (differing.length === 0) {
      print(`Equal: ${outputs.length} outputs of build ${a.id}`, { schema: 'lockstep-compare/v1', verdict: 'equal', outputs });
      return EXIT.ok;
    }
    const bytes = differing.map((name) => ({
      name,
      first: a.outputs.get(name) ?? null,
      second: b.outputs.get(name) ?? null,
      difference: differenceOf(name, a, b),
    }));
    const lines = bytes.flatMap((one) => [
      `DIFFERS ${harmlessLine(one.name)}: ${one.first ?? 'no such output'} against ${one.second ?? 'no such output'}`,
      ...(one.difference === null
        ? ['    the files are not beside the attestations, so their bytes were not compared']
        : [differenceLine(one.difference)]),
    ]);
    const report = options.build ? await compareTwoResults(context, a.definition, a, b) : null;
    print([...lines, ...(report === null ? [] : describe(report))].join('\n'), {
      schema: 'lockstep-compare/v1',
      verdict: report?.verdict ?? 'differs',
      differing: bytes.map(({ difference, ...rest }) => ({ ...rest, difference: difference === null ? null : withoutPaths(difference) })),
      report:
        report === null
          ? null
          : {
              ...report,
              differences: report.differences.map(withoutPaths),
              causes: report.causes.map((one) => ({ ...one, differences: one.differences.map(withoutPaths) })),
            },
    });
    return EXIT.notReproducible;
  });
}

interface Result extends ResultConditions {
  readonly id: string;
  readonly definition: ReturnType<typeof readAttestedDefinition>['definition'];
  readonly folder: string;
}

/** @param path an attestation, or a folder with one */
function resultOf(path: string): Result {
  const file = existsSync(join(path, '.')) && !path.endsWith('.json') ? onlyAttestation(path) : path;
  const { statement, definition } = readAttestedDefinition(readNamedFile(file), null);
  return {
    id: buildId(definition),
    definition,
    folder: dirname(file),
    ambient: ambientOf(statement),
    outputs: new Map(statement.subject.map((one) => [one.name, one.digest.sha256])),
  };
}

function onlyAttestation(folder: string): string {
  const found = readdirSync(folder).filter((name) => name.endsWith('.intoto.json'));
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new LockstepError('FILE_NOT_FOUND', `There are ${found.length} attestations in ${folder}`, 'Name the one that you mean.');
  return join(folder, only);
}

function ambientOf(statement: Statement): Ambient {
  const ambient: Readonly<Record<string, Json>> = statement.predicate.buildDefinition.internalParameters.variation?.ambient ?? {};
  return ambient;
}

/** Only files that are what was attested are compared. */
function differenceOf(name: string, a: Result, b: Result): Difference | null {
  const [left, right] = [a, b].map((one) => {
    const path = join(one.folder, name);
    // An attestation is foreign: its names lead nowhere but into the folder that it lies in.
    const inside = name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
    return inside && lstatSync(path, { throwIfNoEntry: false })?.isFile() === true && sha256File(path).digest === one.outputs.get(name)
      ? path
      : null;
  });
  return left == null || right == null ? null : whereTheyDiffer(name, left, right);
}

function describe(report: TwoResultsReport): string[] {
  const facts =
    report.facts.length === 0 ? 'They were built under the same conditions.' : `Their conditions differ in ${report.facts.join(', ')}.`;
  if (report.verdict === 'unstable')
    return [
      facts,
      `Unstable: two builds under identical conditions differ, so neither builder can be blamed (${report.builds} builds).`,
      ...report.differences.map(differenceLine),
    ];
  if (report.verdict === 'cause')
    return [
      facts,
      `The cause, found in ${report.builds} builds:`,
      ...report.causes.flatMap((one) => [
        `* ${one.facts.join(' together with ')}`,
        ...one.differences.map(differenceLine),
        ...(one.failure === null ? [] : [`    the build fails: ${harmless(one.failure)}`]),
      ]),
    ];
  const said = (matches: boolean | null, who: string): string =>
    matches === null ? '' : `${who} ${matches ? 'came out here too' : 'did NOT come out here: whoever attested it built something else'}.`;
  return [
    facts,
    `No condition makes a difference here (${report.builds} builds).`,
    [said(report.reproduced.first, 'What the first attested'), said(report.reproduced.second, 'What the second attested')]
      .filter((line) => line !== '')
      .join(' '),
  ];
}

function withoutPaths({ paths: _paths, ...rest }: Difference): Omit<Difference, 'paths'> {
  return rest;
}
