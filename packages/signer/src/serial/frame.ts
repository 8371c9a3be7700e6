/**
 * What goes over the serial line, one frame at a time (spec/serial.md, "Frames"). Pure. Every frame names the message that it is
 * about, and its letter says which side sent it, so that a line which echoes cannot make a side talk to itself.
 */
import { crc32 } from 'node:zlib';

/** 8 MiB: evidence with long proofs has room, and at 115,200 baud it is a quarter of an hour. Nobody waits longer. */
export const MAX_MESSAGE_BYTES = 8 * 2 ** 20;
/** Large enough that what surrounds it is under 3 %, small enough that one flipped bit costs a tenth of a second. */
export const CHUNK_BYTES = 1024;
export const SERIAL_VERSION = 1;

/** A frame's delimiter, and what announces a changed byte. Neither is ASCII, so evidence in JSON rarely grows. */
export const END = 0xc0;
export const ESCAPE = 0xdb;
/** Software flow control of an adapter or a terminal: never sent, and dropped where they arrive. */
export const XON = 0x11;
export const XOFF = 0x13;
/** An escaped byte is sent as itself with this bit flipped. */
export const FLIP = 0x20;

const TAG_BYTES = 8;
const HEADER_BYTES = 1 + TAG_BYTES + 2;
const CRC_BYTES = 4;
export const MAX_BODY_BYTES = HEADER_BYTES + CHUNK_BYTES + CRC_BYTES;

export type Side = 'host' | 'node';
/** The first 8 bytes of a message's SHA-256, as hex: enough to tell the messages of one line apart. */
export type Tag = string;

/** Why a node does not take a request, or has no answer to it: on the line as a byte that counts from 1. */
const REFUSALS = ['version', 'size', 'occupied', 'damaged', 'no answer'] as const;
export type Refusal = (typeof REFUSALS)[number];

interface Named {
  readonly from: Side;
  readonly tag: Tag;
}
export interface Offer extends Named {
  readonly kind: 'offer';
  readonly size: number;
  /** SHA-256 of the message offered, and of the request that an answer is for: 64 hex digits. */
  readonly digest: string;
  readonly request: string | null;
}
/** An offer in a version that is not ours. */
export interface ForeignOffer extends Named {
  readonly kind: 'foreign';
  readonly version: number;
}
export interface Data extends Named {
  readonly kind: 'data';
  /** Chunks count from 0. */
  readonly number: number;
  readonly bytes: Uint8Array;
}
/** The answer to an offer: the number of the chunk that is wanted first; all before it are there from an earlier time. */
export interface Have extends Named {
  readonly kind: 'have';
  readonly next: number;
}
/** The answer to a chunk: the number of the one that is wanted next; all before it arrived. */
export interface Ack extends Named {
  readonly kind: 'ack';
  readonly next: number;
}
export interface Busy extends Named {
  readonly kind: 'busy';
}
export interface Refuse extends Named {
  readonly kind: 'refuse';
  readonly reason: Refusal;
}
export type Frame = Offer | ForeignOffer | Have | Data | Ack | Busy | Refuse;

export function tagOf(digest: string): Tag {
  return digest.slice(0, TAG_BYTES * 2);
}

export function chunksOf(size: number): number {
  return Math.ceil(size / CHUNK_BYTES);
}

export function encodeFrame(frame: Frame): Uint8Array {
  const [letter, number, payload] = contentOf(frame);
  const body = Buffer.alloc(HEADER_BYTES + payload.length + CRC_BYTES);
  body.writeUInt8((frame.from === 'host' ? letter.toUpperCase() : letter).charCodeAt(0), 0);
  body.write(frame.tag, 1, TAG_BYTES, 'hex');
  body.writeUInt16BE(number, 1 + TAG_BYTES);
  body.set(payload, HEADER_BYTES);
  body.writeUInt32BE(crc32(body.subarray(0, -CRC_BYTES)), HEADER_BYTES + payload.length);
  return escapeBody(body);
}

