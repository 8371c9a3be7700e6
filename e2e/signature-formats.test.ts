/**
 * The public signature formats against the tools that people have, none of them ours: they take what we write and refuse it
 * after one byte was changed, and we take what they write. The test fails when a tool is missing: see scripts/setup.sh.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Sha256, digestBytes } from '@lockstep/protocol/digest/digest';
import { anyKeyFromSpki, anyKeyToPem, ed25519Key } from '@lockstep/protocol/key/any-key';
import { fingerprints } from '@lockstep/protocol/key/fingerprint';
import { formatVerifierKey, makeVerifierKey, parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { formatChecksums, parseChecksums } from '@lockstep/protocol/release/checksums';
import { MAX_UNTRUSTED_COMMENT } from '@lockstep/protocol/signature/comment';
import { MAX_TRUSTED_COMMENT, minisignSteps, parseMinisig, verifyMinisig } from '@lockstep/protocol/signature/minisign';
import { formatMinisignKey, minisignKeyId, parseMinisignKey } from '@lockstep/protocol/signature/minisign-key';
import { formatNarinfo, type Narinfo, nixFingerprint, parseNarinfo, verifyNarinfo } from '@lockstep/protocol/signature/nix-cache';
import { formatNixKey, parseNixKey } from '@lockstep/protocol/signature/nix-key';
import { nixContentAddress, nixStorePathOfNar } from '@lockstep/protocol/signature/nix-store-path';
import { formatReleaseNote, openReleaseNote, releaseNoteMessage } from '@lockstep/protocol/signature/release-note';
import {
  formatSignify,
  formatSignifyEmbedded,
  formatSignifyKey,
  parseSignify,
  parseSignifyEmbedded,
  parseSignifyKey,
  signifyKeyNumber,
  verifySignify,
} from '@lockstep/protocol/signature/signify';
import { formatAllowedSigners, formatSshPublicKey } from '@lockstep/protocol/signature/ssh-key';
import { formatSshsig, parseSshsig, sshsigMessage, verifySshsig } from '@lockstep/protocol/signature/sshsig';
import { type Ran, temporaryFolder } from './lockstep.ts';

const CONTENTS: Readonly<Record<string, Uint8Array>> = {
  empty: new Uint8Array(),
  small: Buffer.from('hello\n'),
  mebibyte: Uint8Array.from({ length: 1 << 20 }, (_, index) => (index * 2_654_435_761) >>> 24),
};
const NAMES = ['plain-1.0.tar.gz', ' two  words ', `it's "quoted" $HOME *?;&`, '#é=ü%s\u{1f98a}', 'SHA256 = x'];

interface Signer {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

function rawOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: 'spki', format: 'der' }).subarray(-32));
}

function newSigner(): Signer {
  const pair = generateKeyPairSync('ed25519');
  return { publicKey: rawOf(pair.publicKey), sign: (message) => new Uint8Array(sign(null, message, pair.privateKey)) };
}

interface Where {
  readonly cwd: string;
  readonly input?: Uint8Array | string;
  readonly env?: Readonly<Record<string, string>>;
}

interface RanForBytes extends Pick<Ran, 'status' | 'signal' | 'stderr'> {
  readonly stdout: Buffer;
}

function runForBytes(tool: string, args: readonly string[], { cwd, input, env }: Where): RanForBytes {
  const options = { cwd, input: input ?? '', timeout: 60_000, maxBuffer: 64 << 20, env: { ...process.env, LC_ALL: 'C.UTF-8', ...env } };
  const done = spawnSync(tool, args, options);
  assert.equal(done.error, undefined, `${tool} did not run: npm test installs it (scripts/setup.sh)`);
  return { status: done.status, signal: done.signal, stdout: done.stdout, stderr: done.stderr.toString() };
}

function run(tool: string, args: readonly string[], where: Where): Ran {
  const done = runForBytes(tool, args, where);
  return { ...done, stdout: done.stdout.toString() };
}

function accepts(ran: Ran, why: string): string {
  assert.equal(ran.status, 0, `${why}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

function refuses(ran: Ran, reason: RegExp, why: string): void {
  assert.notEqual(ran.status, 0, `${why} was accepted`);
  assert.equal(ran.signal, null, why);
  assert.match(ran.stdout + ran.stderr, reason, why);
}

/** One bit of the byte at `at`, from the end when negative; a byte more when there is none. */
function changed(bytes: Uint8Array, at = 0): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  return copy.length === 0 ? Uint8Array.of(0) : copy.with(index, copy[index]! ^ 1);
}

