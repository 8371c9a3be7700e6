/**
 * Asks witnesses of the same process directly, and all others over HTTP. A local one gets the same requests, with the same
 * proofs, as one that is far away: it believes the log no more for being its neighbour.
 */
import type { WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import type { WitnessClient } from '../sequence/publish.ts';
import type { LogSource } from '../source/log-source.ts';
import { type AskedWitness, askedByUrl, witnessClient, type WitnessTransport } from './client.ts';
import { addCheckpoint, cosignedCheckpoint, type Witness } from './witness.ts';

/**
 * @param local told apart in the policy by name and key: a key that is not theirs is looked for at its address
 * @param source the log's own files, for consistency proofs
 */
export function localWitnesses(policy: WitnessPolicy, origin: string, source: LogSource, local: readonly Witness[]): WitnessClient {
  const near = local.map(
    (witness): AskedWitness => ({
      transport: localTransport(witness),
      witnesses: policy.witnesses.filter((one) => isKeyOf(witness, one)),
    }),
  );
  const far = policy.witnesses.filter((one) => !local.some((witness) => isKeyOf(witness, one)));
  return witnessClient([...near.filter(({ witnesses }) => witnesses.length > 0), ...askedByUrl(far)], origin, source);
}

function isKeyOf(witness: Witness, { key }: WitnessPolicy['witnesses'][number]): boolean {
  return [witness.ed25519, witness.mlDsa].some((own) => own.key.name === key.name && sameHash(own.key.publicKey, key.publicKey));
}

function localTransport(witness: Witness): WitnessTransport {
  return {
    name: `the witness ${witness.ed25519.key.name} of this process`,
    addCheckpoint: (body) => new Promise((done) => done(addCheckpoint(witness, Buffer.from(body)))),
    checkpoint: (originHash) =>
      new Promise((done) => {
        const note = cosignedCheckpoint(witness, originHash);
        done(note === null ? { status: 404, body: '' } : { status: 200, body: note });
      }),
  };
}
