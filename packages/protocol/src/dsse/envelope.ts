/** DSSE 1.0.2 envelopes: the payload that was signed is the payload that is read, and never parsed again. */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { list, optional, table, text } from '../decode/decode.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalText } from '../json/canonical.ts';
import { parseJson } from '../json/parse.ts';
import { formatPath } from '../decode/issue-error.ts';

export const IN_TOTO_PAYLOAD = 'application/vnd.in-toto+json';

export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly { readonly keyid: string; readonly sig: Uint8Array }[];
}

/** Each is tried with each trusted key. */
const MAX_SIGNATURES = 16;

const decode = table({
  payloadType: text('a payload type', (value) => value !== '', 200),
  payload: text('base64', () => true, 64 << 20),
  signatures: list(
    table({
      keyid: optional(
        text('a key id', () => true, 200),
        '',
      ),
      sig: text('base64', () => true, 16_384),
    }),
    MAX_SIGNATURES,
    1,
  ),
});

/** Pre-Authentication Encoding (DSSE "protocol"): lengths count bytes, so that no two pairs share an encoding. */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = toUtf8(payloadType);
  const head = toUtf8(`DSSEv1 ${type.length} `);
  const middle = toUtf8(` ${payload.length} `);
  const out = new Uint8Array(head.length + type.length + middle.length + payload.length);
  let at = 0;
  for (const part of [head, type, middle, payload]) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  const invalid = (why: string): LockstepError =>
    new LockstepError('ENVELOPE_INVALID', `Not a DSSE envelope: ${why}`, 'Give the .intoto.json file that the build wrote.');
  let json: ReturnType<typeof parseJson>;
  try {
    json = parseJson(bytes, 'envelope');
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : 'not JSON');
  }
  const decoded = decode(json, []);
  if (!decoded.ok) throw invalid(decoded.issues.map((issue) => `${formatPath(issue.path)}: expected ${issue.expected}`).join('; '));
  const payload = fromBase64(decoded.value.payload);
  const signatures = decoded.value.signatures.map(({ keyid, sig }) => ({ keyid, sig: fromBase64(sig) }));
  if (payload === null || signatures.some(({ sig }) => sig === null)) throw invalid('a field is not base64');
  return {
    payloadType: decoded.value.payloadType,
    payload,
    signatures: signatures.flatMap(({ keyid, sig }) => (sig === null ? [] : [{ keyid, sig }])),
  };
}

export function formatEnvelope(envelope: Envelope): string {
  return `${canonicalText({
    payloadType: envelope.payloadType,
    payload: toBase64(envelope.payload),
    signatures: envelope.signatures.map(({ keyid, sig }) => ({ keyid, sig: toBase64(sig) })),
  })}\n`;
}
