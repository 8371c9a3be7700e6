/**
 * A key that one node makes, or has, and deals out (RFC 9591 appendix C; spec/frost.md "Dealer"). The dealer knows the key:
 * this is for keys that exist already, and for those who trust one machine for one hour.
 */
import { createHash } from 'node:crypto';
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { DEAL } from './ceremony-documents.ts';
import { ceremonyFailed } from './ceremony-failed.ts';
import { type Ceremony, placeOf } from './ceremony.ts';
import { draftGroup } from './group.ts';
import type { HolderSecrets, NodeKey } from './identity.ts';
import { hexBytes } from './point.ts';
import { type Random, seal } from './seal.ts';
import { hear, say } from './signed-message.ts';
import { confirm, isShareOf, type Unconfirmed } from './unconfirmed.ts';

/** No participant can have this name. */
const DEALER = '(dealer)';

/**
 * For every participant, in one message. The caller forgets the seed afterwards.
 * @param seed 32 bytes, the secret key of RFC 8032; null: a new key
 * @throws LockstepError CEREMONY_FAILED
 */
export async function deal(ceremony: Ceremony, dealer: NodeKey, seed: Uint8Array | null, random: Random): Promise<Uint8Array> {
  if (ceremony.mode !== 'dealer' || dealer.public.id !== ceremony.initiator.id)
    throw ceremonyFailed('In this ceremony nobody deals, or somebody else');
  const existing = seed === null ? null : toHex(ed25519.getPublicKey(seed));
  if (existing !== (ceremony.existing === null ? null : toHex(ceremony.existing)))
    throw ceremonyFailed('The secret that was given is not that of the key that the ceremony is to split');
  const scalar = seed === null ? undefined : signingScalar(seed);
  const made = ed25519_FROST.trustedDealer(
    { min: ceremony.threshold, max: ceremony.participants.length },
    ceremony.participants.map((one) => one.identifier),
    scalar,
    (bytes = 32) => random(bytes),
  );
  try {
    return await say(dealer, DEAL, {
      schema: 'lockstep-frost-deal/v1',
      ceremony: ceremony.id,
      commitment: made.public.commitments.map(toHex),
      shares: ceremony.participants.map((to) => {
        const share = made.secretShares[to.identifier]?.signingShare;
        if (share === undefined) throw new TypeError('noble dealt no share to a participant');
        return { to: to.name, ...seal(share, to.boxKey, { ceremony: ceremony.id, from: DEALER, to: to.name }, random) };
      }),
    });
  } finally {
    scalar?.fill(0);
    for (const one of Object.values(made.secretShares)) one.signingShare.fill(0);
  }
}

/** @throws LockstepError CEREMONY_FAILED */
export async function acceptDeal(ceremony: Ceremony, self: HolderSecrets, message: Uint8Array): Promise<Unconfirmed> {
  const holder = placeOf(ceremony, self.identity);
  const heard = hear(DEAL, message, [{ name: DEALER, nodeKey: ceremony.initiator }]);
  if (!heard.ok) throw ceremonyFailed(`The deal ${heard.why}`);
  const { value, digest } = heard.said;
  if (ceremony.mode !== 'dealer' || value.ceremony !== ceremony.id) throw ceremonyFailed('The dealer sent the deal of another ceremony');
  if (value.shares.map((one) => one.to).join(' ') !== ceremony.participants.map((one) => one.name).join(' '))
    throw ceremonyFailed('The dealer did not deal one share to each participant');
  const sealed = value.shares[holder.number - 1];
  const share = sealed === undefined ? null : await self.openSealed(sealed, { ceremony: ceremony.id, from: DEALER, to: holder.name });
  if (share === null) throw ceremonyFailed(`The share that the dealer dealt to ${holder.name} does not open`);
  const draft = draftGroup(ceremony, [digest], value.commitment.map(hexBytes));
  if (!isShareOf(draft, holder, share))
    throw ceremonyFailed(`The share that the dealer dealt to ${holder.name} is not of the polynomial that the dealer committed to`);
  return await confirm(draft, holder, self, share);
}

/** RFC 8032 section 5.1.5: half of the seed's hash, clamped; modulo the order of the group, because shares are scalars. */
function signingScalar(seed: Uint8Array): Uint8Array {
  const hash = createHash('sha512').update(seed).digest();
  const half = Uint8Array.from(hash.subarray(0, 32));
  hash.fill(0);
  half[0] = (half[0] ?? 0) & 0xf8;
  half[31] = ((half[31] ?? 0) & 0x7f) | 0x40;
  const { Fn } = ed25519_FROST.utils;
  let scalar = 0n;
  for (const byte of half.toReversed()) scalar = (scalar << 8n) | BigInt(byte);
  half.fill(0);
  return Fn.toBytes(Fn.create(scalar));
}
