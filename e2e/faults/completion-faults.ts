/** 10,000 duplicate and late completions of one job, from builders that have its leases: exactly one of each wins. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { FarmError } from '@lockstep/api/problem';
import type { SignedDocumentJson } from '@lockstep/api/values';
import type { Lease } from '@lockstep/api/routes/builders';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import { openLogHome } from '@lockstep/log/sequence/log-home';
import { entriesAbout } from '@lockstep/log/watch/entries-about';
import { viewLog } from '@lockstep/log/watch/log-view';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { HAND_CAPABILITIES, handBuilt, type HandBuilt } from './hand-built.ts';
import { auditor } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { testJob, type TestJob } from './definitions.ts';
import { makeWorld, type World } from './world.ts';

const ALL = 10_000;
const AT_ONCE = 48;
/** Different statements that a builder tries to have committed to. */
const VARIANTS = 20;

interface Hand {
  readonly client: FarmClient;
  readonly keyFile: string;
  close(): void;
}

function handOf(world: World, name: string): Hand {
  const config = world.builders.get(name)?.config;
  if (config === undefined) throw new Error(`there is no ${name}`);
  const key = readFileSync(transportKeyFile(config.keyFile), 'utf8');
  const transport = httpsTransport({
    url: config.url,
    authority: config.authority,
    identity: () => ({ certificate: config.certificate, key }),
  });
  return { client: farmClient(transport.send, null), keyFile: config.keyFile, close: () => transport.close() };
}

async function leaseOf({ client }: Hand): Promise<Lease> {
  for (let left = 60; left > 0; left--) {
    const { leases } = await client.call('lease', { body: { free: 1, waitSeconds: 0 } });
    if (leases[0] !== undefined) return leases[0];
    await delay(250);
  }
  throw new Error('nothing was leased');
}

