/**
 * What `release approve --out` writes is taken by tools that this project did not write, and refused after one byte was
 * changed: minisign, signify, ssh-keygen, openssl, nix and @sigstore/verify.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { appendFileSync, copyFileSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { before, test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { trustedRootOf } from '@lockstep/protocol/bundle/trusted-root';
import type { Json } from '@lockstep/protocol/json/parse';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { openReleaseNote } from '@lockstep/protocol/signature/release-note';
import { lockstep, type Ran, temporaryFolder } from './lockstep.ts';
import { makeKey, makeNode, makeReleaseLog, releaseKeys, type ReleaseLog, requireApprovedBy, type TestNode } from './release-log.ts';

const FORMATS = ['minisign', 'signify', 'ssh', 'note', 'raw', 'nix'] as const;
const useOf = (format: (typeof FORMATS)[number]): KeyUse => (format === 'nix' ? 'nix-cache' : `release-${format}`);
const NAR = 'greeting-1.0.nar';

let farm: ReleaseLog;
let node: TestNode;
/** With the artifacts in it, as somebody would download it. */
let release: string;
let approver: string;

function run(tool: string, args: readonly string[], cwd: string, more: { input?: Uint8Array; env?: Record<string, string> } = {}): Ran {
  const done = spawnSync(tool, args, { cwd, input: more.input ?? '', timeout: 60_000, env: { ...process.env, ...more.env } });
  assert.equal(done.error, undefined, `${tool} did not run: npm test installs it (scripts/setup.sh)`);
  return { status: done.status, signal: done.signal, stdout: done.stdout.toString(), stderr: done.stderr.toString() };
}

function publicKey(format: (typeof FORMATS)[number], as: string, name = format): string {
  const file = `${farm.root}/${format}.${as}`;
  if (!existsSync(file)) writeFileSync(file, farm.run('key', 'export-public', name, '--signer', node.folder, '--format', as));
  return file;
}

/** The check holds on what was written, and fails in a copy where one of these files has another byte. */
function holdsUntilChanged(check: (folder: string) => Ran, files: Readonly<Record<string, number>>): void {
  const good = check(release);
  assert.equal(good.status, 0, good.stdout + good.stderr);
  for (const [file, at] of Object.entries(files)) {
    const copy = `${temporaryFolder()}/copy`;
    cpSync(release, copy, { recursive: true });
    const bytes = readFileSync(`${copy}/${file}`);
    const index = at < 0 ? bytes.length + at : at;
    // Still a letter where there was one: in base64 a damaged line would be refused for its form.
    bytes[index] = bytes[index] === 0x41 ? 0x42 : 0x41;
    writeFileSync(`${copy}/${file}`, bytes);
    assert.notEqual(check(copy).status, 0, `${file} was changed at ${at}`);
  }
}

before(async () => {
  farm = await makeReleaseLog();
  const source = temporaryFolder();
  writeFileSync(`${source}/greeting`, 'hello from a store\n');
  const dumped = spawnSync('nix-store', ['--dump', 'greeting'], { cwd: source, env: { ...process.env, HOME: source } });
  assert.equal(dumped.status, 0, 'nix-store: npm test installs it (scripts/setup.sh)');
  const built = await farm.build('1.0', { files: { [NAR]: dumped.stdout, 'with space': 'x' } });
  node = await makeNode(farm, 'signer');
  const formats: Json[] = [];
  for (const format of FORMATS) formats.push({ name: format, use: useOf(format), key: await makeKey(node, format, useOf(format)) });
  approver = await makeKey(node, 'approver');
  releaseKeys(farm, { approver }, 1, formats);
  farm.run('release', 'approve', built.file, ...farm.trust, ...node.local, '--into', farm.log.folder, '--out', built.folder);
  release = built.folder;
  requireApprovedBy(farm, built.file, 'approver');
});

test('minisign -VH takes a signature of each file', () => {
  const key = readFileSync(publicKey('minisign', 'minisign'), 'utf8').split('\n')[1] ?? '';
  for (const file of ['hello', NAR, 'with space'])
    holdsUntilChanged((cwd) => run('minisign', ['-VH', '-m', file, '-P', key], cwd), { [file]: -1, [`${file}.minisig`]: 120 });
});

