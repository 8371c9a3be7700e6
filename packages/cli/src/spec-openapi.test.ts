/** spec/openapi.json is the route table; spec/api.md names every route of it and no other, and what it shows is what is sent. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { enrolmentWords } from '@lockstep/api/enrolment';
import { openApi } from '@lockstep/api/openapi';
import { problem } from '@lockstep/api/problem';
import type { Route } from '@lockstep/api/route';
import { ROUTES, type RouteName } from '@lockstep/api/routes/table';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, readDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { publicKeyFromSpki, verifyP256 } from '@lockstep/protocol/key/p256';
import { VERSION } from './version.ts';

const SPEC = `${import.meta.dirname}/../../../spec`;
const AGAIN = 'LOCKSTEP_WRITE_SPEC=1 node --test packages/cli/src/spec-openapi.test.ts && biome format --write spec/openapi.json';

const page = (): string => readFileSync(`${SPEC}/api.md`, 'utf8');

test('spec/openapi.json is what the route table says', () => {
  const said: unknown = JSON.parse(JSON.stringify(openApi(VERSION)));
  if (process.env['LOCKSTEP_WRITE_SPEC'] === '1') writeFileSync(`${SPEC}/openapi.json`, `${JSON.stringify(said, null, 2)}\n`);
  const written: unknown = JSON.parse(readFileSync(`${SPEC}/openapi.json`, 'utf8'));
  assert.deepEqual(written, said, `spec/openapi.json is not what packages/api says. Write it again: ${AGAIN}`);
});

test('spec/api.md lists every route with its roles, and no other', () => {
  const listed = [...page().matchAll(/^\| `((?:GET|POST|PUT|DELETE) \/[^`]+)` \| ([a-z, ]+) \|/gm)].map((row) => `${row[1]} ${row[2]}`);
  const routes = (Object.values(ROUTES) as Route[]).map(
    ({ method, path, allow }) => `${method} ${path} ${allow.includes('anyone') ? 'anyone' : allow.join(', ')}`,
  );
  assert.deepEqual(listed.toSorted(), routes.toSorted(), 'Correct the tables of "The routes" in spec/api.md');
});

/** The JSON right after the words "Request of `NAME`" or "Answer of `NAME`" and a colon. */
function examples(): { readonly kind: 'body' | 'reply'; readonly name: RouteName; readonly json: unknown }[] {
  const found = [...page().matchAll(/(Request|Answer) of `(\w+)`[\s\S]{0,300}?:\n\n```json\n([\s\S]*?)^```$/gm)];
  return found.map(([, kind, name, json]) => ({
    kind: kind === 'Request' ? 'body' : 'reply',
    name: name as RouteName,
    json: JSON.parse(json ?? ''),
  }));
}

test('each request and answer that spec/api.md shows is one', () => {
  assert.ok(examples().length > 15);
  for (const { kind, name, json } of examples()) {
    const schema = (ROUTES as Record<string, Route>)[name]?.[kind];
    assert.ok(schema !== undefined && schema !== null && typeof schema !== 'string', `spec/api.md: ${name} has no ${kind} in JSON`);
    const parsed = schema.safeParse(json);
    assert.ok(parsed.success, `spec/api.md, the ${kind} of ${name}: ${parsed.error?.message ?? ''}`);
  }
});

test('spec/api.md begins with an example, and shows an error as the farm answers it', () => {
  assert.match(page(), /^# .+\n\n```text\n/);
  const example = /^## Errors\n[\s\S]*?```json\n([\s\S]*?)^```$/m.exec(page())?.[1];
  assert.equal(problem.parse(JSON.parse(example ?? '')).error.code, 'INPUT_MISSING');
});

test('keys, commitment and reveal in spec/api.md belong together', () => {
  const body = (name: RouteName): unknown => examples().find((one) => one.name === name && one.kind === 'body')?.json;
  const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
  const read = <T>(kind: DocumentKind<T>, { payloadType, payload, signature, key }: SignedDocumentJson): T => {
    const document = readDocument(kind, payloadType, bytes(payload));
    assert.ok(document !== null && verifyP256(publicKeyFromSpki(bytes(key)), pae(payloadType, bytes(payload)), bytes(signature)));
    return document;
  };
  const enrol = ROUTES.enrol.body.parse(body('enrol'));
  const transport = publicKeyFromSpki(bytes(enrol.transportKey));
  const attestation = publicKeyFromSpki(bytes(enrol.attestationKey));
  const words = toUtf8(enrolmentWords(enrol.name, transport.id, attestation.id));
  assert.ok(verifyP256(transport, words, bytes(enrol.transportProof)) && verifyP256(attestation, words, bytes(enrol.attestationProof)));
  assert.ok(
    page().includes(`\n\`\`\`text\n${enrolmentWords(enrol.name, transport.id, attestation.id)}\`\`\`\n`),
    'Show the words that both keys sign',
  );
  const committed = ROUTES.commit.body.parse(body('commit'));
  assert.equal(committed.key, enrol.attestationKey);
  const { commitment, opening } = read(COMMITMENT, committed);
  const { reveal } = ROUTES.reveal.body.parse(body('reveal'));
  assert.ok(reveal !== null);
  const { salt, statement } = read(REVEAL, reveal);
  assert.equal(commitmentOf({ opening: opening as Sha256, key: attestation.id, salt, statement: statement as Sha256 }), commitment);
});
