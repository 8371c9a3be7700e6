/** While a node holds a key that a passphrase opened, neither is anywhere that others can look: searched for, with a control. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { openPkcs8 } from '@lockstep/signer/custody/file-key';
import { CLI, startLockstep } from './lockstep.ts';
import { makeNode, makeReleaseLog, releaseKeys, requireApprovedBy } from './release-log.ts';

const PASSPHRASE = 'nobody-writes-this-anywhere-71828';

/** As they are, in hex and in base64 at any place: three bytes of the text stand for two of them at each offset. */
function formsOf(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].map((skip) =>
    Buffer.from(secret.subarray(skip, secret.length - ((secret.length - skip) % 3)).toString('base64')),
  );
  return [secret, Buffer.from(secret.toString('hex')), ...base64];
}

/** @returns where any of them was found */
function found(places: ReadonlyMap<string, Buffer>, secrets: readonly Buffer[]): string[] {
  const forms = secrets.flatMap(formsOf);
  return [...places].filter(([, content]) => forms.some((form) => content.includes(form))).map(([place]) => place);
}

function filesIn(folder: string): Map<string, Buffer> {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`);
  return new Map(all.filter((path) => statSync(path).isFile()).map((path) => [path, readFileSync(path)]));
}

test('a running node shows neither passphrase nor key: not in its process, output, log, answers or temporary files', async () => {
  const farm = await makeReleaseLog();
  const built = await farm.build('1.0');
  const node = await makeNode(farm, 'node');
  const pass = `${farm.root}/pass`;
  writeFileSync(pass, `${PASSPHRASE}\n`, { mode: 0o600 });
  const make = ['key', 'new', 'k', '--use', 'release-dsse', '--algorithm', 'ed25519', '--signer', node.folder, '--json'];
  const { pem } = JSON.parse(farm.run(...make, '--passphrase-file', pass)) as { pem: string };
  releaseKeys(farm, { org: pem });
  const { pkcs8 } = await openPkcs8(`${node.folder}/keys/k.json`, () => Promise.resolve(Buffer.from(PASSPHRASE)));
  const secrets = [Buffer.from(PASSPHRASE), Buffer.from(pkcs8.subarray(-32))];

  const [box, temporary] = [`${farm.root}/box`, `${farm.root}/tmp`];
  mkdirSync(temporary);
  const descriptor = openSync(pass, 'r');
  const child = spawn(process.execPath, [CLI, 'signer', 'run', node.folder, '--folder', box, '--passphrase-fd', '3'], {
    env: { ...process.env, ...farm.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe', descriptor],
  });
  closeSync(descriptor);
  const printed: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes: Buffer) => printed.push(bytes));
  try {
    const approve = ['release', 'approve', built.file, ...farm.trust, '--node', `${node.card}@folder:${box}`, '--into', farm.log.folder];
    const ran = await startLockstep([...approve, '--out', `${farm.root}/out`], { env: farm.env }).done;
    assert.equal(ran.status, 0, ran.stderr);
    const refused = await startLockstep([...approve, '--line', 'lts'], { env: farm.env }).done;
    assert.equal(refused.status, 5, refused.stderr);
    requireApprovedBy(farm, built.file, 'org');

    const proc = `/proc/${child.pid}`;
    const open = readdirSync(`${proc}/fd`).map((one) => `${proc}/fd/${one}`);
    const places = new Map([
      ...['cmdline', 'environ', 'comm', 'status', 'limits'].map((name) => [name, readFileSync(`${proc}/${name}`)] as const),
      ...open.flatMap((path) => (existsSync(path) && statSync(path).isFile() ? [[path, readFileSync(path)] as const] : [])),
      ['its output', Buffer.concat(printed)] as const,
      ['the requester', Buffer.from(ran.stdout + ran.stderr + refused.stdout + refused.stderr)] as const,
      ...[temporary, box, node.folder, `${farm.root}/out`, `${farm.root}/home`, farm.log.folder].flatMap((folder) => [...filesIn(folder)]),
    ]);
    assert.ok(places.size > 20, [...places.keys()].join());
    assert.deepEqual(found(places, secrets), []);
    // A core dump would have both.
    assert.match(readFileSync(`${proc}/limits`, 'utf8'), /Max core file size +0 /);
    // The search finds what is there, in each form.
    for (const [at, form] of secrets.flatMap(formsOf).entries()) {
      writeFileSync(`${temporary}/planted`, Buffer.concat([Buffer.from('before'), form, Buffer.from('after')]));
      assert.deepEqual(found(filesIn(temporary), secrets), [`${temporary}/planted`], `form ${at}`);
    }
  } finally {
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
  }
});
