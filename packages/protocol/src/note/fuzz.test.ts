/** Parsers of text and binary files: nothing that is thrown is not theirs, and what is accepted is written the same way. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { sampleEd25519Witness, sampleLog, sampleLogSigner, sampleMlDsaWitness } from '../bundle/samples.ts';
import { formatTlogProof, parseTlogProof } from '../bundle/tlog-proof.ts';
import { formatCheckpointText, parseCheckpointText } from '../checkpoint/checkpoint.ts';
import { formatWitnessPolicy, parseWitnessPolicy } from '../checkpoint/witness-policy.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { pae } from '../dsse/envelope.ts';
import { parsePae, parseStatementPath, statementPath } from '../log-entry/statement-path.ts';
import { formatEntryBundle, parseEntryBundle } from '../merkle/entry-bundle.ts';
import { parseTilePath, tilePath } from '../merkle/tile.ts';
import { formatNote, formatSignatureLine, parseNote, parseSignatureLine } from './note.ts';
import { formatVerifierKey, parseVerifierKey } from './verifier-key.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

/** @param accept compares what was read with what was given; false when the parser says null, as some may */
function fuzz(
  t: TestContext,
  examples: readonly (string | Uint8Array)[],
  code: string | null,
  accept: (input: Uint8Array) => boolean,
): void {
  const random = randomFrom(SEED);
  const bytes = examples.map((one) => (typeof one === 'string' ? toUtf8(one) : one));
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = run < bytes.length ? bytes[run]! : mutate(bytes, random);
    try {
      const ok = accept(input);
      if (run < bytes.length) assert.ok(ok, 'an example is accepted');
      accepted += ok ? 1 : 0;
    } catch (error) {
      if (run >= bytes.length && code !== null && error instanceof LockstepError && error.code === code) continue;
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

const witnesses = [sampleEd25519Witness('wítness.example/1'), sampleMlDsaWitness()];
const log = sampleLog(5, [sampleLogSigner(), ...witnesses]);
const short = sampleLog(3, [sampleLogSigner(), witnesses[0]!]);
const noteOf = parseNote(short.checkpoint);
const keys = [sampleLogSigner(), ...witnesses].map((one) => formatVerifierKey(one.key));

test('parseNote of mutated notes', (t) => {
  const examples = [short.checkpoint, log.checkpoint, formatNote({ ...noteOf, text: 'Ognuno sta solo:\n\ned è subito sera.\n' })];
  fuzz(t, examples, 'NOTE_INVALID', (input) => {
    assert.deepEqual(Buffer.from(formatNote(parseNote(input))), Buffer.from(input));
    return true;
  });
});

test('parseNote of mutated text', (t) => {
  fuzz(t, [short.checkpoint, 'a\n\n— b AAAAAAA=\n'], 'NOTE_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatNote(parseNote(text)), text);
    return true;
  });
});

test('parseSignatureLine of mutated lines', (t) => {
  const lines = noteOf.signatures.map((one) => formatSignatureLine(one).trimEnd());
  fuzz(t, [...lines, '— b AAAAAAA='], 'NOTE_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatSignatureLine(parseSignatureLine(text)), `${text}\n`);
    return true;
  });
});

test('parseVerifierKey of mutated keys', (t) => {
  fuzz(t, keys, 'KEY_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatVerifierKey(parseVerifierKey(text)), text);
    return true;
  });
});

test('parseCheckpointText of mutated texts', (t) => {
  const text = noteOf.text;
  fuzz(
    t,
    [text, `${text}extension\nmore\n`, text.replace('\n3\n', '\n0\n'), 'é\n9007199254740991\n' + text.split('\n')[2] + '\n'],
    'CHECKPOINT_INVALID',
    (input) => {
      const given = asText(input);
      assert.equal(formatCheckpointText(parseCheckpointText(given)), given);
      return true;
    },
  );
});

test('parseWitnessPolicy of mutated policies reads its own writing back', (t) => {
  const [logKey, first, second] = keys;
  const examples = [
    'quorum none\n',
    `log ${logKey} https://log.example/\nwitness a ${first}\nquorum a\n`,
    `# comment\n\n log ${logKey}\nwitness a ${first}\twitness.example\nwitness b ${second}\ngroup g any a b\ngroup h all g\nquorum h\n`,
    `witness a ${first}\nwitness b ${second}\ngroup g 2 a b\nquorum g\n`,
  ];
  fuzz(t, examples, 'WITNESS_POLICY_INVALID', (input) => {
    const policy = parseWitnessPolicy(asText(input), 'policy');
    const written = formatWitnessPolicy(policy);
    const again = parseWitnessPolicy(written, 'policy');
    assert.deepEqual(again, policy);
    assert.equal(formatWitnessPolicy(again), written);
    return true;
  });
});

test('parseTilePath of mutated paths', (t) => {
  fuzz(t, ['tile/0/000', 'tile/entries/x001/x234/067', 'tile/6/001.p/255', 'tile/2/x999/999.p/1'], null, (input) => {
    const text = asText(input);
    const tile = parseTilePath(text);
    if (tile !== null) assert.equal(tilePath(tile), text);
    return tile !== null;
  });
});

test('parseStatementPath of mutated paths', (t) => {
  fuzz(t, [`statement/ab/${'0'.repeat(62)}`, `statement/01/${'f'.repeat(62)}`], null, (input) => {
    const text = asText(input);
    const digest = parseStatementPath(text);
    if (digest !== null) assert.equal(statementPath(digest), text);
    return digest !== null;
  });
});

test('parseEntryBundle of mutated bundles', (t) => {
  const examples = [[], ['a'], ['', 'b', ''], ['x'.repeat(300), 'y']].map((entries) => formatEntryBundle(entries.map(toUtf8)));
  fuzz(t, examples, null, (input) => {
    const accepted = [0, 1, 2, 3, 4, 256].filter((count) => {
      const entries = parseEntryBundle(input, count);
      if (entries === null) return false;
      assert.equal(entries.length, count);
      assert.deepEqual(Buffer.from(formatEntryBundle(entries)), Buffer.from(input));
      return true;
    });
    assert.ok(accepted.length <= 1, 'one number of entries at most');
    return accepted.length === 1;
  });
});

test('parsePae of mutated encodings', (t) => {
  fuzz(t, [pae('application/x', toUtf8('payload')), pae('', new Uint8Array(0)), pae('é\n', toUtf8(' 3 DSSEv1 '))], null, (input) => {
    const found = parsePae(input);
    if (found !== null) assert.deepEqual(Buffer.from(pae(found.payloadType, found.payload)), Buffer.from(input));
    return found !== null;
  });
});

test('parseTlogProof of mutated proofs', (t) => {
  const proof = (index: number): string =>
    formatTlogProof({ index, proof: short.tree.proveInclusion(index), checkpoint: short.checkpoint });
  fuzz(t, [proof(0), proof(2), formatTlogProof({ index: 0, proof: [], checkpoint: '' })], 'PROOF_INVALID', (input) => {
    const text = asText(input);
    assert.equal(formatTlogProof(parseTlogProof(text)), text);
    return true;
  });
});
