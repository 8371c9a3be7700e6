/** `lockstep verify --root --policy`: the verdict on a file by a policy, from bundles or from a log or its mirror. */
import { basename, dirname } from 'node:path';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type ReleaseVerdict, type TrustedPolicy, verifyRelease, type ReleaseInput } from '@lockstep/protocol/verdict/verify-release';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { folderCells } from '@lockstep/store/cells';
import { sha256File } from '@lockstep/store/digests';
import { defaultStorePath } from '@lockstep/store/store';
import { about, buildsOf, bundlesOf, readEvidence } from '../release/evidence.ts';
import { readNamedFile } from '../read-file.ts';
import { readTrustedPolicy } from '../trust/trusted-policy.ts';
import { bundlesIn } from './quorum/explain.ts';
import type { VerifyOptions } from './verify-options.ts';

export async function releaseVerdict(file: string, options: VerifyOptions): Promise<ReleaseVerdict> {
  if (options.root === undefined || options.policy === undefined)
    throw new LockstepError(
      'USAGE',
      'A policy is trusted by its root, and a root says nothing without a policy',
      'Give both: --root ROOT.json --policy FOLDER.',
    );
  const foreign = (['key', 'attestation', 'farm', 'environment'] as const).find((name) => options[name] !== undefined);
  if (foreign !== undefined)
    throw new LockstepError(
      'USAGE',
      `--${foreign} is for one builder’s word, and says nothing to a policy`,
      'Leave it out, or leave --root and --policy out.',
    );
  const now = Date.now() / 1000;
  const trust = trustOrReason(options.root, options.policy, now);
  const sha256 = sha256File(file).digest;
  const bundles = typeof trust === 'string' ? [] : await bundlesFor(trust, file, sha256, options);
  return verifyRelease({
    artifact: { name: basename(file), sha256 },
    trust,
    bundles,
    complete: options.log !== undefined,
    unsigned: options.unsigned === true,
    expect: {
      ...(options.source === undefined ? {} : { source: options.source }),
      ...(options.buildId === undefined ? {} : { buildId: options.buildId }),
      ...(options.package === undefined ? {} : { package: options.package }),
    },
    now,
  });
}

/** Bad evidence is a failed step; only a wrong call is an error. */
function trustOrReason(root: string, policy: string, now: number): TrustedPolicy | string {
  try {
    return readTrustedPolicy(root, policy, folderCells(`${defaultStorePath(process.env)}/cells`), now);
  } catch (error) {
    if (!(error instanceof LockstepError) || error.code === 'FILE_NOT_FOUND') throw error;
    return error.message;
  }
}

async function bundlesFor(trust: TrustedPolicy, file: string, sha256: string, options: VerifyOptions): Promise<ReleaseInput['bundles']> {
  if (options.log !== undefined) return fromLog(trust, options.log, sha256);
  const folder = options.evidence ?? dirname(file);
  const paths = bundlesIn(folder);
  if (paths.length === 0)
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `There are no bundles (*.sigstore.json) in ${folder}`,
      'Name a folder with --evidence, or a log or its mirror with --log.',
    );
  return paths.map((path) => ({ name: basename(path), bytes: readNamedFile(path) }));
}

/** Everything that the log has about the build that this file came from. */
async function fromLog({ policy }: TrustedPolicy, where: string, sha256: string): Promise<ReleaseInput['bundles']> {
  try {
    return await bundlesAbout(policy, where, sha256);
  } catch (error) {
    // Bad evidence is a failed step; what could not be fetched is none.
    if (!(error instanceof LockstepError) || ['FILE_NOT_FOUND', 'FETCH_FAILED', 'USAGE'].includes(error.code)) throw error;
    return { step: error.code === 'WITNESSES_MISSING' ? 'witnesses' : 'log-inclusion', problem: error.message };
  }
}

async function bundlesAbout(policy: Policy, where: string, sha256: string): Promise<ReleaseInput['bundles']> {
  const evidence = await readEvidence(policy, where);
  const builds = buildsOf(evidence, sha256);
  if (builds.size === 0)
    return { step: 'subject', problem: `no statement in ${evidence.source.name} has the SHA-256 of the file (${sha256})` };
  const bundles = await bundlesOf(evidence, about(evidence, builds));
  return bundles.map(({ name, text }) => ({ name, bytes: toUtf8(text) }));
}
