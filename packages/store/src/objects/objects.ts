/**
 * Named objects, as a bucket has them: what a farm keeps outside its database. On a folder, S3 or GCS, with one contract
 * suite for all of them (contract.ts).
 *
 * Guarantees, on every kind:
 * - an object that can be read is whole: nobody sees half of a `put`, also when the writer dies;
 * - what was acknowledged is durable, and seen by every reader from then on (read after write, list after write);
 * - `create` is exclusive: of any number that race for a name exactly one gets true;
 * - `swapIf` is a compare-and-swap on the object's bytes.
 * None is believed about the bytes: whoever reads by digest hashes again.
 */
import type { Readable } from 'node:stream';

export interface Objects {
  /** How an operator would name it, without secrets: `folder /srv/farm/objects`, `s3 bucket farm at http://…`. */
  readonly name: string;
  /** Small content. null when there is none. @throws LockstepError FETCH_TOO_LARGE, STORE_UNUSABLE */
  get(key: string, maxBytes: number): Promise<Uint8Array | null>;
  /** Flat memory. null when there is none. The stream fails with STORE_UNUSABLE when the storage ends it early. */
  stream(key: string, range?: ByteRange): Promise<Readable | null>;
  /** Bytes in the object; null when there is none. */
  size(key: string): Promise<number | null>;
  /** Replaces. A stream of a known size is written in flat memory. */
  put(key: string, content: Content): Promise<void>;
  /** Only if there is none of that name. @returns whether it was this call that made it */
  create(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Replaces `expected` by `next`; null stands for "no such object". @returns whether it was swapped */
  swapIf(key: string, expected: Uint8Array | null, next: Uint8Array): Promise<boolean>;
  /** One object out of others, in that order; those stay. Made by the storage itself where it can. */
  compose(key: string, parts: readonly string[]): Promise<void>;
  /** Every object whose key begins with `prefix`, in the order of their keys. */
  list(prefix: string): AsyncIterable<ListedObject>;
  /** No error when there is none. */
  remove(key: string): Promise<void>;
  /** Ends connections; nothing is asked of it afterwards. */
  close(): Promise<void>;
}

/** Bytes from `start`, `length` of them; what lies beyond the end is left out. */
export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

export type Content = Uint8Array | { readonly stream: Readable; readonly size: number };

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  /** Seconds since 1970, by the storage's clock. */
  readonly modified: number;
}

/** Keys are paths of plain names: no empty part, no `.` or `..`, nothing that a shell or a URL would read otherwise. */
export function isObjectKey(key: string): boolean {
  return key.length <= 512 && /^[A-Za-z0-9][A-Za-z0-9._+-]*(?:\/[A-Za-z0-9][A-Za-z0-9._+-]*)*$/.test(key);
}
