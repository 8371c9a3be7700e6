/** `result.json` as the builder reads it: foreign data, checked before use (spec/scratch.md). */
import { type Decoder, integer, list, nullable, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { parseJson } from '@lockstep/protocol/json/parse';

const any = text('text', () => true, 1 << 20);
const seconds: Decoder<number> = (value, path) =>
  typeof value === 'number' && value >= 0
    ? { ok: true, value }
    : { ok: false, issues: [{ path, expected: 'seconds', found: typeof value, hint: '' }] };
const size = integer(0, Number.MAX_SAFE_INTEGER);
const sha256 = text('a SHA-256', (value) => /^[0-9a-f]{64}$/.test(value), 64);

const failure = table({
  code: text('a code', (value) => /^[A-Z_]+$/.test(value), 64),
  message: any,
  hint: any,
  step: nullable(any),
  exitCode: nullable(integer(-1, 1 << 20)),
});

const decode = table({
  schema: oneOf(['lockstep-result/v1'] as const),
  status: oneOf(['ok', 'failed'] as const),
  failure: nullable(failure),
  steps: list(table({ name: any, seconds, exitCode: nullable(integer(0, 1 << 20)) }), 10_000),
  outputs: list(
    table({
      name: text('a plain file name', (value) => value !== '' && !value.includes('/') && value !== '.' && value !== '..', 255),
      kind: oneOf(['file', 'tree', 'archive', 'rootfs'] as const),
      size,
      sha256,
      executable: (value, path) =>
        typeof value === 'boolean'
          ? { ok: true, value }
          : { ok: false, issues: [{ path, expected: 'true or false', found: typeof value, hint: '' }] },
      members: size,
      newest: nullable(size),
    }),
    10_000_000,
  ),
  transcript: nullable(table({ size, sha256 })),
  sandbox: nullable(table({ runtime: any, cgroup: any, kernel: any })),
  startedOn: seconds,
  finishedOn: seconds,
  peakMemory: nullable(size),
});

export type SiloResult = TypeOf<typeof decode>;
export type SiloFailure = TypeOf<typeof failure>;

export function parseResult(bytes: Uint8Array): SiloResult {
  const decoded = decode(parseJson(bytes, 'result.json'), []);
  if (!decoded.ok) throw issueError('JSON_INVALID', decoded.issues, () => null);
  return decoded.value;
}
