/** Parsers of signature files: nothing but their own error is thrown, and what is accepted is written the same way. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import type { Sha256 } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { makeVerifierKey } from '../note/verifier-key.ts';
import { formatChecksums, parseChecksums } from '../release/checksums.ts';
import { formatMinisig, parseMinisig, verifyMinisig } from './minisign.ts';
import { formatMinisignKey, minisignKeyLine, parseMinisignKey } from './minisign-key.ts';
import { formatNarinfo, parseNarinfo, verifyNarinfo } from './nix-cache.ts';
import { formatNixKey, formatNixSignature, parseNixKey, parseNixSignature } from './nix-key.ts';
import { formatReleaseNote, openReleaseNote } from './release-note.ts';
import {
  formatSignify,
  formatSignifyEmbedded,
  formatSignifyKey,
  parseSignify,
  parseSignifyEmbedded,
  parseSignifyKey,
  verifySignify,
} from './signify.ts';
import { formatSshsig, parseSshsig, verifySshsig } from './sshsig.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

/** @param accept throws the parser's error, or compares what was read with what was given */
function fuzz(t: TestContext, examples: readonly (string | Uint8Array)[], code: string, accept: (input: Uint8Array) => void): void {
  const random = randomFrom(SEED);
  const bytes = examples.map((one) => (typeof one === 'string' ? toUtf8(one) : one));
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = run < bytes.length ? bytes[run]! : mutate(bytes, random);
    try {
      accept(input);
      accepted++;
    } catch (error) {
      if (run >= bytes.length && error instanceof LockstepError && error.code === code) continue;
      const shown = Buffer.from(input).toString('base64');
      throw new Error(`LOCKSTEP_FUZZ_SEED=${SEED} run ${run}, input (base64) ${shown}`, { cause: error });
    }
  }
  t.diagnostic(`${accepted} of ${RUNS} accepted`);
}

/** Mostly the text that the bytes are; now and then one with half a surrogate pair, which is no text. */
function asText(input: Uint8Array): string {
  const text = fromUtf8(input) ?? Buffer.from(input).toString('latin1');
  return input.length % 50 === 49 ? `${text.slice(0, 20)}\ud800${text.slice(20)}` : text;
}

const bytes = (length: number, from: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (from + index * 7) & 0xff);
const keyId = bytes(8, 1);
const publicKey = bytes(32, 2);
const digest = bytes(64, 3);
const signature = bytes(64, 4);
const comments = ['', 'release of é', 'file:a\thashed'];

test('parseMinisig of mutated files', (t) => {
  const examples = comments.map((comment) =>
    formatMinisig({ keyId, untrustedComment: comment, signature, trustedComment: comment, globalSignature: digest }),
  );
  fuzz(t, examples, 'ENVELOPE_INVALID', (input) => {
    const text = asText(input);
    const sig = parseMinisig(text);
    assert.equal(formatMinisig(sig), text);
    if (input.length % 50 === 0) assert.equal(verifyMinisig(sig, publicKey, digest), false);
  });
});

test('parseMinisignKey of mutated keys', (t) => {
  fuzz(t, [formatMinisignKey(keyId, publicKey), minisignKeyLine(keyId, publicKey)], 'KEY_INVALID', (input) => {
    const text = asText(input);
    const key = parseMinisignKey(text);
    assert.equal(minisignKeyLine(key.keyId, key.publicKey), text.includes('\n') ? text.split('\n')[1] : text);
  });
});