/** Another character of base64 in that line, still base64 of the same length. */
function changedLine(text: string, line: number, at: number): string {
  const lines = text.split('\n');
  const one = lines[line]!;
  lines[line] = `${one.slice(0, at)}${one[at] === 'A' ? 'B' : 'A'}${one.slice(at + 1)}`;
  return lines.join('\n');
}

/** Every content under every name. */
function* artifacts(folder: string): Generator<{ name: string; content: Uint8Array; digests: ReturnType<typeof digests>; why: string }> {
  for (const [size, content] of Object.entries(CONTENTS))
    for (const name of NAMES) {
      writeFileSync(`${folder}/${name}`, content);
      yield { name, content, digests: digests(content), why: `${size} as ${name}` };
    }
}

function digests(content: Uint8Array): { blake2b512: Uint8Array; sha512: Uint8Array } {
  const all = digestBytes(content);
  return { blake2b512: Buffer.from(all.blake2b512, 'hex'), sha512: Buffer.from(all.sha512, 'hex') };
}

function makeMinisig(signer: Signer, blake2b512: Uint8Array, trustedComment: string, untrustedComment = 'signed by Lockstep'): string {
  const steps = minisignSteps({ keyId: minisignKeyId(signer.publicKey), blake2b512, trustedComment, untrustedComment });
  const first = signer.sign(steps.message);
  return steps.file(first, signer.sign(steps.globalMessage(first)));
}

test('minisign -VH takes our signatures, and refuses them after one byte was changed', () => {
  const cwd = temporaryFolder();
  const signer = newSigner();
  const keyLine = fingerprints(ed25519Key(signer.publicKey), '').minisign!;
  writeFileSync(`${cwd}/key.pub`, formatMinisignKey(minisignKeyId(signer.publicKey), signer.publicKey));
  const verify = (name: string, text: string, key = ['-P', keyLine]): Ran => {
    writeFileSync(`${cwd}/sig`, text);
    return run('minisign', ['-VH', '-m', name, ...key, '-x', 'sig'], { cwd });
  };
  for (const { name, content, digests: all, why } of artifacts(cwd)) {
    const text = makeMinisig(signer, all.blake2b512, `lockstep: ${name} 1.0 é`);
    assert.match(accepts(verify(name, text), why), /Trusted comment: lockstep: /);
    accepts(verify(name, text, ['-p', 'key.pub']), why);
    refuses(verify(name, changedLine(text, 1, 60)), /verification failed/, `${why}: signature`);
    refuses(verify(name, changedLine(text, 1, 5)), /key/i, `${why}: key id`);
    refuses(verify(name, text.replace('1.0 é', '1.1 é')), /verification failed/, `${why}: trusted comment`);
    refuses(verify(name, changedLine(text, 3, 20)), /verification failed/, `${why}: global signature`);
    writeFileSync(`${cwd}/${name}`, changed(content, -1));
    refuses(verify(name, text), /verification failed/, `${why}: content`);
  }
  const other = newSigner();
  const wrongKey = fingerprints(ed25519Key(other.publicKey), '').minisign!;
  const text = makeMinisig(signer, digests(CONTENTS['small']!).blake2b512, 'x');
  writeFileSync(`${cwd}/small`, CONTENTS['small']!);
  refuses(verify('small', text, ['-P', wrongKey]), /key/i, 'another key');
  const longest = ['t'.repeat(MAX_TRUSTED_COMMENT), 'u'.repeat(MAX_UNTRUSTED_COMMENT)] as const;
  accepts(verify('small', makeMinisig(signer, digests(CONTENTS['small']!).blake2b512, ...longest)), 'the longest comments');
});

