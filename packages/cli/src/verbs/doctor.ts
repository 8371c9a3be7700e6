/** `lockstep doctor`: what this host can and cannot do. */
import { checkHost } from '@lockstep/builder/build/host-check';
import { EXIT } from '../exit-code.ts';
import { type CommonOptions, runVerb } from '../session.ts';

export function doctor(options: CommonOptions): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const checks = await checkHost(context);
    const able = checks.every((check) => check.ok || !check.needed);
    const width = Math.max(...checks.map((check) => check.name.length));
    const lines = checks.map(
      (check) =>
        `${check.ok ? '✔' : check.needed ? '✘' : '·'} ${check.name.padEnd(width)}  ${check.ok ? check.detail : `${check.detail}. ${check.remedy}`}`,
    );
    const verdict = able ? 'This host can build.' : 'This host cannot build: see ✘.';
    print([...lines, verdict, `store: ${context.store.root}`].join('\n'), {
      schema: 'lockstep-doctor/v1',
      able,
      checks,
      store: context.store.root,
    });
    return able ? EXIT.ok : EXIT.hostCannot;
  });
}
