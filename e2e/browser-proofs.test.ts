/** Notes, checkpoints, bundles and proofs, good and bad: a real browser says of each the same as Node, to the last word. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { sampleEd25519Witness, sampleLog, sampleLogSigner, sampleMlDsaWitness } from '@lockstep/protocol/bundle/samples';
import { formatTlogProof } from '@lockstep/protocol/bundle/tlog-proof';
import { mutate, randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import { inclusionRanges } from '@lockstep/protocol/merkle/range';
import { sampleLeaves, sampleTree } from '@lockstep/protocol/merkle/samples';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { samplePolicy, samplePolicyJson } from '@lockstep/protocol/policy/samples';
import { SampleRound } from '@lockstep/protocol/quorum/samples';
import { ROOT_KEYS, rootJson, signed } from '@lockstep/protocol/tuf/samples';
import { rolldown } from 'rolldown';
import { ROOT, temporaryFolder } from './lockstep.ts';
import { resultOfPage } from './in-chromium.ts';
import { answerAll, type ProofQuestion, type Question, type Questions, timeInclusion } from './proof-answers.ts';

const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');
const TEN_MILLION = 10_000_000;

/** An inclusion proof of a tree that nobody has to build: any siblings lead to some root (RFC 6962 section 2.1.1). */
function proofInLargeTree(index: number, size: number): ProofQuestion {
  const leaf = createHash('sha256').update('leaf').digest();
  const ranges = inclusionRanges(index, size);
  const proof = ranges.map((_, at) => createHash('sha256').update(`sibling ${at}`).digest());
  const root = proof.reduce((hash, sibling, at) => {
    const pair = (ranges[at]?.start ?? 0) > index ? [hash, sibling] : [sibling, hash];
    return createHash('sha256')
      .update(Buffer.concat([Buffer.of(1), ...pair]))
      .digest();
  }, leaf);
  return { from: index, fromHash: base64(leaf), size, root: base64(root), proof: proof.map(base64) };
}

function questions(): Questions {
  const signers = [sampleLogSigner(), sampleEd25519Witness(), sampleMlDsaWitness()];
  const keys = signers.map((one) => formatVerifierKey(one.key));
  const log = sampleLog(5, signers);
  const small = sampleLog(4, signers.slice(0, 2));
  const proofFile = formatTlogProof({ index: 2, proof: log.tree.proveInclusion(2), checkpoint: small.checkpoint });
  const policy = `log ${keys[0]}\nwitness a ${keys[1]} https://w.example/\nwitness b ${keys[2]}\ngroup g any a b\nquorum g\n`;
  const round = new SampleRound(samplePolicy(), [1]);
  const random = randomFrom(20_260_101);
  const some = (kind: Question['kind'], mutations: number, ...examples: (string | Uint8Array)[]): Question[] => {
    const bytes = examples.map((one) => new Uint8Array(Buffer.from(one)));
    const all = [...bytes, ...Array.from({ length: mutations }, () => mutate(bytes, random))];
    return all.map((input) => ({ kind, input: base64(input) }));
  };
  const tree = sampleTree(sampleLeaves(300));
  const older = sampleTree(sampleLeaves(77));
  const leaf = base64(sampleLeaves(42)[41]!);
  const inclusion = { from: 41, fromHash: leaf, size: 300, root: base64(tree.root), proof: tree.proveInclusion(41).map(base64) };
  const consistency = {
    from: 77,
    fromHash: base64(older.root),
    size: 300,
    root: base64(tree.root),
    proof: tree.proveConsistency(77).map(base64),
  };
  const variants = (good: ProofQuestion): ProofQuestion[] => [
    good,
    { ...good, from: good.from + 1 },
    { ...good, from: -1 },
    { ...good, from: 0.5 },
    { ...good, size: 301 },
    { ...good, size: 2 ** 53 },
    { ...good, root: good.fromHash },
    { ...good, proof: good.proof.slice(1) },
    { ...good, proof: [...good.proof, good.root] },
    ...good.proof.map((_, at) => ({ ...good, proof: good.proof.with(at, good.root) })),
  ];
  return {
    keys,
    files: [
      ...some('note', 200, log.checkpoint, small.checkpoint, 'a\n\nb\n\n— c AAAAAAA=\n'),
      ...some('key', 100, ...keys),
      ...some('checkpoint', 100, log.checkpoint, small.checkpoint),
      ...some('log-checkpoint', 100, log.checkpoint, small.checkpoint),
      ...some('bundle', 100, ...[0, 4].map((index) => formatBundle(log.bundle(index))), formatBundle(small.bundle(3))),
      ...some('entry', 100, ...small.entries),
      ...some('tlog-proof', 100, proofFile),
      ...some('witness-policy', 100, policy),
      ...some('policy', 100, JSON.stringify(samplePolicyJson())),
      ...some('root', 100, signed(rootJson(), ROOT_KEYS)),
      ...some('opening', 100, round.opening.payload),
      ...some('commitment', 100, round.commit(1).entries.at(-1)?.payload ?? ''),
    ],
    inclusion: [...variants(inclusion), ...variants(proofInLargeTree(1_234_567, TEN_MILLION)), proofInLargeTree(2 ** 53 - 2, 2 ** 53 - 1)],
    consistency: variants(consistency),
  };
}

