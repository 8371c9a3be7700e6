/** Custody with the real things: SoftHSM2 seen through pkcs11-tool and openssl, and a search for secrets wherever a process shows itself. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyToPem, verifySignature } from '@lockstep/protocol/key/any-key';
import { makeFileKey, openPkcs8 } from '@lockstep/signer/custody/file-key';
import { makePkcs11Key } from '@lockstep/signer/custody/make-pkcs11-key';
import { loadPkcs11 } from '@lockstep/signer/custody/pkcs11-module';
import { closeSession, keysIn, openSession } from '@lockstep/signer/custody/pkcs11-session';
import { listPkcs11Keys, openPkcs11Key } from '@lockstep/signer/custody/pkcs11-key';
import { requireUse, type SigningKey } from '@lockstep/signer/custody/signing-key';
import { ROOT, temporaryFolder } from './lockstep.ts';

const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
const PIN = '2718-2818-pin';
const SO_PIN = '31415926-so';
const FOLDER = temporaryFolder();
const CUSTODY = `${ROOT}/packages/signer/src/custody`;

/** SoftHSM reads this when it starts: set for this process, hence for the library that is loaded into it. */
process.env['SOFTHSM2_CONF'] = `${FOLDER}/softhsm2.conf`;

const code =
  (wanted: string, message?: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof LockstepError, String(error));
    assert.equal(error.code, wanted, error.message);
    if (message !== undefined) assert.match(error.message, message);
    assert.doesNotMatch(`${error.message}${error.hint}`, /2718/);
    return true;
  };
const pin = (): Promise<Uint8Array> => Promise.resolve(Buffer.from(PIN));
const place = (label: string, more: Partial<Parameters<typeof makePkcs11Key>[0]> = {}) => ({
  module: MODULE,
  tokenLabel: 'release',
  keyLabel: label,
  name: label,
  use: 'release-dsse' as const,
  pin,
  ...more,
});

