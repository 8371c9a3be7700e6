/** Turns what the manifest names into sealed files in `outputs/`, each hashed while it is copied out of the sandbox. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, lstatSync, readdirSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { SiloError } from '../failure.ts';
import type { Limits, OutputRule } from '../job/job.ts';
import type { Member } from '../tar/header.ts';
import { indexArchive } from '../tar/index.ts';
import { nameProblem } from '../tar/name.ts';
import { byBytes, openRegular, tarWriter, toNewFile, writeAll } from '../tar/write.ts';
import { fixedPrefix, globMatcher } from './glob.ts';
import { refused, refuseExtendedAttributes, toMember, tooLarge, walkTree, type WalkRules } from './walk.ts';

export interface SealedOutput {
  /** File name in `outputs/`; for `rootfs`, a label. */
  readonly name: string;
  readonly kind: 'file' | 'tree' | 'archive' | 'rootfs';
  readonly size: number;
  /** Hex SHA-256 of the sealed bytes. */
  readonly sha256: string;
  readonly executable: boolean;
  /** How many files, directories and links it holds; 1 for a file. */
  readonly members: number;
  /** Latest time that an `archive` gives one of its members, seconds since 1970; null for the other kinds. */
  readonly newest: number | null;
}

export interface SealPlace {
  /** Host path of the sandbox's build directory. */
  readonly work: string;
  /** Host path of the root file system under assembly. */
  readonly rootfs: string;
  readonly outputs: string;
  readonly sourceDate: number;
}

/** @throws SiloError OUTPUT_MISSING, OUTPUT_REFUSED, OUTPUT_TOO_LARGE, ARCHIVE_* */
export function sealOutputs(rules: readonly OutputRule[], place: SealPlace, limits: Limits): SealedOutput[] {
  const sealed: SealedOutput[] = [];
  const budget = { files: limits.outputFiles, bytes: limits.outputMb * (1 << 20) };
  const spend = (files: number, bytes: number): void => {
    budget.files -= files;
    budget.bytes -= bytes;
    if (budget.files < 0) throw tooLarge(`more than ${limits.outputFiles} files`);
    if (budget.bytes < 0) throw tooLarge(`more than ${limits.outputMb} MiB`);
  };
  const claimed = new Set<string>();
  const claim = (name: string): void => {
    if (claimed.has(name)) throw refused(name, 'two outputs have this name');
    claimed.add(name);
  };
  for (const rule of rules) {
    const walkRules: WalkRules = {
      files: budget.files,
      depth: limits.outputDepth,
      bytes: budget.bytes,
      rootfs: rule.kind === 'rootfs',
      plainModes: false,
      exclude: new Set(),
    };
    if (rule.kind === 'files') {
      for (const path of matchFiles(place.work, rule.path, walkRules)) {
        claim(posix.basename(path));
        sealed.push(sealFile(place, path, limits, spend));
      }
      continue;
    }
    claim(rule.name);
    if (rule.kind === 'archive') {
      sealed.push(sealArchive(place, rule, limits, spend));
      continue;
    }
    const output = sealTree(rule.kind === 'rootfs' ? place.rootfs : resolveInside(place.work, rule.path), rule, place, walkRules);
    if (rule.kind === 'tree') spend(output.members, output.size);
    sealed.push(output);
  }
  return sealed;
}

/** A path of the manifest below the build directory, every component a real directory. */
function resolveInside(work: string, path: string): string {
  const clean = posix.normalize(path).replace(/\/$/, '');
  if (clean === '.') return work;
  if (clean.startsWith('/') || clean === '..' || clean.startsWith('../')) throw refused(path, 'it lies outside the build directory');
  let at = work;
  for (const part of clean.split('/')) {
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) break;
    if (!stat.isDirectory()) throw refused(path, 'a component of its path is not a directory');
    at = `${at}/${part}`;
  }
  const stat = lstatSync(`${work}/${clean}`, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new SiloError(
      'OUTPUT_MISSING',
      `The build left no output at ${JSON.stringify(path)}`,
      'Check the path in [[outputs]]; it is relative to the build directory.',
    );
  return `${work}/${clean}`;
}

function matchFiles(work: string, given: string, rules: WalkRules): string[] {
  const glob = posix.normalize(given);
  const prefix = fixedPrefix(glob);
  const start = prefix === '' ? work : resolveInside(work, prefix);
  const pattern = globMatcher(glob);
  const found: string[] = [];
  const recursive = glob.includes('**') || glob.slice(prefix.length).replace(/^\//, '').includes('/');
  const visit = (directory: string, relative: string, depth: number): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const name = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (pattern.test(name)) found.push(name);
      else if (recursive && entry.isDirectory() && depth < rules.depth) visit(`${directory}/${entry.name}`, name, depth + 1);
    }
  };
  visit(start, prefix, 1);
  if (found.length === 0)
    throw new SiloError(
      'OUTPUT_MISSING',
      `No file of the build matches ${JSON.stringify(given)}`,
      'Check the pattern in [[outputs]]; it is relative to the build directory.',
    );
  return found.sort((a, b) => byBytes({ name: a }, { name: b }));
}

