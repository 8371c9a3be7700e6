/** `lockstep log append`: signed documents into a log; prints their indexes and writes a Sigstore bundle beside each. */
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { LOG_REFERENCE } from '@lockstep/protocol/commitment/documents';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type PublicKey, publicKeyFromPem, publicKeyFromSpki, verifyP256 } from '@lockstep/protocol/key/p256';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { openLogHome } from '@lockstep/log/sequence/log-home';
import type { Submission } from '@lockstep/log/sequence/submission';
import { writeDurably } from '@lockstep/store/durable';
import { appendTo, openLog } from '../../farm-log.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly key?: string;
  readonly reference?: string;
  readonly referenceKey?: string;
}

export function logAppend(folder: string, files: readonly string[], options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const home = openLogHome(folder);
    const signer =
      options.key === undefined ? ownKey(context.settings.keyFile) : publicKeyFromPem(readNamedFile(options.key).toString('utf8'));
    const submissions = files.flatMap((file) => submissionsOf(file, signer).map((submission) => ({ file, submission })));
    const reference =
      options.reference === undefined ? [] : [await referenceTo(options.reference, options.referenceKey, context.settings.keyFile)];
    if (submissions.length + reference.length === 0)
      throw new LockstepError('USAGE', 'There is nothing to append', 'Name .intoto.json files, or another log with --reference.');
    const appended = await appendTo(home, [...submissions.map((one) => one.submission), ...reference]);
    const lines: string[] = [];
    const written = appended.map(({ index, bundle }, at) => {
      const file = submissions[at]?.file ?? null;
      const path = file === null ? null : `${file.replace(/\.intoto\.json$/, '').replace(/\.json$/, '')}.sigstore.json`;
      if (path !== null) writeDurably(path, formatBundle(bundle));
      lines.push(`${index}  ${file ?? `reference to ${options.reference ?? ''}`}${path === null ? '' : ` → ${path}`}`);
      return { index, file, bundle: path };
    });
    print(lines.join('\n'), { schema: 'lockstep-log-append/v1', origin: home.origin, appended: written });
    return 0;
  });
}

function ownKey(keyFile: string): PublicKey {
  return publicKeyFromSpki(new Uint8Array(openAttestationKey(keyFile).spki));
}

/** One for each signature that the key given made: a log entry has one signature. */
function submissionsOf(file: string, signer: PublicKey): Submission[] {
  const envelope = parseEnvelope(readNamedFile(file));
  const message = pae(envelope.payloadType, envelope.payload);
  const mine = envelope.signatures.filter(({ sig }) => verifyP256(signer, message, sig));
  if (mine.length === 0)
    throw new LockstepError(
      'LOG_ENTRY_INVALID',
      `${file} is not signed by the key ${signer.id.slice(0, 16)}`,
      'Give its signer’s public key with --key PEM.',
    );
  return mine.slice(0, 1).map(({ sig }) => ({ payloadType: envelope.payloadType, payload: envelope.payload, signature: sig, signer }));
}

/** What the other log had published, once it was verified, as a document that this machine's key signs. */
async function referenceTo(where: string, vkey: string | undefined, keyFile: string): Promise<Submission> {
  const { view } = await openLog(where, vkey);
  const { origin, size, root } = view.checkpoint;
  openAttestationKey(keyFile);
  return signDocument(keyFile, LOG_REFERENCE, {
    schema: 'lockstep-log-reference/v1',
    origin,
    size,
    root: toHex(root),
    checkpoint: view.text,
  });
}
