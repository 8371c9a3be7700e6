/** Policies from the command line: made, checked, signed, explained, tried out; and what is wrong with a wrong one, to the line. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { ended, succeed } from './farm.ts';
import { errorOf, temporaryFolder } from './lockstep.ts';

/** A draft, and a way to change its text. */
function draft(): { folder: string; file: string; edit: (change: (policy: Record<string, unknown>) => void) => void } {
  const folder = `${temporaryFolder()}/trust`;
  succeed(['policy', 'init', folder, '--name', 'example', '--root-keys', '3']);
  const file = `${folder}/policy.json`;
  return {
    folder,
    file,
    edit(change) {
      const policy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
      change(policy);
      writeFileSync(file, JSON.stringify(policy, null, 2));
    },
  };
}

test('policy init makes keys that only their owner reads, and a draft that is consistent and warns of what it leaves open', () => {
  const { folder, file } = draft();
  for (const name of ['root-1', 'root-3', 'targets-1', 'snapshot-1', 'timestamp-1', 'coordinator'])
    assert.equal(statSync(`${folder}/keys/${name}.pem`).mode & 0o777, 0o600, name);
  const checked = succeed(['policy', 'check', file]);
  assert.match(checked, /warning: no witnesses/);
  assert.match(checked, /trusts every source/);
  assert.equal(errorOf(ended(['policy', 'init', folder, '--json'], 2).stdout).code, 'POLICY_INVALID');
});

test('policy sign needs the threshold of offline keys, and a new version for another content', () => {
  const { folder, edit } = draft();
  assert.equal(errorOf(ended(['policy', 'sign', folder, '--root-threshold', '4', '--json'], 2).stdout).code, 'KEY_INVALID');
  succeed(['policy', 'sign', folder, '--root-threshold', '2']);
  const root = `${folder}/repository/metadata/1.root.json`;
  assert.match(succeed(['policy', 'check', folder, '--root', root]), /signed, current and consistent/);
  // Signed again without a change: the same policy, fresh for longer.
  succeed(['policy', 'sign', folder]);
  edit((policy) => (policy['name'] = 'changed'));
  assert.match(errorOf(ended(['policy', 'sign', folder, '--json'], 2).stdout).hint, /Raise "version"/);
  edit((policy) => (policy['version'] = 2));
  succeed(['policy', 'sign', folder]);
  assert.match(succeed(['policy', 'explain', folder, '--root', root]), /^changed, version 2/);
});

test('policy simulate says what would be decided', () => {
  const { file, edit } = draft();
  edit((policy) => {
    const [first] = policy['builders'] as Record<string, unknown>[];
    const other = succeed(['key', 'make', `${temporaryFolder()}/other.pem`]);
    policy['builders'] = [first, { name: 'other', key: other, domain: { operator: 'another', site: 'elsewhere', lineage: 'linux' } }];
    policy['rules'] = [
      { packages: 'lib*', tier: 'container', quorum: 2, commitments: 'none', sources: ['git+https://example.org/*'] },
      { packages: 'tool', tier: 'container', quorum: 1, sources: ['*'] },
    ];
  });
  const simulate = (args: readonly string[], status: number): string => ended(['policy', 'simulate', file, ...args], status).stdout;
  assert.match(simulate(['--package', 'libx', '--agree', 'this-machine,other'], 0), /^agreed: rule 1: 2 independent of the 2 needed/);
  assert.match(simulate(['--package', 'libx', '--agree', 'other'], 5), /^pending/);
  assert.match(simulate(['--package', 'libx', '--agree', 'this-machine', '--differ', 'other'], 5), /^disputed/);
  assert.match(simulate(['--package', 'tool', '--agree', 'other'], 0), /^agreed: rule 2/);
  assert.match(simulate(['--package', 'unknown', '--agree', 'other'], 5), /^refused/);
  assert.equal(errorOf(ended(['policy', 'simulate', file, '--package', 'tool', '--agree', 'nobody', '--json'], 2).stdout).code, 'USAGE');
});

const WRONG: readonly { readonly name: string; readonly change: (policy: Record<string, unknown>) => void; readonly message: RegExp }[] = [
  {
    name: 'threshold 0',
    change: (policy) => (policy['rules'] = [{ packages: '*', tier: 'container', quorum: 0, sources: ['*'] }]),
    message: /rules\[0\]\.quorum/,
  },
  {
    name: 'more than there are',
    change: (policy) => (policy['rules'] = [{ packages: '*', tier: 'container', quorum: 2, sources: ['*'] }]),
    message: /asks for 2 builders from independent domains, and there are 1/,
  },
  {
    name: 'one key under two names',
    change: (policy) => {
      const builders = policy['builders'] as Record<string, unknown>[];
      policy['builders'] = [...builders, { ...builders[0], name: 'twin' }];
    },
    message: /have the same key/,
  },
  { name: 'an unknown field', change: (policy) => (policy['builder'] = []), message: /unknown key "builder"/ },
  { name: 'no rule', change: (policy) => (policy['rules'] = []), message: /rules/ },
  { name: 'a time that is none', change: (policy) => (policy['expires'] = '2027-02-30T00:00:00Z'), message: /expires/ },
];

test('policy check tells what is wrong, and where', async (context) => {
  for (const one of WRONG)
    await context.test(one.name, () => {
      const { file, edit } = draft();
      edit(one.change);
      const error = errorOf(ended(['policy', 'check', file, '--json'], 2).stdout);
      assert.equal(error.code, 'POLICY_INVALID');
      assert.match(error.message, one.message);
      assert.equal(error.at?.file, file);
    });
  const { file, edit } = draft();
  edit((policy) => (policy['expires'] = '2020-01-01T00:00:00Z'));
  assert.equal(errorOf(ended(['policy', 'check', file, '--json'], 5).stdout).code, 'POLICY_UNTRUSTED');
});
