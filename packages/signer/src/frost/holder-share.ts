/** A holder's second answer: its part of each signature. The session has left the memory before anything is computed. */
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type HolderOptions, type Refused, speakersOf } from './holder-options.ts';
import { type NonceMemory, type OpenSession, wipe } from './nonce-memory.ts';
import { commitmentList, readCommitments, type SignerCommitments, signersOf } from './session-commitments.ts';
import { SHARES, SHARING } from './session-documents.ts';
import { hear, type Said, say } from './signed-message.ts';

/** sign() of RFC 9591 section 5.2. */
export async function answerSharing(options: HolderOptions, memory: NonceMemory, message: Uint8Array): Promise<Uint8Array | Refused> {
  const { share, node, coordinators, remember } = options;
  const heard = hear(SHARING, message, speakersOf(coordinators));
  if (!heard.ok) return { session: null, code: 'message', reason: `The message ${heard.why}` };
  const { session } = heard.said.value;
  // From here on the nonces are in this call alone: whatever happens, no second call can find them.
  const open = memory.take(session, heard.said.from.nodeKey.id);
  if (open === null) return { session, code: 'session', reason: 'This session is not open here' };
  try {
    const all = everyCommitment(options, open, heard.said);
    if (typeof all === 'string') return { session, code: 'message', reason: all };
    try {
      await remember(session);
      await open.written?.();
    } catch (error) {
      return {
        session,
        code: 'state',
        reason: `It cannot be remembered: ${error instanceof LockstepError ? error.message : 'not written'}`,
      };
    }
    // close() may have come in between, and have wiped it.
    if (share.secret().every((byte) => byte === 0)) return { session, code: 'session', reason: 'The holder is closed' };
    const shares = sharesOf(options, open, all);
    if (shares === null) return { session, code: 'message', reason: 'The commitments are not points that a signature can be made of' };
    return await say(node, SHARES, { schema: 'lockstep-frost-shares/v1', session, from: share.holder.name, shares });
  } finally {
    wipe(open);
  }
}

/** null when noble refuses a commitment: off the curve, the identity, of small order. */
function sharesOf({ share }: HolderOptions, open: OpenSession, all: readonly SignerCommitments[]): readonly string[] | null {
  const secret = { identifier: share.holder.identifier, signingShare: Uint8Array.from(share.secret()) };
  try {
    return open.messages.map((one, index) => {
      const nonces = open.nonces[index];
      if (nonces === undefined) throw new TypeError('a message without nonces');
      return toHex(ed25519_FROST.signShare(secret, share.group.package, nonces, commitmentList(all, index), one));
    });
  } catch {
    return null;
  } finally {
    secret.signingShare.fill(0);
  }
}

/** One of each signer, this holder's own as it gave it; or why not. */
function everyCommitment(
  { share }: HolderOptions,
  open: OpenSession,
  { value }: Said<{ readonly session: Sha256; readonly commitments: readonly string[] }>,
): readonly SignerCommitments[] | string {
  const signers = signersOf(share.group, open.signers) ?? [];
  if (value.commitments.length !== signers.length) return 'There is not one commitment of each signer';
  const digests = open.messages.map(sha256Hex);
  const all: SignerCommitments[] = [];
  for (const [index, text] of value.commitments.entries()) {
    const read = readCommitments(toUtf8(text), value.session, signers, digests);
    if (!read.ok) return `The commitment ${read.why}`;
    if (read.commitments.signer !== signers[index]) return 'There is not one commitment of each signer, in their order';
    if (read.commitments.signer.name === share.holder.name && read.commitments.digest !== open.committed)
      return 'The commitment in this holder’s name is not the one that it gave';
    all.push(read.commitments);
  }
  return all;
}
