/** Farm and builders in network namespaces of their own, and the way between them cut while a build runs. */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { auditor } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { jobsNamed } from './storage-faults.ts';
import { makeWorld, type World } from './world.ts';

const CUT = 20_000;
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

interface Network {
  readonly farm: string;
  readonly builders: string;
  cut(isCut: boolean): void;
  remove(): void;
}

/** Namespaces of this process. */
export function networkNames(): [string, string] {
  return [`lf${process.pid}-farm`, `lf${process.pid}-build`];
}

/** This namespace ↔ the farm's ↔ the builders'. Addresses that are for documentation, so that nobody else has them. */
function makeNetwork(): Network {
  const id = `lf${process.pid}`;
  const [farm, builders] = networkNames();
  const remove = (): void => {
    for (const one of [farm, builders]) {
      try {
        ip('netns', 'del', one);
      } catch {
        // It was not made.
      }
    }
  };
  try {
    for (const one of [farm, builders]) ip('netns', 'add', one);
    for (const one of [farm, builders]) ip('-n', one, 'link', 'set', 'lo', 'up');
    ip('link', 'add', `${id}o`, 'type', 'veth', 'peer', 'name', 'outside', 'netns', farm);
    ip('-n', farm, 'link', 'add', 'inside', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', builders);
    ip('addr', 'add', '192.0.2.2/30', 'dev', `${id}o`);
    ip('link', 'set', `${id}o`, 'up');
    ip('-n', farm, 'addr', 'add', '192.0.2.1/30', 'dev', 'outside');
    ip('-n', farm, 'link', 'set', 'outside', 'up');
    ip('-n', farm, 'addr', 'add', '198.51.100.1/30', 'dev', 'inside');
    ip('-n', farm, 'link', 'set', 'inside', 'up');
    ip('-n', builders, 'addr', 'add', '198.51.100.2/30', 'dev', 'eth0');
    ip('-n', builders, 'link', 'set', 'eth0', 'up');
  } catch (error) {
    remove();
    throw error;
  }
  return { farm, builders, cut: (isCut) => ip('-n', farm, 'link', 'set', 'inside', isCut ? 'down' : 'up'), remove };
}

const networkCut = async (root: string): Promise<void> => {
  const network = makeNetwork();
  const within = (one: string): string[] => ['ip', 'netns', 'exec', one];
  let world: World | null = null;
  try {
    world = await makeWorld(root, {
      listen: '0.0.0.0',
      host: '192.0.2.1',
      hostForBuilders: '198.51.100.1',
      farmCommand: within(network.farm),
      builderCommand: within(network.builders),
    });
    const audit = auditor(world);
    for (const one of jobsNamed('cut', 3, 8)) await world.submit(one);
    await delay(2500);
    network.cut(true);
    await delay(CUT);
    network.cut(false);
    await world.settled([...world.acknowledged.keys()], 60_000);
    await audit.check();
  } finally {
    await world?.close();
    network.remove();
  }
};

export const NETWORK_FAULTS: readonly Scenario[] = [{ name: 'network cut for 20 s between farm and builders, mid-build', run: networkCut }];