function run(program: string, ...args: string[]): string {
  const ran = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(ran.error, undefined, `${program} is missing: sh scripts/setup.sh test`);
  assert.equal(ran.status, 0, `${program} ${args[0] ?? ''}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

function initToken(label: string): void {
  run('softhsm2-util', '--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', SO_PIN);
}

before(() => {
  mkdirSync(`${FOLDER}/tokens`);
  writeFileSync(`${FOLDER}/softhsm2.conf`, `directories.tokendir = ${FOLDER}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`);
  initToken('release');
  initToken('second');
});

async function signsRight(key: SigningKey): Promise<void> {
  const message = Buffer.from('what is signed');
  const signature = await key.sign(message);
  assert.ok(verifySignature(key.public, message, signature));
  const node = createPublicKey({ key: Buffer.from(key.public.spki), type: 'spki', format: 'der' });
  const isEd25519 = key.public.algorithm === 'ed25519';
  assert.ok(verify(isEd25519 ? null : 'sha256', message, node, signature));
  writeFileSync(`${FOLDER}/message`, message);
  writeFileSync(`${FOLDER}/signature`, signature);
  writeFileSync(`${FOLDER}/public.pem`, anyKeyToPem(key.public));
  const files = ['-sigfile', `${FOLDER}/signature`, '-pubin', '-inkey', `${FOLDER}/public.pem`, '-in', `${FOLDER}/message`];
  run('openssl', 'pkeyutl', '-verify', '-rawin', ...(isEd25519 ? [] : ['-digest', 'sha256']), ...files);
}

test('makePkcs11Key: both algorithms are made inside, sign what node and openssl verify, and open again', async () => {
  for (const algorithm of ['ed25519', 'ecdsa-p256'] as const) {
    const made = await makePkcs11Key({ ...place(algorithm), algorithm });
    assert.deepEqual([made.custody, made.public.algorithm, made.name], ['pkcs11', algorithm, algorithm]);
    await signsRight(made);
    const opened = await openPkcs11Key(place(algorithm));
    assert.deepEqual(opened.public, made.public);
    await made.close();
    await assert.rejects(made.sign(Buffer.from('m')), code('CUSTODY_FAILED', /closed/));
    await signsRight(opened);
    // A session does one thing at a time: what is asked at once is answered one after the other.
    const messages = Array.from({ length: 20 }, (_, index) => Buffer.from(`message ${index}`));
    const signatures = await Promise.all(messages.map((message) => opened.sign(message)));
    for (const [index, message] of messages.entries()) assert.ok(verifySignature(opened.public, message, signatures[index]!));
    await opened.close();
    await assert.rejects(makePkcs11Key({ ...place(algorithm), algorithm }), code('KEY_INVALID', /already/));
  }
});

test('the private keys are sensitive, not extractable, and were never otherwise: pkcs11-tool says so', async () => {
  const tool = (...args: string[]) => ['--module', MODULE, '--token-label', 'release', '--login', '--pin', PIN, ...args];
  const shown = run('pkcs11-tool', ...tool('--list-objects', '--type', 'privkey'));
  const access = shown.split('\n').filter((line) => line.includes('Access:'));
  assert.equal(access.length, 2, shown);
  for (const line of access) assert.match(line, /Access:\s+sensitive, always sensitive, never extractable, local/);
  // Nor does the library give it to a process that is logged in: neither its value nor wrapped, nor may it be made readable.
  const session = await openSession(await loadPkcs11(MODULE), 'release', pin);
  const { library, api } = session.module;
  for (const { handle } of keysIn(session, null)) {
    assert.throws(() => library.C_GetAttributeValue(session.handle, handle, [{ type: api.CKA_VALUE }]), /CKR_ATTRIBUTE_SENSITIVE/);
    assert.throws(
      () => library.C_SetAttributeValue(session.handle, handle, [{ type: api.CKA_EXTRACTABLE, value: true }]),
      /CKR_ATTRIBUTE_READ_ONLY/,
    );
    assert.throws(
      () => library.C_SetAttributeValue(session.handle, handle, [{ type: api.CKA_SENSITIVE, value: false }]),
      /CKR_ATTRIBUTE_READ_ONLY/,
    );
  }
  closeSession(session);
  const keys = await listPkcs11Keys({ module: MODULE, tokenLabel: 'release', pin });
  assert.deepEqual(keys.map((key) => [key.label, key.public?.algorithm, key.stays]).sort(), [
    ['ecdsa-p256', 'ecdsa-p256', true],
    ['ed25519', 'ed25519', true],
  ]);
  assert.deepEqual(await listPkcs11Keys({ module: MODULE, tokenLabel: 'second', pin }), []);
});

test('openPkcs11Key: a key that pkcs11-tool made is opened; one that can be read out, an RSA key and a wrong public key are refused', async () => {
  const tool = (...args: string[]) => run('pkcs11-tool', '--module', MODULE, '--token-label', 'second', '--login', '--pin', PIN, ...args);
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'theirs', '--id', '01');
  const theirs = await openPkcs11Key(place('theirs', { tokenLabel: 'second' }));
  await signsRight(theirs);
  await theirs.close();
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'loose', '--id', '02', '--extractable');
  await assert.rejects(openPkcs11Key(place('loose', { tokenLabel: 'second' })), code('KEY_INVALID', /read out/));
  tool('--keypairgen', '--key-type', 'rsa:2048', '--label', 'rsa', '--id', '03');
  await assert.rejects(openPkcs11Key(place('rsa', { tokenLabel: 'second' })), code('KEY_INVALID', /no Ed25519 or P-256/));
  // The public key of another pair under this label and id.
  tool('--read-object', '--type', 'pubkey', '--label', 'loose', '-o', `${FOLDER}/other.der`);
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'swapped', '--id', '04');
  tool('--delete-object', '--type', 'pubkey', '--label', 'swapped');
  tool('--write-object', `${FOLDER}/other.der`, '--type', 'pubkey', '--label', 'swapped', '--id', '04');
  await assert.rejects(openPkcs11Key(place('swapped', { tokenLabel: 'second' })), code('KEY_INVALID', /did not sign with the key/));
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'theirs', '--id', '05');
  await assert.rejects(openPkcs11Key(place('theirs', { tokenLabel: 'second' })), code('KEY_INVALID', /several/));
});

test('openPkcs11Key refuses a missing token or key, a key for another use, and a use that the algorithm cannot have', async () => {
  await assert.rejects(openPkcs11Key(place('ed25519', { tokenLabel: 'nowhere' })), code('CUSTODY_FAILED', /no token/));
  await assert.rejects(openPkcs11Key(place('nothing')), code('KEY_INVALID', /no private key/));
  await assert.rejects(openPkcs11Key(place('ecdsa-p256', { use: 'log' })), code('KEY_INVALID', /cannot be signed/));
  const key = await openPkcs11Key(place('ed25519'));
  requireUse(key, 'release-dsse');
  assert.throws(() => requireUse(key, 'release-raw'), code('KEY_INVALID', /was asked for release-raw/));
  await key.close();
});

test('openPkcs11Key refuses a module that is missing or is none', async () => {
  await assert.rejects(openPkcs11Key(place('x', { module: `${FOLDER}/none.so` })), code('HOST_CANNOT', /not a PKCS#11 module/));
  await assert.rejects(openPkcs11Key(place('x', { module: 'libsofthsm2.so' })), code('USAGE', /absolute/));
  writeFileSync(`${FOLDER}/text.so`, 'this is no library');
  await assert.rejects(openPkcs11Key(place('x', { module: `${FOLDER}/text.so` })), code('HOST_CANNOT'));
  // A real library that is another thing.
  const libc = /\S+\/libc\.so\.6$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? '';
  await assert.rejects(openPkcs11Key(place('x', { module: libc })), code('HOST_CANNOT', /C_GetFunctionList/));
});

/** Node with a program from standard input: its arguments say nothing. */
function node(
  program: string,
  env: Readonly<Record<string, string>> = {},
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, ['--input-type=module', '-'], {
    input: program,
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, ...env },
    cwd: ROOT,
  });
}

test('openPkcs11Key refuses a wrong PIN, and an empty one without asking the token', () => {
  // In a process of its own: one that is logged in already is not asked again.
  const ran = node(`import { openPkcs11Key } from '${CUSTODY}/pkcs11-key.ts';
    for (const pin of ['wrong-pin', '1', '', '${'9'.repeat(300)}']) {
      const place = { module: '${MODULE}', tokenLabel: 'release', keyLabel: 'ed25519', name: 'x', use: 'log', pin: async () => Buffer.from(pin) };
      await openPkcs11Key(place).then(() => console.log('opened'), (error) => console.log(error.code));
    }`);
  assert.equal(ran.stdout, 'PASSPHRASE_WRONG\n'.repeat(4), ran.stderr);
});

test('a key in a token: a lost session is opened again once; a token that is gone is CUSTODY_FAILED, and works when it is back', async () => {
  const asked: string[] = [];
  const counting = (): Promise<Uint8Array> => {
    asked.push('pin');
    return pin();
  };
  const key = await openPkcs11Key(place('ed25519', { pin: counting }));
  assert.equal(asked.length, 1);
  const { library } = await loadPkcs11(MODULE);
  const closeAll = (): void => {
    for (const slot of library.C_GetSlotList(true)) library.C_CloseAllSessions(slot);
  };
  closeAll();
  await signsRight(key);
  assert.equal(asked.length, 2);
  closeAll();
  renameSync(`${FOLDER}/tokens`, `${FOLDER}/removed`);
  await assert.rejects(
    key.sign(Buffer.from('m')),
    (error) => error instanceof LockstepError && ['CUSTODY_FAILED', 'KEY_INVALID'].includes(error.code),
  );
  await assert.rejects(key.sign(Buffer.from('m')), code('CUSTODY_FAILED'));
  renameSync(`${FOLDER}/removed`, `${FOLDER}/tokens`);
  await signsRight(key);
  await key.close();
});

test('keys of one library survive that it is started again, each with its own key: handles of before are not used', async () => {
  const [one, two] = [await openPkcs11Key(place('ed25519')), await openPkcs11Key(place('ecdsa-p256'))];
  const module = await loadPkcs11(MODULE);
  const busy = module.inside(() => new Promise((resolve) => setTimeout(resolve, 50)));
  assert.equal(module.restart(), false);
  await busy;
  assert.equal(module.restart(), true);
  await signsRight(two);
  await signsRight(one);
  await one.close();
  await signsRight(two);
  await two.close();
});

test('a token whose PIN was changed meanwhile is asked once, not until it locks', () => {
  const ran = node(`import { openPkcs11Key } from '${CUSTODY}/pkcs11-key.ts';
    import { loadPkcs11 } from '${CUSTODY}/pkcs11-module.ts';
    const pins = ['${PIN}', 'changed', '${PIN}'];
    let asked = 0;
    const place = { module: '${MODULE}', tokenLabel: 'release', keyLabel: 'ed25519', name: 'x', use: 'log', pin: async () => Buffer.from(pins[asked++]) };
    const key = await openPkcs11Key(place);
    const { library } = await loadPkcs11('${MODULE}');
    for (const slot of library.C_GetSlotList(true)) library.C_CloseAllSessions(slot);
    for (let attempt = 0; attempt < 3; attempt++) await key.sign(Buffer.from('m')).catch((error) => console.log(error.code));
    console.log(asked);`);
  assert.equal(ran.stdout, `${'PASSPHRASE_WRONG\n'.repeat(3)}2\n`, ran.stderr);
});

test('without the optional package PKCS#11 is HOST_CANNOT, and says what to install', () => {
  const ran = node(`import { registerHooks } from 'node:module';
    registerHooks({ resolve(specifier, context, next) {
      if (specifier === 'pkcs11js') throw new Error("Cannot find package 'pkcs11js'");
      return next(specifier, context);
    } });
    const { openPkcs11Key } = await import('${CUSTODY}/pkcs11-key.ts');
    await openPkcs11Key({ module: '${MODULE}' }).catch((error) => console.log(error.code, error.hint));`);
  assert.match(ran.stdout, /^HOST_CANNOT Install make, g\+\+ and python3/, ran.stderr);
});

/** A secret as it could be written somewhere: as it is, in hex, in base64 at any of the three alignments. */
function shapes(secret: Buffer): readonly Buffer[] {
  const inBase64 = [0, 1, 2].map((skip) => secret.subarray(skip).toString('base64').replace(/=+$/, '').slice(0, -4));
  return [secret, ...[secret.toString('hex'), ...inBase64].map((text) => Buffer.from(text))];
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`);
}