test('we take the keys and signatures of minisign, and refuse its legacy form', () => {
  const cwd = temporaryFolder();
  accepts(run('minisign', ['-GW', '-p', 'key.pub', '-s', 'key.sec'], { cwd }), 'minisign -G');
  const key = parseMinisignKey(readFileSync(`${cwd}/key.pub`, 'utf8'));
  assert.equal(formatMinisignKey(key.keyId, key.publicKey), readFileSync(`${cwd}/key.pub`, 'utf8'), 'even the comment is the same');
  const signWith = (name: string, ...more: string[]): string => {
    accepts(run('minisign', ['-S', '-s', 'key.sec', '-x', 'sig', '-m', name, ...more], { cwd }), `minisign -S ${name}`);
    return readFileSync(`${cwd}/sig`, 'utf8');
  };
  for (const { name, content, digests: all, why } of artifacts(cwd)) {
    const sig = parseMinisig(signWith(name, '-H'));
    assert.ok(verifyMinisig(sig, key.publicKey, all.blake2b512, key.keyId), why);
    assert.equal(verifyMinisig(sig, key.publicKey, digests(changed(content)).blake2b512, key.keyId), false, why);
    assert.equal(verifyMinisig({ ...sig, trustedComment: `${sig.trustedComment} ` }, key.publicKey, all.blake2b512, key.keyId), false, why);
  }
  assert.throws(() => parseMinisig(signWith(NAMES[0]!, '-l')), /prehashed/);
  assert.equal(parseMinisig(signWith(NAMES[0]!, '-t', 'á\tb', '-c', 'ü')).trustedComment, 'á\tb');
});

function makeSignify(signer: Signer, message: Uint8Array, comment = 'verify with key.pub'): Parameters<typeof formatSignify>[0] {
  return { comment, keyNumber: signifyKeyNumber(signer.publicKey), signature: signer.sign(message) };
}

test('signify -V takes our detached and embedded signatures, and refuses them after one byte was changed', () => {
  const cwd = temporaryFolder();
  const signer = newSigner();
  const key = { keyNumber: signifyKeyNumber(signer.publicKey), publicKey: signer.publicKey };
  writeFileSync(`${cwd}/key.pub`, formatSignifyKey(key, 'release key'));
  const verify = (name: string, sig: Uint8Array | string): Ran => {
    writeFileSync(`${cwd}/sig`, sig);
    return run('signify-openbsd', ['-V', '-p', 'key.pub', '-x', 'sig', '-m', name], { cwd });
  };
  const embedded = (sig: Uint8Array): Ran => {
    rmSync(`${cwd}/out`, { force: true });
    writeFileSync(`${cwd}/sig`, sig);
    return run('signify-openbsd', ['-V', '-e', '-p', 'key.pub', '-x', 'sig', '-m', 'out'], { cwd });
  };
  for (const { name, content, why } of artifacts(cwd)) {
    const sig = makeSignify(signer, content);
    const text = formatSignify(sig);
    accepts(verify(name, text), why);
    refuses(verify(name, changedLine(text, 1, 60)), /verification failed/, `${why}: signature`);
    refuses(verify(name, changedLine(text, 1, 5)), /wrong key/, `${why}: key number`);
    writeFileSync(`${cwd}/${name}`, changed(content, -1));
    refuses(verify(name, text), /verification failed/, `${why}: content`);

    const whole = formatSignifyEmbedded(sig, content);
    accepts(embedded(whole), `${why}, embedded`);
    assert.ok(readFileSync(`${cwd}/out`).equals(content), why);
    refuses(embedded(content.length === 0 ? Buffer.concat([whole, Buffer.from('x')]) : changed(whole, -1)), /verification failed/, why);
  }
  writeFileSync(`${cwd}/key.pub`, formatSignifyKey({ ...key, publicKey: newSigner().publicKey }, 'another key of that number'));
  writeFileSync(`${cwd}/small`, CONTENTS['small']!);
  refuses(verify('small', formatSignify(makeSignify(signer, CONTENTS['small']!))), /verification failed/, 'another key');
  writeFileSync(`${cwd}/key.pub`, formatSignifyKey(key, 'k'.repeat(MAX_UNTRUSTED_COMMENT)));
  accepts(
    verify('small', formatSignify(makeSignify(signer, CONTENTS['small']!, 'c'.repeat(MAX_UNTRUSTED_COMMENT)))),
    'the longest comments',
  );
});

