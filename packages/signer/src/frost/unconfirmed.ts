/**
 * A share that fits, and that nobody may use yet (spec/frost.md "Confirmation"): without the word of all others that they
 * saw the same messages, a participant that told two stories could have left holders with shares of different keys.
 */
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { CONFIRMATION } from './ceremony-documents.ts';
import { ceremonyFailed } from './ceremony-failed.ts';
import type { Participant } from './ceremony.ts';
import { confirmGroup, type Draft, type FrostGroup } from './group.ts';
import type { HolderSecrets } from './identity.ts';
import { say } from './signed-message.ts';

export interface Unconfirmed {
  /** This holder's confirmation: for all others, and for itself. */
  readonly message: Uint8Array;
  readonly draft: Draft;
  readonly holder: Participant;
  /** In a closure, so that neither JSON nor an inspector shows it. */
  readonly secret: () => Uint8Array;
}

/** What a holder keeps. */
export interface FrostShare {
  readonly group: FrostGroup;
  readonly holder: Participant;
  /** A scalar of 32 bytes. In a closure, so that neither JSON nor an inspector shows it. */
  readonly secret: () => Uint8Array;
}

/** @throws LockstepError CEREMONY_FAILED */
export async function confirm(draft: Draft, holder: Participant, self: HolderSecrets, secret: Uint8Array): Promise<Unconfirmed> {
  if (!isShareOf(draft, holder, secret)) throw ceremonyFailed(`The share of ${holder.name} does not fit the group`);
  const message = await say(self.node, CONFIRMATION, {
    schema: 'lockstep-frost-confirmation/v1',
    ceremony: draft.ceremony.id,
    from: holder.name,
    transcript: draft.transcript,
    group_key: toHex(draft.commitment[0] ?? new Uint8Array()),
  });
  return { message, draft, holder, secret: () => secret };
}

/** @param confirmations of all participants, this one's own among them @throws LockstepError CEREMONY_FAILED */
export function finishCeremony(unconfirmed: Unconfirmed, confirmations: readonly Uint8Array[]): FrostShare {
  const { draft, holder, secret } = unconfirmed;
  return { group: confirmGroup(draft, confirmations), holder, secret };
}

/** RFC 9591 appendix C.2, vss_verify. Also against another's commitment: then the share is the one that it sent. */
export function isShareOf(draft: Pick<Draft, 'package'>, holder: Participant, secret: Uint8Array): boolean {
  try {
    ed25519_FROST.validateSecret({ identifier: holder.identifier, signingShare: Uint8Array.from(secret) }, draft.package);
    return true;
  } catch {
    return false;
  }
}
