/** A signing node that runs: what comes over whatever line goes to it, or to one of the shares that it holds. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import type { NodeCard } from './node-card.ts';
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { openSealedFile } from '@lockstep/signer/custody/sealed-file';
import { type FrostHolder, frostHolder } from '@lockstep/signer/frost/holder';
import { SESSION, SHARING } from '@lockstep/signer/frost/session-documents';
import { decodeShare } from '@lockstep/signer/frost/share-file';
import { payloadTypeOf } from '@lockstep/signer/frost/signed-message';
import type { FrostShare } from '@lockstep/signer/frost/unconfirmed';
import { type Approved, openNode, type SignerNode } from '@lockstep/signer/node/node';
import { keyOfMessage } from './share-of.ts';
import { cardOf, nodeKeyOf, openHeldKeys, type SignerHome } from './home.ts';

export interface RunningNode {
  readonly card: NodeCard;
  readonly node: SignerNode;
  readonly keys: readonly SigningKey[];
  readonly shares: readonly FrostShare[];
  /** Anything that came over a line; always answers. */
  readonly handle: (message: Uint8Array) => Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface RunOptions {
  /** A passphrase for files and shares, a PIN for tokens. */
  readonly secret: () => Promise<Uint8Array>;
  readonly confirm: ((text: string) => Promise<boolean>) | null;
  readonly clock: () => number;
  /** Keys that are nowhere but in this process. */
  readonly more?: readonly SigningKey[];
}

/** @throws LockstepError PASSPHRASE_WRONG, CUSTODY_FAILED, KEY_INVALID, LOG_CORRUPT */
export async function runNode(home: SignerHome, options: RunOptions): Promise<RunningNode> {
  const keys = [...(await openHeldKeys(home, options.secret)), ...(options.more ?? [])];
  const nodeKey = await nodeKeyOf(home);
  const shares = await openShares(home, options.secret);
  const held = shares.map((share) => ({ share, use: share.group.ceremony.use, public: share.group.publicKey }));
  const node = await openNode({
    name: home.config.name,
    root: home.root,
    lines: home.config.lines,
    keys,
    shares: held,
    nodeKey,
    log: home.log,
    clock: options.clock,
    confirm: options.confirm,
  });
  const coordinators = home.config.coordinators.map(anyKeyFromPem);
  const holders = held.map(({ share, use }) => ({
    ceremony: share.group.ceremony.id,
    holder: holderOf(node, share, use, nodeKey, coordinators),
  }));
  return {
    card: cardOf(home),
    node,
    keys,
    shares,
    handle: async (message) => {
      const type = payloadTypeOf(message);
      if (type !== SESSION.payloadType && type !== SHARING.payloadType) return node.answer(message);
      // A sharing names its session only: it is of whichever holder has that open, and any other says that it has not.
      const ceremony = keyOfMessage(message);
      const asked = holders.filter((one) => ceremony === null || one.ceremony === ceremony);
      let last: Uint8Array | null = null;
      for (const { holder } of asked) {
        last = await holder.answer(message);
        if (payloadTypeOf(last) !== 'application/vnd.lockstep.frost-refusal+json') return last;
      }
      return last ?? node.answer(message);
    },
    async close() {
      for (const { holder } of holders) holder.close();
      await node.close();
    },
  };
}

/** The check is the node's own, person and memory included; the entry in its log is there before a share leaves. */
function holderOf(
  node: SignerNode,
  share: FrostShare,
  use: KeyUse,
  nodeKey: SigningKey,
  coordinators: Parameters<typeof frostHolder>[0]['coordinators'],
): FrostHolder {
  return frostHolder({
    share,
    node: nodeKey,
    coordinators,
    check: async (request) => {
      const judged = await node.approve(request, use);
      if (!judged.ok) return judged;
      const { plan, signed } = judged;
      return {
        ok: true,
        messages: plan.map((one) => one.message),
        written: () => signed(plan.map((one): MadeSignature => shareRecord(one, share))),
      };
    },
    // What is remembered is the entry that `written` makes.
    remember: () => Promise.resolve(),
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    now: () => performance.now(),
  });
}

/** What the node's log says of a share: over what, for which key; the share itself is worth nothing alone. */
function shareRecord(one: Extract<Approved, { ok: true }>['plan'][number], { group }: FrostShare): MadeSignature {
  return {
    use: one.use,
    format: 'share',
    file: one.file,
    key: { name: group.ceremony.keyName, id: group.publicKey.id, pem: anyKeyToPem(group.publicKey), number: null },
    message: sha256Hex(one.message),
    signature: toBase64(new Uint8Array(0)),
    second: null,
  };
}

async function openShares(home: SignerHome, secret: () => Promise<Uint8Array>): Promise<FrostShare[]> {
  const folder = `${home.folder}/shares`;
  if (!existsSync(folder)) return [];
  const shares: FrostShare[] = [];
  for (const name of readdirSync(folder)
    .filter((file) => file.endsWith('.share.json'))
    .sort()) {
    const bytes = await openSealedFile(`${folder}/${name}`, 'share', secret);
    shares.push(decodeShare(bytes));
    bytes.fill(0);
  }
  return shares;
}
