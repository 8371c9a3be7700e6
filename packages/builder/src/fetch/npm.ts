/** npm packages through the host's own npm and its configuration: exact versions, no scripts, checked against the integrity that a lock names. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { runCommand } from './command.ts';
import { findOnPath } from './program.ts';

/** `NAME@VERSION` → path of the tarball in `folder`. */
export async function downloadNpm(context: Context, specs: readonly string[], folder: string): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  if (specs.length === 0) return out;
  if (context.settings.offline)
    throw new LockstepError(
      'INPUT_GONE',
      `npm packages (${specs.slice(0, 3).join(', ')}) are not in the content store, and the network is not to be used`,
      'Run without --offline once.',
    );
  const npm = findOnPath('npm');
  if (npm === null)
    throw new LockstepError('HOST_CANNOT', 'npm is not installed, so npm packages cannot be fetched', 'apt-get install npm');
  for (const spec of specs) {
    const target = `${folder}/${createHash('sha256').update(spec).digest('hex').slice(0, 16)}`;
    mkdirSync(target, { recursive: true });
    const home = process.env['HOME'] ?? '/root';
    const done = await runCommand(npm, ['pack', '--ignore-scripts', '--silent', '--pack-destination', target, '--', spec], {
      cwd: folder,
      // npm runs under whichever Node it belongs to; HOME holds the user's npm configuration.
      env: { PATH: `${dirname(npm)}:/usr/local/bin:/usr/bin:/bin`, HOME: home, ...certificates() },
      seconds: 600,
      cancelled: context.cancelled,
    });
    const name = readdirSync(target).find((one) => one.endsWith('.tgz'));
    if (done.status !== 0 || name === undefined) {
      throw new LockstepError(
        'FETCH_FAILED',
        `npm cannot fetch ${spec}: ${done.stderr.trim().split('\n').slice(0, 3).join(' / ')}`,
        'Check the name and version.',
      );
    }
    out.set(spec, `${target}/${name}`);
  }
  return out;
}

function certificates(): Record<string, string> {
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  return file === undefined ? {} : { NODE_EXTRA_CA_CERTS: file };
}

/** Subresource integrity (`sha512-…`) of a file, as npm's locks write it. @returns hex SHA-512 */
export function checkIntegrity(path: string, integrity: string, what: string): string {
  const match = /(?:^|\s)(sha512)-([A-Za-z0-9+/]{86}==)(?:\s|$)/.exec(integrity);
  if (match === null)
    throw new LockstepError(
      'FETCH_REFUSED',
      `${what} has no SHA-512 in its lock (${integrity.slice(0, 40)})`,
      'Make the lock again with a current npm.',
    );
  const found = createHash('sha512').update(readFileSync(path)).digest();
  if (found.toString('base64') !== match[2])
    throw new LockstepError(
      'DIGEST_MISMATCH',
      `${what} is not what its lock names`,
      'The registry serves other bytes than were locked. Find out why.',
    );
  return found.toString('hex');
}

/** The same against a hex SHA-512 of our own lock. */
export function checkIntegrityHex(path: string, sha512: string, what: string): void {
  const found = createHash('sha512').update(readFileSync(path)).digest('hex');
  if (found !== sha512)
    throw new LockstepError(
      'DIGEST_MISMATCH',
      `${what} is not what the lock names`,
      'The registry serves other bytes than were locked. Find out why.',
    );
}
