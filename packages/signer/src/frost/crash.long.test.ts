/**
 * A holder that is killed at every step, and comes back with nothing but what is on its disk. The holder is this file again,
 * as a process of its own: `node crash.long.test.ts holder FOLDER`.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  scryptSync,
} from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import { anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import type { HolderChannel } from './ask-holders.ts';
import { beginCeremony, readCeremony } from './ceremony.ts';
import { type AfterRound1, type AfterRound2, dkgRound1, dkgRound2, dkgRound3 } from './dkg.ts';
import { frostKey } from './frost-key.ts';
import { hedgedRandom } from './hedged-random.ts';
import { type FrostHolder, frostHolder } from './holder.ts';
import { type HolderSecrets, holderSecrets, type NodeKey } from './identity.ts';
import { channelTo, holderOf, makeHolder, makeNode, messagesIn, messagesOf, nodeKeyOf, random, requestOf } from './samples.ts';
import { REFUSAL, SESSION, SHARES, SHARING } from './session-documents.ts';
import { payloadTypeOf, say } from './signed-message.ts';
import { decodeShare, encodeShare } from './share-file.ts';
import { finishCeremony, type FrostShare, type Unconfirmed } from './unconfirmed.ts';

/** What a holder can be told to do. It stops for ever at `hang`, to be killed there. */
interface Order {
  readonly step: 'identity' | 'round1' | 'round2' | 'round3' | 'finish' | 'answer';
  readonly input: readonly string[];
  readonly hang?: 'check' | 'remember' | 'remembered';
}
type Report =
  | { readonly out: readonly string[]; readonly drawn: readonly string[] }
  | { readonly failed: string }
  | { readonly at: string };

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

const [, , role, folder = ''] = process.argv;
if (role === 'holder') serve(folder);
else defineTests();

/** All that is durable: two keys, the sealed share, and the ids of sessions. */
function serve(folder: string): void {
  const keyFile = (name: string, make: () => KeyObject): KeyObject => {
    if (!existsSync(`${folder}/${name}`)) createDurably(`${folder}/${name}`, make().export({ type: 'pkcs8', format: 'pem' }), 0o600);
    return createPrivateKey(readFileSync(`${folder}/${name}`));
  };
  const node = nodePair(keyFile('node.pem', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey));
  const self = holderSecrets(
    'gamma',
    node,
    keyFile('box.pem', () => generateKeyPairSync('x25519').privateKey),
  );
  const drawn: Uint8Array[] = [];
  const recorded = (bytes: number): Uint8Array => {
    drawn.push(random(bytes));
    return Uint8Array.from(drawn.at(-1)!);
  };
  let state: { first?: AfterRound1; second?: AfterRound2; third?: Unconfirmed; holder?: FrostHolder } = {};
  let order: Order;
  const stopAt = async (at: Order['hang']): Promise<void> => {
    if (at === undefined || order.hang !== at) return;
    process.send!({ at } satisfies Report);
    await new Promise(() => {});
  };
  const missing = (): never => {
    throw new LockstepError('CEREMONY_FAILED', 'this holder takes part in no ceremony', '');
  };
  const steps: Record<Order['step'], (input: Uint8Array[]) => Promise<Uint8Array[]>> = {
    identity: () => Promise.resolve([node.public.spki, self.identity.boxKey]),
    round1: async ([opening, initiator]) => {
      const first = await dkgRound1(readCeremony(opening!, [anyKeyFromSpki(initiator!)]), self, random);
      state = { first };
      return [first.message];
    },
    round2: async (messages) => {
      const second = await dkgRound2(state.first ?? missing(), messages, random);
      state = { second };
      return [second.message];
    },
    round3: async (messages) => {
      const third = await dkgRound3(state.second ?? missing(), messages);
      state = { third };
      return [third.message];
    },
    finish: async (messages) => {
      const share = finishCeremony(state.third ?? missing(), messages);
      writeDurably(`${folder}/share`, sealed(encodeShare(share)), 0o600);
      return [];
    },
    answer: async ([message, coordinator]) => {
      state.holder ??= frostHolder({
        share: decodeShare(opened(readFileSync(`${folder}/share`))),
        node,
        coordinators: [anyKeyFromSpki(coordinator!)],
        check: async (request) => (await stopAt('check'), await messagesIn(request)),
        remember: async (id) => {
          await stopAt('remember');
          if (!createDurably(`${folder}/session-${id}`, '')) throw new LockstepError('CUSTODY_FAILED', 'remembered before', '');
          await stopAt('remembered');
        },
        random: recorded,
        now: Date.now,
      });
      return [await state.holder.answer(message!)];
    },
  };
  // Whose parent is gone ends too.
  process.on('disconnect', () => process.exit());
  process.on('message', (message) => {
    order = message as Order;
    steps[order.step](order.input.map(bytesOf)).then(
      (out) => process.send!({ out: out.map(base64), drawn: drawn.map(base64) } satisfies Report),
      (error: unknown) => process.send!({ failed: error instanceof LockstepError ? error.code : String(error) } satisfies Report),
    );
  });
}

