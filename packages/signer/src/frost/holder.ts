/**
 * A holder of one share, while something is signed (RFC 9591 section 5; spec/frost.md "Signing"). It signs what its own
 * check finds in the request, never bytes that a coordinator names. A session is over before any share is computed.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { answerSession } from './holder-commit.ts';
import type { HolderOptions } from './holder-options.ts';
import { answerSharing } from './holder-share.ts';
import { nonceMemory } from './nonce-memory.ts';
import { MAX_REASON, REFUSAL, SHARING } from './session-documents.ts';
import { payloadTypeOf, say } from './signed-message.ts';

export interface FrostHolder {
  /** The other end of a HolderChannel. Always answers: bad messages with a signed refusal. */
  answer(message: Uint8Array): Promise<Uint8Array>;
  /** Ends all sessions and forgets the share. */
  close(): void;
}

export function frostHolder(options: HolderOptions): FrostHolder {
  const { share, node } = options;
  const name = share.holder.name;
  if (node.public.id !== share.holder.nodeKey.id)
    throw new LockstepError(
      'KEY_INVALID',
      `The node key is not the one that ${name} took part in the ceremony with`,
      'Give this holder the node key that the group knows it by; another needs a new ceremony.',
    );
  const memory = nonceMemory(options.now);
  let closed = false;
  return {
    answer: async (message) => {
      const answered = closed
        ? { session: null, code: 'session' as const, reason: 'the holder is closed' }
        : payloadTypeOf(message) === SHARING.payloadType
          ? await answerSharing(options, memory, message)
          : await answerSession(options, memory, message);
      if (answered instanceof Uint8Array) return answered;
      return await say(node, REFUSAL, { schema: 'lockstep-frost-refusal/v1', from: name, ...answered, reason: oneLine(answered.reason) });
    },
    close: () => {
      closed = true;
      memory.clear();
      share.secret().fill(0);
    },
  };
}

function oneLine(text: string): string {
  return text
    .replace(/[\u0000-\u001f\u007f]+/g, ' ')
    .slice(0, MAX_REASON)
    .toWellFormed();
}
