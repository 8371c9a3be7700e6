/** A witness of its own that can be told to die before it answers, or after it has cosigned and before anybody hears of it. */
import { openWitness } from '@lockstep/log/witness/witness-home';
import { readLogKey } from '@lockstep/log/sequence/log-home';
import { witnessServer } from '@lockstep/log/witness/server';
import { die, onOrder, type Phase } from './trap.ts';

const [folder = '', log = '', port = '0'] = process.argv.slice(2);
let phase: Phase | null = null;
onOrder((order) => {
  if (order.order === 'arm') phase = order.step === 'cosign' ? order.phase : null;
  process.send?.('done');
});
const server = witnessServer(
  openWitness(folder, null, [readLogKey(log)], () => Date.now() / 1000),
  (error) => process.stderr.write(`${String(error)}\n`),
);
server.prependListener('request', (request, response) => {
  if (request.url !== '/add-checkpoint') return;
  if (phase === 'before') die();
  if (phase === 'after') response.end = die as never;
});
server.listen(Number(port), '127.0.0.1', () => process.send?.({ ready: true }));
