/** `lockstep rebuild`: from an attestation alone, and against what was shipped. */
import { existsSync, readFileSync } from 'node:fs';
import { makeOutputFolder } from '@lockstep/builder/build/write-results';
import { compareWithShipped, type ShippedComparison } from '@lockstep/builder/compare/shipped';
import { readAttestedDefinition, rebuild, type RebuildReport } from '@lockstep/builder/rebuild/rebuild';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromPem } from '@lockstep/protocol/key/p256';
import { EXIT } from '../exit-code.ts';
import { type CommonOptions, runVerb } from '../session.ts';
import { differenceLine } from './vary.ts';

interface Options extends CommonOptions {
  readonly against?: readonly string[];
  readonly out?: string;
  readonly key?: string;
}

export function rebuildVerb(file: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const key = options.key === undefined ? null : publicKeyFromPem(readFile(options.key).toString('utf8'));
    const attested = readAttestedDefinition(readFile(file), key);
    if (key === null) context.progress.warn('No --key was given: the attestation is taken as a recipe; who signed it was not checked.');
    const report = await rebuild(context, attested);
    const { environment } = attested.definition.lock;
    const suite = environment.kind === 'debian' ? environment.suite : null;
    const shipped: ShippedComparison[] = [];
    for (const what of options.against ?? []) shipped.push(...(await compareWithShipped(context, report.outcome.outputs, { what, suite })));
    if (options.out !== undefined) {
      makeOutputFolder(options.out);
      for (const output of report.outcome.outputs)
        context.store.blobs.copyOut(output.digest.sha256, `${options.out}/${output.name}`, output.executable ? 0o755 : 0o644);
    }
    const ok =
      report.reproduced &&
      !shipped.some((one) => one.result === 'differs') &&
      (shipped.length === 0 || shipped.some((one) => one.result === 'equal'));
    print([...describe(report), ...shipped.map(shippedLine)].join('\n'), {
      schema: 'lockstep-rebuild-result/v1',
      reproduced: report.reproduced,
      sameEnvironment: report.sameEnvironment,
      buildId: report.outcome.buildId,
      subjects: report.subjects,
      shipped,
    });
    return ok ? EXIT.ok : EXIT.notReproducible;
  });
}

function readFile(path: string): Buffer {
  if (!existsSync(path)) throw new LockstepError('FILE_NOT_FOUND', `${path} does not exist`, 'Check the path.');
  return readFileSync(path);
}

function describe(report: RebuildReport): string[] {
  const lines = report.subjects.map((one) => {
    if (one.rebuilt === null) return `missing    ${one.name}: the rebuild made no such file`;
    return one.attested === one.rebuilt
      ? `reproduced ${one.name} sha256:${one.attested}`
      : `DIFFERS    ${one.name}: attested ${one.attested}, rebuilt ${one.rebuilt}`;
  });
  if (report.sameEnvironment === false) lines.push('note: the environment assembled here has another digest than the attested one');
  return lines;
}

function shippedLine(one: ShippedComparison): string {
  if (one.result === 'equal') return `equal      ${one.output} is, bit by bit, what ${one.origin} ships`;
  if (one.result === 'not shipped') return `not there  ${one.output} is not in the archive, so it was not compared`;
  return `DIFFERS    ${one.output} from ${one.origin}\n${one.difference === null ? '' : differenceLine(one.difference)}`;
}
