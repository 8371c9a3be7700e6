import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatVerifierKey } from '../note/verifier-key.ts';
import { sampleEd25519Witness } from '../bundle/samples.ts';
import { samplePolicy } from './samples.ts';
import { witnessing } from './witnessing.ts';

const keys = [61, 62, 63].map((number) => sampleEd25519Witness(`witness.example/${number}`, number).key);
const policy = samplePolicy({
  witnesses: keys.map((key, at) => ({
    name: `w${at}`,
    keys: [formatVerifierKey(key)],
    operator: `Witness ${at}`,
    site: `elsewhere ${at}`,
  })),
  witness_groups: [{ name: 'two', threshold: 2, members: ['w0', 'w1', 'w2'] }],
  witness_quorum: 'two',
});
const log = policy.logs[0];
assert.ok(log !== undefined);

/** What is said by the witnesses, each with its time; null when it says nothing. */
const seen = (...times: (number | null)[]): ReturnType<typeof witnessing> =>
  witnessing(
    policy,
    log,
    times.flatMap((time, at) => {
      const key = policy.witnesses[at]?.keys[0];
      return time === null || key === undefined ? [] : [{ key, time }];
    }),
  );

test('witnessing takes the latest time that enough of them reach: one that lies ages nothing and makes nothing fresh', () => {
  assert.deepEqual(seen(1000, 2000, null), { met: true, names: ['w0', 'w1'], time: 1000 });
  assert.equal(seen(1000, 2000, 1).time, 1000, 'a third one says 1970');
  assert.equal(seen(1000, 2000, 9_000_000).time, 2000, 'a third one is far ahead');
  assert.deepEqual([seen(1000, null, null).met, seen(null, null, null).time], [false, null]);
});

test('witnessing counts no witness of the log’s own operator, nor one that stands where the log stands', () => {
  for (const change of [{ operator: log.operator }, { site: log.site }]) {
    const own = { ...policy, witnesses: policy.witnesses.map((one, at) => (at === 0 ? { ...one, ...change } : one)) };
    const [first, second] = own.witnesses;
    const signedBy = [first, second].flatMap((one) => (one?.keys[0] === undefined ? [] : [{ key: one.keys[0], time: 1000 }]));
    assert.deepEqual(witnessing(own, log, signedBy), { met: false, names: ['w1'], time: 1000 });
  }
});
