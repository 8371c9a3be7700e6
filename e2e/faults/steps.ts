/** Every step at which a role is killed. `known`: what is known not to hold there, and why. */
import type { Phase } from './trap.ts';
import type { TriggerName } from './triggers.ts';

export interface KillCase {
  /** `a builder`: whichever comes to the step first. */
  readonly role: 'farm' | 'a builder';
  readonly step: string;
  readonly phase: Phase;
  readonly trigger: TriggerName;
  /** Tells cases with the same step apart. */
  readonly what?: string;
  readonly known?: string;
}

const at = (role: KillCase['role'], trigger: TriggerName, phases: readonly Phase[], steps: readonly string[]): KillCase[] =>
  steps.flatMap((step) => phases.map((phase) => ({ role, step, phase, trigger })));
const BOTH = ['before', 'after'] as const;

/** By the name of the case. */
const KNOWN: Readonly<Record<string, string>> = {};

const all: readonly KillCase[] = [
  // What the farm acknowledges.
  ...at('farm', 'job', BOTH, [
    'api putInputPart',
    'api finishInput',
    'api submit',
    'api definition',
    'api input',
    'api appendTranscript',
    'api commit',
    'api reveal',
    'api uploadState',
    'api putUploadPart',
    'api finishUpload',
  ]),
  ...at('farm', 'job', ['after'], ['api lease', 'api duties']),
  ...at('farm', 'job', ['half'], ['api submit', 'api commit', 'api reveal', 'api finishUpload', 'api definition']),
  ...at('farm', 'slowJob', BOTH, ['api heartbeat']),
  ...at('farm', 'failingJob', BOTH, ['api fail']),
  ...at('farm', 'cancel', BOTH, ['api cancelJob', 'write cancelJob']),
  ...at('farm', 'afterCancel', ['after'], ['append opening']).map((one) => ({ ...one, what: 'with a cancelled job' })),
  ...at('farm', 'retry', BOTH, ['api retryJob']),
  ...at('farm', 'resolution', BOTH, ['api submitDocument', 'append resolution']),
  ...at('farm', 'token', BOTH, ['api makeToken']),
  ...at('farm', 'drain', BOTH, ['api setBuilder']),
  ...at('farm', 'pin', BOTH, ['api pin', 'put pins']),
  ...at('farm', 'enrol', BOTH, ['api makeJoinToken', 'api enrol']),
  ...at('farm', 'renew', BOTH, ['api renew']),
  ...at('farm', 'announce', BOTH, ['api announce']),
  // What it writes into its storage.
  ...at('farm', 'job', BOTH, ['put definitions', 'put submissions', 'put parts/s', 'compose inputs', 'remove parts/s']),
  ...at('farm', 'job', BOTH, ['put parts/a', 'compose results', 'remove parts/a']),
  ...at('farm', 'largeJob', BOTH, ['remove parts/a']).map((one) => ({ ...one, what: 'of a large upload' })),
  ...at('farm', 'later', BOTH, ['put transcripts', 'write keepTranscripts']),
  // What it has logged.
  ...at('farm', 'job', BOTH, ['append opening', 'append commitment', 'append reveal', 'append statement', 'append outcome']),
  // What it writes into its database.
  ...at('farm', 'job', BOTH, [
    'write dispatch',
    'write record',
    'write advance',
    'write submit',
    'write leaseTasks',
    'write commit',
    'write reveal',
  ]),
  ...at('farm', 'job', BOTH, ['write finishInput', 'write finishResult', 'write appendTranscript', 'write audit']),
  ...at('farm', 'job', ['within'], ['write dispatch', 'write record', 'write advance', 'write commit', 'write reveal']),
  ...at('farm', 'silence', BOTH, ['write expireOne']),
  // What a builder does.
  ...at('a builder', 'job', BOTH, ['definition', 'appendTranscript', 'commit', 'reveal', 'uploadState', 'putUploadPart', 'finishUpload']),
  ...at('a builder', 'job', ['after'], ['lease']),
  ...at('a builder', 'job', BOTH, ['keep built', 'keep committed', 'keep revealed', 'keep nothing']),
  ...at('a builder', 'largeJob', ['after'], ['putUploadPart']).map((one) => ({ ...one, what: 'of a large upload' })),
  ...at('a builder', 'slowJob', BOTH, ['heartbeat']),
  ...at('a builder', 'failingJob', BOTH, ['fail']),
];

export const KILL_CASES: readonly KillCase[] = all.map((one) => {
  const known = KNOWN[nameOf(one)];
  return known === undefined ? one : { ...one, known };
});

export function nameOf({ role, step, phase, what }: KillCase): string {
  return `${role} killed ${phase} ${step}${what === undefined ? '' : ` ${what}`}`;
}