test('protocol in chromium says the same of notes, checkpoints, bundles, proofs, policies and commitments as in Node', async (t) => {
  if (spawnSync('chromium', ['--version']).status !== 0) {
    assert.equal(process.env['CI'], undefined, 'chromium is missing: apt-get install chromium');
    t.skip('chromium is not installed: the browser was NOT tested');
    return;
  }
  const asked = questions();
  const timed = proofInLargeTree(7_654_321, TEN_MILLION);
  assert.ok(timed.proof.length >= 23, `a proof of ${timed.proof.length} hashes`);
  const here = answerAll(asked);
  const count = (start: string): number => here.filter((one) => one.startsWith(start)).length;
  t.diagnostic(
    `${count('["accepted')} files accepted, ${count('["refused')} refused; proofs: ${count('true')} good, ${count('false')} bad`,
  );
  assert.ok(count('["accepted') > 50 && count('["refused') > 50 && count('true') >= 4 && count('false') > 20);
  assert.deepEqual(
    here.filter((one) => one.startsWith('["broken')),
    [],
    'a parser throws nothing but its own error',
  );

  const bundle = await rolldown({ input: `${ROOT}/e2e/proof-answers.ts`, platform: 'browser', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'iife', name: 'proofs', minify: true });
  await bundle.close();
  const script = output[0].code;
  t.diagnostic(`the bundle has ${Math.round(script.length / 1024)} KiB`);
  assert.deepEqual(output[0].imports, []);
  assert.doesNotMatch(script, /require\(|["'`]node:/, 'nothing of Node is in the bundle');

  const work = temporaryFolder();
  const call = `{ answers: proofs.answerAll(${JSON.stringify(asked)}), milliseconds: proofs.timeInclusion(${JSON.stringify(timed)}) }`;
  writeFileSync(`${work}/proofs.js`, script);
  writeFileSync(
    `${work}/run.js`,
    `const found = ${call}; document.getElementById('result').textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));`,
  );
  writeFileSync(
    `${work}/page.html`,
    '<!doctype html><meta charset="utf-8"><pre id="result"></pre><script src="proofs.js"></script><script src="run.js"></script>',
  );
  const there = resultOfPage(work) as { answers: string[]; milliseconds: number | null };
  assert.deepEqual(there.answers, here);
  assert.ok(there.milliseconds !== null && there.milliseconds > 0);
  t.diagnostic(
    `one inclusion proof of ${timed.proof.length} hashes, in a tree of 10 million: ${there.milliseconds.toFixed(3)} ms in chromium, ${timeInclusion(timed).toFixed(3)} ms in Node`,
  );
  assert.ok(there.milliseconds < 100, 'quick enough to check in a page');
});
