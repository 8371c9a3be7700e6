/** A request for a release: the verdict on its evidence (protocol/signing/check-evidence), and what follows from it. */
import { toHex } from '@lockstep/protocol/bytes/hex';
import { isRootKey, useOfKey } from '@lockstep/protocol/policy/use-of-key';
import { checkEvidence, lineKey } from '@lockstep/protocol/signing/check-evidence';
import type { Learned } from '@lockstep/protocol/signing/record';
import type { ReleaseRequest } from '@lockstep/protocol/signing/request';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import { describeRelease } from './describe.ts';
import { type JudgeInput, type Judged, refusal, usesOf } from './judged.ts';
import type { Memory } from './memory.ts';
import { requestPolicy } from './request-policy.ts';

export function judgeRelease(request: ReleaseRequest, input: JudgeInput): Judged {
  const { memory, now } = input;
  const { trust, seen } = requestPolicy(input.root, request.policy, memory.seen, now);
  const misused =
    typeof trust === 'string' ? undefined : input.keys.find((key) => (useOfKey(trust.policy, key.public) ?? key.use) !== key.use);
  if (misused !== undefined)
    return refusal(
      `build ${request.build_id}`,
      'keys',
      `a key of this node is for ${misused.use}, and the policy lists it for something else`,
      now,
    );
  const ofRoot =
    typeof trust === 'string' ? undefined : input.keys.find((key) => isRootKey(trust.root, key.public) && !key.use.startsWith('tuf-'));
  if (ofRoot !== undefined)
    return refusal(`build ${request.build_id}`, 'keys', `a key of this node is for ${ofRoot.use}, and is one of the root metadata`, now);
  const { verdict, derived } = checkEvidence(request, {
    trust,
    logs: memory.logs,
    releases: memory.releases,
    uses: usesOf(input),
    lines: input.lines,
    now,
  });
  const failed = verdict.steps.find((step) => step.state === 'fail');
  const base = { steps: verdict.steps, tuf: null };
  if (derived === null)
    return {
      ...refusal(`build ${request.build_id}`, failed?.name ?? 'evidence', failed?.detail ?? 'it does not hold', now),
      ...base,
      // What it has seen, so that whoever asks can prove that the log goes on from there.
      learned: failed?.name === 'log-memory' ? knownLog(memory, trust, request) : null,
    };
  const { record, origin, tree } = derived;
  const last = memory.releases.get(lineKey(record.name, record.line))?.release ?? null;
  return {
    ...base,
    about: `${record.name} ${record.version}`.slice(0, 500),
    refused: null,
    plan: derived.plan,
    needsPerson: false,
    shown: describeRelease(derived, last, verdict.notes),
    now: derived.now,
    release: record,
    learned: { seen, log: { origin, size: tree.size, root: toHex(tree.root) } },
  };
}

function knownLog(memory: Memory, trust: TrustedPolicy | string, request: ReleaseRequest): Learned | null {
  if (typeof trust === 'string') return null;
  const origin = trust.policy.logs
    .map((one) => one.key.name)
    .find((name) => request.bundles.some((text) => text.includes(name)) && memory.logs.has(name));
  const tree = origin === undefined ? undefined : memory.logs.get(origin);
  return origin === undefined || tree === undefined
    ? null
    : { seen: memory.seen, log: { origin, size: tree.size, root: toHex(tree.root) } };
}