test('parseSignify, parseSignifyEmbedded and parseSignifyKey of mutated files', (t) => {
  const files = comments.map((comment) => formatSignify({ comment, keyNumber: keyId, signature }));
  fuzz(t, files, 'ENVELOPE_INVALID', (input) => {
    const text = asText(input);
    const sig = parseSignify(text);
    assert.equal(formatSignify(sig), text);
    if (input.length % 50 === 0) assert.equal(verifySignify(sig, publicKey, digest), false);
  });
  const embedded = formatSignifyEmbedded({ comment: 'c', keyNumber: keyId, signature }, toUtf8('message\n\n'));
  fuzz(t, [embedded, ...files], 'ENVELOPE_INVALID', (input) => {
    const read = parseSignifyEmbedded(input);
    assert.deepEqual(Buffer.from(formatSignifyEmbedded(read.sig, read.message)), Buffer.from(input));
  });
  fuzz(t, [formatSignifyKey({ keyNumber: keyId, publicKey }, 'c')], 'KEY_INVALID', (input) => {
    const text = asText(input);
    const key = parseSignifyKey(text);
    assert.equal(formatSignifyKey(key, text.slice('untrusted comment: '.length, text.indexOf('\n'))), text);
  });
});

test('parseSshsig of mutated files, and of mutated bytes in good armour', (t) => {
  const example = formatSshsig({ publicKey, namespace: 'lockstep-release', signature });
  const accept = (text: string): void => {
    const sig = parseSshsig(text);
    assert.equal(formatSshsig(sig), text);
    assert.equal(verifySshsig(sig, publicKey, 'file', digest), false);
  };
  fuzz(t, [example, formatSshsig({ publicKey, namespace: 'a', signature })], 'ENVELOPE_INVALID', (input) => accept(asText(input)));
  const body = Buffer.from(example.split('\n').slice(1, -2).join(''), 'base64');
  fuzz(t, [body], 'ENVELOPE_INVALID', (input) => {
    const lines =
      Buffer.from(input)
        .toString('base64')
        .match(/.{1,70}/g) ?? [];
    accept(`-----BEGIN SSH SIGNATURE-----\n${lines.join('\n')}\n-----END SSH SIGNATURE-----\n`);
  });
});

test('parseNarinfo, parseNixSignature and parseNixKey of mutated texts', (t) => {
  const base = {
    storePath: '/nix/store/yqi18hzk6wxzj2ksv7x9k8rnnzwirzz9-hello',
    url: 'nar/x.nar',
    compression: 'none' as const,
    fileSha256: publicKey,
    fileSize: 120,
    narSha256: publicKey,
    narSize: 120,
    references: [],
    deriver: null,
    system: null,
    signatures: [{ name: 'a', signature }],
    contentAddress: null,
  };
  const references = ['0000000000000000000000000000000a-x', '0000000000000000000000000000000b-y'];
  const full = { ...base, references, deriver: 'unknown-deriver', system: 'x86_64-linux' };
  fuzz(t, [formatNarinfo(base), formatNarinfo(full)], 'ENVELOPE_INVALID', (input) => {
    const text = asText(input);
    const info = parseNarinfo(text);
    assert.equal(formatNarinfo(info), text);
    if (input.length % 50 === 0) assert.equal(verifyNarinfo(info, { name: 'a', publicKey }), false);
  });
  fuzz(t, [formatNixSignature({ name: 'cache-1', signature })], 'ENVELOPE_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatNixSignature(parseNixSignature(text)), text);
  });
  fuzz(t, [formatNixKey({ name: 'cache-1', publicKey })], 'KEY_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatNixKey(parseNixKey(text)), text);
  });
});

test('openReleaseNote of mutated notes gives no text that was not signed', (t) => {
  const key = makeVerifierKey('a', 'ed25519', publicKey);
  const other = makeVerifierKey('b', 'ed25519', publicKey);
  fuzz(t, [formatReleaseNote('text\n', key, signature)], 'NOTE_INVALID', (input) =>
    assert.equal(openReleaseNote(asText(input), other), null),
  );
});

test('parseChecksums of mutated files', (t) => {
  const file = (name: string, digit: string): { name: string; sha256: Sha256 } => ({ name, sha256: digit.repeat(64) as Sha256 });
  const examples = [formatChecksums([file('a', '0')]), formatChecksums([file('bin/a b', '0'), file('é', '1'), file('\u{1f98a}', '2')])];
  fuzz(t, examples, 'ENVELOPE_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatChecksums(parseChecksums(text)), text);
  });
});
