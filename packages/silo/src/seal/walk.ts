/**
 * Lists a tree without following a link, and refuses what may not leave a sandbox: setuid bits, devices, FIFOs,
 * sockets, links out of the tree, names that are not UTF-8 or carry control characters, extended attributes.
 * Runs only after the last process of the sandbox is gone, so nothing changes underneath.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { SiloError } from '../failure.ts';
import type { Member } from '../tar/header.ts';
import { utf8 } from '../tar/header.ts';
import { escapingLink, linkLeavesTree, nameProblem } from '../tar/name.ts';
import { byBytes } from '../tar/write.ts';

export interface WalkRules {
  readonly files: number;
  readonly depth: number;
  readonly bytes: number;
  /** A root file system may have absolute links and setuid programs (their bits are dropped); an output may not. */
  readonly rootfs: boolean;
  /** Normalise permissions to 0644/0755, for sources that come from somebody's working directory. */
  readonly plainModes: boolean;
  /** Names directly below the root that are left out. */
  readonly exclude: ReadonlySet<string>;
}

/** @returns members sorted for a tar, without the root itself. @throws SiloError OUTPUT_REFUSED, OUTPUT_TOO_LARGE */
export function walkTree(root: string, rules: WalkRules): Member[] {
  const members: Member[] = [];
  let total = 0;
  const visit = (directory: string, prefix: string, depth: number): void => {
    if (depth > rules.depth) throw tooLarge(`${show(prefix)} is deeper than ${rules.depth} directories`);
    for (const raw of readdirSync(directory, { encoding: 'buffer' })) {
      const part = utf8(raw);
      if (part === null) throw refused(prefix + raw.toString('latin1'), 'its name is not valid UTF-8');
      if (prefix === '' && rules.exclude.has(part)) continue;
      const name = prefix + part;
      const problem = nameProblem(name);
      if (problem !== null) throw refused(name, problem);
      const path = `${directory}/${part}`;
      const stat = lstatSync(path);
      const member = toMember(name, path, stat, rules);
      total += member.size;
      members.push(member);
      if (members.length > rules.files) throw tooLarge(`more than ${rules.files} files`);
      if (total > rules.bytes) throw tooLarge(`more than ${Math.round(rules.bytes / (1 << 20))} MiB`);
      if (member.type === 'directory') visit(path, `${name}/`, depth + 1);
    }
  };
  visit(root, '', 1);
  const escaping = rules.rootfs ? null : escapingLink(members);
  if (escaping !== null) throw refused(escaping.name, `it links to ${show(escaping.link)}, outside the tree by way of other links`);
  return members.sort(byBytes);
}

/** The rules for one entry, as a tar member. */
export function toMember(name: string, path: string, stat: Stats, rules: Pick<WalkRules, 'rootfs' | 'plainModes'>): Member {
  if (stat.isSymbolicLink()) {
    const bytes = readlinkSync(path, { encoding: 'buffer' });
    const link = utf8(bytes);
    if (link === null) throw refused(name, 'its link target is not valid UTF-8');
    if (nameProblem(link) !== null) throw refused(name, 'its link target has control characters');
    if (!rules.rootfs && linkLeavesTree(name, link)) throw refused(name, `it links to ${show(link)}, outside the tree`);
    return { name, type: 'symlink', mode: 0o777, size: 0, link };
  }
  if (!stat.isFile() && !stat.isDirectory()) throw refused(name, `it is a ${kindOf(stat)}`);
  if (!rules.rootfs && (stat.mode & 0o6000) !== 0 && stat.isFile()) throw refused(name, 'it is setuid or setgid');
  if (!rules.rootfs && (stat.mode & 0o6000) !== 0) throw refused(name, 'the directory is setuid or setgid');
  const bits = stat.mode & (rules.rootfs ? 0o1777 : 0o777);
  const plain = stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644;
  const mode = rules.plainModes ? plain : bits;
  return { name, type: stat.isDirectory() ? 'directory' : 'file', mode, size: stat.isFile() ? stat.size : 0, link: '' };
}

function kindOf(stat: Stats): string {
  if (stat.isFIFO()) return 'FIFO';
  if (stat.isSocket()) return 'socket';
  if (stat.isBlockDevice()) return 'block device';
  return 'character device';
}

/**
 * Refuse extended attributes below `path` (they do not survive in a tar or a file, so the output would not be what
 * was tested). Node cannot read them; `getfattr` can.
 */
export function refuseExtendedAttributes(path: string, show: (path: string) => string): void {
  const run = spawnSync('getfattr', ['--absolute-names', '-R', '-P', '-h', '-m', '-', '--', path], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (run.error !== undefined)
    throw new SiloError('HOST_CANNOT', `getfattr cannot be run: ${run.error.message}`, 'Install the package "attr".');
  const found = /^# file: (.*)\n(.*)$/m.exec(run.stdout);
  if (found !== null) throw refused(show(found[1] ?? path), `it has the extended attribute ${found[2] ?? ''}`);
  if (run.status !== 0)
    throw new SiloError('SANDBOX_FAILED', `getfattr failed: ${run.stderr.trim().slice(0, 300)}`, 'Check the scratch volume.');
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

export function refused(name: string, reason: string): SiloError {
  return new SiloError(
    'OUTPUT_REFUSED',
    `The output ${show(name)} is refused: ${reason}`,
    'Change the build so that it leaves only plain files, directories and links inside the tree.',
  );
}

export function tooLarge(what: string): SiloError {
  return new SiloError(
    'OUTPUT_TOO_LARGE',
    `The outputs are larger than declared: ${what}`,
    'Raise resources.output_files, output_depth or output_mb in the manifest, or output less.',
  );
}