test('signify takes SHA256SUMS, and with it every file', () => {
  const key = publicKey('signify', 'signify');
  const verify = (cwd: string): Ran => run('signify-openbsd', ['-V', '-p', key, '-x', 'SHA256SUMS.sig', '-m', 'SHA256SUMS'], cwd);
  holdsUntilChanged(verify, { SHA256SUMS: 9, 'SHA256SUMS.sig': -20 });
  const sums = (cwd: string): Ran => run('sha256sum', ['--strict', '--check', 'SHA256SUMS'], cwd);
  holdsUntilChanged(sums, { hello: 0, [NAR]: -1, 'with space': 0 });
});

test('openssl takes the raw Ed25519 signature of SHA256SUMS', () => {
  const key = publicKey('raw', 'pem');
  const args = ['pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', key, '-sigfile', 'SHA256SUMS.ed25519', '-in', 'SHA256SUMS'];
  holdsUntilChanged((cwd) => run('openssl', args, cwd), { SHA256SUMS: 9, 'SHA256SUMS.ed25519': 5 });
});

test('ssh-keygen -Y verify takes a signature of each file in our namespace, and in no other', () => {
  const allowed = publicKey('ssh', 'allowed-signers');
  const verify =
    (file: string, namespace = 'lockstep-release') =>
    (cwd: string): Ran =>
      run('ssh-keygen', ['-Y', 'verify', '-f', allowed, '-I', 'ssh', '-n', namespace, '-s', `${file}.sshsig`], cwd, {
        input: readFileSync(`${cwd}/${file}`),
      });
  for (const file of ['hello', NAR]) holdsUntilChanged(verify(file), { [file]: -1, [`${file}.sshsig`]: 250 });
  assert.notEqual(verify('hello', 'file')(release).status, 0);
});

test('our reader of signed notes takes release.note; Go’s takes notes like it in signature-formats.test.ts', () => {
  const key = parseVerifierKey(readFileSync(publicKey('note', 'note'), 'utf8').trim());
  const text = readFileSync(`${release}/release.note`, 'utf8');
  assert.match(openReleaseNote(text, key) ?? '', /^lockstep-release\nhello 1\.0\n/);
  assert.throws(() => openReleaseNote(text.replace('1.0', '1.1'), key));
});

test('nix copies the archive from a cache that is the release, with the signature it asks for', () => {
  const key = readFileSync(publicKey('nix', 'nix'), 'utf8').trim();
  const info = readdirSync(release).find((one) => one.endsWith('.narinfo')) ?? '';
  const path = /^StorePath: (.*)$/m.exec(readFileSync(`${release}/${info}`, 'utf8'))?.[1] ?? '';
  assert.match(path, /^\/nix\/store\/[0-9a-z]{32}-greeting-1\.0$/);
  const copy = (cache: string): Ran => {
    const root = temporaryFolder();
    const NIX_CONFIG = 'experimental-features = nix-command\nbuild-users-group =\nsubstituters =\nsandbox = false\n';
    const env = {
      HOME: root,
      NIX_CONFIG,
      XDG_CACHE_HOME: `${root}/cache`,
      XDG_CONFIG_HOME: `${root}/config`,
      NIX_REMOTE: '',
      NIX_PATH: '',
    };
    writeFileSync(`${cache}/nix-cache-info`, 'StoreDir: /nix/store\n');
    const trust = ['--option', 'trusted-public-keys', key, '--option', 'require-sigs', 'true'];
    const ran = run('nix', ['copy', '--from', `file://${cache}`, '--to', `local?root=${root}/store`, ...trust, path], root, { env });
    if (ran.status === 0) assert.equal(readFileSync(`${root}/store${path}`, 'utf8'), 'hello from a store\n');
    // What Nix puts into a store is read-only: whoever is not root could not delete it.
    run('chmod', ['-R', 'u+w', root], root);
    return ran;
  };
  const at = readFileSync(`${release}/${info}`, 'utf8').indexOf('Sig: ') + 30;
  holdsUntilChanged(copy, { [NAR]: -9, [info]: at });
});

