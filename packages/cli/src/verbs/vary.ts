/** `lockstep build --vary`: the report, for people and as data. */
import { makeOutputFolder } from '@lockstep/builder/build/write-results';
import { writeDurably } from '@lockstep/store/durable';
import { diffoscopeReport } from '@lockstep/builder/compare/diffoscope';
import type { Difference } from '@lockstep/builder/compare/difference';
import type { Context } from '@lockstep/builder/context';
import { vary, type VaryReport } from '@lockstep/builder/vary/vary';
import type { Definition } from '@lockstep/protocol/definition/definition';
import { EXIT } from '../exit-code.ts';
import type { Session } from '../session.ts';
import { harmless } from '../show/harmless.ts';

export async function varyVerb(
  context: Context,
  definition: Definition,
  options: { readonly only?: string; readonly folder: string },
  print: Session['print'],
): Promise<number> {
  const report = await vary(context, definition, options.only === undefined ? null : options.only.split(',').map((name) => name.trim()));
  const reports = await writeReports(context, report, options.folder);
  const data = {
    schema: 'lockstep-vary-result/v1',
    verdict: report.verdict,
    builds: report.builds,
    tried: report.tried.map((one) => one.name),
    left: report.left,
    causes: report.causes.map((cause) => ({
      variations: cause.variations.map((one) => one.name),
      differences: withoutPaths(cause.differences),
      failure: cause.failure,
      advice: cause.variations.map((one) => one.advice),
    })),
    differences: withoutPaths(report.differences),
    reports,
  };
  print([describe(report), ...reports.map((path) => `diffoscope's report: ${path}`)].join('\n'), data);
  if (report.verdict === 'equal') return EXIT.ok;
  return EXIT.notReproducible;
}

function describe(report: VaryReport): string {
  const left = report.left.map((one) => `  not tried: ${one}`);
  if (report.verdict === 'equal')
    return [
      `Equal bytes in ${report.builds} builds: twice under identical conditions, and with another ${names(report.tried)}.`,
      ...left,
    ].join('\n');
  if (report.verdict === 'unstable') {
    return [
      'Unstable: two builds under identical conditions differ, so no variation can be blamed.',
      ...report.differences.map(differenceLine),
      'hint: look for random numbers, hash order, races, or times finer than a second.',
    ].join('\n');
  }
  const lines = [`Different bytes. ${report.causes.length === 1 ? 'The cause' : 'The causes'}, found in ${report.builds} builds:`];
  for (const cause of report.causes) {
    const title = cause.variations.map((one) => one.title).join(' together with ');
    const fixed = cause.variations.every((one) => one.kind === 'fixed') ? ' (the definition fixes it, so builders agree; advice only)' : '';
    lines.push(
      `* ${title}${fixed}`,
      ...cause.differences.map(differenceLine),
      ...(cause.failure === null ? [] : [`    the build fails: ${harmless(cause.failure)}`]),
      ...cause.variations.map((one) => `    ${one.advice}`),
    );
  }
  return [...lines, ...left].join('\n');
}

function names(variations: VaryReport['tried']): string {
  return variations.map((one) => one.title).join(', ');
}

export function differenceLine(one: Difference): string {
  const where = one.where === '' ? '' : `, ${harmless(one.where)}`;
  const at = one.offset === null ? where : ` differs at byte ${one.offset}${where}`;
  const shown = one.left === '' && one.right === '' ? '' : `\n      first:  ${one.left}\n      second: ${one.right}`;
  return `    ${harmless(one.file)}${at}${shown}`;
}

/** diffoscope's report on the first difference of each cause, beside the outputs; only where it is installed. */
async function writeReports(context: Context, report: VaryReport, folder: string): Promise<string[]> {
  const written: string[] = [];
  for (const cause of [...report.causes, { variations: [], differences: report.differences }]) {
    const first = cause.differences.find((one) => one.paths !== null);
    if (first?.paths === undefined || first.paths === null) continue;
    const [left, right] = first.paths;
    const text = await diffoscopeReport(context, first.file, left, right);
    if (text === null) continue;
    makeOutputFolder(folder);
    const name = `${first.file}.${cause.variations.map((one) => one.name).join('+') || 'unstable'}.diffoscope.txt`;
    writeDurably(`${folder}/${name}`, text);
    written.push(`${folder}/${name}`);
  }
  return written;
}

/** Paths of the content store are of no use to a reader of the report. */
function withoutPaths(differences: readonly Difference[]): Omit<Difference, 'paths'>[] {
  return differences.map(({ paths: _paths, ...rest }) => rest);
}
