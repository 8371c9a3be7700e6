/** A farm whose log lies in its storage, as replicas need it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { initSharedLog } from '@lockstep/log/sequence/log-home';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { signPolicy } from '../../packages/cli/src/trust/tuf-repository.ts';

export const LOG_IN_STORAGE = 'log_in = "storage"';

/** Before anything was logged. */
export function moveLog(folder: string): void {
  const old = JSON.parse(readFileSync(`${folder}/log/log.json`, 'utf8')) as { origin: string; witness_policy: string | null };
  rmSync(`${folder}/log`, { recursive: true });
  const key = formatVerifierKey(initSharedLog(`${folder}/log`, old.origin, old.witness_policy));
  const file = `${folder}/policy/policy.json`;
  const policy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown> & { version: number; logs: Record<string, unknown>[] };
  const next = { ...policy, version: policy.version + 1, logs: policy.logs.map((one) => ({ ...one, key })) };
  writeFileSync(file, JSON.stringify(next));
  signPolicy(`${folder}/policy`, Buffer.from(JSON.stringify(next)), Date.now() / 1000, 1);
}
