/**
 * Who makes which key (spec/frost.md "Opening"). The ceremony's id is the digest of its opening: participants with all
 * their keys, threshold, the key's name and use, and a fresh nonce. A message with another id belongs to another ceremony.
 */
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, readDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { type Opening, OPENING } from './ceremony-documents.ts';
import { ceremonyFailed } from './ceremony-failed.ts';
import type { HolderIdentity, NodeKey } from './identity.ts';
import { hexBytes } from './point.ts';
import type { Random } from './seal.ts';
import { hear, type Said, say, type Speaker } from './signed-message.ts';

export interface Participant extends HolderIdentity {
  /** From 1: where the polynomial is evaluated. */
  readonly number: number;
  /** The same as RFC 9591 writes it, for noble. */
  readonly identifier: string;
}

export interface Ceremony {
  readonly id: Sha256;
  readonly mode: 'dealer' | 'dkg';
  readonly keyName: string;
  readonly use: KeyUse;
  readonly existing: Uint8Array | null;
  readonly threshold: number;
  readonly participants: readonly Participant[];
  readonly initiator: AnyKey;
  /** The opening's own bytes: `id` is their digest. */
  readonly payload: Uint8Array;
}

export interface CeremonyPlan {
  readonly mode: 'dealer' | 'dkg';
  readonly keyName: string;
  readonly use: KeyUse;
  /** In the mode "dealer": the Ed25519 public key, 32 bytes, whose secret is split. */
  readonly existing: Uint8Array | null;
  readonly threshold: number;
  readonly participants: readonly HolderIdentity[];
}

/** The signed opening, for every participant. @throws LockstepError CEREMONY_FAILED */
export async function beginCeremony(plan: CeremonyPlan, initiator: NodeKey, random: Random): Promise<Uint8Array> {
  const opening: Opening = {
    schema: 'lockstep-frost-ceremony/v1',
    mode: plan.mode,
    key: plan.keyName,
    use: plan.use,
    existing: plan.existing === null ? null : toHex(plan.existing),
    threshold: plan.threshold,
    participants: plan.participants
      .map(({ name, nodeKey, boxKey }) => ({ name, node_key: toBase64(nodeKey.spki), box_key: toHex(boxKey) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    initiator: toBase64(initiator.public.spki),
    nonce: toHex(random(32)),
  };
  const decoded = OPENING.decode(opening, []);
  if (!decoded.ok)
    throw ceremonyFailed(`The ceremony cannot begin: ${decoded.issues.map((one) => `${one.path.join('.')}: ${one.expected}`).join('; ')}`);
  return await say(initiator, OPENING, opening);
}

/** @param initiators whom this node lets begin a ceremony @throws LockstepError CEREMONY_FAILED */
export function readCeremony(message: Uint8Array, initiators: readonly AnyKey[]): Ceremony {
  const heard = hear(
    OPENING,
    message,
    initiators.map((nodeKey) => ({ name: 'the initiator', nodeKey })),
  );
  if (!heard.ok) throw ceremonyFailed(`The opening ${heard.why}`);
  const ceremony = ceremonyOf(heard.said.payload);
  if (ceremony.initiator.id !== heard.said.from.nodeKey.id)
    throw ceremonyFailed('The opening is not signed by the initiator that it names');
  return ceremony;
}

/** From the opening's payload alone: for what every participant has signed already. @throws LockstepError CEREMONY_FAILED */
export function ceremonyOf(payload: Uint8Array): Ceremony {
  let opening: Opening | null;
  try {
    opening = readDocument(OPENING, OPENING.payloadType, payload);
  } catch (error) {
    if (error instanceof LockstepError) throw ceremonyFailed(`The opening is broken: ${error.message}`);
    throw error;
  }
  if (opening === null) throw new TypeError('readDocument passed over its own kind');
  return {
    id: sha256Hex(pae(OPENING.payloadType, payload)),
    mode: opening.mode,
    keyName: opening.key,
    use: opening.use as KeyUse,
    existing: opening.existing === null ? null : hexBytes(opening.existing),
    threshold: opening.threshold,
    participants: opening.participants.map((one, index) => ({
      name: one.name,
      nodeKey: keyOf(one.node_key),
      boxKey: hexBytes(one.box_key),
      number: index + 1,
      identifier: ed25519_FROST.Identifier.fromNumber(index + 1),
    })),
    initiator: keyOf(opening.initiator),
    payload,
  };
}

/** This node's place in it, with exactly its keys. @throws LockstepError CEREMONY_FAILED */
export function placeOf(ceremony: Ceremony, self: HolderIdentity): Participant {
  const found = ceremony.participants.find((one) => one.name === self.name);
  if (found === undefined || found.nodeKey.id !== self.nodeKey.id || toHex(found.boxKey) !== toHex(self.boxKey))
    throw ceremonyFailed(`${self.name} does not take part in this ceremony, or not with its own keys`);
  return found;
}

/** One message of each participant, in the order of the participants. @throws LockstepError CEREMONY_FAILED names who */
export function oneOfEach<T extends { readonly ceremony: Sha256; readonly from: string }>(
  ceremony: Ceremony,
  kind: DocumentKind<T>,
  messages: readonly Uint8Array[],
): readonly { readonly from: Participant; readonly said: Said<T> }[] {
  if (messages.length > ceremony.participants.length) throw ceremonyFailed(`There are ${messages.length} messages of ${kind.noun}`);
  const speakers: readonly Speaker[] = ceremony.participants;
  const heard = messages.map((message, index) => {
    const one = hear(kind, message, speakers);
    if (!one.ok) throw ceremonyFailed(`Message ${index + 1} of ${kind.noun} ${one.why}`);
    const { value, from } = one.said;
    if (value.ceremony !== ceremony.id) throw ceremonyFailed(`${from.name} sent a ${kind.noun} of another ceremony`);
    if (value.from !== from.name) throw ceremonyFailed(`${from.name} sent a ${kind.noun} in the name of ${value.from}`);
    return one.said;
  });
  return ceremony.participants.map((from) => {
    const [said, second] = heard.filter((one) => one.from.name === from.name);
    if (said === undefined) throw ceremonyFailed(`There is no ${kind.noun} of ${from.name}`);
    if (second !== undefined) throw ceremonyFailed(`${from.name} sent two messages of ${kind.noun}`);
    return { from, said };
  });
}

function keyOf(spki: string): AnyKey {
  return anyKeyFromSpki(fromBase64(spki) ?? new Uint8Array());
}
