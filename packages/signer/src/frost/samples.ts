/** Holders, ceremonies and channels for the tests of this folder, with keys made on the spot. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import type { HolderChannel } from './ask-holders.ts';
import { beginCeremony, type Ceremony, type CeremonyPlan, readCeremony } from './ceremony.ts';
import { acceptDeal, deal } from './dealer.ts';
import { type AfterRound1, type AfterRound2, dkgRound1, dkgRound2, dkgRound3 } from './dkg.ts';
import type { HolderOptions } from './holder-options.ts';
import { type FrostHolder, frostHolder } from './holder.ts';
import { type HolderSecrets, holderSecrets, type NodeKey } from './identity.ts';
import type { Random } from './seal.ts';
import { finishCeremony, type FrostShare, type Unconfirmed } from './unconfirmed.ts';

export const random: Random = (bytes) => new Uint8Array(randomBytes(bytes));

export function nodeKeyOf({ privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject }): NodeKey {
  return {
    public: anyKeyFromSpki(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))),
    sign: (message) => Promise.resolve(new Uint8Array(sign('sha256', message, privateKey))),
  };
}

export function makeNode(): NodeKey {
  return nodeKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
}

export function makeHolder(name: string): HolderSecrets {
  return holderSecrets(name, makeNode(), generateKeyPairSync('x25519').privateKey);
}

export const NAMES = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta', 'iota'] as const;

export interface Party {
  readonly ceremony: Ceremony;
  readonly initiator: NodeKey;
  /** In the order of the participants. */
  readonly holders: readonly HolderSecrets[];
}

export async function begin(threshold: number, count: number, more: Partial<CeremonyPlan> = {}): Promise<Party> {
  const initiator = makeNode();
  const holders = NAMES.slice(0, count).toSorted().map(makeHolder);
  const plan = { mode: 'dkg', keyName: 'release', use: 'release-raw', existing: null, threshold, ...more } as const;
  const opening = await beginCeremony({ ...plan, participants: holders.map((one) => one.identity) }, initiator, random);
  return { ceremony: readCeremony(opening, [initiator.public]), initiator, holders };
}

export function messagesOf(states: readonly { readonly message: Uint8Array }[]): Uint8Array[] {
  return states.map((one) => one.message);
}

export async function round1({ ceremony, holders }: Party): Promise<AfterRound1[]> {
  return await Promise.all(holders.map((one) => dkgRound1(ceremony, one, random)));
}

export async function round2(states: readonly AfterRound1[]): Promise<AfterRound2[]> {
  return await Promise.all(states.map((one) => dkgRound2(one, messagesOf(states), random)));
}

export async function round3(states: readonly AfterRound2[]): Promise<Unconfirmed[]> {
  return await Promise.all(states.map((one) => dkgRound3(one, messagesOf(states))));
}

export function finish(states: readonly Unconfirmed[]): FrostShare[] {
  return states.map((one) => finishCeremony(one, messagesOf(states)));
}

export async function generate(party: Party): Promise<FrostShare[]> {
  return finish(await round3(await round2(await round1(party))));
}

export async function dealt(party: Party, seed: Uint8Array | null = null): Promise<FrostShare[]> {
  const message = await deal(party.ceremony, party.initiator, seed, random);
  return finish(await Promise.all(party.holders.map((one) => acceptDeal(party.ceremony, one, message))));
}

/** A request of the tests: messages as hex, one on each line. */
export function requestOf(messages: readonly Uint8Array[]): Uint8Array {
  return Buffer.from(messages.map((one) => Buffer.from(one).toString('hex')).join('\n'));
}

export const messagesIn: HolderOptions['check'] = (request) =>
  Promise.resolve({
    ok: true,
    messages: Buffer.from(request)
      .toString()
      .split('\n')
      .map((one) => new Uint8Array(Buffer.from(one, 'hex'))),
  });

export function holderOf(party: Party, share: FrostShare, coordinator: NodeKey, more: Partial<HolderOptions> = {}): FrostHolder {
  const secrets = party.holders.find((one) => one.identity.name === share.holder.name);
  if (secrets === undefined) throw new TypeError('no such holder');
  return frostHolder({
    share,
    node: secrets.node,
    coordinators: [coordinator.public],
    check: messagesIn,
    remember: () => Promise.resolve(),
    random,
    now: () => 1_000_000,
    ...more,
  });
}

export function channelTo(name: string, holder: FrostHolder): HolderChannel {
  return { name, ask: (message) => holder.answer(message) };
}

export function sha256Of(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest());
}
