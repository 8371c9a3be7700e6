/** `lockstep log prove`: a bundle for what is logged, a C2SP tlog-proof, or a consistency proof between two sizes. */
import { existsSync } from 'node:fs';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { formatTlogProof } from '@lockstep/protocol/bundle/tlog-proof';
import { digestBytes } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { EMPTY_TREE } from '@lockstep/protocol/merkle/growing-tree';
import { verifyConsistency } from '@lockstep/protocol/merkle/proof';
import { replay } from '@lockstep/log/source/replay';
import { proveConsistency, proveInclusion, rootOfSource } from '@lockstep/log/source/tree-reader';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { writeDurably } from '@lockstep/store/durable';
import { type OpenedLog, openLog } from '../../farm-log.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb, type Session } from '../../session.ts';

interface Options extends CommonOptions {
  readonly key?: string;
  readonly out?: string;
  readonly from?: string;
  readonly form?: string;
}

export function logProve(where: string, what: string | undefined, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const log = await openLog(where, options.key);
    if (options.from !== undefined) return consistency(log, options.from, print);
    if (what === undefined)
      throw new LockstepError('USAGE', 'What is to be proven?', 'Give an index or an .intoto.json file; or --from SIZE for consistency.');
    const index = /^[0-9]{1,15}$/.test(what) && !existsSync(what) ? Number(what) : await indexOf(log, what);
    const text =
      options.form === 'tlog-proof'
        ? formatTlogProof({ index, proof: await proveInclusion(log.source, index, log.view.checkpoint.size), checkpoint: log.view.text })
        : formatBundle(await makeBundle(log.source, log.key, log.view, index));
    if (options.out !== undefined) writeDurably(options.out, text);
    print(options.out === undefined ? text.trimEnd() : `${options.out}: entry ${index} of ${log.view.checkpoint.size}`, {
      schema: 'lockstep-log-proof/v1',
      index,
      size: log.view.checkpoint.size,
      proof: text,
      file: options.out ?? null,
    });
    return 0;
  });
}

async function consistency(log: OpenedLog, from: string, print: Session['print']): Promise<number> {
  const newer = log.view.checkpoint;
  const size = /^[0-9]{1,15}$/.test(from) ? Number(from) : Number.NaN;
  if (!(size <= newer.size))
    throw new LockstepError('USAGE', `--from ${from} is no size up to ${newer.size}`, 'Give the size of an earlier checkpoint.');
  const proof = await proveConsistency(log.source, size, newer.size);
  const root = await rootOfSource(log.source, size);
  if (root !== null && size > 0 && !verifyConsistency({ size, root }, newer, proof))
    throw new LockstepError(
      'LOG_CORRUPT',
      'The tiles do not prove what the checkpoint says',
      'Run "lockstep log verify" to find the file.',
    );
  const hashes = proof.map(toBase64);
  print([`old ${size}`, ...hashes, '', log.view.text.trimEnd()].join('\n'), {
    schema: 'lockstep-log-consistency/v1',
    from: size,
    to: newer.size,
    proof: hashes,
  });
  return 0;
}

/** By the digest of what was signed; the last entry about it. */
async function indexOf(log: OpenedLog, file: string): Promise<number> {
  const envelope = parseEnvelope(readNamedFile(file));
  const { sha256 } = digestBytes(pae(envelope.payloadType, envelope.payload));
  let found: number | null = null;
  await replay(log.source, EMPTY_TREE, log.view.checkpoint, ({ index, bytes }) => {
    if (digestOf(bytes) === sha256) found = index;
  });
  if (found === null) throw new LockstepError('PROOF_INVALID', `${file} is not in the log`, 'Append it: lockstep log append.');
  return found;
}

function digestOf(entry: Uint8Array): string | null {
  try {
    return parseLogEntry(entry).digest;
  } catch {
    // Another kind of entry has no digest of ours.
    return null;
  }
}