test('a process that opens a key and signs shows neither passphrase nor private key: arguments, environment, output, files, core', async () => {
  const work = temporaryFolder();
  const passphrase = 'Zwölf-Boxkämpfer-jagen-Viktor';
  mkdirSync(`${work}/home`);
  const path = `${work}/home/release.key`;
  await makeFileKey({
    path,
    name: 'release',
    use: 'release-dsse',
    algorithm: 'ed25519',
    passphrase: Buffer.from(passphrase),
    now: new Date(),
  });
  const { pkcs8 } = await openPkcs8(path, () => Promise.resolve(Buffer.from(passphrase)));
  const secrets = [...shapes(Buffer.from(passphrase)), ...shapes(Buffer.from(pkcs8.subarray(16)))];
  const search = (where: string, bytes: Buffer): void => {
    for (const secret of secrets) assert.ok(!bytes.includes(secret), `a secret is in ${where}`);
  };
  // The search finds what it looks for.
  assert.throws(() => search('a control', Buffer.from(`x${passphrase}y`)));
  assert.throws(() => search('a control', Buffer.from(pkcs8.toString('base64'))));

  writeFileSync(
    `${work}/sign.mjs`,
    `import { noCoreDumps } from '${CUSTODY}/core-dumps.ts';
     import { openFileKey } from '${CUSTODY}/file-key.ts';
     import { readSecret } from '${CUSTODY}/passphrase.ts';
     console.log(noCoreDumps());
     const key = await openFileKey('${path}', () => readSecret({ from: 'fd', fd: 3 }, { what: 'Passphrase', isNew: false }));
     console.error(key);
     console.log(Buffer.from(await key.sign(Buffer.from('m'))).toString('hex'));
     await openFileKey('${path}', async () => Buffer.from('wrong')).catch((error) => console.error(error, JSON.stringify(error), error.toData()));
     console.log('ready');
     setInterval(() => {}, 1000);`,
  );
  const child = spawn(
    '/bin/sh',
    ['-c', 'ulimit -S -c unlimited; exec "$@"', 'sh', process.execPath, '--report-on-fatalerror', '--report-on-signal', `${work}/sign.mjs`],
    {
      cwd: `${work}/home`,
      env: { PATH: process.env['PATH'] ?? '', HOME: `${work}/home`, TMPDIR: `${work}/home` },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    },
  );
  const shown: Buffer[] = [];
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('close', (_, signal) => resolve(signal)));
  const ready = new Promise<void>((resolve) => {
    child.stdout?.on('data', (bytes: Buffer) => {
      shown.push(bytes);
      if (Buffer.concat(shown).includes('ready')) resolve();
    });
  });
  child.stderr?.on('data', (bytes: Buffer) => shown.push(bytes));
  const input = child.stdio[3];
  assert.ok(input !== null && input !== undefined && 'write' in input);
  input.end(`${passphrase}\n`);
  await Promise.race([ready, ended]);
  const output = (): string => Buffer.concat(shown).toString();
  assert.match(output(), /ready/, output());
  for (const file of ['cmdline', 'environ']) {
    const bytes = readFileSync(`/proc/${child.pid}/${file}`);
    assert.ok(bytes.length > 0);
    search(`/proc/PID/${file}`, bytes);
  }
  // A diagnostic report of Node's, as an operator may ask for one.
  child.kill('SIGUSR2');
  for (let waited = 0; waited < 100 && !readdirSync(`${work}/home`).some((name) => name.endsWith('.json')); waited++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill('SIGABRT');
  assert.equal(await ended, 'SIGABRT', output());
  search('its output', Buffer.concat(shown));
  const files = filesUnder(`${work}/home`);
  assert.deepEqual(
    files.filter((file) => /\/core[^/]*$/.test(file)),
    [],
  );
  assert.ok(
    files.some((file) => /report.*\.json$/.test(file)),
    files.join(),
  );
  for (const file of files) search(file, readFileSync(file));
});
