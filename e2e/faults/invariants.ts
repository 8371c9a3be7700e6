/** What has to hold after every fault: of submissions, verdicts, the log, lease tokens and the storage. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { farmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { FarmError } from '@lockstep/api/problem';
import { openLogHome, openSharedLogHome, type LogHome } from '@lockstep/log/sequence/log-home';
import { requireConsistent } from '@lockstep/log/source/tree-reader';
import { documentsFrom } from '@lockstep/log/watch/entries-about';
import { type LogView, viewLog } from '@lockstep/log/watch/log-view';
import { OUTCOME } from '@lockstep/protocol/commitment/documents';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { isProblem, readProvenance } from '@lockstep/protocol/provenance/read-provenance';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import type { JobView } from '@lockstep/api/routes/jobs';
import type { World } from './world.ts';

/** Milliseconds: everything has to be well again after so long, without hands. */
const RECOVERY = 60_000;

export interface Auditor {
  /** Keeps the checkpoint that is published now. */
  note(): Promise<void>;
  /** @throws with what does not hold */
  check(): Promise<void>;
}

/** @param ends what a job may come to, where it is not `decided` */
export function auditor(world: World, ends: ReadonlyMap<string, readonly JobView['state'][]> = new Map()): Auditor {
  const home = logHome(world);
  const seen = new Map<number, LogView>();
  const named = new Set<string>();
  const outcomes = new Map<string, Decision[]>();
  const hashed = new Set<string>();
  const tried = new Set<string>();
  let read = 0;

  const note = async (): Promise<LogView | null> => {
    if ((await home.source.read('checkpoint', 1 << 20)) === null) return null;
    const view = await viewLog(home.source, home.key);
    const before = seen.get(view.checkpoint.size);
    if (before !== undefined && !Buffer.from(before.checkpoint.root).equals(Buffer.from(view.checkpoint.root)))
      throw new Error(`two checkpoints of size ${view.checkpoint.size} with different roots were published`);
    seen.set(view.checkpoint.size, view);
    return view;
  };

  const checkLog = async (): Promise<void> => {
    const newest = await note();
    if (newest === null) return;
    for (const [size, older] of seen) {
      if (size > newest.checkpoint.size) throw new Error(`the log had ${size} entries, and has ${newest.checkpoint.size}`);
      if (size > 0 && size < newest.checkpoint.size) await requireConsistent(home.source, older.checkpoint, newest.checkpoint);
    }
    for (const size of seen.keys()) if (size !== newest.checkpoint.size && seen.size > 40) seen.delete(size);
    for await (const entry of documentsFrom(home.source, newest, read)) {
      read = entry.index + 1;
      if (entry.payloadType === IN_TOTO_PAYLOAD) for (const digest of namedBy(entry.payload)) named.add(digest);
      const outcome = readDocument(OUTCOME, entry.payloadType, entry.payload);
      if (outcome !== null) outcomes.set(entry.buildId, [...(outcomes.get(entry.buildId) ?? []), outcome.decision as unknown as Decision]);
    }
  };

  const checkJobs = async (): Promise<void> => {
    const jobs = [...world.acknowledged.keys()];
    const views = await world.settled(jobs, RECOVERY);
    await checkLog();
    for (const [id, view] of views) {
      const wanted = world.acknowledged.get(id);
      const allowed =
        ends.get(id) ?? (wanted?.kind === 'fail' ? ['failed'] : wanted?.kind === 'differ' ? ['disputed', 'decided'] : ['decided']);
      if (!allowed.includes(view.state))
        throw new Error(`${id.slice(0, 12)} has ended as ${view.state} (${view.reason}), not ${allowed.join(' or ')}`);
      const said = outcomes.get(id) ?? [];
      const texts = new Set(said.map((one) => JSON.stringify(one)));
      if (texts.size !== said.length) throw new Error(`${id.slice(0, 12)} has the same verdict ${said.length} times in the log`);
      const accepted = new Set(said.flatMap((one) => one.accepted ?? []));
      if (accepted.size > 1) throw new Error(`${id.slice(0, 12)} has ${accepted.size} different accepted verdicts`);
      if (view.state !== 'decided') continue;
      const final = said.filter((one) => one.accepted !== null);
      if (final.length !== 1) throw new Error(`${id.slice(0, 12)} is decided with ${final.length} accepting verdicts in the log`);
      const [output] = view.outputs;
      if (wanted?.kind === 'same' && output?.sha256 !== wanted.output)
        throw new Error(`${id.slice(0, 12)} has other outputs than without a fault`);
    }
  };

  const checkStore = async (): Promise<void> => {
    const storage = `${world.folder}/storage`;
    if (!existsSync(storage)) return;
    const objects = folderObjects(storage);
    for (const prefix of ['results/', 'inputs/', 'definitions/'])
      for await (const { key, size, modified } of objects.list(prefix)) {
        const name = key.slice(prefix.length);
        const mark = `${key} ${size} ${modified}`;
        if (prefix === 'results/' && !named.has(name)) throw new Error(`${key} is named by no statement in the log`);
        if (hashed.has(mark)) continue;
        const hash = createHash('sha256');
        for await (const chunk of ((await objects.stream(key)) ?? []) as AsyncIterable<Uint8Array>) hash.update(chunk);
        if (hash.digest('hex') !== name) throw new Error(`${key} has other bytes than its name says`);
        hashed.add(mark);
      }
  };

  const checkTokens = async (): Promise<void> => {
    const file = `${world.root}/leases`;
    if (!existsSync(file)) return;
    for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
      const { builder, attempt, token } = JSON.parse(line) as { builder: string; attempt: number; token: string };
      const config = world.builders.get(builder)?.config;
      if (tried.has(line) || config === undefined) continue;
      tried.add(line);
      const key = readFileSync(transportKeyFile(config.keyFile), 'utf8');
      const transport = httpsTransport({
        url: world.url,
        authority: config.authority,
        identity: () => ({ certificate: config.certificate, key }),
      });
      const client = farmClient(transport.send, null);
      const [params, headers] = [{ attempt: String(attempt) }, { 'lockstep-lease': token }];
      const refused = async (what: string, work: Promise<unknown>): Promise<void> => {
        const error: unknown = await work.then(
          () => null,
          (reason: unknown) => reason,
        );
        if (!(error instanceof FarmError) || error.status >= 500)
          throw new Error(`the stale token of attempt ${attempt} could ${what}: ${error instanceof Error ? error.message : 'yes'}`);
      };
      const before = await attemptState(world, attempt);
      await refused('renew its lease', client.call('heartbeat', { params, headers }));
      await refused(
        'write a transcript',
        client.call('appendTranscript', { params: { ...params, offset: '0' }, body: Buffer.from('x'), headers }),
      );
      if (before !== 'failed') {
        const body = { who: 'farm', code: 'X', message: 'x', hint: 'x' } as const;
        await refused('say that it failed', client.call('fail', { params, headers, body }));
      }
      if (before !== 'revealed') {
        const part = createHash('sha256').update('x').digest('hex');
        const upload = client.call('putUploadPart', { params: { ...params, sha256: part, part }, body: Buffer.from('x'), headers });
        await refused('upload', upload);
      }
      transport.close();
      const after = await attemptState(world, attempt);
      if (before !== after) throw new Error(`a stale token has made attempt ${attempt} ${after}; it was ${before}`);
    }
  };

  return {
    note: async () => void (await note().catch(ignoreHalfWritten)),
    async check() {
      await checkJobs();
      await checkStore();
      await checkTokens();
    },
  };
}

/** While another process writes, a reader may come between a checkpoint and its tiles: nothing is concluded from that. */
function ignoreHalfWritten(error: unknown): null {
  if (error instanceof Error && /different roots/.test(error.message)) throw error;
  return null;
}

async function attemptState(world: World, attempt: number): Promise<string | undefined> {
  for (const id of world.acknowledged.keys()) {
    const found = (await world.job(id)).attempts.find((one) => one.attempt === attempt);
    if (found !== undefined) return found.state;
  }
  return undefined;
}

function logHome(world: World): LogHome {
  const config = readFileSync(`${world.folder}/farm.toml`, 'utf8');
  return /^log_in = "storage"/m.test(config)
    ? openSharedLogHome(`${world.folder}/log`, folderObjects(`${world.folder}/storage`), 'log')
    : openLogHome(`${world.folder}/log`);
}

function namedBy(payload: Uint8Array): string[] {
  const found = readProvenance(payload);
  if (isProblem(found)) return [];
  const { statement } = found;
  return [
    ...statement.subject.map((one) => one.digest.sha256),
    ...statement.predicate.runDetails.byproducts.map((one) => one.digest.sha256),
  ];
}
