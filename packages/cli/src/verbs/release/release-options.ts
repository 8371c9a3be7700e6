/** What every verb about a release needs to know: whom to trust, where the log is, whom to ask. */
import { existsSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sha256File } from '@lockstep/store/digests';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import type { Cells } from '@lockstep/store/cells';
import { type Approver, readApprover } from '../../release/group-card.ts';
import { buildsOf, type LogEvidence, readEvidence } from '../../release/evidence.ts';
import type { CommonOptions } from '../../session.ts';
import type { SecretOptions } from '../../signer/secret-options.ts';
import { readTrustedPolicy } from '../../trust/trusted-policy.ts';

export interface ReleaseOptions extends CommonOptions, SecretOptions {
  readonly root?: string;
  readonly policy?: string;
  readonly log?: string;
  readonly farm?: string;
  readonly ca?: string;
  readonly node?: readonly string[];
  readonly line: string;
  readonly confirm?: boolean;
  readonly yes?: boolean;
  readonly timeout: string;
}

export interface ReleasePlaces {
  readonly rootFile: string;
  readonly policyFolder: string;
  readonly log: string;
}

/** A farm of this machine has all of it in its folder. */
export function placesOf({ root, policy, log, farm }: ReleaseOptions): ReleasePlaces {
  const local = farm !== undefined && existsSync(`${farm}/farm.toml`) ? farm : null;
  const policyFolder = policy ?? (local === null ? undefined : `${local}/policy`);
  const rootFile = root ?? (local === null ? undefined : `${local}/policy/repository/metadata/1.root.json`);
  const where = log ?? (local === null ? undefined : `${local}/log/public`);
  if (policyFolder === undefined || rootFile === undefined || where === undefined)
    throw new LockstepError(
      'USAGE',
      'It is not said whom to trust, and where the log is',
      'Give --root ROOT.json --policy FOLDER --log WHERE; or --farm FOLDER for a farm of this machine.',
    );
  return { rootFile, policyFolder, log: where };
}

export function approversOf({ node, farm }: ReleaseOptions): Approver[] {
  const own = farm === undefined ? null : `${farm}/signer`;
  const specs = node ?? (own !== null && existsSync(`${own}/card.json`) ? [`${own}/card.json@local:${own}`] : []);
  if (specs.length === 0)
    throw new LockstepError(
      'USAGE',
      'No signing node is named',
      'Give --node CARD[@VIA], once for each: "lockstep signer init" writes the card.',
    );
  return specs.map(readApprover);
}

export function secondsOf({ timeout }: Pick<ReleaseOptions, 'timeout'>): number {
  const seconds = Number(timeout);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 86_400)
    throw new LockstepError('USAGE', `--timeout ${timeout} is no number of seconds`, 'Give 1 to 86400.');
  return seconds;
}

export interface Found {
  readonly trust: TrustedPolicy;
  readonly evidence: LogEvidence;
  readonly buildId: string;
}

/** @param what a file that a listed builder has made, or a build id (8 digits or more) */
export async function findBuild(what: string, { rootFile, policyFolder, log }: ReleasePlaces, cells: Cells, now: number): Promise<Found> {
  const trust = readTrustedPolicy(rootFile, policyFolder, cells, now);
  const evidence = await readEvidence(trust.policy, log);
  const ids = existsSync(what)
    ? [...buildsOf(evidence, sha256File(what).digest)]
    : /^[0-9a-f]{8,64}$/.test(what)
      ? [...new Set(evidence.entries.map((one) => one.buildId).filter((id) => id.startsWith(what)))]
      : [];
  const [buildId] = ids;
  if (buildId === undefined || ids.length > 1)
    throw new LockstepError(
      'NOT_FOUND',
      `${what} is ${ids.length === 0 ? 'no build that the log has anything about' : `more than one build: ${ids.join(', ')}`}`,
      'Give a file that came out of the build, or its build id.',
    );
  return { trust, evidence, buildId };
}
