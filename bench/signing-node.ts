/** A signing node for the bench: its judgement alone, and the whole of it in a folder. */
import { parseBundle } from '@lockstep/protocol/bundle/bundle';
import { readDocument } from '@lockstep/protocol/dsse/document';
import type { Algorithm, KeyUse } from '@lockstep/protocol/key/key-use';
import { SIGNING_RECORD } from '@lockstep/protocol/signing/record';
import { parseRequest } from '@lockstep/protocol/signing/request';
import { initLog } from '@lockstep/log/sequence/log-home';
import { makeFileKey, openFileKey } from '@lockstep/signer/custody/file-key';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { judge } from '@lockstep/signer/node/judge';
import type { Judged, JudgeInput } from '@lockstep/signer/node/judged';
import { NOTHING } from '@lockstep/signer/node/memory';
import { openNode, type SignerNode } from '@lockstep/signer/node/node';
import { BenchError } from './measure.ts';
import { NODE, NOW, ROOT } from './signing.ts';

/** What a node comes to that has seen nothing yet. */
export function judged(request: Uint8Array, key: JudgeInput['keys'][number]): Judged {
  const found = judge(parseRequest(request), { memory: NOTHING, root: ROOT, lines: ['main'], keys: [key], now: NOW });
  if (found.refused !== null) throw new BenchError(`${found.refused.step}: ${found.refused.reason}`);
  return found;
}

export const noPassphrase = (): Promise<null> => Promise.resolve(null);

/** A node in a folder of its own, with an Ed25519 file key of each use. */
export async function openBenchNode(folder: string, uses: readonly KeyUse[]): Promise<{ node: SignerNode; keys: readonly SigningKey[] }> {
  const key = async (use: KeyUse, algorithm: Algorithm): Promise<SigningKey> => {
    const path = `${folder}/${use}.json`;
    await makeFileKey({ path, name: use, use, algorithm, passphrase: null, now: new Date(NOW * 1000) });
    return openFileKey(path, noPassphrase);
  };
  const keys: SigningKey[] = [];
  for (const use of uses) keys.push(await key(use, 'ed25519'));
  const node = await openNode({
    name: NODE,
    root: ROOT,
    lines: ['main'],
    keys,
    shares: [],
    nodeKey: await key('node', 'ecdsa-p256'),
    log: initLog(`${folder}/log`, `${NODE}.signer`, null),
    clock: () => NOW,
    confirm: null,
  });
  return { node, keys };
}

/** Of an answer that has to have signatures: the node's newest, which goes with the next request. */
export function checkpointOf(answer: Uint8Array): string {
  const { payloadType, payload, checkpoint } = parseBundle(answer);
  const record = readDocument(SIGNING_RECORD, payloadType, payload);
  if (record?.result !== 'signed') throw new BenchError(`the node refused: ${record?.step}: ${record?.reason}`);
  return checkpoint;
}
