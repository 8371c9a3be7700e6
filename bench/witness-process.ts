/**
 * A witness in a process of its own, so that it does not share the log's event loop. Says where it listens and what its
 * keys are; is then told the keys of logs, and ends with its parent.
 * usage: witness-process.ts FOLDER
 */
import type { AddressInfo } from 'node:net';
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { witnessServer } from '@lockstep/log/witness/server';
import { openWitness } from '@lockstep/log/witness/witness-home';

export interface WitnessReady {
  readonly url: string;
  readonly ed25519: string;
  readonly mlDsa: string;
}

const logs = new Map<string, readonly VerifierKey[]>();
const opened = openWitness(process.argv[2] ?? '', 'witness.example/bench', [], () => Date.now() / 1000);
const witness = { ...opened, logs };
const server = witnessServer(witness, (error) => process.stderr.write(`witness: ${String(error)}\n`));
server.listen(0, '127.0.0.1', () => {
  const ready: WitnessReady = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ed25519: formatVerifierKey(witness.ed25519.key),
    mlDsa: formatVerifierKey(witness.mlDsa.key),
  };
  process.send?.(ready);
});
process.on('message', (text: string) => {
  const key = parseVerifierKey(text);
  logs.set(key.name, [key]);
  process.send?.('following');
});
process.on('disconnect', () => process.exit(0));
// A signal to the whole group is for the parent, which ends its run first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