function sealFile(place: SealPlace, path: string, limits: Limits, spend: (files: number, bytes: number) => void): SealedOutput {
  const problem = nameProblem(path);
  if (problem !== null) throw refused(path, problem);
  const source = resolveInside(place.work, path);
  const member: Member = toMember(path, source, lstatSync(source), { rootfs: false, plainModes: false });
  if (member.type !== 'file') throw refused(path, `it is a ${member.type}; name a tree instead`);
  if (member.size > limits.outputMb * (1 << 20)) throw tooLarge(`${JSON.stringify(path)} alone has ${member.size} bytes`);
  spend(1, member.size);
  refuseExtendedAttributes(source, () => path);
  const name = posix.basename(path);
  const { fd } = openRegular(source);
  try {
    const { sha256, size } = toNewFile(`${place.outputs}/${name}`, 0o644, (out) => copyAndHash(fd, out));
    return { name, kind: 'file', size, sha256, executable: (member.mode & 0o100) !== 0, members: 1, newest: null };
  } finally {
    closeSync(fd);
  }
}

function copyAndHash(from: number, to: number): { sha256: string; size: number } {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1 << 20);
  let size = 0;
  for (;;) {
    const count = readSync(from, chunk, 0, chunk.length, size);
    if (count === 0) return { sha256: hash.digest('hex'), size };
    const bytes = chunk.subarray(0, count);
    hash.update(bytes);
    writeAll(to, bytes);
    size += count;
  }
}

function sealTree(root: string, rule: { kind: 'tree' | 'rootfs'; name: string }, place: SealPlace, walkRules: WalkRules): SealedOutput {
  if (!lstatSync(root).isDirectory()) throw refused(rule.name, 'it is not a directory');
  if (rule.kind === 'tree') refuseExtendedAttributes(root, (path) => path.slice(root.length + 1));
  const members = walkTree(root, walkRules);
  const write = (fd: number | null): { sha256: string; size: number } => packTree(root, members, fd, place.sourceDate);
  const { sha256, size } = rule.kind === 'rootfs' ? write(null) : toNewFile(`${place.outputs}/${rule.name}`, 0o644, write);
  return { name: rule.name, kind: rule.kind, size, sha256, executable: false, members: members.length, newest: null };
}

/** One tree as one canonical tar. */
export function packTree(root: string, members: readonly Member[], fd: number | null, mtime: number): { sha256: string; size: number } {
  const writer = tarWriter(fd, mtime);
  for (const member of members) {
    if (member.type !== 'file') {
      writer.add(member, null);
      continue;
    }
    const opened = openRegular(`${root}/${member.name}`);
    try {
      if (opened.size !== member.size)
        throw new SiloError(
          'SANDBOX_FAILED',
          `${member.name} changed while it was sealed`,
          'Something else writes to this directory; stop it.',
        );
      writer.add(member, { fd: opened.fd, offset: 0 });
    } finally {
      closeSync(opened.fd);
    }
  }
  return writer.end();
}

function sealArchive(
  place: SealPlace,
  rule: { path: string; name: string },
  limits: Limits,
  spend: (files: number, bytes: number) => void,
): SealedOutput {
  const { fd } = openRegular(resolveInside(place.work, rule.path));
  try {
    const members = indexArchive(fd, fstatSync(fd).size, {
      files: limits.outputFiles,
      depth: limits.outputDepth,
      bytes: limits.outputMb * (1 << 20),
    });
    const named = members.filter((member) => member.name !== '').sort(byBytes);
    const result = toNewFile(`${place.outputs}/${rule.name}`, 0o644, (out) => {
      const writer = tarWriter(out, place.sourceDate);
      for (const member of named) writer.add(plainMode(member), { fd, offset: member.offset });
      return writer.end();
    });
    spend(named.length, result.size);
    return {
      name: rule.name,
      kind: 'archive',
      size: result.size,
      sha256: result.sha256,
      executable: false,
      members: named.length,
      newest: named.reduce((latest, member) => Math.max(latest, member.mtime), 0),
    };
  } finally {
    closeSync(fd);
  }
}

/** An archive is a source: whoever packed it had some umask, which is not part of the source. */
function plainMode(member: Member): Member {
  if (member.type === 'symlink') return { ...member, mode: 0o777 };
  return { ...member, mode: member.type === 'directory' || (member.mode & 0o100) !== 0 ? 0o755 : 0o644 };
}
