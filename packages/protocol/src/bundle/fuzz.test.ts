/** Parsers of JSON: nothing that is thrown is not theirs, and what is accepted is written the same way, or read the same again. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { integer, list, oneOf, record, table, text } from '../decode/decode.ts';
import { type DocumentKind, formatDocument, readDocument } from '../dsse/document.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatLogEntry, isSignedEntry, parseLogEntry } from '../log-entry/log-entry.ts';
import { formatBundle, parseBundle } from './bundle.ts';
import { openBundle } from './open-bundle.ts';
import { sampleEd25519Witness, sampleLog, sampleLogSigner } from './samples.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
const OPENING = ['BUNDLE_INVALID', 'NOTE_INVALID', 'CHECKPOINT_INVALID', 'LOG_ENTRY_INVALID'];

function fuzz(t: TestContext, examples: readonly Uint8Array[], code: string, accept: (input: Uint8Array) => void): void {
  const random = randomFrom(SEED);
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = run < examples.length ? examples[run]! : mutate(examples, random);
    try {
      accept(input);
      accepted++;
    } catch (error) {
      if (run >= examples.length && error instanceof LockstepError && error.code === code) continue;
      const shown = Buffer.from(input).toString('base64');
      throw new Error(`LOCKSTEP_FUZZ_SEED=${SEED} run ${run}, input (base64) ${shown}`, { cause: error });
    }
  }
  t.diagnostic(`${accepted} of ${RUNS} accepted`);
}

const same = (a: Uint8Array, b: Uint8Array): void => assert.deepEqual(Buffer.from(a), Buffer.from(b));
const log = sampleLogSigner();
const witness = sampleEd25519Witness();
const sample = sampleLog(6, [log, witness]);

test('parseLogEntry of mutated entries', (t) => {
  fuzz(t, sample.entries.slice(0, 3), 'LOG_ENTRY_INVALID', (input) => {
    const entry = parseLogEntry(input);
    same(formatLogEntry(entry), input);
    isSignedEntry(entry);
  });
});

test('parseBundle of mutated bundles reads its own writing back; openBundle takes none that is not the original', (t) => {
  const bundles = [0, 5].map((index) => sample.bundle(index));
  const originals = bundles.map(({ payload, payloadType }) => ({ payload, payloadType }));
  let opened = 0;
  fuzz(
    t,
    bundles.map((one) => toUtf8(formatBundle(one))),
    'BUNDLE_INVALID',
    (input) => {
      const bundle = parseBundle(input);
      const written = formatBundle(bundle);
      assert.deepEqual(parseBundle(toUtf8(written)), bundle);
      assert.equal(formatBundle(parseBundle(toUtf8(written))), written);
      try {
        const { payload, payloadType } = openBundle(bundle, [log.key], [witness.key]);
        opened++;
        assert.ok(originals.some((one) => one.payloadType === payloadType && Buffer.from(one.payload).equals(payload)));
      } catch (error) {
        if (!(error instanceof LockstepError && OPENING.includes(error.code))) throw error;
      }
    },
  );
  t.diagnostic(`${opened} opened`);
});

interface Sample {
  readonly schema: string;
  readonly count: number;
  readonly names: readonly string[];
  readonly digests: Readonly<Record<string, string>>;
}

const KIND: DocumentKind<Sample> = {
  payloadType: 'application/vnd.lockstep.sample+json',
  noun: 'sample',
  decode: table({
    schema: oneOf(['sample/1'] as const),
    count: integer(0, 1000),
    names: list(
      text('a name', (value) => value !== '', 20),
      5,
    ),
    digests: record(
      /^[a-z]{1,9}$/,
      text('hex', (value) => /^[0-9a-f]*$/.test(value)),
      4,
    ),
  }),
};

test('readDocument of mutated documents', (t) => {
  const examples = [
    formatDocument(KIND, { schema: 'sample/1', count: 0, names: [], digests: {} }),
    formatDocument(KIND, { schema: 'sample/1', count: 7, names: ['é', '"\\\u0001'], digests: { b: '00', a: 'ff' } }),
  ];
  fuzz(t, examples, 'DOCUMENT_INVALID', (input) => {
    const found = readDocument(KIND, KIND.payloadType, input);
    assert.ok(found !== null);
    same(formatDocument(KIND, found), input);
  });
  for (const input of examples) assert.equal(readDocument(KIND, 'application/vnd.lockstep.other+json', input), null);
});
