/** One process of a farm that can be told to die at a step, to live at another time, or to have a bad storage. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { makeToken } from '@lockstep/control-plane/access/tokens';
import { jsonJournal } from '@lockstep/control-plane/observe/journal';
import { openStore } from '@lockstep/store/store';
import { readFarmHome } from '../../packages/cli/src/farm/farm-config.ts';
import { openFarm, startApi } from '../../packages/cli/src/farm/open-farm.ts';
import { trappedApp, trappedDatabase, trappedLog, trappedObjects, unreliable } from './between.ts';
import { makeTrap, onOrder } from './trap.ts';

const [folder = '', seen = folder] = process.argv.slice(2);
const trap = makeTrap();
const storage = unreliable();
let ahead = 0;
onOrder((order) => {
  if (order.order === 'arm') trap.arm(order.step, order.phase, order.skip);
  else if (order.order === 'clock') ({ ahead } = order);
  else storage.setShare(order.share);
  process.send?.('done');
});
const now = (): number => Date.now() + ahead;
const home = readFarmHome(folder);
const open = await openFarm(home, {
  journal: jsonJournal((line) => void process.stderr.write(line), 'info', Date.now),
  store: openStore(`${seen}/seen`),
  now,
  between: {
    database: (real) => trappedDatabase(real, trap),
    objects: (real) => storage.objects(trappedObjects(real, trap)),
    log: (real) => trappedLog(real, trap),
  },
});
if (!existsSync(`${folder}/tokens/operator`)) {
  mkdirSync(`${folder}/tokens`, { recursive: true });
  writeFileSync(`${folder}/tokens/operator`, await makeToken(open.farm, 'operator', 'operator', null));
}
const api = await startApi({ ...open, app: trappedApp(open.app, trap) }, home);
process.send?.({ port: api.server.port });
