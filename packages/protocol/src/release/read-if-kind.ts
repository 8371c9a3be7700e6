/** Reads a logged document of one kind. A broken one is none: anybody can have one logged, and it may stop nothing. */
import { type DocumentKind, readDocument } from '../dsse/document.ts';
import { LockstepError } from '../error/lockstep-error.ts';

export function readIfKind<T>(kind: DocumentKind<T>, document: { readonly payloadType: string; readonly payload: Uint8Array }): T | null {
  try {
    return readDocument(kind, document.payloadType, document.payload);
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}
