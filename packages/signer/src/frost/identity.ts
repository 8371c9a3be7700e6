/** Who holds a share: a signing node with a key to speak with and a key to be written to (spec/frost.md "Holders"). */
import type { KeyObject } from 'node:crypto';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import type { SigningKey } from '../custody/signing-key.ts';
import { boxPublicKey, openSealed, type SealContext, type Sealed } from './seal.ts';

export interface HolderIdentity {
  readonly name: string;
  /** ECDSA P-256: what the holder says is signed with it. */
  readonly nodeKey: AnyKey;
  /** X25519, 32 bytes: shares are sealed to it. Best made for one ceremony and forgotten after it. */
  readonly boxKey: Uint8Array;
}

/** What a node signs its messages with: a key of the use "node", in whatever custody. */
export type NodeKey = Pick<SigningKey, 'public' | 'sign'>;

export interface HolderSecrets {
  readonly identity: HolderIdentity;
  readonly node: NodeKey;
  /** null when it was not sealed for this holder in this context. */
  openSealed(sealed: Sealed, context: SealContext): Promise<Uint8Array | null>;
}

/** @param boxKey X25519 */
export function holderSecrets(name: string, node: NodeKey, boxKey: KeyObject): HolderSecrets {
  return {
    identity: { name, nodeKey: node.public, boxKey: boxPublicKey(boxKey) },
    node,
    openSealed: (sealed, context) => Promise.resolve(openSealed(sealed, boxKey, context)),
  };
}
