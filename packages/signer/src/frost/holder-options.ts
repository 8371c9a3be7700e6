/** What a holder is given (holder.ts): its share, how it checks, how it remembers; and how it says no. */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import type { NodeKey } from './identity.ts';
import type { Random } from './seal.ts';
import type { RefusalCode } from './session-documents.ts';
import type { Speaker } from './signed-message.ts';
import type { FrostShare } from './unconfirmed.ts';

export type Checked =
  | {
      readonly ok: true;
      readonly messages: readonly Uint8Array[];
      /** Writes down that exactly these are signed. Belongs to this check alone: several sessions may be open at once. Durable before it resolves. */
      readonly written?: () => Promise<void>;
    }
  /** One line, for whoever asked. */
  | { readonly ok: false; readonly reason: string };

export interface HolderOptions {
  readonly share: FrostShare;
  readonly node: NodeKey;
  /** Whose sessions it takes part in. What is signed does not depend on them: `check` decides. */
  readonly coordinators: readonly AnyKey[];
  /** Derives the messages to sign from the request, with all evidence, or says why not. */
  readonly check: (request: Uint8Array) => Promise<Checked>;
  /** Durable before it resolves. Rejects when it cannot be, and may reject when it has this id already: then nothing leaves. */
  readonly remember: (session: Sha256) => Promise<void>;
  readonly random: Random;
  /** Milliseconds. */
  readonly now: () => number;
}

export interface Refused {
  readonly session: Sha256 | null;
  readonly code: RefusalCode;
  readonly reason: string;
}

/** The names are for messages only: a coordinator is known by its key. */
export function speakersOf(coordinators: readonly AnyKey[]): Speaker[] {
  return coordinators.map((nodeKey) => ({ name: 'a coordinator', nodeKey }));
}
