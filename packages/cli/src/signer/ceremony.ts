/**
 * Making a threshold key over a folder that all holders see: each writes what it says as a file, and waits for the others.
 * What is secret stays in the memory of each holder until all have confirmed; whoever stops before has no share.
 */
import { createPrivateKey, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { beginCeremony, type Ceremony, readCeremony } from '@lockstep/signer/frost/ceremony';
import { acceptDeal, deal } from '@lockstep/signer/frost/dealer';
import { dkgRound1, dkgRound2, dkgRound3 } from '@lockstep/signer/frost/dkg';
import { encodeGroup, type FrostGroup } from '@lockstep/signer/frost/group';
import { type HolderIdentity, type HolderSecrets, holderSecrets, type NodeKey } from '@lockstep/signer/frost/identity';
import { finishCeremony, type FrostShare, type Unconfirmed } from '@lockstep/signer/frost/unconfirmed';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import type { GroupCard } from '../release/group-card.ts';
import type { NodeCard } from './node-card.ts';
import { nodeKeyOf, type SignerHome } from './home.ts';

/** The largest message of a ceremony, of 32 participants, has a tenth of it. */
const MAX_FILE = 1 << 20;
const POLL_MS = 100;

export interface Waiting {
  readonly folder: string;
  /** Seconds. */
  readonly patience: number;
  readonly cancelled: AbortSignal;
}

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));

export interface CeremonyWish {
  readonly name: string;
  readonly use: KeyUse;
  readonly threshold: number;
  readonly holders: readonly NodeCard[];
  /** null: nobody deals. A seed of an Ed25519 key: it is split; the caller wipes it. */
  readonly dealer: { readonly seed: Uint8Array | null; readonly existing: Uint8Array | null } | null;
}

/** Begins, and deals where somebody does. The holders do the rest. @throws LockstepError CEREMONY_FAILED */
export async function openCeremony(folder: string, wish: CeremonyWish, initiator: NodeKey): Promise<void> {
  const opening = await beginCeremony(
    {
      mode: wish.dealer === null ? 'dkg' : 'dealer',
      keyName: wish.name,
      use: wish.use,
      existing: wish.dealer?.existing ?? null,
      threshold: wish.threshold,
      participants: wish.holders.map(identityOf),
    },
    initiator,
    random,
  );
  mkdirSync(folder, { recursive: true });
  if (!createDurably(`${folder}/opening`, opening))
    throw new LockstepError('CEREMONY_FAILED', `${folder} has a ceremony already`, 'Take an empty folder for each.');
  if (wish.dealer === null) return;
  createDurably(`${folder}/deal`, await deal(readCeremony(opening, [initiator.public]), initiator, wish.dealer.seed, random));
}

function identityOf(card: NodeCard): HolderIdentity {
  const boxKey = card.box === null ? null : fromHex(card.box, 32);
  if (boxKey === null)
    throw new LockstepError(
      'CEREMONY_FAILED',
      `${card.name} has no key for shares on its card`,
      'Take the card that "lockstep signer init" wrote.',
    );
  return { name: card.name, nodeKey: anyKeyFromPem(card.key), boxKey };
}

/** A holder's part, to the end. @param agree a person may look at what it is before anything is said @throws LockstepError CEREMONY_FAILED */
export async function takePart(
  home: SignerHome,
  initiators: readonly AnyKey[],
  waiting: Waiting,
  agree: (ceremony: Ceremony) => Promise<boolean>,
): Promise<FrostShare> {
  const { folder } = waiting;
  const ceremony = readCeremony(await waitFor(waiting, 'opening'), initiators);
  if (!(await agree(ceremony))) throw new LockstepError('CEREMONY_FAILED', 'The person who was asked said no', 'No key was made here.');
  const nodeKey = await nodeKeyOf(home);
  const self = holderSecrets(home.config.name, nodeKey, createPrivateKey(readFileSync(`${home.folder}/box.pem`)));
  const unconfirmed =
    ceremony.mode === 'dealer' ? await acceptDeal(ceremony, self, await waitFor(waiting, 'deal')) : await generate(ceremony, self, waiting);
  say(folder, `confirmation-${home.config.name}`, unconfirmed.message);
  const share = finishCeremony(unconfirmed, await ofAll(ceremony, waiting, 'confirmation'));
  // The same bytes from every holder; whoever reads it verifies all of it again.
  createDurably(`${folder}/group`, encodeGroup(share.group));
  return share;
}

async function generate(ceremony: Ceremony, self: HolderSecrets, waiting: Waiting): Promise<Unconfirmed> {
  const { name } = self.identity;
  const first = await dkgRound1(ceremony, self, random);
  say(waiting.folder, `round1-${name}`, first.message);
  const second = await dkgRound2(first, await ofAll(ceremony, waiting, 'round1'), random);
  say(waiting.folder, `round2-${name}`, second.message);
  return dkgRound3(second, await ofAll(ceremony, waiting, 'round2'));
}

/** Said once: who says something else after a restart would tell two stories. */
function say(folder: string, name: string, message: Uint8Array): void {
  if (!createDurably(`${folder}/${name}`, message))
    throw new LockstepError(
      'CEREMONY_FAILED',
      `${name} is in the folder already: this holder took part before and has forgotten it, or somebody else speaks for it`,
      'Begin again, all of you, in an empty folder.',
    );
}

function ofAll(ceremony: Ceremony, waiting: Waiting, what: string): Promise<Uint8Array[]> {
  return Promise.all(ceremony.participants.map((one) => waitFor(waiting, `${what}-${one.name}`)));
}

async function waitFor({ folder, patience, cancelled }: Waiting, name: string): Promise<Uint8Array> {
  const path = `${folder}/${name}`;
  const end = performance.now() + patience * 1000;
  while (!existsSync(path)) {
    if (cancelled.aborted || performance.now() > end)
      throw new LockstepError(
        'CEREMONY_FAILED',
        `Nobody has written ${path} for ${patience} s`,
        'Begin again, all of you, when everybody is there.',
      );
    await pause(POLL_MS, undefined, { signal: cancelled }).catch(() => undefined);
  }
  if (statSync(path).size > MAX_FILE)
    throw new LockstepError('CEREMONY_FAILED', `${path} is larger than 1 MiB`, 'No message of a ceremony is.');
  return new Uint8Array(readFileSync(path));
}

/** What whoever asks the holders needs. */
export function writeGroupCard(path: string, group: FrostGroup, holders: readonly NodeCard[]): void {
  const card: GroupCard = { schema: 'lockstep-group/v1', group: toBase64(encodeGroup(group)), holders };
  writeDurably(path, `${JSON.stringify(card, null, 2)}\n`);
}
