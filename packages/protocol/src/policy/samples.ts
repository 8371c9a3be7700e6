/** Policies for tests. Keys come from fixed seeds, by number: nothing here is a secret. */
import {
  sampleDocumentSigner,
  type SampleDocumentSigner,
  sampleEd25519Witness,
  sampleLogSigner,
  sampleMlDsaWitness,
} from '../bundle/samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import type { Sha256 } from '../digest/digest.ts';
import { canonicalText } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { publicKeyToPem } from '../key/p256.ts';
import { formatVerifierKey } from '../note/verifier-key.ts';
import { parsePolicy } from './parse-policy.ts';
import { type Policy } from './policy.ts';

type Table = Record<string, Json>;

const signers = new Map<number, SampleDocumentSigner>();

/** Builders a to f have 11 to 16; the coordinator has 31; arbiters x, y, z have 41 to 43; 90 and up are strangers. */
export function sampleSigner(number: number): SampleDocumentSigner {
  const found = signers.get(number) ?? sampleDocumentSigner(number);
  signers.set(number, found);
  return found;
}

export const COORDINATOR = 31;
export const ARBITERS = [41, 42, 43] as const;

export function sampleKeyId(number: number): Sha256 {
  return sampleSigner(number).key.id;
}

export function samplePem(number: number): string {
  return publicKeyToPem(sampleSigner(number).key);
}

export function sampleBuilder(name: string, number: number, operator = `Org ${name}`, site = `site-${name}`, more: Table = {}): Table {
  return { name, key: samplePem(number), domain: { operator, site, lineage: 'debian-12 runc', ...more } };
}

export const LOG_SIGNER = sampleLogSigner('log.example/farm', 1);
export const WITNESS_ED25519 = sampleEd25519Witness('witness.example/1', 2);
export const WITNESS_ML_DSA = sampleMlDsaWitness('witness.example/1', 3);

export function samplePolicyJson(change: Table = {}): Table {
  return {
    schema: 'lockstep-policy/v1',
    name: 'sample',
    version: 3,
    expires: '2030-01-01T00:00:00Z',
    builders: ['a', 'b', 'c', 'd', 'e', 'f'].map((name, index) => sampleBuilder(name, 11 + index)),
    coordinators: [{ name: 'coordinator', key: samplePem(COORDINATOR) }],
    arbiters: { threshold: 2, members: ARBITERS.map((number, index) => ({ name: 'xyz'.charAt(index), key: samplePem(number) })) },
    logs: [{ key: formatVerifierKey(LOG_SIGNER.key), operator: 'Org log', site: 'site-log' }],
    witnesses: [
      {
        name: 'w1',
        keys: [formatVerifierKey(WITNESS_ED25519.key), formatVerifierKey(WITNESS_ML_DSA.key)],
        operator: 'Org witness',
        site: 'site-witness',
      },
    ],
    witness_quorum: 'w1',
    rules: [sampleRule()],
    ...change,
  };
}

/** Two of them, without commitments. */
export function sampleRule(change: Table = {}): Table {
  return { packages: '*', tier: 'container', quorum: 2, commitments: 'none', sources: ['*'], ...change };
}

export function samplePolicy(change: Table = {}): Policy {
  return parsePolicy(toUtf8(canonicalText(samplePolicyJson(change))), 'policy.json');
}
