/**
 * A witness (C2SP tlog-witness): remembers the newest checkpoint of each log that it follows, and cosigns only what
 * continues it. The answer is given after the new state is on the disk, so that no restart takes a cosignature back.
 */
import { createHash } from 'node:crypto';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Checkpoint, parseCheckpointText, parseDecimal, parseHash } from '@lockstep/protocol/checkpoint/checkpoint';
import { ed25519CosignatureMessage, formatTimestamped, mlDsaCosignatureMessage } from '@lockstep/protocol/checkpoint/cosignature';
import { openCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { integer, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { parseJson } from '@lockstep/protocol/json/parse';
import { emptyRoot, sameHash, type TreeHash } from '@lockstep/protocol/merkle/hash';
import { MAX_PROOF_HASHES, verifyConsistency } from '@lockstep/protocol/merkle/proof';
import { formatNote, formatSignatureLine, type Note, type NoteSignature, parseNote } from '@lockstep/protocol/note/note';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { Cells } from '@lockstep/store/cells';
import type { NoteSigner } from '../key/log-key.ts';

export interface Witness {
  readonly cells: Cells;
  /** Keys of the logs that it follows, by origin. */
  readonly logs: ReadonlyMap<string, readonly VerifierKey[]>;
  readonly ed25519: { readonly key: VerifierKey; readonly signer: NoteSigner };
  readonly mlDsa: { readonly key: VerifierKey; readonly signer: NoteSigner };
  /** Seconds since 1970. */
  readonly now: () => number;
}

export interface WitnessReply {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly type: 'text/plain; charset=utf-8' | 'text/x.tlog.size';
  readonly body: string;
}

interface Seen {
  readonly size: number;
  readonly root: TreeHash;
  readonly note: string;
}

/** Three lines, with room for extension lines. */
const MAX_NOTE_TEXT = 65_536;
/** Racing requests for one log; each one that loses sees a newer state, which ends it with 409. */
const MAX_RACES = 100;

const decodeSeen = table({
  schema: oneOf(['lockstep-witness-state/v1'] as const),
  size: integer(0, Number.MAX_SAFE_INTEGER),
  root: text('a hash', (value) => parseHash(value) !== null, 44),
  note: text('a signed note', () => true, 1_000_000),
});

/** `POST <submission prefix>/add-checkpoint`. */
export function addCheckpoint(witness: Witness, body: Uint8Array): WitnessReply {
  const request = parseRequest(body);
  if (typeof request === 'string') return plain(400, request);
  const { old, proof, note, checkpoint } = request;
  // Kept and served together with the cosignatures, as a note that everybody reads.
  if (note.text.length > MAX_NOTE_TEXT) return plain(400, 'the checkpoint has too many extension lines');
  const keys = witness.logs.get(checkpoint.origin);
  if (keys === undefined) return plain(404, 'this witness does not follow that log');
  const logSignatures = signaturesOfLog(note, keys);
  if (logSignatures === null) return plain(403, 'the checkpoint is not signed by a key that this witness knows for the log');
  if (old > checkpoint.size) return plain(400, 'the old size is larger than the checkpoint');
  const cell = cellOf(checkpoint.origin);
  for (let race = 0; race < MAX_RACES; race++) {
    const kept = witness.cells.get(cell);
    const seen = kept === null ? { size: 0, root: emptyRoot(), note: '' } : parseSeen(kept);
    if (old !== seen.size) return { status: 409, type: 'text/x.tlog.size', body: `${seen.size}\n` };
    if (!continues(seen, checkpoint, proof)) return plain(422, 'the checkpoint is not proven to continue what this witness has cosigned');
    const cosignatures = cosign(witness, checkpoint, Math.floor(witness.now()));
    const next: Seen = {
      size: checkpoint.size,
      root: checkpoint.root,
      note: formatNote({ text: note.text, signatures: [...logSignatures, ...cosignatures] }),
    };
    // Checked and kept as one step: a request for a smaller tree that was checked before cannot roll this back.
    if (witness.cells.swap(cell, kept, formatSeen(next))) return plain(200, cosignatures.map(formatSignatureLine).join(''), '');
  }
  throw new LockstepError('STORE_BUSY', 'Other requests for this log were faster every time', 'Send the request again.');
}

/** `GET <monitoring prefix>/<origin hash>/checkpoint`; null when nothing was cosigned for that log. */
export function cosignedCheckpoint(witness: Witness, originHash: string): string | null {
  const origin = [...witness.logs.keys()].find((one) => originHashOf(one) === originHash);
  const kept = origin === undefined ? null : witness.cells.get(cellOf(origin));
  if (kept === null || origin === undefined) return null;
  const { note } = parseSeen(kept);
  const own = [witness.ed25519.key, witness.mlDsa.key];
  try {
    if (openCheckpoint(note, [...own, ...(witness.logs.get(origin) ?? [])]).signedBy.length > own.length) return note;
  } catch {
    // A signature of its own that does not verify: what is kept was damaged.
  }
  throw damaged();
}

export function originHashOf(origin: string): string {
  return createHash('sha256').update(origin).digest('hex');
}

interface AddCheckpointRequest {
  readonly old: number;
  readonly proof: readonly TreeHash[];
  readonly note: Note;
  readonly checkpoint: Checkpoint;
}

export function formatRequest(old: number, proof: readonly TreeHash[], note: string): string {
  return [`old ${old}`, ...proof.map(toBase64), '', note].join('\n');
}

/** What is wrong with it, as text, when it is no request. */
export function parseRequest(body: Uint8Array): AddCheckpointRequest | string {
  const whole = fromUtf8(body);
  const split = whole?.indexOf('\n\n') ?? -1;
  if (whole === null || split === -1) return 'the body is no request';
  const [oldLine = '', ...lines] = whole.slice(0, split).split('\n');
  const old = oldLine.startsWith('old ') ? parseDecimal(oldLine.slice(4)) : null;
  if (old === null) return 'the first line is no old size';
  if (lines.length > MAX_PROOF_HASHES) return `there are more than ${MAX_PROOF_HASHES} proof lines`;
  const proof: TreeHash[] = [];
  for (const line of lines) {
    const hash = parseHash(line);
    if (hash === null) return 'a proof line is no hash';
    proof.push(hash);
  }
  try {
    const note = parseNote(whole.slice(split + 2));
    return { old, proof, note, checkpoint: parseCheckpointText(note.text) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function continues(seen: Seen, checkpoint: Checkpoint, proof: readonly TreeHash[]): boolean {
  if (checkpoint.size === 0 && !sameHash(checkpoint.root, emptyRoot())) return false;
  return verifyConsistency(seen, checkpoint, proof);
}

/** The signatures by known keys of the log; null when there is none, or a known key's signature does not verify. */
function signaturesOfLog(note: Note, keys: readonly VerifierKey[]): NoteSignature[] | null {
  try {
    if (openCheckpoint(formatNote(note), keys).signedBy.length === 0) return null;
  } catch {
    // A known key with a bad signature: "403 Forbidden".
    return null;
  }
  // Each key once: a line that is repeated would make the kept note larger than anybody reads.
  return keys.flatMap((key) => note.signatures.filter((one) => one.name === key.name && one.keyId === key.keyId).slice(0, 1));
}

function cosign(witness: Witness, checkpoint: Checkpoint, time: number): NoteSignature[] {
  const { ed25519, mlDsa } = witness;
  return [
    {
      name: ed25519.key.name,
      keyId: ed25519.key.keyId,
      signature: formatTimestamped(time, ed25519.signer.sign(ed25519CosignatureMessage(checkpoint, time))),
    },
    {
      name: mlDsa.key.name,
      keyId: mlDsa.key.keyId,
      signature: formatTimestamped(time, mlDsa.signer.sign(mlDsaCosignatureMessage(mlDsa.key.name, checkpoint, time))),
    },
  ];
}

function cellOf(origin: string): string {
  return `log-${originHashOf(origin)}`;
}

function formatSeen(seen: Seen): string {
  return canonicalText({ schema: 'lockstep-witness-state/v1', size: seen.size, root: toBase64(seen.root), note: seen.note });
}

function parseSeen(text_: string): Seen {
  const seen = readSeen(text_);
  if (seen === null) throw damaged();
  return seen;
}

function damaged(): LockstepError {
  return new LockstepError(
    'STORE_CORRUPT',
    'What this witness has kept of a log is damaged',
    'Restore it from no backup: give the witness a new key and tell who relies on it.',
  );
}

/** What is kept says the same thing twice, as fields and as the note; null when it does not. */
function readSeen(text_: string): Seen | null {
  try {
    const decoded = decodeSeen(parseJson(text_, 'the state of the witness'), []);
    const root = decoded.ok ? parseHash(decoded.value.root) : null;
    if (!decoded.ok || root === null) return null;
    const { size, note } = decoded.value;
    const checkpoint = parseCheckpointText(parseNote(note).text);
    return checkpoint.size === size && sameHash(checkpoint.root, root) ? { size, root, note } : null;
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}

function plain(status: WitnessReply['status'], body: string, end = '\n'): WitnessReply {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}${end}` };
}