function contentOf(frame: Frame): [letter: string, number: number, payload: Uint8Array] {
  const none = new Uint8Array(0);
  if (frame.kind === 'data') return ['d', frame.number, frame.bytes];
  if (frame.kind === 'have') return ['h', frame.next, none];
  if (frame.kind === 'ack') return ['a', frame.next, none];
  if (frame.kind === 'busy') return ['b', 0, none];
  if (frame.kind === 'refuse') return ['r', 0, Uint8Array.of(REFUSALS.indexOf(frame.reason) + 1)];
  if (frame.kind === 'foreign') return ['o', 0, Uint8Array.of(frame.version)];
  const size = Buffer.alloc(5);
  size.writeUInt8(SERIAL_VERSION, 0);
  size.writeUInt32BE(frame.size, 1);
  return ['o', 0, Buffer.concat([size, Buffer.from(frame.digest, 'hex'), Buffer.from(frame.request ?? '', 'hex')])];
}

/** END at both ends: the first one closes whatever noise came before. */
function escapeBody(body: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + body.length * 2);
  let length = 0;
  out[length++] = END;
  for (const byte of body) {
    if (byte === END || byte === ESCAPE || byte === XON || byte === XOFF) {
      out[length++] = ESCAPE;
      out[length++] = byte ^ FLIP;
    } else out[length++] = byte;
  }
  out[length++] = END;
  return out.slice(0, length);
}

/** @param bytes what was between two ENDs, unescaped. @returns null for what is not a frame by the grammar */
export function parseBody(bytes: Uint8Array): Frame | null {
  if (bytes.length < HEADER_BYTES + CRC_BYTES || bytes.length > MAX_BODY_BYTES) return null;
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = body.length - CRC_BYTES;
  if (crc32(body.subarray(0, end)) !== body.readUInt32BE(end)) return null;
  const tag = body.toString('hex', 1, 1 + TAG_BYTES);
  const number = body.readUInt16BE(1 + TAG_BYTES);
  const payload = body.subarray(HEADER_BYTES, end);
  const letter = String.fromCharCode(body.readUInt8(0));
  const from: Side = letter === letter.toUpperCase() ? 'host' : 'node';
  return parseContent({ from, tag }, letter, number, payload);
}

function parseContent(named: Named, letter: string, number: number, payload: Buffer): Frame | null {
  const { from } = named;
  const chunks = chunksOf(MAX_MESSAGE_BYTES);
  switch (letter) {
    case 'O':
    case 'o':
      return number === 0 ? parseOffer(named, payload) : null;
    case 'D':
    case 'd':
      // A copy: the reader uses its buffer again.
      return number < chunks && payload.length > 0 ? { ...named, kind: 'data', number, bytes: new Uint8Array(payload) } : null;
    case 'H':
    case 'h':
      return number <= chunks && payload.length === 0 ? { ...named, kind: 'have', next: number } : null;
    case 'A':
    case 'a':
      return number <= chunks && payload.length === 0 ? { ...named, kind: 'ack', next: number } : null;
    case 'b':
      return number === 0 && payload.length === 0 ? { from, tag: named.tag, kind: 'busy' } : null;
    case 'r': {
      const reason = payload.length === 1 && number === 0 ? REFUSALS[payload.readUInt8(0) - 1] : undefined;
      return reason === undefined ? null : { ...named, kind: 'refuse', reason };
    }
    default:
      return null;
  }
}

function parseOffer(named: Named, payload: Buffer): Offer | ForeignOffer | null {
  if (payload.length === 0) return null;
  const version = payload.readUInt8(0);
  if (version !== SERIAL_VERSION) return { ...named, kind: 'foreign', version };
  if (payload.length !== (named.from === 'host' ? 37 : 69)) return null;
  const digest = payload.toString('hex', 5, 37);
  if (tagOf(digest) !== named.tag) return null;
  return {
    ...named,
    kind: 'offer',
    size: payload.readUInt32BE(1),
    digest,
    request: named.from === 'host' ? null : payload.toString('hex', 37, 69),
  };
}
