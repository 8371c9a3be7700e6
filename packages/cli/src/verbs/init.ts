/** `lockstep init`: write a manifest for what is there. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { draftFor } from '@lockstep/builder/source/detect';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseManifest } from '@lockstep/protocol/manifest/toml';
import { writeDurably } from '@lockstep/store/durable';
import { type CommonOptions, runVerb } from '../session.ts';

interface Options extends CommonOptions {
  readonly out?: string;
  readonly force?: boolean;
}

export function init(what: string, options: Options): Promise<void> {
  return runVerb(options, ({ print }) => {
    const isReference = /^(?:pkg:|git\+|https:)/.test(what);
    if (!isReference && !existsSync(what))
      throw new LockstepError('FILE_NOT_FOUND', `${what} does not exist`, 'Give a directory or a package URL.');
    const draft = draftFor(what);
    const folder = options.out ?? (isReference ? draft.name : what);
    const file = join(folder, 'lockstep.toml');
    if (existsSync(file) && options.force !== true)
      throw new LockstepError('USAGE', `${file} is there already`, 'Use --force to replace it.');
    // What is written has to be readable by the same program.
    parseManifest(draft.toml, file);
    mkdirSync(folder, { recursive: true });
    writeDurably(file, draft.toml);
    print(`Wrote ${file} (${draft.kind}). Next: lockstep lock ${folder} && lockstep build ${folder}`, {
      schema: 'lockstep-init-result/v1',
      file,
      kind: draft.kind,
    });
    return 0;
  });
}