/** Codes and how often each was answered; `yes` for what was taken. */
async function many(count: number, call: (at: number) => Promise<unknown>): Promise<Map<string, number[]>> {
  const answers = new Map<string, number[]>();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) {
      const said = await call(at).then(
        () => 'yes',
        (error: unknown) => (error instanceof FarmError ? error.code : String(error)),
      );
      answers.set(said, [...(answers.get(said) ?? []), at]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return answers;
}

/** Signed once: what is repeated is the same to the byte. */
interface Said {
  readonly commitment: SignedDocumentJson;
  readonly reveal: SignedDocumentJson;
  readonly built: HandBuilt;
}

function sayOf({ keyFile }: Hand, job: TestJob, lease: Lease): Said {
  const key = openAttestationKey(keyFile);
  const built = handBuilt(job, key, lease.ambient);
  const opening = lease.opening ?? '';
  const about = { build_id: lease.job, round: lease.round, opening };
  const commitment = built.commitment(opening, key.id);
  return {
    built,
    commitment: jsonOf(signDocument(keyFile, COMMITMENT, { schema: 'lockstep-commitment/v1', ...about, commitment })),
    reveal: jsonOf(signDocument(keyFile, REVEAL, { schema: 'lockstep-reveal/v1', ...about, statement: built.digest, salt: built.salt })),
  };
}

const under = (lease: Lease) => ({ params: { attempt: String(lease.attempt) }, headers: { 'lockstep-lease': lease.token } });
const commitOnce = ({ client }: Hand, lease: Lease, { commitment }: Said): Promise<unknown> =>
  client.call('commit', { ...under(lease), body: commitment });
const revealOnce = ({ client }: Hand, lease: Lease, { reveal, built }: Said): Promise<unknown> =>
  client.call('reveal', { ...under(lease), body: { statement: built.statement, reveal } });

function jsonOf(document: ReturnType<typeof signDocument>): SignedDocumentJson {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const { payloadType, payload, signature, signer } = document;
  return { payloadType, payload: base64(payload), signature: base64(signature), key: base64(signer.spki) };
}

const require = (holds: boolean, what: string, answers: ReadonlyMap<string, readonly number[]>): void => {
  if (holds) return;
  throw new Error(`${what}: ${[...answers].map(([code, at]) => `${code} ${at.length} times`).join(', ')}`);
};

const duplicates = async (root: string): Promise<void> => {
  const world = await makeWorld(root, { idle: true });
  const [one, two] = [handOf(world, 'builder-1'), handOf(world, 'builder-2')];
  const beats: NodeJS.Timeout[] = [];
  try {
    for (const hand of [one, two]) await hand.client.call('announce', { body: HAND_CAPABILITIES });
    const job = testJob({ word: 'completions', ownSource: true });
    await world.submit(job);
    const late = await leaseOf(one);
    const mine = await leaseOf(two);
    beats.push(keepAlive(two, mine));
    // The first falls silent, and gets the work again under another number.
    const again = await leaseOf(one);
    beats.push(keepAlive(one, again));
    const lateBuilt = sayOf(one, job, late);
    const lateAnswers = await many(ALL / 5, () => commitOnce(one, late, lateBuilt));
    require(lateAnswers.get('LEASE_STALE')?.length === ALL / 5, 'late completions of a superseded attempt', lateAnswers);

    const variants = Array.from({ length: VARIANTS }, () => sayOf(two, job, mine));
    const commits = await many((ALL * 3) / 10, (at) => commitOnce(two, mine, variants[at % VARIANTS] as Said));
    const winners = new Set(commits.get('yes')?.map((at) => at % VARIANTS));
    require(winners.size === 1 && commits.size === 2 && commits.has('ROUND_REFUSED'), 'commitments to different statements', commits);
    const [winner = 0] = winners;

    const againBuilt = sayOf(one, job, again);
    await commitOnce(one, again, againBuilt);
    await untilRevealing(world, job.job);
    const reveals = await many(ALL / 5, (at) => revealOnce(two, mine, variants[at % VARIANTS] as Said));
    const revealed = new Set(reveals.get('yes')?.map((at) => at % VARIANTS));
    require(revealed.size === 1 && revealed.has(winner), 'reveals of different statements', reveals);
    await revealOnce(one, again, againBuilt);
    const upload = async (hand: Hand, lease: Lease, { built }: Said): Promise<void> => {
      for (const [sha256, bytes] of built.blobs) {
        const [params, headers] = [{ attempt: String(lease.attempt), sha256 }, { 'lockstep-lease': lease.token }];
        await hand.client.call('putUploadPart', { params: { ...params, part: sha256 }, body: bytes, headers });
        await hand.client.call('finishUpload', { params, body: { size: bytes.length, parts: [sha256] }, headers });
      }
    };
    await upload(two, mine, variants[winner] as Said);
    await upload(one, again, againBuilt);
    const [[sha256 = '', bytes = Buffer.alloc(0)] = []] = againBuilt.built.blobs;
    const finish = (): Promise<unknown> =>
      one.client.call('finishUpload', {
        params: { attempt: String(again.attempt), sha256 },
        body: { size: bytes.length, parts: [sha256] },
        headers: { 'lockstep-lease': again.token },
      });
    const finished = await many((ALL * 3) / 10, finish);
    require(finished.get('yes')?.length === (ALL * 3) / 10, 'the end of an upload, said again', finished);
    await auditor(world).check();
    await requireOnce(world, job.job);
  } finally {
    for (const beat of beats) clearInterval(beat);
    one.close();
    two.close();
    await world.close();
  }
};

function keepAlive({ client }: Hand, lease: Lease): NodeJS.Timeout {
  return setInterval(() => void client.call('heartbeat', under(lease)).catch(() => undefined), 1000);
}

async function untilRevealing(world: World, job: string): Promise<void> {
  for (let left = 200; left > 0; left--) {
    if ((await world.job(job)).state === 'revealing') return;
    await delay(50);
  }
  throw new Error('the round was not closed');
}

/** In the log: of each builder one commitment, one reveal and one statement. */
async function requireOnce(world: World, job: string): Promise<void> {
  const home = openLogHome(`${world.folder}/log`);
  const entries = await entriesAbout(home.source, await viewLog(home.source, home.key), job);
  for (const type of [COMMITMENT.payloadType, REVEAL.payloadType, IN_TOTO_PAYLOAD]) {
    const signers = entries.filter((one) => one.payloadType === type).map((one) => one.signer);
    if (signers.length !== 2 || new Set(signers).size !== 2)
      throw new Error(`the log has ${signers.length} of ${type}, instead of one of each builder`);
  }
}

export const COMPLETION_FAULTS: readonly Scenario[] = [{ name: '10,000 duplicate and late completions', run: duplicates }];
