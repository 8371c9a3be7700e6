/** `lockstep quorum audit`: decides every outcome of a log again, from the log alone; `export`: one build's facts as files. */
import { mkdirSync } from 'node:fs';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { OUTCOME, type Outcome } from '@lockstep/protocol/commitment/documents';
import { isTable } from '@lockstep/protocol/decode/decode';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { type AboutBuild, entriesAbout, outcomesAmong } from '@lockstep/log/watch/entries-about';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { writeDurably } from '@lockstep/store/durable';
import { EXIT } from '../../exit-code.ts';
import { openPolicyLog } from '../../policy-log.ts';
import { runVerb } from '../../session.ts';
import { policyFrom } from '../policy/explain.ts';
import { buildIdOf, type QuorumOptions } from './explain.ts';

type Options = QuorumOptions & { readonly log: string };

interface Audited {
  readonly index: number;
  readonly buildId: string;
  readonly result: string;
  /**
   * `other policy`: it was decided by another version, which has to be given to decide it again. What is not by a
   * coordinator is no outcome, and what is of another log is none of this one: anybody can have them logged.
   */
  readonly state: 'same' | 'DIFFERENT' | 'other policy' | 'other log' | 'not by a coordinator';
}

export function quorumAudit(options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const policy = policyFrom(context, options.policy, options.root, 'warn');
    const { source, view } = await openPolicyLog(policy, options.log);
    const entries = await entriesAbout(source, view, null);
    const audited = outcomesAmong(entries).map((entry) => audit(policy, entries, entry, view.checkpoint.origin));
    const bad = audited.filter((one) => one.state === 'DIFFERENT');
    print(
      [
        ...audited.map((one) => `${one.index}  ${one.state.padEnd(9)}  ${one.result}  build ${one.buildId}`),
        `${audited.length} outcomes, ${audited.filter((one) => one.state === 'same').length} decided again with the same result to the letter`,
      ].join('\n'),
      { schema: 'lockstep-quorum-audit/v1', size: view.checkpoint.size, outcomes: audited },
    );
    return bad.length === 0 ? EXIT.ok : EXIT.verificationFailed;
  });
}

function audit(policy: Policy, entries: readonly AboutBuild[], entry: AboutBuild, origin: string): Audited {
  const outcome = readOutcome(entry);
  const decision = outcome?.decision ?? null;
  const told = isTable(decision) ? decision : {};
  const named = told['policy'] ?? null;
  const result = typeof told['result'] === 'string' ? told['result'] : 'unreadable';
  const state = (value: Audited['state']): Audited => ({ index: entry.index, buildId: entry.buildId, result, state: value });
  if (!policy.coordinators.some((one) => one.key.id === entry.signer)) return state('not by a coordinator');
  if (outcome !== null && outcome.log.origin !== origin) return state('other log');
  // It cannot have been decided from entries that came after it.
  if (outcome === null || outcome.log.size > entry.index) return state('DIFFERENT');
  if (isTable(named) && named['sha256'] !== policy.sha256) return state('other policy');
  const before = entries.filter((one) => one.buildId === entry.buildId && one.index < outcome.log.size);
  const again = redecide(policy, before, entry.buildId)?.decision;
  const same =
    again !== undefined &&
    again.round === outcome.round &&
    canonicalText(JSON.parse(JSON.stringify(again)) as Json) === canonicalText(decision);
  return state(same ? 'same' : 'DIFFERENT');
}

/** null when it is broken: anybody can have such a thing logged, and it may not stop an audit. */
function readOutcome(entry: AboutBuild): Outcome | null {
  try {
    return readDocument(OUTCOME, entry.payloadType, entry.payload);
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}

/** Sigstore bundles of everything that the decision about one build was made of, in the order of the log. */
export function quorumExport(what: string, options: Options & { readonly out: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const policy = policyFrom(context, options.policy, options.root, 'warn');
    const { source, key, view } = await openPolicyLog(policy, options.log);
    const id = buildIdOf(what);
    const entries = await entriesAbout(source, view, id);
    if (entries.length === 0) throw new LockstepError('ROUND_REFUSED', `The log has nothing about build ${id}`, 'Check the build id.');
    mkdirSync(options.out, { recursive: true });
    const files: string[] = [];
    for (const entry of entries) {
      const path = `${options.out}/${String(entry.index).padStart(9, '0')}.sigstore.json`;
      writeDurably(path, formatBundle(await makeBundle(source, key, view, entry.index)));
      files.push(path);
    }
    print([...files, `${files.length} bundles; decide again: lockstep quorum ${id} ${options.out} --policy … --root …`].join('\n'), {
      schema: 'lockstep-quorum-export/v1',
      buildId: id,
      files,
    });
    return 0;
  });
}
