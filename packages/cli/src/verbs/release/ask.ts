/** `lockstep release ask`: one request over one line, and what the node says to it, step by step. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { writeDurably } from '@lockstep/store/durable';
import { EXIT } from '../../exit-code.ts';
import { readNamedFile } from '../../read-file.ts';
import { takeAnswer } from '../../release/ask.ts';
import { readApprover } from '../../release/group-card.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { harmlessLine } from '../../show/harmless.ts';
import { lineTo } from '../../signer/line-to.ts';
import type { SecretOptions } from '../../signer/secret-options.ts';
import { secondsOf } from './release-options.ts';

interface Options extends CommonOptions, SecretOptions {
  readonly node: string;
  readonly out: string;
  readonly timeout: string;
}

const SIGN = { pass: '✔', fail: '✘', unreached: '·' } as const;

export function releaseAsk(request: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const { node } = readApprover(options.node);
    if (node === null)
      throw new LockstepError('USAGE', 'Holders of shares are asked together', 'Use lockstep release approve --node GROUP.json.');
    const bytes = new Uint8Array(readNamedFile(request));
    const line = lineTo(node, { ...options, timeoutSeconds: secondsOf(options), confirm: null });
    try {
      const answer = await line.ask(bytes);
      writeDurably(options.out, answer);
      const { record } = takeAnswer(answer, node, bytes, context.store.cells);
      print(
        [
          ...record.steps.map((step) => `${SIGN[step.state]} ${step.name.padEnd(15)} ${harmlessLine(step.detail)}`),
          record.result === 'signed'
            ? `SIGNED by ${node.name}: ${harmlessLine(record.about)}`
            : `REFUSED by ${node.name} at "${record.step}": ${harmlessLine(record.reason)} (${harmlessLine(record.about)})`,
          options.out,
        ].join('\n'),
        {
          schema: 'lockstep-release-ask/v1',
          node: node.name,
          result: record.result,
          step: record.step,
          reason: record.reason,
          steps: record.steps,
        },
      );
      return record.result === 'signed' ? EXIT.ok : EXIT.refusedByPolicy;
    } finally {
      await line.close();
    }
  });
}
