/** C2SP tlog-proof: an inclusion proof and its checkpoint as one text file. */
import { toBase64 } from '../bytes/base64.ts';
import { parseDecimal, parseHash } from '../checkpoint/checkpoint.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { TreeHash } from '../merkle/hash.ts';
import { MAX_PROOF_HASHES } from '../merkle/proof.ts';

export interface TlogProof {
  readonly index: number;
  readonly proof: readonly TreeHash[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
}

const HEADER = 'c2sp.org/tlog-proof@v1';

export function formatTlogProof(proof: TlogProof): string {
  return [HEADER, `index ${proof.index}`, ...proof.proof.map(toBase64), '', proof.checkpoint].join('\n');
}

/** Extra data is not used here, so a proof that has it is refused. @throws LockstepError PROOF_INVALID */
export function parseTlogProof(text: string): TlogProof {
  const invalid = (why: string): LockstepError =>
    new LockstepError('PROOF_INVALID', `Not a tlog-proof: ${why}`, 'Give a file that "lockstep log prove" wrote.');
  const split = text.indexOf('\n\n');
  if (split === -1 || text.length > 2_000_000) throw invalid('it has no checkpoint');
  const [header, indexLine = '', ...hashes] = text.slice(0, split).split('\n');
  const index = indexLine.startsWith('index ') ? parseDecimal(indexLine.slice(6)) : null;
  if (header !== HEADER) throw invalid(`its first line is not ${HEADER}`);
  if (index === null) throw invalid('its second line is no index');
  if (hashes.length > MAX_PROOF_HASHES) throw invalid(`it has more than ${MAX_PROOF_HASHES} hashes`);
  const proof = hashes.map((line) => {
    const hash = parseHash(line);
    if (hash === null) throw invalid('a line is no hash');
    return hash;
  });
  return { index, proof, checkpoint: text.slice(split + 2) };
}