test('we take the keys and signatures of signify', () => {
  const cwd = temporaryFolder();
  accepts(run('signify-openbsd', ['-G', '-n', '-p', 'key.pub', '-s', 'key.sec'], { cwd }), 'signify -G');
  const key = parseSignifyKey(readFileSync(`${cwd}/key.pub`, 'utf8'));
  assert.equal(formatSignifyKey(key, 'signify public key'), readFileSync(`${cwd}/key.pub`, 'utf8'));
  for (const { name, content, why } of artifacts(cwd)) {
    const signWith = (...more: string[]): Buffer => {
      accepts(run('signify-openbsd', ['-S', ...more, '-s', 'key.sec', '-x', 'sig', '-m', name], { cwd }), why);
      const made = readFileSync(`${cwd}/sig`);
      rmSync(`${cwd}/sig`);
      return made;
    };
    const sig = parseSignify(signWith().toString());
    assert.ok(verifySignify(sig, key.publicKey, content, key.keyNumber), why);
    assert.equal(verifySignify(sig, key.publicKey, changed(content), key.keyNumber), false, why);
    const { sig: same, message } = parseSignifyEmbedded(signWith('-e'));
    assert.deepEqual(same, sig, why);
    assert.ok(Buffer.from(message).equals(content), why);
  }
});

/** A release: a folder with files, some deeper, and the text of its checksum file. */
function release(): { cwd: string; files: readonly string[]; text: string } {
  const cwd = temporaryFolder();
  mkdirSync(`${cwd}/bin deep/er`, { recursive: true });
  const contents = Object.values(CONTENTS);
  const files = [...NAMES, 'bin deep/er/x', '..a', 'bin deep/-'];
  const lines = files.map((name, index) => {
    const content = contents[index % contents.length]!;
    writeFileSync(`${cwd}/${name}`, content);
    return { name, sha256: createHash('sha256').update(content).digest('hex') as Sha256 };
  });
  return { cwd, files, text: formatChecksums(lines) };
}

test('sha256sum -c and signify -C check a release by our checksum file, and refuse each file that was changed', () => {
  const { cwd, files, text } = release();
  const signer = newSigner();
  writeFileSync(`${cwd}/key.pub`, formatSignifyKey({ keyNumber: signifyKeyNumber(signer.publicKey), publicKey: signer.publicKey }, 'k'));
  const message = Buffer.from(text);
  const embedded = formatSignifyEmbedded(makeSignify(signer, message), message);
  writeFileSync(`${cwd}/SHA256`, text);
  writeFileSync(`${cwd}/SHA256.sig`, embedded);
  const sum = (): Ran => run('sha256sum', ['--strict', '--check', 'SHA256'], { cwd });
  const signify = (...names: string[]): Ran => run('signify-openbsd', ['-C', '-p', 'key.pub', '-x', 'SHA256.sig', ...names], { cwd });
  assert.equal(accepts(sum(), 'all').match(/: OK$/gm)?.length, files.length);
  assert.equal(accepts(signify(), 'all').match(/: OK$/gm)?.length, files.length);
  for (const name of files) {
    assert.match(accepts(signify(name), name), /: OK/);
    const content = readFileSync(`${cwd}/${name}`);
    writeFileSync(`${cwd}/${name}`, changed(content, -1));
    refuses(sum(), /FAILED/, name);
    refuses(signify(name), /FAIL/, name);
    writeFileSync(`${cwd}/${name}`, content);
  }
  for (const at of [60, -1, -2, -40, -70]) {
    const bad = at > 0 ? Buffer.from(changedLine(Buffer.from(embedded).toString(), 1, at)) : changed(embedded, at);
    writeFileSync(`${cwd}/SHA256.sig`, bad);
    refuses(signify(), /verification failed/, `the signed file at ${at}`);
  }
  const { sig, message: body } = parseSignifyEmbedded(embedded);
  assert.ok(verifySignify(sig, signer.publicKey, body));
  assert.equal(parseChecksums(Buffer.from(body).toString()).length, files.length);
});

test('we read the checksum file that sha256sum --tag writes, once it is sorted', () => {
  const { cwd, files, text } = release();
  const sorted = files.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  assert.equal(accepts(run('sha256sum', ['--tag', '--', ...sorted], { cwd }), 'sha256sum --tag'), text);
});

