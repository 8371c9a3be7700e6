/**
 * The receiving half of a transfer (spec/serial.md, "One message"). Pure. Takes chunks in their order only, and gives out a message
 * only when its SHA-256 is the one that was offered.
 */
import { CHUNK_BYTES, chunksOf, type Data, MAX_MESSAGE_BYTES, type Offer, type Tag } from './frame.ts';
import { sha256 } from './outbox.ts';

/** What arrived, last first. Nothing is set aside for what was only announced. */
interface Parts {
  readonly bytes: Uint8Array;
  readonly before: Parts | null;
}

export interface Inbox {
  readonly digest: string;
  readonly tag: Tag;
  readonly size: number;
  readonly count: number;
  /** The chunk that is wanted next. */
  readonly next: number;
  /** The last chunk that came too early: a lower one says that the sender has gone back since. */
  readonly early: number | null;
  readonly parts: Parts | null;
}

export interface Received {
  readonly inbox: Inbox;
  /** Whether the sender is to hear what is wanted now. */
  readonly ack: boolean;
  readonly ended: { readonly message: Uint8Array } | 'damaged' | null;
}

/** An empty message says nothing; a larger one than the limit is no message of this line. */
export function sizeAllowed(size: number): boolean {
  return size >= 1 && size <= MAX_MESSAGE_BYTES;
}

/** The inbox for what is offered: the one that has a part of it already, or a new one. */
export function inboxFor(offer: Offer, had: Inbox | null): Inbox {
  if (had !== null && had.digest === offer.digest && had.size === offer.size) return { ...had, early: null };
  const { digest, tag, size } = offer;
  return { digest, tag, size, count: chunksOf(size), next: 0, early: null, parts: null };
}

export function receivedData(inbox: Inbox, { number, bytes }: Data): Received {
  const ignored: Received = { inbox, ack: false, ended: null };
  // All chunks but the last are full. Smaller ones would let the other side make any number of them.
  if (number < inbox.next || bytes.length !== Math.min(CHUNK_BYTES, inbox.size - number * CHUNK_BYTES)) return ignored;
  if (number > inbox.next) {
    // Once for each time that the sender passes the gap, so that it goes back once and not for every chunk that follows.
    const says = inbox.early === null || number <= inbox.early;
    return { inbox: { ...inbox, early: number }, ack: says, ended: null };
  }
  const grown: Inbox = { ...inbox, next: number + 1, early: null, parts: { bytes, before: inbox.parts } };
  if (grown.next < grown.count) return { inbox: grown, ack: true, ended: null };
  const message = joined(grown);
  return { inbox: grown, ack: true, ended: sha256(message) === inbox.digest ? { message } : 'damaged' };
}

function joined(inbox: Inbox): Uint8Array {
  const message = new Uint8Array(inbox.size);
  let at = inbox.size;
  for (let part = inbox.parts; part !== null; part = part.before) {
    at -= part.bytes.length;
    message.set(part.bytes, at);
  }
  return message;
}
