import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import fc from 'fast-check';
import { readSecret } from './passphrase.ts';
import { MAX_SECRET_INPUT, secretOf } from './secret-input.ts';
import { SecretLine } from './terminal.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/lockstep-passphrase-`);
after(() => rmSync(FOLDER, { recursive: true }));
const WANTED = { what: 'Passphrase', isNew: false };
const code = (wanted: string) => (error: unknown) => error instanceof LockstepError && error.code === wanted;

function privateFile(content: string | Buffer): string {
  const path = `${FOLDER}/secret`;
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

test('readSecret from a file: one line, its newline removed, and private', async () => {
  for (const [content, secret] of [
    ['päss word\n', 'päss word'],
    ['no newline', 'no newline'],
    ['windows\r\n', 'windows'],
    [' blanks stay ', ' blanks stay '],
    ['x'.repeat(MAX_SECRET_INPUT), 'x'.repeat(MAX_SECRET_INPUT)],
  ] as const)
    assert.equal((await readSecret({ from: 'file', path: privateFile(content) }, WANTED)).toString(), secret);
  for (const content of ['', '\n', 'two\nlines\n', 'two\n\n', 'a\0b', 'x'.repeat(MAX_SECRET_INPUT + 1), 'a\rb'])
    await assert.rejects(
      readSecret({ from: 'file', path: privateFile(content) }, WANTED),
      code('USAGE'),
      JSON.stringify(content.slice(0, 20)),
    );
  await assert.rejects(readSecret({ from: 'file', path: privateFile('x'.repeat(5000)) }, WANTED), code('KEY_INVALID'));
  await assert.rejects(readSecret({ from: 'file', path: `${FOLDER}/none` }, WANTED), code('FILE_NOT_FOUND'));
  const path = privateFile('secret');
  chmodSync(path, 0o644);
  await assert.rejects(readSecret({ from: 'file', path }, WANTED), code('KEY_INVALID'));
});

test('readSecret from a descriptor reads it once and closes it; not every number will do', async () => {
  const fd = openSync(privateFile('from fd\n'), 'r');
  assert.equal((await readSecret({ from: 'fd', fd }, WANTED)).toString(), 'from fd');
  await assert.rejects(readSecret({ from: 'fd', fd }, WANTED), code('USAGE'));
  for (const wrong of [-1, 1, 2, 1.5, 100_000]) await assert.rejects(readSecret({ from: 'fd', fd: wrong }, WANTED), code('USAGE'));
  const folder = openSync(FOLDER, 'r');
  await assert.rejects(readSecret({ from: 'fd', fd: folder }, WANTED), code('USAGE'));
  if (existsSync(`/proc/self/fd/${folder}`)) closeSync(folder);
});

test('readSecret of a new one asks twice, and gives up after three attempts', async () => {
  const answers = (...lines: string[]) => {
    const prompts: string[] = [];
    return {
      prompts,
      read: (prompt: string) => {
        prompts.push(prompt);
        return Promise.resolve(Buffer.from(lines.shift() ?? ''));
      },
    };
  };
  const second = answers('one', 'two', 'three', 'three');
  assert.equal((await readSecret({ from: 'terminal' }, { what: 'Passphrase of x', isNew: true }, second.read)).toString(), 'three');
  assert.match(second.prompts.join(), /Passphrase of x \(new\): ,Passphrase of x \(once more\): /);
  await assert.rejects(
    readSecret({ from: 'terminal' }, { what: 'P', isNew: true }, answers('a', 'b', 'c', 'd', 'e', 'f').read),
    code('PASSPHRASE_WRONG'),
  );
  assert.equal((await readSecret({ from: 'terminal' }, WANTED, answers('once').read)).toString(), 'once');
});

test('SecretLine: erasing takes whole characters, control keys cancel, the length is bounded', () => {
  const typed = (...chunks: (string | number[])[]): [boolean, string] => {
    const line = new SecretLine();
    const done = chunks.map((chunk) => line.take(Buffer.from(chunk as string)));
    return [done.at(-1) ?? false, line.bytes().toString()];
  };
  assert.deepEqual(typed('abc', '\r'), [true, 'abc']);
  assert.deepEqual(typed('abä\x7f\x7fc\n'), [true, 'ac']);
  assert.deepEqual(typed('\x7f\x08x\x15yz\x04'), [true, 'yz']);
  assert.deepEqual(typed('ab'), [false, 'ab']);
  assert.throws(() => typed('ab\x03'), code('CANCELLED'));
  assert.throws(() => typed('\x04'), code('CANCELLED'));
  assert.throws(() => typed('x'.repeat(MAX_SECRET_INPUT + 1)), code('USAGE'));
});

test('secretOf of any bytes is a secret without its newline or USAGE, and wipes what it was given', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
      const given = Buffer.from(bytes);
      try {
        assert.ok(!secretOf(given, 'x').includes(0x0a));
      } catch (error) {
        assert.ok(code('USAGE')(error));
      }
      assert.ok(given.every((byte) => byte === 0));
    }),
  );
});