test('openssl pkeyutl takes our raw Ed25519 signature of the checksum file, and refuses it after one byte was changed', () => {
  const { cwd, text } = release();
  const signer = newSigner();
  writeFileSync(`${cwd}/key.pem`, anyKeyToPem(ed25519Key(signer.publicKey)));
  const verify = (message: Uint8Array, signature: Uint8Array): Ran => {
    writeFileSync(`${cwd}/message`, message);
    writeFileSync(`${cwd}/sig`, signature);
    return run('openssl', ['pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', 'key.pem', '-sigfile', 'sig', '-in', 'message'], { cwd });
  };
  for (const message of [Buffer.from(text), CONTENTS['small']!, CONTENTS['mebibyte']!]) {
    const signature = signer.sign(message);
    accepts(verify(message, signature), `${message.length} bytes`);
    refuses(verify(changed(message, -1), signature), /Verification Failure/, 'message');
    for (const at of [0, 31, 32, 63]) refuses(verify(message, changed(signature, at)), /Verification Failure/, `signature at ${at}`);
  }
});

test('ssh-keygen -Y verify takes our signatures for one key in one namespace, and refuses them after one byte was changed', () => {
  const cwd = temporaryFolder();
  const signer = newSigner();
  const namespace = 'lockstep-release@example.org';
  writeFileSync(`${cwd}/allowed`, formatAllowedSigners('release@example.org', namespace, signer.publicKey));
  const verify = (content: Uint8Array, text: string, principal = 'release@example.org', space = namespace): Ran => {
    writeFileSync(`${cwd}/sig`, text);
    return run('ssh-keygen', ['-Y', 'verify', '-f', 'allowed', '-I', principal, '-n', space, '-s', 'sig'], { cwd, input: content });
  };
  const make = (content: Uint8Array, by: Signer, space = namespace): string =>
    formatSshsig({ publicKey: by.publicKey, namespace: space, signature: by.sign(sshsigMessage(space, digests(content).sha512)) });
  for (const [why, content] of Object.entries(CONTENTS)) {
    const text = make(content, signer);
    assert.match(accepts(verify(content, text), why), /Good "lockstep-release@example.org" signature for release@example.org/);
    refuses(verify(changed(content, -1), text), /Could not verify|incorrect signature/, `${why}: content`);
    refuses(
      verify(content, changedLine(text, text.split('\n').length - 3, 10)),
      /Could not verify|incorrect signature/,
      `${why}: signature`,
    );
    refuses(verify(content, text, 'other@example.org'), /Could not verify/, `${why}: another principal`);
    refuses(verify(content, make(content, newSigner())), /Could not verify/, `${why}: another key`);
    refuses(verify(content, make(content, signer, 'file')), /namespace does not match/, `${why}: another namespace`);
    refuses(
      verify(content, make(content, signer, 'file'), 'release@example.org', 'file'),
      /not permitted for use in signature namespace/,
      `${why}: a namespace that is not allowed`,
    );
  }
});

test('we take the signatures of ssh-keygen, and refuse those of other hashes and keys', () => {
  const cwd = temporaryFolder();
  accepts(run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me@example', '-f', 'key'], { cwd }), 'ssh-keygen');
  const line = readFileSync(`${cwd}/key.pub`, 'utf8').trimEnd();
  const publicKey = new Uint8Array(Buffer.from(line.split(' ')[1]!, 'base64').subarray(-32));
  assert.equal(formatSshPublicKey(publicKey, 'me@example'), line);
  const signWith = (key: string, name: string, ...more: string[]): string => {
    rmSync(`${cwd}/${name}.sig`, { force: true });
    accepts(run('ssh-keygen', ['-Y', 'sign', '-n', 'file', '-f', key, ...more, name], { cwd }), name);
    return readFileSync(`${cwd}/${name}.sig`, 'utf8');
  };
  for (const { name, content, digests: all, why } of artifacts(cwd)) {
    const sig = parseSshsig(signWith('key', name));
    assert.ok(verifySshsig(sig, publicKey, 'file', all.sha512), why);
    assert.equal(verifySshsig(sig, publicKey, 'file', digests(changed(content)).sha512), false, why);
    assert.equal(verifySshsig(sig, publicKey, 'git', all.sha512), false, why);
  }
  assert.throws(() => parseSshsig(signWith('key', NAMES[0]!, '-O', 'hashalg=sha256')), /SHA-512/);
  accepts(run('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', 'other'], { cwd }), 'ssh-keygen -t ecdsa');
  assert.throws(() => parseSshsig(signWith('other', NAMES[0]!)), /Not a signature of SSH: its key is not Ed25519/);
});

