/** A holder's first answer: the request checked, the messages found, nonces made for exactly these. */
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { hedgedRandom } from './hedged-random.ts';
import { type Checked, type HolderOptions, type Refused, speakersOf } from './holder-options.ts';
import type { NonceMemory } from './nonce-memory.ts';
import type { Random } from './seal.ts';
import { signersOf } from './session-commitments.ts';
import { COMMITMENTS, MAX_MESSAGES, type Session, SESSION } from './session-documents.ts';
import { hear, type Said, say } from './signed-message.ts';

/** commit() of RFC 9591 section 5.1, after the request has been checked. */
export async function answerSession(options: HolderOptions, memory: NonceMemory, message: Uint8Array): Promise<Uint8Array | Refused> {
  const { share, coordinators } = options;
  const heard = hear(SESSION, message, speakersOf(coordinators));
  if (!heard.ok) return { session: null, code: 'message', reason: `The message ${heard.why}` };
  const { value, digest: session } = heard.said;
  if (value.ceremony !== share.group.ceremony.id) return { session, code: 'message', reason: 'The session is of another key' };
  if (signersOf(share.group, value.signers) === null || !value.signers.includes(share.holder.name))
    return {
      session,
      code: 'message',
      reason: `The signers are not at least ${share.group.ceremony.threshold} of the group, this holder among them`,
    };
  const place = memory.reserve(session);
  if (place === 'known') return { session, code: 'session', reason: 'This session was opened here before' };
  if (place === 'full') return { session, code: 'busy', reason: 'Too many sessions are open' };
  try {
    return await commitTo(options, memory, heard.said);
  } finally {
    // Refused, or failed: only what was kept keeps its place.
    if (!memory.isKept(session)) memory.drop(session);
  }
}

async function commitTo(options: HolderOptions, memory: NonceMemory, said: Said<Session>): Promise<Uint8Array | Refused> {
  const { share, node } = options;
  const { value, digest: session, from } = said;
  const checked = await checkedMessages(options, fromBase64(value.request) ?? new Uint8Array());
  if (!checked.ok) return { session, code: 'evidence', reason: checked.reason };
  const { messages, written = null } = checked;
  const made = messages.map((one, index) =>
    ed25519_FROST.commit(
      { identifier: share.holder.identifier, signingShare: Uint8Array.from(share.secret()) },
      hedged(options.random, session, index, one),
    ),
  );
  const nonces = made.map((one) => one.nonces);
  const answer = await say(node, COMMITMENTS, {
    schema: 'lockstep-frost-commitments/v1',
    session,
    from: share.holder.name,
    messages: made.map(({ commitments }, index) => ({
      sha256: sha256Hex(messages[index] ?? new Uint8Array()),
      hiding: toHex(commitments.hiding),
      binding: toHex(commitments.binding),
    })),
  });
  const own = hear(COMMITMENTS, answer, [share.holder]);
  if (!own.ok) throw new TypeError('the node key does not sign what it verifies');
  const open = { signers: value.signers, coordinator: from.nodeKey.id, messages, nonces, written, committed: own.said.digest };
  return memory.keep(session, open) ? answer : { session, code: 'session', reason: 'The check took too long' };
}

/** Copies: whoever gave them cannot change what will be signed. */
async function checkedMessages({ check }: HolderOptions, request: Uint8Array): Promise<Checked> {
  let checked: Checked;
  try {
    checked = await check(request);
  } catch (error) {
    return { ok: false, reason: error instanceof LockstepError ? error.message : 'The check failed' };
  }
  if (!checked.ok) return checked;
  if (checked.messages.length === 0 || checked.messages.length > MAX_MESSAGES)
    return { ok: false, reason: `There are ${checked.messages.length} messages to sign, not 1 to ${MAX_MESSAGES}` };
  return { ...checked, messages: checked.messages.map((one) => Uint8Array.from(one)) };
}

function hedged(random: Random, session: Sha256, index: number, message: Uint8Array): (bytes?: number) => Uint8Array {
  const draw = hedgedRandom(random, session, index, message);
  return (bytes = 32) => draw(bytes);
}
