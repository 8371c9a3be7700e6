/**
 * Network namespaces on a bridge, each with a private address. The bridge lies in this process's own network namespace,
 * which has to be one that was made for it (unshare --net): nothing of the machine's network is touched.
 */
import { execFileSync } from 'node:child_process';
import { networkInterfaces } from 'node:os';

export interface Namespaces {
  /** @returns the command that runs another one there: it changes the network only, and executes */
  add(name: string, address: string): readonly string[];
  cut(name: string): void;
  mend(name: string): void;
  remove(): void;
}

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

/** @param addresses of this side, on the bridge */
export function makeNamespaces(addresses: readonly string[]): Namespaces {
  // A new one has nothing that is up.
  if (Object.keys(networkInterfaces()).length > 0) throw new Error('This is the network of the machine: run it within "unshare --net"');
  const tag = `lockstep-${process.pid}`;
  const made: string[] = [];
  ip('link', 'set', 'lo', 'up');
  // An address of its own: otherwise it takes that of some member, another one whenever members come.
  ip('link', 'add', 'farm0', 'address', '02:00:00:00:00:01', 'type', 'bridge');
  for (const address of addresses) ip('address', 'add', `${address}/24`, 'dev', 'farm0');
  ip('link', 'set', 'farm0', 'up');
  const remove = (): void => {
    for (const namespace of made.splice(0)) ip('netns', 'delete', namespace);
  };
  process.once('exit', remove);
  return {
    add(name, address) {
      const namespace = `${tag}-${name}`;
      ip('netns', 'add', namespace);
      made.push(namespace);
      ip('link', 'add', `to-${name}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      ip('link', 'set', `to-${name}`, 'master', 'farm0', 'up');
      ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
      ip('-n', namespace, 'link', 'set', 'eth0', 'up');
      // Not "ip netns exec": that mounts another /sys, without the control groups.
      return ['nsenter', `--net=/run/netns/${namespace}`, '--'];
    },
    cut: (name) => ip('link', 'set', `to-${name}`, 'down'),
    mend: (name) => ip('link', 'set', `to-${name}`, 'up'),
    remove,
  };
}
