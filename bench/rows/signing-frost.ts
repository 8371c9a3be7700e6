/** A release signed by a threshold: every holder checks all of the evidence, in one process, so one after the other. */
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import { frostKey, type FrostKey } from '@lockstep/signer/frost/frost-key';
import type { HolderOptions } from '@lockstep/signer/frost/holder-options';
import { begin, channelTo, generate, holderOf, makeNode, random } from '@lockstep/signer/frost/samples';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { makeReleases } from '../signing.ts';
import { judged } from '../signing-node.ts';

const SESSIONS = 5;
/** For two round trips on a busy machine. */
const PATIENCE = 60_000;
const KINDS = [
  [2, 3],
  [5, 9],
] as const;

export async function signingFrost(_place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const [release] = makeReleases(0, 1);
  if (release === undefined) throw new BenchError('no release was made');
  const request = release.request(null);
  const meters: Meter[] = [];
  for (const [threshold, count] of KINDS) meters.push(await meter(threshold, count, request));
  const metered = await meterSideBySide(meters, runs, checkpoint);
  return [
    figureRow('A FROST session, two round trips, record and VSA signed: bounded by one evidence check per signer', 'ms', metered, 'whole'),
    figureRow('… as many in a second', '/s', metered, 'rate'),
    figureRow('… holders that check nothing: bounded by P-256 of what they say, and by FROST', 'ms', metered, 'alone'),
    figureRow('… its key made, with confirmation (once)', 'ms', metered, 'made'),
  ];
}

async function meter(threshold: number, count: number, request: Uint8Array): Promise<Meter> {
  const start = performance.now();
  const party = await begin(threshold, count, { use: 'release-dsse' });
  const shares = await generate(party);
  const made = performance.now() - start;
  const group = shares[0]?.group;
  if (group === undefined) throw new BenchError('no share was made');
  const coordinator = makeNode();
  const keyWith = (check: HolderOptions['check']): FrostKey =>
    frostKey({
      group,
      name: party.ceremony.keyName,
      use: party.ceremony.use,
      holders: shares.map((share) => channelTo(share.holder.name, holderOf(party, share, coordinator, { check }))),
      coordinator,
      random,
      patienceMilliseconds: PATIENCE,
    });
  const own = { use: party.ceremony.use, public: group.publicKey };
  const messagesOf = (bytes: Uint8Array): Uint8Array[] => judged(bytes, own).plan.map((one) => one.message);
  const checking = keyWith((bytes) => Promise.resolve({ ok: true, messages: messagesOf(bytes) }));
  const messages = messagesOf(request);
  const blind = keyWith(() => Promise.resolve({ ok: true, messages }));
  return {
    name: `${threshold} of ${count}`,
    take: async (run) => {
      const whole = await sessions(checking, messages, request);
      return { whole, rate: 1000 / whole, alone: await sessions(blind, messages, toUtf8('no evidence')), ...(run === 1 ? { made } : {}) };
    },
  };
}

/** @returns milliseconds for one */
async function sessions(key: FrostKey, messages: readonly Uint8Array[], request: Uint8Array): Promise<number> {
  const start = performance.now();
  for (let count = 0; count < SESSIONS; count++) {
    const { signatures, faults } = await key.signAll(messages, request);
    if (faults.length > 0) throw new BenchError(faults.join('; '));
    // The coordinator has verified them against the group's key: here is only seen that there are as many.
    if (signatures.length !== messages.length) throw new BenchError('a message has no signature');
  }
  const milliseconds = (performance.now() - start) / SESSIONS;
  const [first] = messages;
  const signed = first === undefined ? null : await key.signAll([...messages], request);
  if (first === undefined || signed?.signatures[0] === undefined || !verifySignature(key.public, first, signed.signatures[0]))
    throw new BenchError('FROST signs wrong');
  return milliseconds;
}
