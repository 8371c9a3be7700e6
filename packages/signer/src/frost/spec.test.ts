import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { CONFIRMATION, DEAL, OPENING, ROUND1, ROUND2 } from './ceremony-documents.ts';
import { COMMITMENTS, REFUSAL, REFUSALS, SESSION, SHARES, SHARING } from './session-documents.ts';

const page = readFileSync(`${import.meta.dirname}/../../../../spec/frost.md`, 'utf8');

test('the example of spec/frost.md is a session', () => {
  const example = /```json\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  assert.ok(formatDocument(SESSION, JSON.parse(example) as never).length > 0);
});

test('spec/frost.md has every document and every refusal', () => {
  for (const { noun } of [OPENING, ROUND1, ROUND2, DEAL, CONFIRMATION, SESSION, COMMITMENTS, SHARING, SHARES, REFUSAL])
    assert.ok(page.includes(`| \`${noun}\` | \`lockstep-${noun}/v1\` |`), noun);
  for (const code of REFUSALS) assert.ok(page.includes(`\`${code}\` (`), code);
});
