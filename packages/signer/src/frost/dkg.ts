/**
 * A key that never was in one place (spec/frost.md "Distributed key generation"): each participant deals a share of its
 * own secret to each other; the sum is the key. Each round takes the state before it and all messages of that round, and
 * gives the next state and what is to be sent to everybody. State is in memory only: who crashes, ends the ceremony.
 */
import type { DKG_Round1, DKG_Secret } from '@noble/curves/abstract/frost.js';
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { ROUND1, ROUND2 } from './ceremony-documents.ts';
import { ceremonyFailed } from './ceremony-failed.ts';
import { type Ceremony, oneOfEach, type Participant, placeOf } from './ceremony.ts';
import { draftGroup } from './group.ts';
import type { HolderSecrets } from './identity.ts';
import { hexBytes } from './point.ts';
import { knowsSecret } from './proof-of-knowledge.ts';
import { type Random, seal } from './seal.ts';
import { say } from './signed-message.ts';
import { confirm, isShareOf, type Unconfirmed } from './unconfirmed.ts';

interface Common {
  readonly ceremony: Ceremony;
  readonly self: HolderSecrets;
  readonly holder: Participant;
  /** For everybody, this holder among them. */
  readonly message: Uint8Array;
  /** In a closure, so that neither JSON nor an inspector shows it. A copy each time: noble's rounds change what they get. */
  readonly secret: () => DKG_Secret;
}
export type AfterRound1 = Common;
export interface AfterRound2 extends Common {
  readonly packages: readonly DKG_Round1[];
  readonly digests: readonly Sha256[];
}

/** @throws LockstepError CEREMONY_FAILED */
export async function dkgRound1(ceremony: Ceremony, self: HolderSecrets, random: Random): Promise<AfterRound1> {
  const holder = placeOf(ceremony, self.identity);
  if (ceremony.mode !== 'dkg') throw ceremonyFailed('In this ceremony a dealer makes the key');
  const made = ed25519_FROST.DKG.round1(holder.identifier, signersOf(ceremony), undefined, (bytes = 32) => random(bytes));
  const message = await say(self.node, ROUND1, {
    schema: 'lockstep-frost-round1/v1',
    ceremony: ceremony.id,
    from: holder.name,
    commitment: made.public.commitment.map(toHex),
    proof: toHex(made.public.proofOfKnowledge),
  });
  return { ceremony, self, holder, message, secret: () => structuredClone(made.secret) };
}

/** @param messages of round 1, of all participants, this one's own among them @throws LockstepError CEREMONY_FAILED */
export async function dkgRound2(state: AfterRound1, messages: readonly Uint8Array[], random: Random): Promise<AfterRound2> {
  const { ceremony, self, holder } = state;
  const heard = oneOfEach(ceremony, ROUND1, messages);
  requireOwn(messages, state);
  const packages = heard.map(({ from, said }) => {
    const commitment = said.value.commitment.map(hexBytes);
    const proofOfKnowledge = hexBytes(said.value.proof);
    // A longer polynomial would raise the threshold for everybody, unseen.
    if (commitment.length !== ceremony.threshold)
      throw ceremonyFailed(`${from.name} committed to ${commitment.length} coefficients, not to ${ceremony.threshold}`);
    if (!knowsSecret(from.identifier, commitment[0] ?? new Uint8Array(), proofOfKnowledge))
      throw ceremonyFailed(`${from.name} did not prove that it knows the secret it committed to`);
    return { identifier: from.identifier, commitment, proofOfKnowledge };
  });
  const secret = state.secret();
  const dealt = ed25519_FROST.DKG.round2(secret, othersOf(packages, holder));
  const digests = heard.map(({ said }) => said.digest);
  const message = await say(self.node, ROUND2, {
    schema: 'lockstep-frost-round2/v1',
    ceremony: ceremony.id,
    from: holder.name,
    round1: digestOf(digests),
    shares: ceremony.participants
      .filter((to) => to.name !== holder.name)
      .map((to) => {
        const share = dealt[to.identifier]?.signingShare;
        if (share === undefined) throw new TypeError('noble dealt no share to a participant');
        const context = { ceremony: ceremony.id, from: holder.name, to: to.name };
        return { to: to.name, ...seal(share, to.boxKey, context, random) };
      }),
  });
  return { ceremony, self, holder, message, packages, digests, secret: () => structuredClone(secret) };
}

/** @param messages of round 2, of all participants, this one's own among them @throws LockstepError CEREMONY_FAILED names the culprit */
export async function dkgRound3(state: AfterRound2, messages: readonly Uint8Array[]): Promise<Unconfirmed> {
  const { ceremony, self, holder } = state;
  const heard = oneOfEach(ceremony, ROUND2, messages);
  requireOwn(messages, state);
  const shares: { identifier: string; signingShare: Uint8Array }[] = [];
  for (const { from, said } of heard) {
    const { value } = said;
    if (value.round1 !== digestOf(state.digests))
      throw ceremonyFailed(`${from.name} had other messages of round 1: somebody told two stories, or ${from.name} does`);
    const others = ceremony.participants.filter((one) => one.name !== from.name).map((one) => one.name);
    if (value.shares.map((one) => one.to).join(' ') !== others.join(' '))
      throw ceremonyFailed(`${from.name} did not deal one share to each other participant`);
    if (from.name === holder.name) continue;
    const sealed = value.shares.find((one) => one.to === holder.name);
    if (sealed === undefined) throw new TypeError('a share went missing between two lines');
    const signingShare = await self.openSealed(sealed, { ceremony: ceremony.id, from: from.name, to: holder.name });
    if (signingShare === null) throw ceremonyFailed(`The share that ${from.name} dealt to ${holder.name} does not open`);
    const commitments = state.packages[from.number - 1]?.commitment ?? [];
    if (!isShareOf({ package: { signers: signersOf(ceremony), commitments, verifyingShares: {} } }, holder, signingShare))
      throw ceremonyFailed(`The share that ${from.name} dealt to ${holder.name} is not of the polynomial that ${from.name} committed to`);
    shares.push({ identifier: from.identifier, signingShare });
  }
  const key = finish(state, shares);
  const draft = draftGroup(ceremony, [...state.digests, ...heard.map(({ said }) => said.digest)], key.commitment);
  return await confirm(draft, holder, self, key.secret);
}

/** noble checks once more what was checked above; what it then says without a name has no culprit that we know of. */
function finish(
  state: AfterRound2,
  shares: { identifier: string; signingShare: Uint8Array }[],
): { commitment: Uint8Array[]; secret: Uint8Array } {
  try {
    const made = ed25519_FROST.DKG.round3(state.secret(), othersOf(state.packages, state.holder), shares);
    return { commitment: made.public.commitments, secret: made.secret.signingShare };
  } catch {
    throw ceremonyFailed('The shares do not add up to a key');
  } finally {
    for (const one of shares) one.signingShare.fill(0);
  }
}

function signersOf(ceremony: Ceremony): { min: number; max: number } {
  return { min: ceremony.threshold, max: ceremony.participants.length };
}

function othersOf(packages: readonly DKG_Round1[], holder: Participant): DKG_Round1[] {
  return packages.filter((one) => one.identifier !== holder.identifier);
}

function digestOf(digests: readonly Sha256[]): Sha256 {
  return sha256Hex(canonicalBytes(digests));
}

/** Another message in this holder's name: somebody else has its node key, or another process of it takes part. */
function requireOwn(messages: readonly Uint8Array[], { message, holder }: Common): void {
  if (!messages.some((one) => Buffer.from(one).equals(message)))
    throw ceremonyFailed(`The message of ${holder.name} is not the one that it sent`);
}