test('ssh-keygen -l shows the fingerprints that we show, for Ed25519 and ECDSA P-256', () => {
  const cwd = temporaryFolder();
  for (const type of ['ed25519', 'ecdsa'] as const) {
    accepts(run('ssh-keygen', ['-q', '-t', type, '-b', '256', '-N', '', '-C', 'me', '-f', type], { cwd }), type);
    const line = readFileSync(`${cwd}/${type}.pub`, 'utf8').trimEnd();
    // OpenSSH 9.2 writes no Ed25519 as PKCS8.
    const spki =
      type === 'ed25519'
        ? ed25519Key(new Uint8Array(Buffer.from(line.split(' ')[1]!, 'base64').subarray(-32))).spki
        : createPublicKey(accepts(run('ssh-keygen', ['-e', '-m', 'PKCS8', '-f', `${type}.pub`], { cwd }), type)).export({
            type: 'spki',
            format: 'der',
          });
    const found = fingerprints(anyKeyFromSpki(new Uint8Array(spki)), 'me');
    assert.equal(found.sshLine, line);
    assert.equal(accepts(run('ssh-keygen', ['-lf', `${type}.pub`], { cwd }), type).split(' ')[1], found.ssh);
  }
});

/** Each call with a home of its own, so that nothing is remembered of a cache that was changed. */
function nix(cwd: string, args: readonly string[], input = ''): Ran {
  const HOME = temporaryFolder();
  const NIX_CONFIG = 'experimental-features = nix-command\nbuild-users-group =\nsubstituters =\nsandbox = false\n';
  const env = { HOME, NIX_CONFIG, XDG_CACHE_HOME: `${HOME}/cache`, XDG_CONFIG_HOME: `${HOME}/config`, NIX_REMOTE: '', NIX_PATH: '' };
  return run('nix', args, { cwd, env, input });
}

interface NixRelease {
  readonly cwd: string;
  readonly nar: Uint8Array;
  readonly info: Narinfo;
}

/** What is in a NAR: the bytes of a file, or a folder with them under every name. */
function nixRelease(content: Uint8Array | 'folder', name: string): NixRelease {
  const cwd = temporaryFolder();
  if (content === 'folder') {
    mkdirSync(`${cwd}/content`);
    for (const one of NAMES) writeFileSync(`${cwd}/content/${one}`, CONTENTS['small']!);
  } else writeFileSync(`${cwd}/content`, content);
  const dumped = runForBytes('nix-store', ['--dump', 'content'], { cwd, env: { HOME: cwd } });
  assert.equal(dumped.status, 0, dumped.stderr);
  const nar = new Uint8Array(dumped.stdout);
  const sha256 = new Uint8Array(createHash('sha256').update(nar).digest());
  const info: Narinfo = {
    storePath: nixStorePathOfNar({ narSha256: sha256, name }),
    url: 'nar/release.nar',
    compression: 'none',
    fileSha256: sha256,
    fileSize: nar.length,
    narSha256: sha256,
    narSize: nar.length,
    references: [],
    deriver: null,
    system: null,
    signatures: [],
    contentAddress: null,
  };
  return { cwd, nar, info };
}

const KEY_NAME = 'cache.example.org-1';
const UNSIGNED = /lacks a valid signature/;

function signNarinfo(info: Narinfo, signer: Signer): Narinfo {
  return { ...info, signatures: [{ name: KEY_NAME, signature: signer.sign(nixFingerprint(info)) }] };
}

