/** Whether two builds came to the same, and if not, where they differ. */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { BuildOutcome } from '../build/build.ts';
import { type Difference, whereTheyDiffer } from '../compare/difference.ts';
import type { Context } from '../context.ts';

export function same(a: BuildOutcome, b: BuildOutcome): boolean {
  return fingerprint(a) === fingerprint(b);
}

function fingerprint(outcome: BuildOutcome): string {
  return outcome.outputs.map((output) => `${output.name}\0${output.digest.sha256}\0${output.executable}`).join('\n');
}

export function differences(context: Context, a: BuildOutcome, b: BuildOutcome): Difference[] {
  const names = [...new Set([...a.outputs, ...b.outputs].map((output) => output.name))];
  return names.flatMap((name): Difference[] => {
    const left = a.outputs.find((output) => output.name === name);
    const right = b.outputs.find((output) => output.name === name);
    if (left === undefined || right === undefined)
      return [
        {
          file: name,
          offset: null,
          where: left === undefined ? 'only in the second' : 'only in the first',
          sizes: [left?.size ?? null, right?.size ?? null],
          left: '',
          right: '',
          paths: null,
        },
      ];
    const path = (digest: Sha256): string => context.store.blobs.path(digest);
    const found = whereTheyDiffer(name, path(left.digest.sha256), path(right.digest.sha256));
    if (found !== null) return [found];
    return left.executable === right.executable
      ? []
      : [
          {
            file: name,
            offset: null,
            where: 'the executable bit',
            sizes: [left.size, right.size],
            left: String(left.executable),
            right: String(right.executable),
            paths: null,
          },
        ];
  });
}
