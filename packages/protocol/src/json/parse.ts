/**
 * Strict JSON: RFC 8259 restricted to I-JSON (RFC 7493). Two parsers that read one text differently are how a signed
 * document comes to mean two things, so: no duplicate keys, no lone surrogates, no numbers that a double cannot hold
 * exactly, no `__proto__`, and a bound on depth and size.
 */
import { fromUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export const MAX_JSON_BYTES = 64 << 20;
const MAX_DEPTH = 100;
/** Values of all kinds: a few bytes of text make an object of a hundred in memory. A statement with 500,000 outputs has less. */
const MAX_VALUES = 5_000_000;

export type JsonPath = readonly (string | number)[];

export interface ParsedJson {
  readonly value: Json;
  /** Offset in the text of the value at `path`, for error messages. */
  readonly offsetOf: (path: JsonPath) => number;
}

/** @throws LockstepError JSON_INVALID with line and column */
export function parseJson(input: Uint8Array | string, file = 'JSON'): Json {
  return parseJsonWithPositions(input, file).value;
}

export function parseJsonWithPositions(input: Uint8Array | string, file = 'JSON'): ParsedJson {
  const text = typeof input === 'string' ? input : fromUtf8(input);
  if (text === null) throw new LockstepError('JSON_INVALID', `${file} is not UTF-8`, 'Write it as UTF-8 without a byte order mark.');
  if (text.length > MAX_JSON_BYTES)
    throw new LockstepError('JSON_INVALID', `${file} is larger than 64 MiB`, 'No document of this program is that large.');
  const value = new Parser(text, file, null).document();
  // Read again for the one place that an error names: noting every place would cost more memory than the document.
  const offsetOf = (path: JsonPath): number => {
    const parser = new Parser(text, file, path);
    parser.document();
    return parser.soughtAt;
  };
  return { value, offsetOf };
}

/** 1-based line and column of an offset. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}

class Parser {
  private readonly text: string;
  private readonly file: string;
  private at = 0;
  private values = 0;
  private readonly path: (string | number)[] = [];
  private readonly sought: JsonPath | null;
  /** Offset of the value at `sought`; 0 until it was met. */
  soughtAt = 0;

  constructor(text: string, file: string, sought: JsonPath | null) {
    this.text = text;
    this.file = file;
    this.sought = sought;
  }

  document(): Json {
    const value = this.value();
    this.space();
    if (this.at !== this.text.length) this.fail('the end of the text');
    return value;
  }

  private fail(expected: string): never {
    const { line, column } = lineAndColumn(this.text, this.at);
    const found = this.at < this.text.length ? JSON.stringify(this.text.slice(this.at, this.at + 12)) : 'the end of the text';
    throw new LockstepError(
      'JSON_INVALID',
      `expected ${expected}, found ${found}`,
      'Correct the text, or make it again with the program that wrote it.',
      {
        at: { file: this.file, line, column },
      },
    );
  }

  private space(): void {
    while (this.at < this.text.length && ' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at++;
  }

  private value(): Json {
    this.space();
    if (this.path.length > MAX_DEPTH) this.fail(`at most ${MAX_DEPTH} levels`);
    if (++this.values > MAX_VALUES) this.fail(`at most ${MAX_VALUES} values`);
    if (this.sought?.length === this.path.length && this.sought.every((part, index) => part === this.path[index])) this.soughtAt = this.at;
    const first = this.text[this.at];
    if (first === '{') return this.object();
    if (first === '[') return this.array();
    if (first === '"') return this.string();
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private object(): Json {
    const out: Record<string, Json> = {};
    this.at++;
    this.space();
    if (this.text[this.at] === '}') {
      this.at++;
      return out;
    }
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') this.fail('a key');
      const key = this.string();
      if (key === '__proto__') this.fail('another key than "__proto__"');
      if (Object.hasOwn(out, key)) this.fail(`each key once, not ${JSON.stringify(key)} again`);
      this.space();
      if (this.text[this.at] !== ':') this.fail('":"');
      this.at++;
      this.path.push(key);
      out[key] = this.value();
      this.path.pop();
      this.space();
      const next = this.text[this.at++];
      if (next === '}') return out;
      if (next !== ',') {
        this.at--;
        this.fail('"," or "}"');
      }
    }
  }

  private array(): Json {
    const out: Json[] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === ']') {
      this.at++;
      return out;
    }
    for (;;) {
      this.path.push(out.length);
      out.push(this.value());
      this.path.pop();
      this.space();
      const next = this.text[this.at++];
      if (next === ']') return out;
      if (next !== ',') {
        this.at--;
        this.fail('"," or "]"');
      }
    }
  }

  private string(): string {
    if (this.text[this.at] !== '"') this.fail('a string');
    // One short match for each run or escape: a single expression over a string of many megabytes overflows the matcher's stack.
    const piece = /[^"\\\u0000-\u001f]{1,65536}|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
    let end = this.at + 1;
    for (piece.lastIndex = end; piece.test(this.text); ) end = piece.lastIndex;
    if (this.text[end] !== '"') this.fail('a string');
    const value: unknown = JSON.parse(this.text.slice(this.at, end + 1));
    if (typeof value !== 'string' || !value.isWellFormed()) this.fail('a string without lone surrogates');
    this.at = end + 1;
    return value;
  }

  private number(): number {
    const match = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
    match.lastIndex = this.at;
    const raw = match.exec(this.text)?.[0];
    if (raw === undefined) this.fail('a value');
    const value = Number(raw);
    // Either as it is written, or as canonical JSON would write it: what is accepted has canonical bytes that are accepted.
    const integral = !/[.eE]/.test(raw) || !/[.e]/.test(String(value));
    if (!Number.isFinite(value) || (integral && !Number.isSafeInteger(value)) || Object.is(value, -0)) this.fail('a number within I-JSON');
    this.at += raw.length;
    return value;
  }
}
