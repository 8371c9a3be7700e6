/** Reads a node's answer: the bundle of an entry in its own log, checked by the keys of its card. */
import { openBundle, type LoggedDocument } from '@lockstep/protocol/bundle/open-bundle';
import { type Bundle, parseBundle } from '@lockstep/protocol/bundle/bundle';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { requestDigest } from '@lockstep/protocol/signing/request';
import { SIGNING_RECORD, type SigningRecord } from '@lockstep/protocol/signing/record';
import type { NodeCard } from './node-card.ts';

export interface ReadAnswer {
  readonly record: SigningRecord;
  /** Of the node's own log: goes with the next request. */
  readonly checkpoint: string;
}

/** @throws LockstepError VERIFICATION_FAILED */
export function readAnswer(answer: Uint8Array, card: NodeCard, request: Uint8Array): ReadAnswer {
  const refuse = (why: string): LockstepError =>
    new LockstepError(
      'VERIFICATION_FAILED',
      `This is no answer of ${card.name} to this request: ${why}`,
      'Ask again; if it stays so, compare its card, and look at the node.',
    );
  const { bundle, record, document } = opened(answer, card, refuse);
  if (record === null) throw refuse('it is no signing record');
  if (document.signer.id !== anyKeyFromPem(card.key).id) throw refuse('another key than the node’s has signed it');
  if (record.request !== requestDigest(request)) throw refuse('it is about another request');
  if (record.signatures.some((one) => fromBase64(one.signature) === null)) throw refuse('a signature is not base64');
  return { record, checkpoint: bundle.checkpoint };
}

interface Opened {
  readonly bundle: Bundle;
  readonly document: LoggedDocument;
  readonly record: SigningRecord | null;
}

/** An entry of the log that is on the card, and what it says. */
function opened(answer: Uint8Array, card: NodeCard, refuse: (why: string) => LockstepError): Opened {
  try {
    const bundle = parseBundle(answer);
    const document = openBundle(bundle, [parseVerifierKey(card.log)], []);
    return { bundle, document, record: readDocument(SIGNING_RECORD, document.payloadType, document.payload) };
  } catch (error) {
    if (error instanceof LockstepError) throw refuse(error.message);
    throw error;
  }
}
