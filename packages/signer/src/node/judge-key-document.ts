/** A request about a key itself: no evidence stands behind it, so a person has to. */
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { KEY_CHANGE, KEY_REVOCATION } from '@lockstep/protocol/release/key-documents';
import { readIfKind } from '@lockstep/protocol/release/read-if-kind';
import type { PlannedSignature } from '@lockstep/protocol/signing/plan';
import type { KeyRequest } from '@lockstep/protocol/signing/request';
import { tufSeconds } from '@lockstep/protocol/tuf/metadata';
import { describeKeyDocument } from './describe.ts';
import { differs, type JudgeInput, type Judged, refusal, usesOf } from './judged.ts';

const DAY = 86_400;

/** A change or revocation that is about a key of this node, or that its root key is asked to vouch for. */
export function judgeKeyDocument(request: KeyRequest, input: JudgeInput): Judged {
  const payload = fromBase64(request.payload) ?? new Uint8Array(0);
  const document = { payloadType: request.payload_type, payload };
  const change = readIfKind(KEY_CHANGE, document);
  const revocation = readIfKind(KEY_REVOCATION, document);
  const about = change === null ? 'revoke a key' : 'change a key';
  const refuse = (step: string, reason: string): Judged => refusal(about, step, reason, input.now);
  const named = change !== null ? [change.old, idOf(change.new)] : revocation !== null ? [revocation.key] : null;
  if (named === null) return refuse('document', `it is no key change and no revocation: ${request.payload_type.slice(0, 100)}`);
  const time = tufSeconds(change?.time ?? revocation?.time ?? request.time);
  if (Math.abs(time - input.now) > DAY) return refuse('time', 'it is more than a day away from this node’s clock');
  const own = named.some((id) => id !== null && input.keys.some((key) => key.public.id === id));
  const uses = (['release-dsse', 'tuf-root'] as const).filter((use) => usesOf(input).includes(use) && (use === 'tuf-root' || own));
  const message = pae(request.payload_type, payload);
  const plan = uses.map((use): PlannedSignature => ({ use, format: 'dsse', file: null, message, second: null }));
  const differing = differs(plan, request);
  if (differing !== null) return refuse('bytes', differing);
  return {
    ...refusal(about, '', '', input.now),
    refused: null,
    plan,
    needsPerson: true,
    shown: describeKeyDocument(request, fromUtf8(payload) ?? ''),
  };
}

function idOf(pem: string): string | null {
  try {
    return anyKeyFromPem(pem).id;
  } catch {
    // What is no key is none of this node's.
    return null;
  }
}