function nodePair(privateKey: KeyObject): NodeKey {
  return nodeKeyOf({ privateKey, publicKey: createPublicKey(privateKey) });
}

/** Stands for the encrypted file of the custody "file". */
function sealed(bytes: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-ctr', scryptSync('a passphrase', 'salt', 32, { N: 2 }), Buffer.alloc(16));
  return Buffer.concat([cipher.update(bytes), cipher.final()]);
}
function opened(bytes: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-ctr', scryptSync('a passphrase', 'salt', 32, { N: 2 }), Buffer.alloc(16));
  return Buffer.concat([decipher.update(bytes), decipher.final()]);
}

/** gamma as a process, which can be killed and started again. */
interface Remote {
  order(step: Order['step'], input: readonly Uint8Array[], hang?: Order['hang']): Promise<Report>;
  /** @throws when it fails */
  run(step: Order['step'], input: readonly Uint8Array[]): Promise<Uint8Array[]>;
  restart(): Promise<void>;
  readonly folder: string;
  readonly drawn: () => readonly Uint8Array[];
}

function startGamma(t: TestContext): Remote {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-frost-`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  let child: ChildProcess;
  let drawn: readonly Uint8Array[] = [];
  const start = (): void => {
    child = fork(import.meta.filename, ['holder', folder], { env, execArgv: [] });
  };
  const kill = async (): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  start();
  t.after(async () => {
    await kill();
    rmSync(folder, { recursive: true });
  });
  const order: Remote['order'] = async (step, input, hang) => {
    const reported = Promise.race([once(child, 'message'), once(child, 'exit').then(() => [{ failed: 'it died' }])]);
    child.send({ step, input: input.map(base64), ...(hang === undefined ? {} : { hang }) } satisfies Order);
    const [report] = (await reported) as [Report];
    if ('drawn' in report) drawn = report.drawn.map(bytesOf);
    return report;
  };
  return {
    folder,
    drawn: () => drawn,
    order,
    run: async (step, input) => {
      const report = await order(step, input);
      if (!('out' in report)) throw new Error('failed' in report ? report.failed : report.at);
      return report.out.map(bytesOf);
    },
    restart: async () => {
      await kill();
      start();
    },
  };
}

interface Setting {
  readonly gamma: Remote;
  readonly initiator: NodeKey;
  readonly local: readonly [HolderSecrets, HolderSecrets];
}

async function setting(t: TestContext): Promise<Setting> {
  return { gamma: startGamma(t), initiator: makeNode(), local: [makeHolder('alpha'), makeHolder('beta')] };
}

/** A whole ceremony; gamma is killed after the step of this name. */
async function ceremony({ gamma, initiator, local }: Setting, killAfter?: Order['step']): Promise<FrostShare[]> {
  const [spki, boxKey] = await gamma.run('identity', []);
  const participants = [...local.map((one) => one.identity), { name: 'gamma', nodeKey: anyKeyFromSpki(spki!), boxKey: boxKey! }];
  const plan = { mode: 'dkg', keyName: 'release', use: 'release-raw', existing: null, threshold: 2, participants } as const;
  const opening = await beginCeremony(plan, initiator, random);
  const read = readCeremony(opening, [initiator.public]);
  const gammaDoes = async (step: Order['step'], input: readonly Uint8Array[]): Promise<Uint8Array> => {
    const [out] = await gamma.run(step, input);
    if (step === killAfter) await gamma.restart();
    return out ?? new Uint8Array();
  };
  const first = await Promise.all(local.map((one) => dkgRound1(read, one, random)));
  const firstMessages = [...messagesOf(first), await gammaDoes('round1', [opening, initiator.public.spki])];
  const second = await Promise.all(first.map((one) => dkgRound2(one, firstMessages, random)));
  const secondMessages = [...messagesOf(second), await gammaDoes('round2', firstMessages)];
  const third = await Promise.all(second.map((one) => dkgRound3(one, secondMessages)));
  const confirmations = [...messagesOf(third), await gammaDoes('round3', secondMessages)];
  await gammaDoes('finish', confirmations);
  return third.map((one) => finishCeremony(one, confirmations));
}

function defineTests(): void {
  const messages = [toUtf8('one'), toUtf8('two')];

  test('a holder that is killed after any step of a ceremony has nothing of it, and a new ceremony succeeds', {
    timeout: 120_000,
  }, async (t) => {
    const now = await setting(t);
    await now.gamma.run('identity', []);
    const before = readdirSync(now.gamma.folder);
    for (const step of ['round1', 'round2', 'round3'] as const) {
      await assert.rejects(ceremony(now, step), /CEREMONY_FAILED/, step);
      assert.deepEqual(readdirSync(now.gamma.folder), before, 'nothing of a ceremony was written before its end');
    }
    const shares = await ceremony(now, 'finish');
    const kept = decodeShare(opened(readFileSync(`${now.gamma.folder}/share`)));
    assert.equal(kept.group.transcript, shares[0]!.group.transcript);
  });

  test('a holder that is killed at any step of a session refuses it afterwards, and a new session succeeds', {
    timeout: 120_000,
  }, async (t) => {
    const now = await setting(t);
    const { gamma } = now;
    const [alphaShare] = await ceremony(now);
    const party = { ceremony: alphaShare!.group.ceremony, initiator: now.initiator, holders: now.local };
    const coordinator = makeNode();
    const alpha = holderOf(party, alphaShare!, coordinator);
    const key = (holders: readonly HolderChannel[]): ReturnType<typeof frostKey> =>
      frostKey({ group: alphaShare!.group, name: 'k', use: 'release-raw', holders, coordinator, random, patienceMilliseconds: 20_000 });
    const ask = async (message: Uint8Array): Promise<Uint8Array> => (await gamma.run('answer', [message, coordinator.public.spki]))[0]!;
    const refusedAs = (answer: Uint8Array): string => {
      assert.equal(payloadTypeOf(answer), REFUSAL.payloadType);
      return (JSON.parse(Buffer.from(parseEnvelope(answer).payload).toString()) as { code: string }).code;
    };

    // Where it is killed: hanging inside a call, or after it has answered.
    const kills: readonly (readonly [string, Order['hang'] | 'answered'])[] = [
      [SESSION.payloadType, 'check'],
      [SESSION.payloadType, 'answered'],
      [SHARING.payloadType, 'remember'],
      [SHARING.payloadType, 'remembered'],
      [SHARING.payloadType, 'answered'],
    ];
    for (const [kind, where] of kills) {
      const said: Uint8Array[] = [];
      let killed = false;
      const dying: HolderChannel = {
        name: 'gamma',
        ask: async (message) => {
          if (killed || payloadTypeOf(message) !== kind) {
            if (!killed) said.push(message);
            return await ask(message);
          }
          killed = true;
          said.push(message);
          if (where === 'answered') {
            const answer = await ask(message);
            await gamma.restart();
            return answer;
          }
          assert.deepEqual(await gamma.order('answer', [message, coordinator.public.spki], where), { at: where });
          await gamma.restart();
          throw new Error('the connection broke');
        },
      };
      // 2 of 2 that can be had: the same key signs after the restart, in a session of its own.
      const { signatures, faults } = await key([channelTo('alpha', alpha), dying]).signAll(messages, requestOf(messages));
      for (const [index, one] of signatures.entries()) assert.ok(verifySignature(alphaShare!.group.publicKey, messages[index]!, one));
      assert.equal(faults.length, kind === SHARING.payloadType && where === 'answered' ? 0 : 1, where);
      // And what belongs to the killed session gets nothing any more.
      await gamma.restart();
      const open = said.find((one) => payloadTypeOf(one) === SESSION.payloadType)!;
      const sharing = said.find((one) => payloadTypeOf(one) === SHARING.payloadType);
      if (sharing !== undefined) {
        assert.equal(refusedAs(await ask(sharing)), 'session', where);
        const recommitted = await ask(open);
        assert.notEqual(payloadTypeOf(recommitted), REFUSAL.payloadType, 'new nonces for an old opening');
        assert.equal(refusedAs(await ask(sharing)), 'message', 'the list has the old commitment');
        assert.equal(refusedAs(await ask(sharing)), 'session');
      }
    }
  });

  test('a holder that was restored to before a session remembers it by what its disk has: no second shares', {
    timeout: 60_000,
  }, async (t) => {
    const now = await setting(t);
    const { gamma } = now;
    const [alphaShare] = await ceremony(now);
    const coordinator = makeNode();
    const alpha = holderOf(
      { ceremony: alphaShare!.group.ceremony, initiator: now.initiator, holders: now.local },
      alphaShare!,
      coordinator,
    );
    const ask = async (message: Uint8Array): Promise<Uint8Array> => (await gamma.run('answer', [message, coordinator.public.spki]))[0]!;
    const open = await say(coordinator, SESSION, {
      schema: 'lockstep-frost-session/v1',
      ceremony: alphaShare!.group.ceremony.id,
      signers: ['alpha', 'gamma'],
      nonce: 'ab'.repeat(32),
      request: base64(requestOf(messages)),
    });
    const session: Sha256 = sha256Hex(pae(SESSION.payloadType, parseEnvelope(open).payload));
    const alphas = await alpha.answer(open);
    const sharingOf = async (own: Uint8Array): Promise<Uint8Array> =>
      await say(coordinator, SHARING, {
        schema: 'lockstep-frost-sharing/v1',
        session,
        commitments: [alphas, own].map((one) => Buffer.from(one).toString()),
      });
    const own = await ask(open);
    const drawn = [...gamma.drawn()];
    assert.equal(payloadTypeOf(await ask(await sharingOf(own))), SHARES.payloadType);
    await gamma.restart();
    const again = await ask(open);
    assert.notDeepEqual(parseEnvelope(again).payload, parseEnvelope(own).payload, 'other nonces');
    const answer = await ask(await sharingOf(again));
    assert.equal(payloadTypeOf(answer), REFUSAL.payloadType);
    assert.match(Buffer.from(parseEnvelope(answer).payload).toString(), /"code":"state".*remembered before/);

    // Nothing on the disk has a nonce of the first session, or the share in clear.
    const share = decodeShare(opened(readFileSync(`${gamma.folder}/share`)));
    const secret = { identifier: share.holder.identifier, signingShare: Uint8Array.from(share.secret()) };
    const secrets = messages.flatMap((message, index) => {
      const draw = hedgedRandom(() => drawn.shift()!, session, index, message);
      const { nonces } = ed25519_FROST.commit(secret, () => draw(32));
      return [nonces.hiding, nonces.binding];
    });
    for (const file of readdirSync(gamma.folder)) {
      const bytes = Buffer.concat([Buffer.from(file), readFileSync(`${gamma.folder}/${file}`)]);
      for (const one of [...secrets, share.secret()])
        for (const spelled of [Buffer.from(one), Buffer.from(one).toString('hex'), base64(one).slice(0, 40)])
          assert.equal(bytes.includes(spelled), false, file);
    }
  });
}
