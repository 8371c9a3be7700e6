/**
 * A key that is held by many, as one SigningKey (RFC 9591 section 5.3; spec/frost.md "Coordinator"). The coordinator knows
 * no secret: it carries messages, and tells who did not do their part. All messages of one request take two round trips.
 */
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import type { SigningKey } from '../custody/signing-key.ts';
import type { Fault, HolderChannel } from './ask-holders.ts';
import { MAX_MESSAGES, MAX_REQUEST_BYTES } from './session-documents.ts';
import { type Coordination, runSession } from './session.ts';

export interface FrostKeyOptions extends Coordination {
  readonly name: string;
  readonly use: KeyUse;
  /** In the order of preference. */
  readonly holders: readonly HolderChannel[];
}

export interface FrostSignatures {
  /** One for each message: RFC 8032. */
  readonly signatures: readonly Uint8Array[];
  readonly signers: readonly string[];
  /** Who was asked in vain, and why, one line each. */
  readonly faults: readonly string[];
}

export interface FrostKey extends SigningKey {
  /**
   * @param request with all evidence: each holder derives the messages from it, and they have to be these
   * @throws LockstepError SIGNING_REFUSED when too many holders refuse, CUSTODY_FAILED when too few can be had
   */
  signAll(messages: readonly Uint8Array[], request: Uint8Array): Promise<FrostSignatures>;
}

/** Silence may be a restart: whoever is silent is asked once more, after all others. Whoever is wrong is not. */
const STRIKES = 2;

/** @throws LockstepError KEY_INVALID */
export function frostKey(options: FrostKeyOptions): FrostKey {
  const { group, name, use } = options;
  if (group.ceremony.use !== use || !mayUse(use, group.publicKey.algorithm))
    throw new LockstepError(
      'KEY_INVALID',
      `The key ${name} was made for ${group.ceremony.use}, not for ${use}`,
      'Make another key with a ceremony of its own: one key for two purposes could be made to sign one as the other.',
    );
  let closed = false;
  const signAll = async (messages: readonly Uint8Array[], request: Uint8Array): Promise<FrostSignatures> => {
    if (closed) throw custodyFailed(name, 'it was closed');
    if (messages.length === 0 || messages.length > MAX_MESSAGES || request.length > MAX_REQUEST_BYTES)
      throw custodyFailed(name, `a request has 1 to ${MAX_MESSAGES} messages and at most ${MAX_REQUEST_BYTES} bytes`);
    return await signWithAny(options, messages, toBase64(request));
  };
  return {
    name,
    use,
    custody: 'frost',
    public: group.publicKey,
    signAll,
    // The message is the whole request: a holder that wants evidence refuses.
    sign: async (message) => {
      const [signature] = (await signAll([message], message)).signatures;
      if (signature === undefined) throw new TypeError('one message has one signature');
      return signature;
    },
    close: () => {
      closed = true;
      return Promise.resolve();
    },
  };
}

/** Ends: each session that fails gives somebody a strike, and nobody gets more than STRIKES. */
async function signWithAny(options: FrostKeyOptions, messages: readonly Uint8Array[], request: string): Promise<FrostSignatures> {
  const { threshold, participants } = options.group.ceremony;
  const known = options.holders.filter(
    (one, index) =>
      participants.some((two) => two.name === one.name) && options.holders.findIndex((two) => two.name === one.name) === index,
  );
  const strikes = new Map<string, number>();
  const faults: Fault[] = [];
  for (;;) {
    const left = known.filter((one) => (strikes.get(one.name) ?? 0) < STRIKES);
    if (left.length < threshold) throw tooFew(options, known.length, faults);
    const chosen = left.toSorted((a, b) => (strikes.get(a.name) ?? 0) - (strikes.get(b.name) ?? 0)).slice(0, threshold);
    const done = await runSession(options, chosen, messages, request);
    if (done.ok) {
      const signers = chosen.map((one) => one.name).sort();
      return { signatures: done.signatures, signers, faults: faults.map(tell) };
    }
    if (done.faults.length === 0) throw custodyFailed(options.name, 'the shares are all right, and the signature is not');
    for (const fault of done.faults) strikes.set(fault.holder, (strikes.get(fault.holder) ?? 0) + (fault.again ? 1 : STRIKES));
    faults.push(...done.faults);
  }
}

function tell({ holder, why }: Fault): string {
  return `${holder}: ${why}`;
}

function tooFew({ name, group }: FrostKeyOptions, known: number, faults: readonly Fault[]): LockstepError {
  const refused = new Set(faults.filter((one) => one.evidence).map((one) => one.holder));
  const told = [...new Set(faults.map(tell))].join('; ');
  if (refused.size > 0 && known - refused.size < group.ceremony.threshold)
    return new LockstepError(
      'SIGNING_REFUSED',
      `Too many holders of the key ${name} refuse. ${told}`,
      'Each holder has checked for itself; correct what they name.',
    );
  return custodyFailed(name, `fewer than ${group.ceremony.threshold} holders can be had${told === '' ? '' : `. ${told}`}`);
}

function custodyFailed(name: string, why: string): LockstepError {
  return new LockstepError(
    'CUSTODY_FAILED',
    `The key ${name} cannot sign: ${why}`,
    'Start the holders that are silent and ask again; one that gave a wrong answer has to be looked at first (spec/frost.md).',
  );
}
