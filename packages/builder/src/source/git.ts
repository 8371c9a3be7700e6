/**
 * Fetches one exact ref with the git program, inside the sandbox: no shell sees the reference, protocols are
 * allow-listed, no submodules, no hooks, no configuration of the host's, no credentials. What comes out is the tree as a
 * canonical tar and the ids of tag, commit and tree; git has checked that they belong together.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { formatSourceRef, isMoving, isObjectId, type SourceRef } from '@lockstep/protocol/source-ref/source-ref';
import type { Context, ProgressItem } from '../context.ts';
import { ownJob } from '../silo/job.ts';
import { failureError, runSilo, transcriptTail } from '../silo/run-silo.ts';
import { publicAddress } from '../fetch/https.ts';
import type { FetchedSource } from './fetched.ts';

type GitRef = Extract<SourceRef, { kind: 'git' }>;

/** A clone of the kernel with one commit is 300 MB; its whole history 3 GB. */
const SCRATCH_MB = 16_384;

const FETCH = [
  'export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=/bin/false GIT_NO_REPLACE_OBJECTS=1 GIT_ATTR_NOSYSTEM=1',
  'printf "[safe]\\n\\tdirectory = *\\n" > $HOME/.gitconfig',
  'git init -q --bare --object-format=$LOCKSTEP_GIT_FORMAT repo',
  'cd repo',
  // Whatever the tree says about line ends, filters and substitutions: the bytes are those of the blobs.
  'printf "* -text -eol -ident -filter -working-tree-encoding -export-ignore -export-subst\\n" > info/attributes',
  'get() { git -c protocol.version=2 -c transfer.fsckObjects=true -c core.hooksPath=/dev/null -c fetch.recurseSubmodules=false -c http.followRedirects=false -c "http.curloptResolve=$LOCKSTEP_GIT_RESOLVE" fetch -q --no-tags --no-auto-gc --no-recurse-submodules "$@"; }',
  'if ! get --depth=1 -- "$LOCKSTEP_GIT_URL" "$LOCKSTEP_GIT_REF:refs/lockstep/source"; then',
  // Not every server hands out a bare commit: then its refs, and look for the commit among them.
  '  case $LOCKSTEP_GIT_REF in refs/*) exit 1;; esac',
  '  get -- "$LOCKSTEP_GIT_URL" "+refs/*:refs/remotes/*"; git update-ref refs/lockstep/source "$LOCKSTEP_GIT_REF"',
  'fi',
  'commit=$(git rev-parse --verify -q "refs/lockstep/source^{commit}")',
  'type=$(git cat-file -t refs/lockstep/source)',
  'tag=none; [ $type = tag ] && tag=$(git rev-parse refs/lockstep/source)',
  'modules=$(git ls-tree -r $commit | grep -c "^160000" || :)',
  'git archive --format=tar $commit > ../source.tar',
  'echo "$commit $(git rev-parse "$commit^{tree}") $tag $(git show -s --format=%ct $commit) $modules" > ../facts',
].join('\n');

/** @throws LockstepError FETCH_FAILED, FETCH_REFUSED */
export async function fetchGit(context: Context, source: GitRef, item: ProgressItem): Promise<FetchedSource> {
  if (context.settings.offline)
    throw new LockstepError(
      'INPUT_GONE',
      `${formatSourceRef(source)} is not in the content store, and the network is not to be used`,
      'Run without --offline once, so that it is fetched and kept.',
    );
  const scratch = context.store.newScratch();
  try {
    if (source.transport === 'file') copyRepository(source, scratch);
    const address = source.transport === 'file' ? null : await publicAddress(hostOf(source), context.settings.allowPrivate);
    const result = await runSilo(context, scratch, jobFor(source, address), item);
    if (result.failure !== null) throw fetchError(source, result.failure, transcriptTail(scratch, 1000).toString('utf8').trim());
    const facts = readFileSync(`${scratch}/outputs/facts`, 'utf8').trim().split(' ');
    const [commit = '', tree = '', tag = '', date = '', modules = '0'] = facts;
    const output = result.outputs.find((one) => one.name === 'source.tar');
    if (!isObjectId(commit) || !isObjectId(tree) || output === undefined || !/^\d{1,10}$/.test(date))
      throw new LockstepError('FETCH_FAILED', 'git did not say which commit it fetched', 'Run it again.');
    const sha256: Sha256 = context.store.blobs.adopt(`${scratch}/outputs/source.tar`);
    const exact = isMoving(source) ? { ...source, ref: commit } : source;
    const uri = formatSourceRef(exact);
    return {
      ref: uri,
      files: [{ uri, sha256, size: output.size, to: '.', as: 'tree', strip: 0, fetched: { algorithm: 'gitCommit', digest: commit } }],
      date: Number(date),
      dateFrom: 'committer date of the commit',
      git: { commit, tree, tag: tag === 'none' ? null : tag },
      annotatedTag: source.ref.startsWith('refs/tags/') ? tag !== 'none' : null,
      warnings:
        modules === '0'
          ? []
          : [`the tree has ${modules} submodules; they are left empty. Name what the build needs of them in [[inputs]].`],
    };
  } finally {
    context.store.dropScratch(scratch);
  }
}

