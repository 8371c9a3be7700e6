/** Every size of group, with shares and group read from their files. */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import type { HolderChannel } from './ask-holders.ts';
import { type FrostKey, type FrostKeyOptions, frostKey } from './frost-key.ts';
import { decodeGroup, encodeGroup } from './group.ts';
import type { HolderOptions } from './holder-options.ts';
import { begin, channelTo, dealt, generate, holderOf, makeNode, type Party, random, requestOf, sha256Of } from './samples.ts';
import { decodeShare, encodeShare } from './share-file.ts';
import type { FrostShare } from './unconfirmed.ts';
import type { NodeKey } from './identity.ts';

const messages = [toUtf8('one'), new Uint8Array(), sha256Of('three')];

interface Setting {
  readonly party: Party;
  readonly shares: readonly FrostShare[];
  readonly coordinator: NodeKey;
}

function keyOf({ party, shares, coordinator }: Setting, holders: readonly HolderChannel[], more: Partial<FrostKeyOptions> = {}): FrostKey {
  const group = shares[0]!.group;
  const { keyName: name, use } = party.ceremony;
  return frostKey({ group, name, use, holders, coordinator, random, patienceMilliseconds: 20_000, ...more });
}

function channels({ party, shares, coordinator }: Setting, more: Partial<HolderOptions> = {}): HolderChannel[] {
  return shares.map((share) => channelTo(share.holder.name, holderOf(party, share, coordinator, more)));
}

function assertSigned(key: FrostKey, signatures: readonly Uint8Array[]): void {
  const spki = createPublicKey({ key: Buffer.from(key.public.spki), format: 'der', type: 'spki' });
  assert.equal(signatures.length, messages.length);
  for (const [index, message] of messages.entries()) assert.equal(verify(null, message, spki, signatures[index]!), true);
}

for (const [threshold, count] of [
  [2, 3],
  [3, 3],
  [5, 9],
] as const)
  for (const mode of ['dkg', 'dealer'] as const)
    test(`frostKey signs ${threshold} of ${count} (${mode}), with shares and group read from their files, and node:crypto verifies it`, async () => {
      const party = await begin(threshold, count, { mode });
      const shares = (await (mode === 'dkg' ? generate(party) : dealt(party))).map((one) => decodeShare(encodeShare(one)));
      const now = { party, shares, coordinator: makeNode() };
      const trips: string[] = [];
      const counted = channels(now).map((one) => ({
        name: one.name,
        ask: (message: Uint8Array) => {
          trips.push(one.name);
          return one.ask(message);
        },
      }));
      const key = keyOf(now, counted, { group: decodeGroup(encodeGroup(shares[0]!.group)) });
      const { signatures, signers, faults } = await key.signAll(messages, requestOf(messages));
      assertSigned(key, signatures);
      assert.deepEqual(faults, []);
      assert.equal(signers.length, threshold);
      assert.equal(trips.length, 2 * threshold, 'two round trips to each signer, for all messages');
      assert.equal(key.custody, 'frost');
    });