/** Nix copies the path from a cache with these two files into a store that wants signatures of this key. */
function nixCopy({ cwd, info }: NixRelease, narinfo: string, nar: Uint8Array, key: string, check?: (store: string) => void): Ran {
  const cache = temporaryFolder();
  mkdirSync(`${cache}/nar`);
  writeFileSync(`${cache}/nix-cache-info`, 'StoreDir: /nix/store\n');
  writeFileSync(`${cache}/${info.storePath.slice('/nix/store/'.length).split('-')[0]}.narinfo`, narinfo);
  writeFileSync(`${cache}/${info.url}`, nar);
  const root = temporaryFolder();
  const trust = ['--option', 'trusted-public-keys', key, '--option', 'require-sigs', 'true'];
  const ran = nix(cwd, ['copy', '--from', `file://${cache}`, '--to', `local?root=${root}`, ...trust, info.storePath]);
  if (ran.status === 0) {
    accepts(nix(cwd, ['store', 'verify', '--store', `local?root=${root}`, ...trust, info.storePath]), 'nix store verify');
    check?.(`${root}${info.storePath}`);
  }
  // What Nix puts into a store is read-only: whoever is not root could not delete it.
  run('chmod', ['-R', 'u+w', root], { cwd });
  return ran;
}

test('nix copies from a cache of ours what is signed, and refuses it after one byte was changed', () => {
  const signer = newSigner();
  const key = { name: KEY_NAME, publicKey: signer.publicKey };
  const trusted = formatNixKey(key);
  const names = ['hello-1.0', 'a+b?c=d_e', '_'];
  for (const [index, content] of [...Object.values(CONTENTS), 'folder' as const].entries()) {
    const one = nixRelease(content, names[index] ?? 'folder');
    const signed = signNarinfo(one.info, signer);
    const text = formatNarinfo(signed);
    const why = one.info.storePath;
    accepts(
      nixCopy(one, text, one.nar, trusted, (path) => {
        if (content === 'folder') assert.deepEqual(readdirSync(path).toSorted(), NAMES.toSorted());
        else assert.ok(readFileSync(path).equals(content), why);
      }),
      why,
    );
    assert.ok(verifyNarinfo(parseNarinfo(text), key));
    const [{ signature } = { signature: new Uint8Array() }] = signed.signatures;
    const withSignature = (bytes: Uint8Array): string => formatNarinfo({ ...signed, signatures: [{ name: KEY_NAME, signature: bytes }] });
    refuses(nixCopy(one, withSignature(changed(signature, -20)), one.nar, trusted), UNSIGNED, `${why}: signature`);
    refuses(nixCopy(one, formatNarinfo(one.info), one.nar, trusted), UNSIGNED, `${why}: unsigned`);
    refuses(nixCopy(one, text, one.nar, formatNixKey({ ...key, publicKey: newSigner().publicKey })), UNSIGNED, `${why}: another key`);
    const otherNar =
      content === 'folder' ? changed(one.nar, Buffer.from(one.nar).indexOf('hello')) : nixRelease(changed(content, -1), 'other').nar;
    refuses(nixCopy(one, text, otherNar, trusted), /hash mismatch/, `${why}: NAR`);
    const otherSize = formatNarinfo({ ...signed, narSize: signed.narSize + 8 });
    refuses(nixCopy(one, otherSize, one.nar, trusted), UNSIGNED, `${why}: size`);
  }
});

test('nix takes a path whose content address we wrote without any signature, and refuses it for another content', () => {
  const one = nixRelease(CONTENTS['small']!, 'hello');
  const trusted = formatNixKey({ name: KEY_NAME, publicKey: newSigner().publicKey });
  const addressed = { ...one.info, contentAddress: nixContentAddress(one.info.narSha256) };
  accepts(nixCopy(one, formatNarinfo(addressed), one.nar, trusted), 'content-addressed');
  const otherPath = nixStorePathOfNar({ narSha256: changed(one.info.narSha256), name: 'hello' });
  const lying = { ...one, info: { ...addressed, storePath: otherPath } };
  refuses(
    nixCopy(lying, formatNarinfo(lying.info), one.nar, trusted),
    /claims to be content-addressed but isn't/,
    'the path of another content',
  );
});