/**
 * A repository on this machine: its objects and refs are copied, readable for the sandbox's user, whose ids own nothing
 * of the host's. The working tree is not looked at.
 */
function copyRepository(source: GitRef, scratch: string): void {
  const path = source.url.slice('file://'.length);
  const inner = existsSync(`${path}/.git/objects`) ? `${path}/.git` : path;
  if (!existsSync(`${inner}/objects`))
    throw new LockstepError('FETCH_FAILED', `There is no git repository at ${path}`, 'Check the path in the git+file URL.');
  // A link would take the copying and its chmod to another repository.
  if (lstatSync(inner).isSymbolicLink() || realpathSync(inner) !== resolve(realpathSync(dirname(inner)), basename(inner)))
    throw new LockstepError('FETCH_REFUSED', `${inner} is a symbolic link`, 'Name the repository itself.');
  const target = `${scratch}/inputs/repository`;
  mkdirSync(target);
  const run = spawnSync('/bin/sh', ['-eu', '-c', 'cp -R --reflink=auto -- "$1/." "$2/"; chmod -R a+rX -- "$2"', 'sh', inner, target], {
    encoding: 'utf8',
  });
  if (run.status !== 0)
    throw new LockstepError('FETCH_FAILED', `The repository ${path} cannot be copied: ${run.stderr.trim()}`, 'Check that it can be read.');
}

/** `HOST` of the URL, without user and port. */
function hostOf(source: GitRef): string {
  return new URL(source.url).hostname;
}

function jobFor(source: GitRef, address: string | null): ReturnType<typeof ownJob> {
  const local = source.transport === 'file';
  const job = ownJob({
    profile: 'fetch',
    network: local ? 'none' : 'host',
    steps: [{ name: 'git fetch', run: FETCH }],
    outputs: [
      { kind: 'archive', path: 'source.tar', name: 'source.tar' },
      { kind: 'files', path: 'facts' },
    ],
    env: {
      GIT_ALLOW_PROTOCOL: source.transport,
      LOCKSTEP_GIT_URL: local ? 'file:///inputs' : source.url,
      LOCKSTEP_GIT_REF: source.ref,
      // The address that was checked is the one that is used: a name that resolves differently the second time gains nothing.
      LOCKSTEP_GIT_RESOLVE: address === null ? '' : `${hostOf(source)}:${new URL(source.url).port || '443'}:${address}`,
      LOCKSTEP_GIT_FORMAT: isObjectId(source.ref) && source.ref.length === 64 ? 'sha256' : 'sha1',
      // No agent, no keys of the user's: a fetch runs without secrets. Hosts that need a key cannot be fetched from here.
      GIT_SSH_COMMAND: `ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/etc/ssh/ssh_known_hosts -o IdentitiesOnly=yes -o IdentityFile=none -o ProxyCommand=none${address === null ? '' : ` -o HostName=${address} -o HostKeyAlias=${hostOf(source)}`}`,
      ...proxySettings(),
    },
    inputs: local ? [{ path: 'inputs/repository', target: '/inputs', as: 'bind', strip: 0 }] : [],
  });
  return { ...job, limits: { ...job.limits, scratchMb: SCRATCH_MB } };
}

function proxySettings(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => /^(https?|no)_proxy$/.test(entry[0]) && entry[1] !== undefined && !/\/\/[^/]*@/.test(entry[1]),
    ),
  );
}

function fetchError(source: GitRef, failure: Parameters<typeof failureError>[2], said: string): LockstepError {
  if (failure.code === 'STEP_FAILED') {
    return new LockstepError(
      'FETCH_FAILED',
      `${formatSourceRef(source)} could not be fetched: ${said.split('\n').slice(-3).join(' / ') || failure.message}`,
      'Check that the repository and the ref exist and can be read without a password.',
    );
  }
  if (failure.code.startsWith('ARCHIVE_'))
    return new LockstepError('FETCH_REFUSED', failure.message, failure.hint, { reason: failure.code });
  return failureError('FETCH_FAILED', `${formatSourceRef(source)} could not be fetched`, failure, '');
}
