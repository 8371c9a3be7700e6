/**
 * The host's side of an exchange (spec/serial.md, "The host"): a request goes out, an answer comes back. Pure: frames in, frames
 * out; time is whoever calls `askingStalled`. All that repeats is here, so that the node needs no timer to be right.
 */
import type { Frame, Offer, Refusal } from './frame.ts';
import { type Inbox, inboxFor, receivedData, sizeAllowed } from './inbox.ts';
import { acknowledged, delivered, newOutbox, type Outbox, offered, resumed } from './outbox.ts';

/** A message whose chunks were all sound and whose SHA-256 was not: once is chance, oftener is somebody else on the line. */
export const MAX_DAMAGED = 3;

export type Failure = Refusal | 'answer damaged' | 'answer size';

export interface Asking {
  readonly outbox: Outbox;
  /** The answer as far as it is here. */
  readonly inbox: Inbox | null;
  readonly damaged: number;
  /** Whether our own frames came back: a loop or a terminal that echoes. */
  readonly echoed: boolean;
  readonly ended: { readonly answer: Uint8Array } | { readonly failed: Failure } | null;
}

export interface Asked {
  readonly asking: Asking;
  readonly out: readonly Frame[];
  /** Whether the node was heard, in this exchange. */
  readonly heard: boolean;
}

export function startAsking(request: Uint8Array): Asked {
  const { outbox, out } = offered(newOutbox('host', request, null));
  return { asking: { outbox, inbox: null, damaged: 0, echoed: false, ended: null }, out, heard: false };
}

/** Nothing moved for a while: offer again. The node answers with what it has, be it nothing, a part, or the answer. */
export function askingStalled(asking: Asking): Asked {
  if (asking.ended !== null) return { asking, out: [], heard: false };
  const { outbox, out } = offered(asking.outbox);
  return { asking: { ...asking, outbox }, out, heard: false };
}

export function askingReceives(asking: Asking, frame: Frame): Asked {
  const ignored: Asked = { asking, out: [], heard: false };
  if (asking.ended !== null) return ignored;
  if (frame.from === 'host') return { ...ignored, asking: { ...asking, echoed: true } };
  if (frame.kind === 'offer') return frame.request === asking.outbox.digest ? answerOffered(asking, frame) : ignored;
  if (frame.kind === 'data') return frame.tag === asking.inbox?.tag ? answerData(asking, asking.inbox, frame) : ignored;
  if (frame.tag !== asking.outbox.tag) return ignored;
  if (frame.kind === 'foreign') return ended(asking, { failed: 'version' });
  if (frame.kind === 'refuse') return refused(asking, frame.reason);
  // Whoever works on it has all of it, even when the last acknowledgement got lost.
  if (frame.kind === 'busy') return { asking: { ...asking, outbox: delivered(asking.outbox) }, out: [], heard: true };
  const { outbox, out } = (frame.kind === 'have' ? resumed : acknowledged)(asking.outbox, frame.next);
  return { asking: { ...asking, outbox }, out, heard: true };
}

function answerOffered(asking: Asking, offer: Offer): Asked {
  if (!sizeAllowed(offer.size)) return ended(asking, { failed: 'answer size' });
  const inbox = inboxFor(offer, asking.inbox);
  return { asking: { ...asking, inbox, outbox: delivered(asking.outbox) }, out: [wanted('have', inbox)], heard: true };
}

function answerData(asking: Asking, inbox: Inbox, frame: Frame & { kind: 'data' }): Asked {
  const received = receivedData(inbox, frame);
  const out = received.ack ? [wanted('ack', received.inbox)] : [];
  if (received.ended === 'damaged') return again({ ...asking, inbox: null }, 'answer damaged');
  if (received.ended !== null) return { ...ended(asking, { answer: received.ended.message }), out };
  return { asking: { ...asking, inbox: received.inbox }, out, heard: true };
}

function refused(asking: Asking, reason: Refusal): Asked {
  // Somebody else's request is being handled: the next offer asks again.
  if (reason === 'occupied') return { asking, out: [], heard: true };
  if (reason === 'damaged') return again(asking, 'damaged');
  return ended(asking, { failed: reason });
}

function again(asking: Asking, failed: 'damaged' | 'answer damaged'): Asked {
  const damaged = asking.damaged + 1;
  if (damaged > MAX_DAMAGED) return ended({ ...asking, damaged }, { failed });
  return { ...askingStalled({ ...asking, damaged }), heard: true };
}

function ended(asking: Asking, how: NonNullable<Asking['ended']>): Asked {
  return { asking: { ...asking, ended: how }, out: [], heard: true };
}

function wanted(kind: 'have' | 'ack', { tag, next }: Inbox): Frame {
  return { kind, from: 'host', tag, next };
}
