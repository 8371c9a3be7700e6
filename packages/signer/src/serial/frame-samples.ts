/** For tests: frames of every kind that the grammar allows. */
import fc from 'fast-check';
import { CHUNK_BYTES, type Frame, MAX_MESSAGE_BYTES, type Side, tagOf } from './frame.ts';

const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString('hex'));
const node = fc.constant<Side>('node');
const side = fc.constantFrom<Side>('host', 'node');
const payload = fc.uint8Array({ minLength: 1, maxLength: CHUNK_BYTES }).map((bytes) => new Uint8Array(bytes));
const chunk = fc.nat(MAX_MESSAGE_BYTES / CHUNK_BYTES - 1);
const reason = fc.constantFrom('version', 'size', 'occupied', 'damaged', 'no answer' as const);

const offer = fc
  .record({ from: side, digest: hex(32), size: fc.nat(2 ** 32 - 1), request: hex(32) })
  .map((it): Frame => ({ ...it, kind: 'offer', tag: tagOf(it.digest), request: it.from === 'host' ? null : it.request }));

const frames: readonly fc.Arbitrary<Frame>[] = [
  offer,
  fc.record({ kind: fc.constant('foreign' as const), from: side, tag: hex(8), version: fc.integer({ min: 2, max: 255 }) }),
  fc.record({ kind: fc.constant('data' as const), from: side, tag: hex(8), number: chunk, bytes: payload }),
  fc.record({ kind: fc.constant('have' as const), from: side, tag: hex(8), next: chunk }),
  fc.record({ kind: fc.constant('ack' as const), from: side, tag: hex(8), next: chunk }),
  fc.record({ kind: fc.constant('busy' as const), from: node, tag: hex(8) }),
  fc.record({ kind: fc.constant('refuse' as const), from: node, tag: hex(8), reason }),
];

/** Records of fast-check may have no prototype; ours have one. */
export const frameArbitrary: fc.Arbitrary<Frame> = fc.oneof(...frames).map((frame) => ({ ...frame }));