test('we read the narinfo and the signature that nix writes, and name the paths as it does', () => {
  const { cwd, info } = nixRelease(CONTENTS['small']!, 'hello');
  const secret = accepts(nix(cwd, ['key', 'generate-secret', '--key-name', KEY_NAME]), 'nix key generate-secret');
  writeFileSync(`${cwd}/secret`, secret);
  const key = parseNixKey(accepts(nix(cwd, ['key', 'convert-secret-to-public'], secret), 'nix key convert-secret-to-public'));
  const root = temporaryFolder();
  const added = accepts(
    nix(cwd, ['store', 'add-path', '--store', `local?root=${root}`, '--name', 'hello', 'content']),
    'nix store add-path',
  );
  assert.equal(added.trim(), info.storePath);
  for (const compression of ['none', 'xz', 'zstd']) {
    const to = `file://${cwd}/cache-${compression}?secret-key=${cwd}/secret&compression=${compression}`;
    accepts(nix(cwd, ['copy', '--from', `local?root=${root}`, '--to', to, info.storePath]), compression);
    const text = readFileSync(`${cwd}/cache-${compression}/${info.storePath.slice(11).split('-')[0]}.narinfo`, 'utf8');
    const read = parseNarinfo(text);
    assert.equal(formatNarinfo(read), text);
    assert.equal(read.contentAddress, nixContentAddress(info.narSha256));
    assert.deepEqual(nixFingerprint(read), nixFingerprint(info));
    assert.ok(verifyNarinfo(read, key));
    assert.equal(verifyNarinfo({ ...read, narSha256: changed(read.narSha256) }, key), false);
  }
  run('chmod', ['-R', 'u+w', root], { cwd });
});

/** golang.org/x/mod/sumdb/note: `open VKEY FILE` prints the text, `sign NAME FILE` prints a new key and the note over a text. */
const GO_NOTE = `package main

import (
	"crypto/rand"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	data, err := os.ReadFile(os.Args[3])
	check(err)
	if os.Args[1] == "open" {
		verifier, err := note.NewVerifier(os.Args[2])
		check(err)
		opened, err := note.Open(data, note.VerifierList(verifier))
		check(err)
		fmt.Print(opened.Text)
		return
	}
	secret, public, err := note.GenerateKey(rand.Reader, os.Args[2])
	check(err)
	signer, err := note.NewSigner(secret)
	check(err)
	signed, err := note.Sign(&note.Note{Text: string(data)}, signer)
	check(err)
	fmt.Printf("%s\\n%s", public, signed)
}
`;

test('Go opens our notes over a checksum file, refuses them after one byte was changed, and we open its own', () => {
  const { cwd, text } = release();
  writeFileSync(`${cwd}/main.go`, GO_NOTE);
  const env = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '', GOCACHE: temporaryFolder() };
  accepts(run('go', ['build', '-o', 'go-note', 'main.go'], { cwd, env }), 'go build (needs golang-golang-x-mod-dev)');
  const go = (...args: string[]): Ran => run(`${cwd}/go-note`, args, { cwd });

  const signer = newSigner();
  const key = makeVerifierKey('release.example.org/é', 'ed25519', signer.publicKey);
  const open = (note: Uint8Array | string): Ran => {
    writeFileSync(`${cwd}/note`, note);
    return go('open', formatVerifierKey(key), 'note');
  };
  const mebibyteOrSo = Array.from({ length: 9000 }, (_, index) => `${index}${'x'.repeat(95)}\n`).join('');
  for (const body of [text, 'a\n', 'a\n\nb\n\n', mebibyteOrSo]) {
    const note = formatReleaseNote(body, key, signer.sign(releaseNoteMessage(body)));
    assert.equal(accepts(open(note), 'our note'), body);
    assert.equal(openReleaseNote(note, key), body);
    refuses(open(changed(Buffer.from(note))), /invalid signature/, 'text');
    refuses(open(changedLine(note, note.split('\n').length - 2, note.split('\n').at(-2)!.length - 20)), /invalid signature/, 'signature');
    refuses(open(note.slice(0, -1)), /malformed note/, 'no newline');

    writeFileSync(`${cwd}/text`, body);
    const [vkey = '', ...rest] = accepts(go('sign', 'go.example.org', 'text'), 'a note of Go').split('\n');
    const theirs = parseVerifierKey(vkey);
    assert.equal(openReleaseNote(rest.join('\n'), theirs), body);
    assert.throws(() => openReleaseNote(changed(Buffer.from(rest.join('\n'))), theirs), /does not verify/);
  }
});
