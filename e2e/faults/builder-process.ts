/** A building node over HTTPS whose silo is a fake one, and which can be told to die at a step. */
import { appendFileSync, readFileSync } from 'node:fs';
import { startAgent } from '@lockstep/builder/node/agent';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { exclusive } from '@lockstep/builder/node/work';
import type { Progress } from '@lockstep/builder/context';
import { farmClient, type Transport } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import type { Lease } from '@lockstep/api/routes/builders';
import type { Cells } from '@lockstep/store/cells';
import { openStore } from '@lockstep/store/store';
import type { BuilderConfig } from './roles.ts';
import { routeOf } from './route-of.ts';
import { makeTrap, onOrder } from './trap.ts';

const config = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as BuilderConfig;
// Without a compiler and disorderfs nothing is dealt that a fake silo would have to do.
process.env['PATH'] = '/nonexistent';
const trap = makeTrap();
onOrder((order) => {
  if (order.order === 'arm') trap.arm(order.step, order.phase, order.skip);
  process.send?.('done');
});
const key = readFileSync(transportKeyFile(config.keyFile), 'utf8');
const https = httpsTransport({ url: config.url, authority: config.authority, identity: () => ({ certificate: config.certificate, key }) });

const send: Transport = async (request) => {
  const route = routeOf(request.method, request.path.split('?')[0] ?? '') ?? 'unknown';
  if (route !== 'lease') return trap.around([route], () => https.send(request));
  const response = await https.send(request);
  if (!response.ok) return response;
  const { leases } = (await response.clone().json()) as { leases: Lease[] };
  // Every lease that was ever held: what is stale is tried later.
  for (const { attempt, token } of leases) appendFileSync(config.leases, `${JSON.stringify({ builder: config.name, attempt, token })}\n`);
  return leases.length === 0 ? response : trap.around(['lease'], () => Promise.resolve(response));
};

const store = openStore(config.store);
const cells: Cells = {
  ...store.cells,
  swap(name, expected, next) {
    const state = name.startsWith('kept-') ? /"state":"(\w+)"/.exec(next)?.[1] : undefined;
    return trap.now([`keep ${state ?? 'other'}`], () => store.cells.swap(name, expected, next));
  },
  remove: (name) => trap.now(['keep nothing'], () => store.cells.remove(name)),
};
const silent: Progress = { start: () => ({ update() {}, output() {}, done() {}, failed() {} }), note() {}, warn() {}, tail() {} };
startAgent({
  context: {
    store: { ...store, cells },
    settings: {
      farmId: 'faults-home-1',
      runtime: 'runc',
      scratch: 'plain',
      snapshots: [],
      allowPrivate: false,
      silo: `${import.meta.dirname}/fake-silo.sh`,
      offline: true,
      version: 'test',
      keyFile: config.keyFile,
    },
    progress: silent,
    now: () => Date.now() / 1000,
    cancelled: new AbortController().signal,
  },
  client: farmClient(send, null),
  name: config.name,
  slots: config.slots,
  ceilings: {},
  once: exclusive(),
  say: (level, message, fields) => void process.stderr.write(`${JSON.stringify({ at: Date.now(), level, message, ...fields })}\n`),
  ready: () => void process.send?.({ ready: true }),
});
