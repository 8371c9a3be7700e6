/** Manifests that are wrong, absurd or hostile: each gives its named error, the place in the file, and what to do. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorOf, lockstep, manifest, project } from './lockstep.ts';

const base = manifest({});

interface ManifestCase {
  readonly name: string;
  readonly text: string;
  readonly code: string;
  /** `line:column`, where the text says it. */
  readonly at?: string;
  readonly says?: RegExp;
}

const MANIFESTS: readonly ManifestCase[] = [
  { name: 'not TOML', text: 'name = "x', code: 'MANIFEST_SYNTAX', at: '1:8' },
  { name: 'a key twice', text: 'name = "x"\nname = "y"\n', code: 'MANIFEST_SYNTAX' },
  {
    name: 'an unknown key, with the nearest one',
    text: base.replace('memory_mb', 'memroy_mb'),
    code: 'MANIFEST_INVALID',
    at: '14:1',
    says: /memory_mb/,
  },
  { name: 'an unknown table', text: `${base}\n[deploy]\nx = 1\n`, code: 'MANIFEST_INVALID' },
  {
    name: 'text where a number is wanted',
    text: base.replace('memory_mb = 256', 'memory_mb = "256"'),
    code: 'MANIFEST_INVALID',
    at: '14:1',
    says: /whole number/,
  },
  { name: 'an absurd size', text: base.replace('memory_mb = 256', 'memory_mb = 99999999999'), code: 'MANIFEST_INVALID' },
  { name: 'a negative size', text: base.replace('scratch_mb = 256', 'scratch_mb = -1'), code: 'MANIFEST_INVALID' },
  { name: 'a fraction', text: base.replace('timeout = 60', 'timeout = 0.5'), code: 'MANIFEST_INVALID' },
  { name: 'infinity', text: base.replace('timeout = 60', 'timeout = inf'), code: 'MANIFEST_INVALID' },
  { name: 'a date for a version', text: base.replace('version = "1"', 'version = 2026-01-01'), code: 'MANIFEST_INVALID', at: '2:1' },
  { name: 'no steps', text: base.replace(/steps = .*/, 'steps = []'), code: 'MANIFEST_INVALID' },
  { name: 'no outputs', text: base.replace('[[outputs]]\nfiles = "out"', ''), code: 'MANIFEST_INVALID' },
  { name: 'an output that climbs', text: base.replace('files = "out"', 'files = "../../etc/shadow"'), code: 'MANIFEST_INVALID' },
  { name: 'an absolute output', text: base.replace('files = "out"', 'tree = "/etc"\nname = "x"'), code: 'MANIFEST_INVALID' },
  { name: 'an output name with a slash', text: base.replace('files = "out"', 'tree = "d"\nname = "../x"'), code: 'MANIFEST_INVALID' },
  { name: 'a build path over the system', text: manifest({ build: 'path = "/usr/src"' }), code: 'MANIFEST_INVALID' },
  { name: 'a build path that climbs', text: manifest({ build: 'path = "/build/../etc"' }), code: 'MANIFEST_INVALID' },
  { name: 'root as the build user', text: manifest({ build: 'uid = 0' }), code: 'MANIFEST_INVALID' },
  { name: 'a reserved variable', text: manifest({ build: 'env = { LD_PRELOAD = "/x.so" }' }), code: 'MANIFEST_INVALID' },
  { name: 'a malformed umask', text: manifest({ build: 'umask = "999"' }), code: 'MANIFEST_INVALID' },
  { name: 'network access', text: `network = "host"\n${base}`, code: 'MANIFEST_INVALID' },
  {
    name: 'a git option in a ref',
    text: manifest({ source: 'ref = "git+https://example.org/x#--upload-pack=touch"' }),
    code: 'MANIFEST_INVALID',
  },
  { name: 'a leading dash', text: manifest({ source: 'ref = "--upload-pack=x"' }), code: 'MANIFEST_INVALID' },
  { name: 'the ext transport', text: manifest({ source: 'ref = "EXT::sh -c id"' }), code: 'MANIFEST_INVALID' },
  {
    name: 'the ext transport within git+',
    text: manifest({ source: 'ref = "git+ext::sh%20-c%20id#refs/tags/v1"' }),
    code: 'MANIFEST_INVALID',
  },
  {
    name: 'a carriage return in a ref',
    text: manifest({ source: 'ref = "git+https://example.org/x#refs/tags/v1\\r"' }),
    code: 'MANIFEST_INVALID',
  },
  {
    name: 'a newline in a ref',
    text: manifest({ source: 'ref = "git+https://example.org/x#refs/tags/v1\\n--x"' }),
    code: 'MANIFEST_INVALID',
  },
  { name: 'a password in a URL', text: manifest({ source: 'ref = "https://user:secret@example.org/x.tar.gz"' }), code: 'MANIFEST_INVALID' },
  { name: 'plain http', text: manifest({ source: 'ref = "http://example.org/x.tar.gz"' }), code: 'MANIFEST_INVALID' },
  {
    name: 'a branch without refs/',
    text: manifest({ source: 'ref = "git+https://example.org/x#main"' }),
    code: 'MANIFEST_INVALID',
    says: /refs\/tags\/main/,
  },
  {
    name: 'a short commit id',
    text: manifest({ source: 'ref = "git+https://example.org/x#abc1234"' }),
    code: 'MANIFEST_INVALID',
    says: /all digits/,
  },
  {
    name: 'a package option',
    text: manifest({ environment: 'kind = "debian"\nsuite = "bookworm"\npackages = ["-o APT::x=y"]' }),
    code: 'MANIFEST_INVALID',
  },
  { name: 'the vm tier', text: `tier = "vm"\n${base}`, code: 'TIER_UNAVAILABLE' },
  { name: 'more than a mebibyte', text: `${base}\n# ${'x'.repeat(1 << 20)}`, code: 'MANIFEST_TOO_LARGE' },
];

for (const one of MANIFESTS) {
  test(`manifest: ${one.name}`, () => {
    const folder = project({});
    writeFileSync(`${folder}/lockstep.toml`, one.text);
    const run = lockstep(['lock', folder, '--json', '-q']);
    const error = errorOf(run.stdout);
    assert.equal(error.code, one.code, run.stderr);
    assert.notEqual(error.hint, '');
    assert.equal(run.status, one.code === 'TIER_UNAVAILABLE' ? 3 : 2);
    if (one.at !== undefined) assert.equal(`${error.at?.line}:${error.at?.column}`, one.at);
    if (one.says !== undefined) assert.match(`${error.message} ${error.hint}`, one.says);
  });
}
