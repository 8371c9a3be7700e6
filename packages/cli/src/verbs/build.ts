/** `lockstep build`: one sealed build; `--dry-run` shows the plan, `--vary` looks for what makes a difference. */
import { join } from 'node:path';
import { buildForRound } from '../dealt-build.ts';
import { build } from '@lockstep/builder/build/build';
import { planBuild } from '@lockstep/builder/build/plan';
import { requireUnchanged } from '@lockstep/builder/build/unchanged';
import { writeResults } from '@lockstep/builder/build/write-results';
import { readDefinition, readProject } from '../project.ts';
import { type CommonOptions, runVerb } from '../session.ts';

interface Options extends CommonOptions {
  readonly out?: string;
  readonly fresh?: boolean;
  readonly dryRun?: boolean;
  readonly vary?: boolean;
  readonly only?: string;
  readonly round?: string;
}

export function buildVerb(dir: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const project = readProject(dir);
    const definition = readDefinition(project);
    if (options.dryRun === true) {
      const plan = planBuild(context, definition);
      print(JSON.stringify(plan, null, 2), { schema: 'lockstep-plan/v1', plan });
      return 0;
    }
    requireUnchanged(context, definition, project.manifestFile);
    const folder = options.out ?? join(project.folder, 'lockstep-out');
    if (options.vary === true) {
      const { varyVerb } = await import('./vary.ts');
      return varyVerb(context, definition, { ...options, folder }, print);
    }
    const built =
      options.round === undefined
        ? await build(context, definition, options.fresh === true)
        : await buildForRound(context, definition, options.round);
    const base = `${definition.manifest.name}-${definition.manifest.version}`;
    const written = writeResults(context, built, folder, base);
    if (definition.lock.environment.kind === 'host')
      context.progress.warn('Built in the environment of this machine, which is not pinned: not releasable.');
    const text = [
      `build id ${built.buildId}${built.cached ? ' (built before; --fresh builds again)' : ''}`,
      ...written.map(({ path, sha256 }) => `${sha256}  ${path}`),
    ].join('\n');
    print(text, {
      schema: 'lockstep-build-result/v1',
      buildId: built.buildId,
      cached: built.cached,
      outputs: built.outputs,
      attestation: built.attestation,
      files: written,
    });
    return 0;
  });
}
