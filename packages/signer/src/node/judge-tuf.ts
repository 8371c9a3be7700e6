/** A request for a TUF role's metadata: versions go forward, validity is bounded, and targets come with the policy that they name. */
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { POLICY_TARGET } from '@lockstep/protocol/policy/policy';
import type { PlannedSignature } from '@lockstep/protocol/signing/plan';
import type { TufRequest } from '@lockstep/protocol/signing/request';
import {
  metadataBytes,
  parseMetadata,
  type RootMetadata,
  type SnapshotMetadata,
  type TargetsMetadata,
  type TimestampMetadata,
  tufSeconds,
} from '@lockstep/protocol/tuf/metadata';
import { describeTuf } from './describe.ts';
import { differs, type JudgeInput, type Judged, refusal, usesOf } from './judged.ts';

const DAY = 86_400;
/** A version near the highest that there is would be the last one of its role. */
const MAX_STEP = 1000;
/** Metadata that outlives everybody's attention cannot be replaced in time. */
const MAX_VALID_DAYS = { root: 3 * 366, targets: 2 * 366, snapshot: 60, timestamp: 60 } as const;

/** The next version of a role's metadata, and of the policy behind it. */
export function judgeTuf(request: TufRequest, input: JudgeInput): Judged {
  const about = `TUF ${request.role}`;
  const refuse = (step: string, reason: string): Judged => refusal(about, step, reason, input.now);
  const use = `tuf-${request.role}` as const;
  const shown: string[] = [];
  try {
    const { signed, bytes } = parseMetadata(request.role, toUtf8(request.metadata));
    if (!sameHash(bytes, metadataBytes(signed))) return refuse('metadata', 'it is not written as this node would write it');
    // What others have signed and this node has seen counts too, and the root that it pins.
    const pinned = request.role === 'root' ? parseMetadata('root', input.root).signed.version : 0;
    const last = input.memory.roles.get(request.role);
    const before = Math.max(pinned, input.memory.seen[request.role], last?.version ?? 0);
    // The very same bytes may be signed again: another of the role's keys, or of a key's holders, was missing the first time.
    const again = last?.version === signed.version && last.message === sha256Hex(bytes);
    if (signed.version <= before && !again)
      return refuse('version', `version ${signed.version} was signed before, or is older: the last was ${before}`);
    const days = (tufSeconds(signed.expires) - input.now) / DAY;
    if (days <= 0 || days > MAX_VALID_DAYS[request.role])
      return refuse('time', `it would be valid until ${signed.expires}: at most ${MAX_VALID_DAYS[request.role]} days are signed`);
    if (signed.version > before + MAX_STEP)
      return refuse(
        'version',
        `version ${signed.version} is more than ${MAX_STEP} after ${before}: nobody could follow it with a next one`,
      );
    const names = namedVersion(signed, request);
    const named = Math.max(
      last?.names ?? 0,
      signed._type === 'snapshot' ? input.memory.seen.targets : signed._type === 'timestamp' ? input.memory.seen.snapshot : 0,
    );
    if (names !== null && names < named)
      return refuse('version', `it refers to version ${names}, and version ${named} was referred to, or seen, before`);
    const problem = signed._type === 'targets' ? targetsProblem(signed, request, input, shown) : null;
    if (problem !== null) return refuse(...problem);
    if (signed._type === 'root')
      for (const [role, { keyids, threshold }] of Object.entries(signed.roles)) shown.push(`${role}: ${threshold} of ${keyids.join(', ')}`);
    const plan: PlannedSignature[] = usesOf(input).includes(use) ? [{ use, format: 'tuf', file: null, message: bytes, second: null }] : [];
    const differing = differs(plan, request);
    if (differing !== null) return refuse('bytes', differing);
    return {
      ...refusal(about, '', '', input.now),
      refused: null,
      plan,
      needsPerson: request.role === 'root' || request.role === 'targets',
      shown: describeTuf(request.role, signed.version, signed.expires, shown),
      tuf: { role: request.role, version: signed.version, names },
    };
  } catch (error) {
    if (error instanceof LockstepError) return refuse('metadata', error.message);
    throw error;
  }
}

/** What the metadata says is the newest of what stands behind it. */
function namedVersion(signed: RootMetadata | TargetsMetadata | SnapshotMetadata | TimestampMetadata, { files }: TufRequest): number | null {
  if (signed._type === 'snapshot') return signed.meta['targets.json']?.version ?? null;
  if (signed._type === 'timestamp') return signed.meta['snapshot.json'].version;
  const policy = signed._type === 'targets' && Object.hasOwn(files, POLICY_TARGET) ? (files[POLICY_TARGET] ?? null) : null;
  return policy === null ? null : parsePolicy(toUtf8(policy), POLICY_TARGET).version;
}

/** @returns the step and the reason; null when the policy behind it is there, and none older than what was seen */
function targetsProblem(
  { targets }: TargetsMetadata,
  { files }: TufRequest,
  { memory }: JudgeInput,
  shown: string[],
): readonly [step: string, reason: string] | null {
  if (!Object.hasOwn(targets, POLICY_TARGET)) return ['files', `it names no ${POLICY_TARGET}`];
  for (const [name, info] of Object.entries(targets)) {
    shown.push(`target ${name} ${info.length} bytes ${info.hashes.sha256}`);
    if (name !== POLICY_TARGET) continue;
    const file = Object.hasOwn(files, name) ? toUtf8(files[name] ?? '') : null;
    if (file === null || file.length !== info.length || sha256Hex(file) !== info.hashes.sha256)
      return ['files', 'the policy that it names was not handed in'];
    const policy = parsePolicy(file, POLICY_TARGET);
    if (policy.version < memory.seen.policy)
      return ['version', `policy version ${policy.version} is older than ${memory.seen.policy}, which was seen before`];
    shown.push(
      `policy ${policy.name}, version ${policy.version}: ${policy.builders.length} builders, ${policy.release?.threshold ?? 0} of ${policy.release?.keys.length ?? 0} release keys`,
    );
    for (const rule of policy.rules) shown.push(`rule ${rule.packages}: quorum ${rule.quorum}`);
  }
  return null;
}
