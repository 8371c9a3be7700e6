/** `lockstep transcript [-f] JOB`: what a build printed, or prints now, made harmless for a terminal. */
import { StringDecoder } from 'node:string_decoder';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { followEvents } from '../farm/events.ts';
import { type FarmOptions, withFarm } from '../farm/connect.ts';
import { type CommonOptions, runVerb } from '../session.ts';
import { harmless } from '../show/harmless.ts';

interface Options extends CommonOptions, FarmOptions {
  readonly follow?: boolean;
  readonly attempt?: string;
  readonly raw?: boolean;
}

export function transcriptVerb(job: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context }) =>
    withFarm(options, async ({ client }) => {
      const view = await client.call('job', { params: { job } });
      const wanted = options.attempt === undefined ? view.attempts.at(-1)?.attempt : Number(options.attempt);
      if (wanted === undefined || !view.attempts.some((one) => one.attempt === wanted))
        throw new LockstepError(
          'NOT_FOUND',
          `The job ${view.job.slice(0, 12)} has no ${options.attempt === undefined ? 'attempt yet' : `attempt ${options.attempt}`}`,
          'See "lockstep farm why JOB".',
        );
      const decoder = new StringDecoder('utf8');
      // A terminal obeys what a build writes; a file may have it as it is.
      const show = (bytes: Uint8Array): void =>
        void process.stdout.write(options.raw === true ? bytes : harmless(decoder.write(Buffer.from(bytes)).replaceAll('\r\n', '\n')));
      const params = { attempt: String(wanted) };
      if (options.follow !== true) {
        for (let from = 0; ; ) {
          const bytes = new Uint8Array(await (await client.call('transcript', { params, query: { from: String(from) } })).arrayBuffer());
          if (bytes.length === 0) return 0;
          show(bytes);
          from += bytes.length;
        }
      }
      await followEvents(
        (lastId) =>
          client.call('followTranscript', {
            params,
            signal: context.cancelled,
            ...(lastId === null ? {} : { headers: { 'last-event-id': lastId } }),
          }),
        ({ event, data }) => {
          if (event === 'chunk') show(Buffer.from(JSON.parse(data) as string, 'base64'));
          return event === 'end';
        },
        context.cancelled,
      );
      return 0;
    }),
  );
}