test('@sigstore/verify takes the bundles of the record and of the VSA by the release key and the log of the policy', () => {
  const bundles = readdirSync(release).filter((one) => one.endsWith('.sigstore.json'));
  assert.deepEqual(bundles.map((one) => one.split('.')[0]).sort(), ['release', 'vsa']);
  const material = toTrustMaterial(TrustedRoot.fromJSON(trustedRootOf([parseVerifierKey(farm.log.key)], '2020-01-01T00:00:00Z')), () => ({
    publicKey: createPublicKey(approver),
    validFor: () => true,
  }));
  const check = (text: string): void => {
    const entity = toSignedEntity(bundleFromJSON(JSON.parse(text)));
    new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 1, timestampThreshold: 0 }).verify(entity);
  };
  for (const file of bundles) {
    const text = readFileSync(`${release}/${file}`, 'utf8');
    check(text);
    for (const part of ['payload', 'sig', 'canonicalizedBody', 'envelope']) {
      const changed = text.replace(
        new RegExp(`("${part}":")(.{9})(.)`),
        (_, before_: string, some: string, one: string) => `${before_}${some}${one === 'A' ? 'B' : 'A'}`,
      );
      assert.notEqual(changed, text);
      assert.throws(() => check(changed), `${basename(file)}: ${part}`);
    }
  }
  const envelope = JSON.parse(readFileSync(`${release}/release.dsse.json`, 'utf8')) as { payload: string };
  assert.deepEqual(Buffer.from(envelope.payload, 'base64'), readFileSync(`${release}/release.json`));
});

test('verify takes a downloaded file by a mirror of the log, and refuses it after one byte was changed', () => {
  const folder = temporaryFolder();
  farm.run('log', 'mirror', `${farm.log.folder}/public`, `${folder}/mirror`, '--key', farm.log.key);
  const args = ['verify', `${folder}/hello`, '--root', farm.rootFile, '--policy', farm.policyFolder, '--log', `${folder}/mirror`];
  copyFileSync(`${release}/hello`, `${folder}/hello`);
  assert.match(farm.run(...args), /✔ approval +pass: approver \(1 of 1 needed\)/);
  appendFileSync(`${folder}/hello`, ' ');
  assert.match(farm.ends(6, ...args).stdout, /✘ subject/);
});

test('key export-minisign: minisign itself goes on with the key, and what was taken over from it is the same', () => {
  const folder = temporaryFolder();
  const run = (...args: readonly string[]): string => {
    const ran = lockstep(args, { env: { LOCKSTEP_HOME: `${folder}/home` } });
    assert.equal(ran.status, 0, ran.stderr);
    return ran.stdout;
  };
  run('key', 'new', 'mini', '--use', 'release-minisign', '--out', `${folder}/mini.json`, '--no-passphrase');
  run('key', 'export-minisign', `${folder}/mini.json`, '--out', `${folder}/mini.key`);
  writeFileSync(`${folder}/file`, 'content\n');
  const minisign = (...args: readonly string[]): void => {
    const ran = spawnSync('minisign', args, { encoding: 'utf8' });
    assert.equal(ran.status, 0, `${ran.stdout}${ran.stderr}`);
  };
  minisign('-S', '-W', '-s', `${folder}/mini.key`, '-m', `${folder}/file`);
  const line = run('key', 'export-public', `${folder}/mini.json`, '--format', 'minisign').trim().split('\n').at(-1) ?? '';
  minisign('-VH', '-m', `${folder}/file`, '-P', line);
  run(
    'key',
    'new',
    'again',
    '--use',
    'release-minisign',
    '--import-minisign',
    `${folder}/mini.key`,
    '--out',
    `${folder}/again.json`,
    '--no-passphrase',
  );
  assert.equal(run('key', 'export-public', `${folder}/again.json`, '--format', 'minisign').trim().split('\n').at(-1), line);
});
