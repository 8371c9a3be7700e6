/** Approvals into a log: as they are where the log takes them (P-256), else carried. Through the farm, or by the log's operator. */
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import type { Envelope } from '@lockstep/protocol/dsse/envelope';
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { carry, CARRIED } from '@lockstep/protocol/release/carried';
import type { ReleaseRecord } from '@lockstep/protocol/release/release-record';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { openLogHome } from '@lockstep/log/sequence/log-home';
import type { Submission } from '@lockstep/log/sequence/submission';
import { writeDurably } from '@lockstep/store/durable';
import type { FarmClient } from '@lockstep/api/client';
import { type Appended, appendTo } from '../farm-log.ts';
import { envelopesOf } from './write-files.ts';

export interface SignedEnvelope {
  /** The file that it is about, for the name of its bundle. */
  readonly file: string;
  readonly envelope: Envelope;
  /** SubjectPublicKeyInfo of each signature's key, in the same order. */
  readonly keys: readonly Uint8Array[];
  readonly buildId: string | null;
}

export function releaseEnvelopes(record: ReleaseRecord, signatures: readonly MadeSignature[]): SignedEnvelope[] {
  return envelopesOf(record, signatures).map(({ file, envelope }) => ({
    file,
    envelope,
    keys: envelope.signatures.map(({ keyid }) => anyKeyFromPem(signatures.find((one) => one.key.id === keyid)?.key.pem ?? '').spki),
    buildId: record.build_id,
  }));
}

/** One submission for each P-256 signature, and one carrier for all others together. */
function submissionsOf(one: SignedEnvelope, carrierKeyFile: string): { readonly file: string; readonly submission: Submission }[] {
  const { envelope } = one;
  const direct = envelope.signatures.flatMap(({ sig }, at) => {
    const key = p256Of(one.keys[at] ?? new Uint8Array(0));
    return key === null || one.buildId === null ? [] : [{ sig, key }];
  });
  const others = envelope.signatures.filter(({ sig }) => !direct.some((two) => two.sig === sig));
  const carried =
    others.length === 0
      ? []
      : [{ file: one.file, submission: signDocument(carrierKeyFile, CARRIED, carry({ ...envelope, signatures: others }, one.buildId)) }];
  return [
    ...direct.map(({ sig, key }) => ({
      file: one.file,
      submission: { payloadType: envelope.payloadType, payload: envelope.payload, signature: sig, signer: key },
    })),
    ...carried,
  ];
}

function p256Of(spki: Uint8Array): ReturnType<typeof publicKeyFromSpki> | null {
  try {
    return publicKeyFromSpki(spki);
  } catch {
    // Of another algorithm, which the log does not take directly.
    return null;
  }
}

/** By the log's own operator. @returns what was appended, and the bundle files that were written */
export async function appendEnvelopes(
  logFolder: string,
  carrierKeyFile: string,
  envelopes: readonly SignedEnvelope[],
  out: string | null,
): Promise<{ readonly appended: readonly Appended[]; readonly bundles: readonly string[] }> {
  const submissions = envelopes.flatMap((one) => submissionsOf(one, carrierKeyFile));
  const appended = await appendTo(
    openLogHome(logFolder),
    submissions.map((one) => one.submission),
  );
  const bundles = appended.map(({ bundle }, at) => {
    const { file, submission } = submissions[at] ?? { file: 'document', submission: null };
    // The bundle of a carrier is signed by whoever carries it: it is named for what it is, and verifiers of ours look inside.
    const by = submission === null || submission.payloadType === CARRIED.payloadType ? `carried-${at}` : submission.signer.id.slice(0, 8);
    const name = `${file.replace(/\.json$/, '')}.${by}.sigstore.json`;
    if (out !== null) writeDurably(`${out}/${name}`, formatBundle(bundle));
    return name;
  });
  return { appended, bundles: out === null ? [] : bundles };
}

/** Through the farm: its coordinator carries what the log does not take directly. */
export async function sendEnvelopes(client: FarmClient, envelopes: readonly SignedEnvelope[]): Promise<void> {
  for (const { envelope, keys } of envelopes)
    await client.call('submitApproval', {
      body: {
        payloadType: envelope.payloadType,
        payload: toBase64(envelope.payload),
        signatures: envelope.signatures.map(({ sig }, at) => ({ key: toBase64(keys[at] ?? new Uint8Array(0)), sig: toBase64(sig) })),
      },
    });
}
