/**
 * A signing node of one request, for signer-crash.long.test.ts: kills itself with SIGKILL before or after the n-th step that could be
 * lost, and writes its answer to a file, which is what has left it. Arguments: FOLDER REQUEST ANSWER N before|after.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { type LogHome, openLogHome } from '@lockstep/log/sequence/log-home';
import { openFileKey } from '@lockstep/signer/custody/file-key';
import type { SigningKey } from '@lockstep/signer/custody/signing-key';
import { openNode } from '@lockstep/signer/node/node';

const [folder = '', request = '', answer = '', n = '0', mode = 'before'] = process.argv.slice(2);

let count = 0;

/** What is in the file of steps says at which it was killed. */
async function step<T>(name: string, effect: () => T | Promise<T>): Promise<T> {
  const mine = count++ === Number(n);
  if (mine) appendFileSync(`${answer}.killed`, name);
  if (mine && mode === 'before') process.kill(process.pid, 'SIGKILL');
  const result = await effect();
  if (mine) process.kill(process.pid, 'SIGKILL');
  return result;
}

function stepped(home: LogHome): LogHome {
  return {
    ...home,
    files: {
      ...home.files,
      write: (path, bytes) => step('write', () => home.files.write(path, bytes)),
      replaceIf: (path, bytes, accept) => step('publish', () => home.files.replaceIf(path, bytes, accept)),
      flush: () => step('flush', () => home.files.flush()),
    },
    staging: {
      ...home.staging,
      put: (files) => step('stage', () => home.staging.put(files)),
      remove: (digest) => step('unstage', () => home.staging.remove(digest)),
    },
    cells: { ...home.cells, swap: (name, expected, next) => step('swap', () => home.cells.swap(name, expected, next)) },
  };
}

const none = (): Promise<null> => Promise.resolve(null);
async function steppedKey(path: string): Promise<SigningKey> {
  const key = await openFileKey(path, none);
  return { ...key, sign: (message) => step(`sign ${key.use}`, () => key.sign(message)) };
}

const keys = [await steppedKey(`${folder}/keys/release-dsse.json`), await steppedKey(`${folder}/keys/release-minisign.json`)];
const node = await openNode({
  name: 'node-1',
  root: readFileSync(`${folder}/root.json`),
  lines: ['main'],
  keys,
  shares: [],
  nodeKey: await steppedKey(`${folder}/node.json`),
  log: stepped(openLogHome(`${folder}/log`)),
  clock: () => Number(readFileSync(`${folder}/now`, 'utf8')),
  confirm: (text) => step('person', () => text.startsWith('APPROVE')),
});
const bytes = await node.answer(readFileSync(request));
await step('answer', () => writeFileSync(answer, bytes));
await step('close', () => node.close());
