/**
 * The sending half of a transfer (spec/serial.md, "One message"): offer, then chunks in a window that slides with what is
 * acknowledged. Pure, the same for requests and answers. Has no timer: who stalls offers again, and goes on where the other side says.
 */
import { createHash } from 'node:crypto';
import { CHUNK_BYTES, chunksOf, type Frame, type Side, type Tag, tagOf } from './frame.ts';

/** 8 KiB under way: 0.7 s at 115,200 baud, so that a pause of the other side's program leaves no gap on the line. */
export const WINDOW_CHUNKS = 8;

export interface Outbox {
  readonly from: Side;
  readonly bytes: Uint8Array;
  readonly digest: string;
  readonly tag: Tag;
  readonly count: number;
  /** The digest of the request that this answers. */
  readonly request: string | null;
  /** offering: waits to hear where to go on. sending: chunks, in the window after `acked`. done: the other side has all of it. */
  readonly mode: 'offering' | 'sending' | 'done';
  readonly acked: number;
  readonly next: number;
}

export interface Sent {
  readonly outbox: Outbox;
  readonly out: readonly Frame[];
}

export function newOutbox(from: Side, bytes: Uint8Array, request: string | null): Outbox {
  const digest = sha256(bytes);
  return { from, bytes, digest, tag: tagOf(digest), count: chunksOf(bytes.length), request, mode: 'offering', acked: 0, next: 0 };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** First, and whenever nothing moves any more. */
export function offered(outbox: Outbox): Sent {
  const { from, tag, bytes, digest, request } = outbox;
  return { outbox: { ...outbox, mode: 'offering' }, out: [{ kind: 'offer', from, tag, size: bytes.length, digest, request }] };
}

/** The answer to our offer: go on with `wanted`, wherever that is. Ignored unless an offer is out. */
export function resumed(outbox: Outbox, wanted: number): Sent {
  if (outbox.mode !== 'offering' || wanted > outbox.count) return { outbox, out: [] };
  return upTo({ ...outbox, mode: 'sending', acked: wanted, next: wanted });
}

/** All chunks before `wanted` arrived. Goes forward only: what is older than the offer may still lie in the line. */
export function acknowledged(outbox: Outbox, wanted: number): Sent {
  if (outbox.mode !== 'sending' || wanted < outbox.acked || wanted > outbox.next) return { outbox, out: [] };
  // The same again says that this chunk is missing: go back to it.
  const next = wanted === outbox.acked ? wanted : outbox.next;
  return upTo({ ...outbox, acked: wanted, next });
}

function upTo(outbox: Outbox): Sent {
  if (outbox.acked === outbox.count) return { outbox: delivered(outbox), out: [] };
  const next = Math.max(outbox.next, Math.min(outbox.count, outbox.acked + WINDOW_CHUNKS));
  const out = Array.from({ length: next - outbox.next }, (_, index) => chunk(outbox, outbox.next + index));
  return { outbox: { ...outbox, next }, out };
}

export function delivered(outbox: Outbox): Outbox {
  return { ...outbox, mode: 'done', acked: outbox.count, next: outbox.count };
}

function chunk({ from, tag, bytes }: Outbox, number: number): Frame {
  return { kind: 'data', from, tag, number, bytes: bytes.subarray(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES) };
}
