/**
 * The node's side (spec/serial.md, "The node"): one request at a time, its answer kept until the next one's. Pure. It only ever
 * answers frames of the host, and says that it is busy; an answer that got lost is asked for again.
 */
import { chunksOf, type Data, type Frame, type Offer, type Refusal, type Tag, tagOf } from './frame.ts';
import { type Inbox, inboxFor, receivedData, sizeAllowed } from './inbox.ts';
import { acknowledged, newOutbox, type Outbox, offered, resumed } from './outbox.ts';

export interface Answering {
  /** A request that is not whole yet. Kept while the cable is out, until another is offered. */
  readonly inbox: Inbox | null;
  /** The request that is with the handler: its digest. */
  readonly handling: string | null;
  /** The last answer, so that it can be fetched again without handling its request again. */
  readonly kept: { readonly request: string; readonly outbox: Outbox } | null;
}

export interface Answered {
  readonly answering: Answering;
  readonly out: readonly Frame[];
  /** A whole request, to be handled now. */
  readonly request: Uint8Array | null;
}

export const NOTHING_YET: Answering = { inbox: null, handling: null, kept: null };

export function answeringReceives(answering: Answering, frame: Frame): Answered {
  const { inbox, kept } = answering;
  const ignored: Answered = { answering, out: [], request: null };
  if (frame.from === 'node') return ignored;
  if (frame.kind === 'offer') return requestOffered(answering, frame);
  if (frame.kind === 'data' && inbox?.tag === frame.tag) return requestData(answering, inbox, frame);
  if ((frame.kind === 'have' || frame.kind === 'ack') && kept?.outbox.tag === frame.tag) {
    const { outbox, out } = (frame.kind === 'have' ? resumed : acknowledged)(kept.outbox, frame.next);
    return { answering: { ...answering, kept: { ...kept, outbox } }, out, request: null };
  }
  return frame.kind === 'foreign' ? { ...ignored, out: [refusal(frame.tag, 'version')] } : ignored;
}

function requestOffered(answering: Answering, offer: Offer): Answered {
  const { handling, kept } = answering;
  const says = (...out: Frame[]): Answered => ({ answering, out, request: null });
  const whole: Frame = { kind: 'have', from: 'node', tag: offer.tag, next: chunksOf(offer.size) };
  if (!sizeAllowed(offer.size)) return says(refusal(offer.tag, 'size'));
  if (handling === offer.digest) return says(whole, { kind: 'busy', from: 'node', tag: offer.tag });
  if (kept?.request === offer.digest) {
    const { outbox, out } = offered(kept.outbox);
    return { answering: { ...answering, kept: { ...kept, outbox } }, out: [whole, ...out], request: null };
  }
  if (handling !== null) return says(refusal(offer.tag, 'occupied'));
  const inbox = inboxFor(offer, answering.inbox);
  return { answering: { ...answering, inbox }, out: [wanted('have', inbox)], request: null };
}

function requestData(answering: Answering, inbox: Inbox, frame: Data): Answered {
  const received = receivedData(inbox, frame);
  if (received.ended === 'damaged')
    return { answering: { ...answering, inbox: null }, out: [refusal(inbox.tag, 'damaged')], request: null };
  const out = received.ack ? [wanted('ack', received.inbox)] : [];
  if (received.ended === null) return { answering: { ...answering, inbox: received.inbox }, out, request: null };
  return { answering: { ...answering, inbox: null, handling: inbox.digest }, out, request: received.ended.message };
}

/** The handler is done. @param answer null when it has none to give: the request is then forgotten */
export function answerReady(answering: Answering, answer: Uint8Array | null): Answered {
  const request = answering.handling;
  if (request === null) return { answering, out: [], request: null };
  if (answer === null || !sizeAllowed(answer.length))
    return { answering: { ...answering, handling: null }, out: [refusal(tagOf(request), 'no answer')], request: null };
  const { outbox, out } = offered(newOutbox('node', answer, request));
  return { answering: { ...answering, handling: null, kept: { request, outbox } }, out, request: null };
}

/** To be sent about once a second, so that a host can tell a person who thinks from a cable that is out. */
export function stillBusy({ handling }: Answering): readonly Frame[] {
  return handling === null ? [] : [{ kind: 'busy', from: 'node', tag: tagOf(handling) }];
}

function wanted(kind: 'have' | 'ack', { tag, next }: Inbox): Frame {
  return { kind, from: 'node', tag, next };
}

function refusal(tag: Tag, reason: Refusal): Frame {
  return { kind: 'refuse', from: 'node', tag, reason };
}
