/** When a farm has logged approvals, their Sigstore bundles: one for each signature that the log took as it is. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Context } from '@lockstep/builder/context';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { entriesAbout } from '@lockstep/log/watch/entries-about';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { writeDurably } from '@lockstep/store/durable';
import { openPolicyLog } from '../policy-log.ts';
import { readTrustedPolicy } from '../trust/trusted-policy.ts';
import type { ReleasePlaces } from '../verbs/release/release-options.ts';
import type { SignedEnvelope } from './into-log.ts';

/** The farm logs what it took within its sweep. */
const PATIENCE_MS = 30_000;
const POLL_MS = 300;

/** @returns names of the files; none when the log did not have them in time */
export async function bundlesFromLog(
  { rootFile, policyFolder, log }: ReleasePlaces,
  envelopes: readonly SignedEnvelope[],
  out: string,
  { store, now }: Context,
): Promise<string[]> {
  const { policy } = readTrustedPolicy(rootFile, policyFolder, store.cells, now());
  // Ed25519 signatures are carried, and have no bundle of their own.
  const wanted = envelopes.flatMap(({ file, envelope, keys }) =>
    envelope.signatures.flatMap(({ keyid }, at) =>
      anyKeyFromSpki(keys[at] ?? new Uint8Array(0)).algorithm === 'ecdsa-p256'
        ? [{ file, signer: keyid, digest: sha256Hex(pae(envelope.payloadType, envelope.payload)) }]
        : [],
    ),
  );
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const opened = await openPolicyLog(policy, log);
    const entries = await entriesAbout(opened.source, opened.view, envelopes[0]?.buildId ?? null);
    const found = wanted.flatMap((one) => {
      const entry = entries.find(({ digest, signer }) => digest === one.digest && signer === one.signer);
      return entry === undefined ? [] : [{ ...one, index: entry.index }];
    });
    if (found.length === wanted.length || performance.now() > end) {
      const names: string[] = [];
      for (const { file, signer, index } of found) {
        const name = `${file.replace(/\.json$/, '')}.${signer.slice(0, 8)}.sigstore.json`;
        writeDurably(`${out}/${name}`, formatBundle(await makeBundle(opened.source, opened.key, opened.view, index)));
        names.push(name);
      }
      return names;
    }
    await pause(POLL_MS);
  }
}
