/** What makes a farm go through a step: a job, something that an operator does, a builder that joins. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { farmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { FarmError } from '@lockstep/api/problem';
import type { JobView } from '@lockstep/api/routes/jobs';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { testJob, type TestJob } from './definitions.ts';
import { ARBITERS, insist, type World } from './world.ts';

export interface Trigger {
  /** Before the trap is set. @returns the job that `run` is about */
  readonly setup?: (world: World, word: string) => Promise<TestJob>;
  /** Made again while the farm is away. */
  readonly run: (world: World, word: string, job: TestJob | null) => Promise<void>;
  /** What the job may come to; otherwise `decided`. */
  readonly ends?: readonly JobView['state'][];
}

const submitted =
  (wanted: Omit<Parameters<typeof testJob>[0], 'word'>) =>
  async (world: World, word: string): Promise<TestJob> => {
    const job = testJob({ word, ownSource: true, ...wanted });
    await world.submit(job);
    return job;
  };
const untilState = async (world: World, job: string, state: JobView['state']): Promise<JobView> => {
  for (let left = 600; left > 0; left--) {
    const view = await insist(() => world.job(job));
    if (view.state === state) return view;
    await delay(50);
  }
  throw new Error(`${job.slice(0, 12)} did not become ${state}`);
};
const job = (wanted: Omit<Parameters<typeof testJob>[0], 'word'> = {}): Trigger => ({
  run: async (world, word) => void (await submitted(wanted)(world, word)),
});
/** Said again, and refused because it was done. */
const unlessDone = async (work: () => Promise<unknown>): Promise<void> => {
  await insist(work).catch((error: unknown) => {
    if (!(error instanceof FarmError) || ![400, 409].includes(error.status)) throw error;
  });
};
const needJob = (given: TestJob | null): TestJob => {
  if (given === null) throw new Error('this trigger needs a job');
  return given;
};

export const TRIGGERS = {
  job: job(),
  slowJob: job({ seconds: 2 }),
  largeJob: job({ bytes: 17 << 20 }),
  failingJob: { ...job({ kind: 'fail' }), ends: ['failed'] },
  cancel: {
    setup: submitted({ seconds: 3 }),
    run: async (world, _word, given) => unlessDone(() => world.client.call('cancelJob', { params: { job: needJob(given).job } })),
    ends: ['cancelled'],
  },
  retry: {
    async setup(world, word) {
      const made = await submitted({ seconds: 1 })(world, word);
      await world.client.call('cancelJob', { params: { job: made.job } });
      return made;
    },
    run: async (world, _word, given) => unlessDone(() => world.client.call('retryJob', { params: { job: needJob(given).job } })),
  },
  /** What was cancelled before stays so, whatever happens to another job. */
  afterCancel: {
    async setup(world, word) {
      const made = await submitted({ seconds: 3 })(world, word);
      await world.client.call('cancelJob', { params: { job: made.job } });
      return made;
    },
    async run(world, word, given) {
      const other = await submitted({})(world, `${word}-other`);
      await world.settled([other.job], 60_000);
      const { state, reason } = await insist(() => world.job(needJob(given).job));
      if (state !== 'cancelled') throw new Error(`what was cancelled is ${state}: ${reason}`);
    },
    ends: ['cancelled', 'decided'],
  },
  resolution: {
    async setup(world, word) {
      const made = await submitted({ kind: 'differ' })(world, word);
      await untilState(world, made.job, 'disputed');
      return made;
    },
    async run(world, _word, given) {
      const { decision } = await insist(() => world.job(needJob(given).job));
      const { dispute, groups } = decision as unknown as Decision;
      for (const arbiter of ARBITERS) {
        const { payloadType, payload, signature, signer } = signDocument(`${world.folder}/keys/${arbiter}.pem`, RESOLUTION, {
          schema: 'lockstep-resolution/v1',
          build_id: needJob(given).job,
          dispute: dispute ?? '',
          accept: null,
          reason: 'neither of them was built as it should have been',
        });
        if (groups.length < 2) throw new Error('there is nothing to resolve');
        const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
        const body = { payloadType, payload: base64(payload), signature: base64(signature), key: base64(signer.spki) };
        await insist(() => world.client.call('submitDocument', { body }));
      }
      await untilState(world, needJob(given).job, 'failed');
    },
    ends: ['failed'],
  },
  token: { run: (world, word) => unlessDone(() => world.client.call('makeToken', { body: { name: `token-${word}`, role: 'observer' } })) },
  drain: {
    async run(world, word) {
      await insist(() => world.client.call('setBuilder', { params: { builder: 'builder-1' }, body: { state: 'draining' } }));
      await insist(() => world.client.call('setBuilder', { params: { builder: 'builder-1' }, body: { state: 'active' } }));
      await submitted({})(world, word);
    },
  },
  pin: {
    setup: submitted({}),
    run: async (world, _word, given) =>
      void (await insist(() => world.client.call('pin', { params: { job: needJob(given).job }, body: { reason: 'a test' } }))),
  },
  enrol: { run: async (world, word) => void (await world.joinBuilder(`extra-${word}`, insisting(world))) },
  renew: {
    async run(world) {
      const [one] = world.builders.values();
      if (one === undefined) return;
      const { url, authority, certificate, keyFile } = one.config;
      const key = readFileSync(transportKeyFile(keyFile), 'utf8');
      const transport = httpsTransport({ url, authority, identity: () => ({ certificate, key }) });
      await insist(() => farmClient(transport.send, null).call('renew')).finally(() => transport.close());
    },
  },
  announce: {
    async run(world, word) {
      const one = world.builders.get('builder-1')?.role;
      await one?.kill();
      await one?.start();
      await submitted({})(world, word);
    },
  },
  /** A builder dies with a lease: somebody has to notice. */
  silence: {
    async run(world, word) {
      const one = world.builders.get('builder-1')?.role;
      await one?.arm('lease', 'after');
      await submitted({})(world, word);
      await one?.ended(20_000);
      await one?.start();
    },
  },
  /** Two minutes later: what is kept for a minute is put away. */
  later: {
    async setup(world, word) {
      const made = await submitted({ seconds: 1 })(world, word);
      await world.settled([made.job], 60_000);
      return made;
    },
    async run(world) {
      await world.farm.say({ order: 'clock', ahead: 120_000 }).catch(() => undefined);
    },
  },
} as const satisfies Record<string, Trigger>;

export type TriggerName = keyof typeof TRIGGERS;

function insisting(world: World): World['client'] {
  return { call: (name, given) => insist(() => world.client.call(name, given)) };
}
