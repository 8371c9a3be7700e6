/**
 * `lockstep key rotate` and `lockstep key revoke`: documents about release keys, signed by whoever can vouch for it (the key
 * itself through its node, or the root's threshold), and logged: their place in the log is what counts.
 */
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { existsSync } from 'node:fs';
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { type DocumentKind, formatDocument } from '@lockstep/protocol/dsse/document';
import { type Envelope, pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromPem, anyKeyToPem, verifySignature } from '@lockstep/protocol/key/any-key';
import { readPrivateFile } from '@lockstep/signer/custody/private-file';
import { readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { KEY_CHANGE, KEY_REVOCATION, type KeyRevocation } from '@lockstep/protocol/release/key-documents';
import { releaseKeys, type SeatKey } from '@lockstep/protocol/release/release-keys';
import { formatRequest } from '@lockstep/protocol/signing/request';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import { withFarm } from '../../farm/connect.ts';
import { readNamedFile } from '../../read-file.ts';
import { askApprover } from '../../release/ask.ts';
import { cardsOf } from '../../release/group-card.ts';
import { type LogEvidence, readEvidence } from '../../release/evidence.ts';
import { keysAfter } from '../../release/keys-after.ts';
import { appendEnvelopes, sendEnvelopes } from '../../release/into-log.ts';
import { runVerb, type Session } from '../../session.ts';
import { confirmation } from '../../signer/confirm.ts';
import { knownCheckpoint } from '../../signer/known-checkpoints.ts';
import { readTrustedPolicy } from '../../trust/trusted-policy.ts';
import { requesterKey } from '../release/approve.ts';
import { approversOf, placesOf, type ReleaseOptions, secondsOf } from '../release/release-options.ts';

export interface ChangeOptions extends ReleaseOptions {
  readonly into?: string;
  readonly rootKey?: readonly string[];
  readonly reason: string;
}

interface Known {
  readonly trust: TrustedPolicy;
  readonly evidence: LogEvidence;
}

export function keyRotate(
  old: string,
  options: ChangeOptions & { readonly to: string; readonly overlapDays?: string; readonly made?: string },
): Promise<void> {
  return runVerb({ ...options, quiet: true }, async (session) => {
    const { now } = session.context;
    const known = await knownOf(options, session);
    const before = keyNamed(old, known);
    const next = publicKey(options.to);
    const days = options.overlapDays === undefined ? null : Number(options.overlapDays);
    if (days !== null && (!Number.isInteger(days) || days < 1 || days > 3650))
      throw new LockstepError('USAGE', `--overlap-days ${options.overlapDays} is no number of days`, 'Give 1 to 3650.');
    const envelope = await signed(
      KEY_CHANGE,
      {
        schema: 'lockstep-key-change/v1',
        use: 'release-dsse',
        old: before.id,
        new: anyKeyToPem(next),
        reason: options.reason,
        time: isoTime(now()),
        overlap_until: days === null ? null : isoTime(now() + days * 86_400),
        made: options.made ?? null,
      },
      options,
      session,
    );
    const message = pae(envelope.payloadType, envelope.payload);
    if (!envelope.signatures.some(({ sig }) => verifySignature(next, message, sig.sig)))
      throw new LockstepError(
        'SIGNING_REFUSED',
        'The new key has not signed',
        'Name the node that holds it with --node: it has to show that somebody holds it.',
      );
    requireCounts(known, envelope, (keys) => keys.some((one) => one.key.id === next.id));
    return await logged(session, options, envelope, `${before.id.slice(0, 16)} hands over to ${next.id.slice(0, 16)}`);
  });
}

export function keyRevoke(key: string, options: ChangeOptions & { readonly why: string; readonly fromIndex?: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async (session) => {
    const known = await knownOf(options, session);
    const { evidence } = known;
    const revoked = keyNamed(key, known);
    const why = (['retired', 'lost', 'stolen'] as const).find((one) => one === options.why);
    if (why === undefined) throw new LockstepError('USAGE', `--why ${options.why} is none`, 'One of retired, lost, stolen.');
    const index = options.fromIndex === undefined ? evidence.view.checkpoint.size : Number(options.fromIndex);
    if (!Number.isInteger(index) || index < 0 || index > evidence.view.checkpoint.size)
      throw new LockstepError(
        'USAGE',
        `--from-index ${options.fromIndex} is no index of the log`,
        `It has ${evidence.view.checkpoint.size} entries; "lockstep log monitor" shows them.`,
      );
    if (options.fromIndex !== undefined && options.rootKey === undefined)
      throw new LockstepError(
        'USAGE',
        'Only the root can say that a key was stolen earlier: a thief has the key too',
        'Give --root-key FILE, as many as the root’s threshold.',
      );
    const document: KeyRevocation = {
      schema: 'lockstep-key-revocation/v1',
      use: 'release-dsse',
      key: revoked.id,
      why,
      reason: options.reason,
      time: isoTime(session.context.now()),
      from: { log: evidence.key.name, index },
    };
    const envelope = await signed(KEY_REVOCATION, document, options, session);
    requireCounts(known, envelope, (keys) => keys.some((one) => one.key.id === revoked.id && one.until <= index));
    return await logged(session, options, envelope, `${revoked.id.slice(0, 16)} is ${why}: nothing at index ${index} or later counts`);
  });
}

/** Keys that can say something about a release key: another one of its kind, and the root. */
const USES = ['release-dsse', 'tuf-root'] as const;

interface Signed extends Omit<Envelope, 'signatures'> {
  readonly signatures: readonly { readonly key: AnyKey; readonly sig: Envelope['signatures'][number] }[];
}

async function signed<T>(kind: DocumentKind<T>, value: T, options: ChangeOptions, { context }: Session): Promise<Signed> {
  const payload = formatDocument(kind, value);
  const message = pae(kind.payloadType, payload);
  const signatures: Signed['signatures'][number][] = (options.rootKey ?? []).map((file) => rootSignature(file, message));
  // Where the root speaks, the node of the farm is perhaps what was lost: it is asked when it is named, or nobody else is.
  if (options.node !== undefined || signatures.length === 0) {
    const approvers = approversOf(options);
    const { cells } = context.store;
    const request = formatRequest({
      schema: 'lockstep-signing-request/v1',
      purpose: 'key',
      nodes: Object.fromEntries(cardsOf(approvers).map((card) => [card.name, knownCheckpoint(cells, card)])),
      time: isoTime(context.now()),
      expected: USES.map((use) => ({ use, file: null, bytes: toBase64(message) })),
      payload_type: kind.payloadType,
      payload: toBase64(payload),
    });
    const plan = USES.map((use) => ({ use, format: 'dsse' as const, file: null, message, second: null }));
    for (const approver of approvers) {
      const answer = await askApprover(approver, {
        request,
        plan,
        cells,
        coordinator: requesterKey(context.settings.keyFile),
        line: { ...options, timeoutSeconds: secondsOf(options), confirm: confirmation(options) },
      });
      for (const one of answer.signatures) {
        const key = anyKeyFromPem(one.key.pem);
        signatures.push({ key, sig: { keyid: key.id, sig: fromBase64(one.signature) ?? new Uint8Array(0) } });
      }
    }
  }
  return { payloadType: kind.payloadType, payload, signatures };
}

/** The root's keys are files of the policy's folder, or stand in a node as "tuf-root". */
function rootSignature(file: string, message: Uint8Array): Signed['signatures'][number] {
  const secret = createPrivateKey(readPrivateFile(file, 10_000));
  if (secret.asymmetricKeyType !== 'ed25519')
    throw new LockstepError('KEY_INVALID', `${file} is no Ed25519 key`, 'Give the root’s own key: POLICY/keys/root-1.pem.');
  const sig = new Uint8Array(sign(null, message, secret));
  const key = anyKeyFromPem(createPublicKey(secret).export({ type: 'spki', format: 'pem' }).toString());
  return { key, sig: { keyid: key.id, sig } };
}

/** @throws LockstepError SIGNING_REFUSED when nothing would follow from it */
function requireCounts({ trust, evidence }: Known, said: Signed, holds: (keys: readonly SeatKey[]) => boolean): void {
  if (!holds(keysAfter(trust, evidence, envelopeOf(said))))
    throw new LockstepError(
      'SIGNING_REFUSED',
      'Nobody who may say so has signed it, or it changes nothing: verifiers would not follow it',
      'A key speaks for itself through its node (--node); for one that is lost or stolen the root does (--root-key, as many as its threshold).',
    );
}

function envelopeOf({ payloadType, payload, signatures }: Signed): Envelope {
  return { payloadType, payload, signatures: signatures.map((one) => one.sig) };
}

async function logged({ context, print }: Session, options: ChangeOptions, said: Signed, what: string): Promise<number> {
  const { payloadType, payload, signatures } = said;
  const one = { file: 'key.json', envelope: envelopeOf(said), keys: signatures.map(({ key }) => key.spki), buildId: null };
  if (options.into !== undefined) await appendEnvelopes(options.into, context.settings.keyFile, [one], null);
  else if (options.farm !== undefined) await withFarm(options, ({ client }) => sendEnvelopes(client, [one]));
  else throw new LockstepError('USAGE', 'It counts when it is in the log only', 'Give --farm, or --into FOLDER of the log’s operator.');
  print(`${what}; signed by ${signatures.length} keys, and ${options.into === undefined ? 'taken by the farm, which logs it' : 'logged'}`, {
    schema: 'lockstep-key-document/v1',
    payload_type: payloadType,
    signers: signatures.map(({ key }) => key.id),
    document: JSON.parse(Buffer.from(payload).toString()) as Record<string, unknown>,
  });
  return 0;
}

async function knownOf(options: ChangeOptions, { context }: Session): Promise<Known> {
  const { rootFile, policyFolder, log } = placesOf(options);
  const trust = readTrustedPolicy(rootFile, policyFolder, context.store.cells, context.now());
  return { trust, evidence: await readEvidence(trust.policy, log) };
}

/** A seat’s name in the policy (its newest key), a public key’s file, or 8 digits or more of an id. */
function keyNamed(what: string, { trust, evidence }: Known): AnyKey {
  const keys = releaseKeys(trust.policy, evidence.entries, trust.root);
  const found =
    keys.findLast((one) => one.seat === what && one.ended === null) ??
    // Whose key was revoked gets a successor of that one.
    keys.findLast((one) => one.seat === what) ??
    (existsSync(what)
      ? keys.find((one) => one.key.id === publicKey(what).id)
      : keys.find((one) => what.length >= 8 && one.key.id.startsWith(what)));
  if (found === undefined)
    throw new LockstepError(
      'NOT_FOUND',
      `${what} is no release key of the policy`,
      `There are ${keys.map((one) => `${one.seat} (${one.key.id.slice(0, 16)})`).join(', ') || 'none'}.`,
    );
  return found.key;
}

function publicKey(file: string): AnyKey {
  const text = readNamedFile(file).toString('utf8');
  return text.includes('-----BEGIN PUBLIC KEY-----') ? anyKeyFromPem(text) : readFileKeyHeader(file).public;
}
