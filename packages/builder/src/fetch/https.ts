/**
 * Fetches one https URL into a file: bounded in size, time and redirects, without credentials, and never to an address
 * of this machine or its network unless the settings say so. The address is checked when the connection is made, so
 * that a name which resolves differently the second time gains nothing.
 */
import { createHash } from 'node:crypto';
import { lookup as dnsLookup } from 'node:dns';
import { lookup as lookupPromise } from 'node:dns/promises';
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';

export interface FetchBounds {
  readonly bytes: number;
  readonly milliseconds: number;
}

export const DEFAULT_BOUNDS: FetchBounds = { bytes: 8 * 2 ** 30, milliseconds: 30 * 60_000 };
const MAX_REDIRECTS = 5;
/** Nothing heard for this long: the server is gone. */
const IDLE = 60_000;

const PRIVATE_V4 = blockList('ipv4', [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
]);
/** Also what carries an IPv4 address inside (mapped, 6to4, Teredo, NAT64): nobody serves sources from there. */
const PRIVATE_V6 = blockList('ipv6', [
  '::/96',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
]);

/** One list per family: a mixed one compares IPv4 addresses with mapped IPv6 ranges, and blocks them all. */
function blockList(family: 'ipv4' | 'ipv6', subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', prefix = ''] = subnet.split('/');
    list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/** Whether an address is of this machine, its network, or not an ordinary one. What is not an address counts as private. */
export function isPrivateAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return isPrivateAddress(mapped);
  const family = isIP(address);
  if (family === 4) return PRIVATE_V4.check(address, 'ipv4');
  return family !== 6 || PRIVATE_V6.check(address, 'ipv6');
}

/** @returns SHA-256 and size of what was written to `target` */
export async function fetchHttps(
  context: Context,
  url: string,
  target: string,
  bounds: FetchBounds = DEFAULT_BOUNDS,
): Promise<{ sha256: Sha256; size: number }> {
  if (context.settings.offline)
    throw new LockstepError(
      'INPUT_GONE',
      `${url} is not in the content store, and the network is not to be used`,
      'Run without --offline once, so that it is fetched and kept.',
    );
  const signal = AbortSignal.any([context.cancelled, AbortSignal.timeout(bounds.milliseconds)]);
  try {
    const response = await follow(url, context.settings.allowPrivate, signal);
    return await save(response, url, target, bounds);
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    if (context.cancelled.aborted) throw new LockstepError('CANCELLED', 'Cancelled', 'Run it again.');
    throw new LockstepError(
      'FETCH_FAILED',
      `${url} could not be fetched: ${error instanceof Error ? error.message : String(error)}`,
      'Check the URL and the network, then run it again.',
    );
  }
}

async function follow(first: string, allowPrivate: boolean, signal: AbortSignal): Promise<IncomingMessage> {
  let url = first;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const response = await request(url, allowPrivate, signal);
    const status = response.statusCode ?? 0;
    if (status >= 300 && status < 400 && response.headers.location !== undefined) {
      response.destroy();
      url = new URL(response.headers.location, url).href;
      continue;
    }
    if (status === 200) return response;
    response.destroy();
    throw new LockstepError(
      'FETCH_FAILED',
      `${url} answered ${status}`,
      status === 404 || status === 410 ? 'It is gone; name another location or version.' : 'Try again later.',
    );
  }
  throw new LockstepError('FETCH_REFUSED', `${first} redirects more than ${MAX_REDIRECTS} times`, 'Name the final URL.');
}

function request(text: string, allowPrivate: boolean, signal: AbortSignal): Promise<IncomingMessage> {
  const url = new URL(text);
  if (url.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    throw new LockstepError(
      'FETCH_REFUSED',
      `${url.protocol}//${url.host} is refused: only https without credentials is fetched`,
      'Use an https URL; a redirect to another scheme is not followed.',
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 && !allowPrivate && isPrivateAddress(host)) throw privateAddress(host, host);
  return new Promise((resolve, reject) => {
    const call = get(
      url,
      { signal, timeout: IDLE, lookup: guardedLookup(allowPrivate), headers: { 'user-agent': 'lockstep', 'accept-encoding': 'identity' } },
      resolve,
    );
    call.on('timeout', () => call.destroy(new Error('the server stopped answering')));
    call.on('error', reject);
  });
}

function guardedLookup(allowPrivate: boolean): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      const bad = allowPrivate ? undefined : addresses.find(({ address }) => isPrivateAddress(address));
      const first = addresses[0];
      if (bad !== undefined) return callback(privateAddress(hostname, bad.address), '', 0);
      if (first === undefined) return callback(new Error(`${hostname} has no address`), '', 0);
      if (options.all === true) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}

/** The address that a host has now, refused when it is private: for tools that resolve names themselves and can be pinned to one. */
export async function publicAddress(host: string, allowPrivate: boolean): Promise<string> {
  const bare = host.replace(/^\[|\]$/g, '');
  const addresses = isIP(bare) === 0 ? await lookupAll(bare) : [bare];
  const bad = allowPrivate ? undefined : addresses.find(isPrivateAddress);
  if (bad !== undefined) throw privateAddress(host, bad);
  const first = addresses[0];
  if (first === undefined) throw new LockstepError('FETCH_FAILED', `${host} has no address`, 'Check the host name and the network.');
  return first;
}

async function lookupAll(host: string): Promise<string[]> {
  try {
    return (await lookupPromise(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new LockstepError(
      'FETCH_FAILED',
      `${host} cannot be resolved: ${error instanceof Error ? error.message : String(error)}`,
      'Check the host name and the network.',
    );
  }
}

function privateAddress(host: string, address: string): LockstepError {
  return new LockstepError(
    'FETCH_REFUSED',
    `${host} is at ${address}, an address of this machine or its network`,
    'A manifest may not reach into your network. If it is yours, set LOCKSTEP_FETCH_PRIVATE=1.',
  );
}

async function save(
  response: IncomingMessage,
  url: string,
  target: string,
  bounds: FetchBounds,
): Promise<{ sha256: Sha256; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  const bound = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > bounds.bytes)
        return done(
          new LockstepError('FETCH_TOO_LARGE', `${url} is larger than ${bounds.bytes} bytes`, 'Check that the URL is the right one.'),
        );
      hash.update(chunk);
      return done(null, chunk);
    },
  });
  await pipeline(response, bound, createWriteStream(target, { flags: 'wx', mode: 0o644 }));
  const announced = response.headers['content-length'];
  if (announced !== undefined && Number(announced) !== size)
    throw new LockstepError('FETCH_FAILED', `${url} was cut off after ${size} of ${announced} bytes`, 'Run it again.');
  return { sha256: hash.digest('hex') as Sha256, size };
}
