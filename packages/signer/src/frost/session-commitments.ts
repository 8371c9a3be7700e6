/**
 * The commitments of all signers of one session, each as its holder signed it (RFC 9591 sections 4.3 and 5.2). The
 * coordinator and every holder read them alike: same session, one of each signer, the same messages.
 */
import type { NonceCommitments } from '@noble/curves/abstract/frost.js';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { Participant } from './ceremony.ts';
import type { Draft } from './group.ts';
import { hexBytes } from './point.ts';
import { COMMITMENTS } from './session-documents.ts';
import { hear } from './signed-message.ts';

export interface SignerCommitments {
  readonly signer: Participant;
  /** Of what it said. */
  readonly digest: Sha256;
  /** One for each message. */
  readonly pairs: readonly NonceCommitments[];
}

export type ReadCommitments =
  | { readonly ok: true; readonly commitments: SignerCommitments }
  /** A clause without a subject. */
  | { readonly ok: false; readonly why: string };

/** @param messages their digests, as the reader derived them itself */
export function readCommitments(
  message: Uint8Array,
  session: Sha256,
  signers: readonly Participant[],
  messages: readonly Sha256[],
): ReadCommitments {
  const heard = hear(COMMITMENTS, message, signers);
  if (!heard.ok) return heard;
  const { value, from, digest } = heard.said;
  const signer = signers.find((one) => one.name === from.name);
  if (signer === undefined || value.from !== from.name) return { ok: false, why: `of ${from.name} is in the name of ${value.from}` };
  if (value.session !== session) return { ok: false, why: `of ${from.name} is of another session` };
  if (value.messages.length !== messages.length || value.messages.some((one, index) => one.sha256 !== messages[index]))
    return { ok: false, why: `of ${from.name} is for other messages than those that were found here` };
  const pairs = value.messages.map(({ hiding, binding }) => ({
    identifier: signer.identifier,
    hiding: hexBytes(hiding),
    binding: hexBytes(binding),
  }));
  return { ok: true, commitments: { signer, digest, pairs } };
}

/** The participants of these names; null when one is none, or when they are fewer than the threshold. */
export function signersOf(group: Draft, names: readonly string[]): readonly Participant[] | null {
  const { participants, threshold } = group.ceremony;
  const found = participants.filter((one) => names.includes(one.name));
  return found.length === names.length && found.length >= threshold ? found : null;
}

/** commitment_list of RFC 9591 for one message. */
export function commitmentList(all: readonly SignerCommitments[], index: number): NonceCommitments[] {
  return all.flatMap(({ pairs }) => pairs[index] ?? []);
}