/** Runs a program on a terminal of its own; `answers` are typed, each when its prompt has appeared. @returns all that the terminal showed */
async function onTerminal(command: string, answers: readonly (readonly [RegExp, string])[]): Promise<string> {
  const child = spawn('socat', ['-t', '0.5', '-', `EXEC:${command},pty,setsid,ctty,stderr`], { stdio: ['pipe', 'pipe', 'inherit'] });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const left = [...answers];
  let shown = '';
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString();
    const [next] = left;
    if (next === undefined || !next[0].test(shown)) return;
    left.shift();
    child.stdin.write(next[1]);
  });
  const timer = setTimeout(() => child.kill(), 30_000);
  await Promise.race([new Promise((resolve) => child.once('close', resolve)), failed]);
  clearTimeout(timer);
  return shown;
}

test('readSecret from a real terminal shows nothing of what is typed, and leaves the terminal as it was', async () => {
  assert.equal(spawnSync('socat', ['-V']).status, 0, 'socat is missing: sh scripts/setup.sh test');
  writeFileSync(
    `${FOLDER}/ask.mjs`,
    `import { writeFileSync } from 'node:fs';
     import { execFileSync } from 'node:child_process';
     import { readSecret } from '${import.meta.dirname}/passphrase.ts';
     const stty = () => execFileSync('stty', ['-g', '-F', '/dev/tty']).toString();
     const before = stty();
     const secret = await readSecret({ from: 'terminal' }, { what: 'Passphrase', isNew: true }).catch((error) => error);
     writeFileSync('${FOLDER}/result.json', JSON.stringify({ secret: secret.code ?? secret.toString(), same: stty() === before }));
     process.exit(0);`,
  );
  const ask = `${process.execPath} ${FOLDER}/ask.mjs`;
  const result = (): unknown => JSON.parse(readFileSync(`${FOLDER}/result.json`, 'utf8'));
  const shown = await onTerminal(ask, [
    [/\(new\): $/, 'hidden-käse\r'],
    [/once more\): $/, 'hidden-käse\r'],
  ]);
  assert.deepEqual(result(), { secret: 'hidden-käse', same: true }, shown);
  assert.doesNotMatch(shown, /hidden|käse/);
  assert.match(await onTerminal(ask, [[/\(new\): $/, 'hidd\x03']]), /\(new\)/);
  assert.deepEqual(result(), { secret: 'CANCELLED', same: true });
  // Control: the same terminal shows what a program without raw mode reads.
  writeFileSync(`${FOLDER}/plain.sh`, 'printf "plain: "; read line');
  assert.match(await onTerminal(`sh ${FOLDER}/plain.sh`, [[/plain: $/, 'shown\n']]), /shown/);
});

test('readSecret without a terminal says what to give instead', () => {
  const run = spawnSync(
    'setsid',
    [
      process.execPath,
      '--input-type=module',
      '-e',
      `import { readSecret } from '${import.meta.dirname}/passphrase.ts';
       await readSecret({ from: 'terminal' }, { what: 'P', isNew: false }).catch((error) => console.log(error.code, error.hint));`,
    ],
    { encoding: 'utf8', timeout: 20_000 },
  );
  assert.match(run.stdout, /HOST_CANNOT.*--passphrase-fd/, run.stderr);
});
