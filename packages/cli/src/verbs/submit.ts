/** `lockstep submit`: puts a definition into a farm, follows it, and writes the outputs that were agreed on, hashed again. */
import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import type { FarmClient } from '@lockstep/api/client';
import type { JobLine, JobView } from '@lockstep/api/routes/jobs';
import { requireUnchanged } from '@lockstep/builder/build/unchanged';
import { makeOutputFolder } from '@lockstep/builder/build/write-results';
import type { Context } from '@lockstep/builder/context';
import { resolveLock } from '@lockstep/builder/lock/resolve';
import { uploadFile } from '@lockstep/builder/node/upload';
import { draftFor } from '@lockstep/builder/source/detect';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { buildId, type Definition, definitionToJson, makeDefinition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseManifest } from '@lockstep/protocol/manifest/toml';
import { followEvents } from '../farm/events.ts';
import { type FarmOptions, withFarm } from '../farm/connect.ts';
import { EXIT } from '../exit-code.ts';
import { readDefinition, readProject } from '../project.ts';
import { type CommonOptions, runVerb } from '../session.ts';

interface Options extends CommonOptions, FarmOptions {
  readonly out?: string;
  readonly priority: string;
  readonly follow: boolean;
}

export function submitVerb(what: string, options: Options): Promise<void> {
  return runVerb(options, ({ context, print }) =>
    withFarm(options, async ({ client }) => {
      const priority = Number(options.priority);
      if (!Number.isInteger(priority) || Math.abs(priority) > 100)
        throw new LockstepError('USAGE', `--priority ${options.priority} is no number from -100 to 100`, 'The higher the sooner.');
      const definition = await definitionOf(context, what);
      await uploadCarried(context, client, definition);
      const submitted = await client.call('submit', { body: { definition: definitionToJson(definition), priority } });
      const { job } = submitted;
      if (job !== buildId(definition))
        throw new LockstepError('VERIFICATION_FAILED', `The farm took another definition than was sent: build ${job}`, 'Ask its operator.');
      if (!options.follow) {
        print(job, { schema: 'lockstep-submission/v1', ...submitted });
        return 0;
      }
      await follow(context, client, job);
      const view = await client.call('job', { params: { job } });
      const written = view.state === 'decided' && options.out !== undefined ? await writeOutputs(client, view, options.out) : [];
      print(
        [
          view.reason.startsWith(view.state) ? view.reason : `${view.state}: ${view.reason}`,
          ...(view.state === 'decided' ? [signedLine(view.approval)] : []),
          ...view.outputs.map((one) => `${one.sha256}  ${options.out === undefined ? one.name : join(options.out, one.name)}`),
        ].join('\n'),
        {
          schema: 'lockstep-submission/v1',
          ...submitted,
          state: view.state,
          reason: view.reason,
          approval: view.approval,
          outputs: view.outputs,
          decision: view.decision,
          files: written,
        },
      );
      return view.state === 'decided' ? EXIT.ok : view.state === 'disputed' ? EXIT.notReproducible : EXIT.failed;
    }),
  );
}

/** What builders agree on is no release yet. */
function signedLine(approval: string | null): string {
  return approval === null ? 'UNSIGNED: nobody has approved it as a release yet (lockstep release approve)' : `approved by ${approval}`;
}

/** A directory with manifest and lock; or a reference, of which both are made. */
async function definitionOf(context: Context, what: string): Promise<Definition> {
  if (!/^(?:pkg:|git\+|https:)/.test(what)) {
    const project = readProject(what);
    const definition = readDefinition(project);
    requireUnchanged(context, definition, project.manifestFile);
    return definition;
  }
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-submit-'));
  try {
    const file = join(folder, 'lockstep.toml');
    const manifest = parseManifest(draftFor(what).toml, file);
    return makeDefinition(manifest, await resolveLock(context, manifest, file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function uploadCarried(context: Context, client: FarmClient, definition: Definition): Promise<void> {
  for (const { sha256 } of carriedInputs(definition)) {
    if (!context.store.blobs.has(sha256 as Sha256))
      throw new LockstepError('INPUT_GONE', `sha256:${sha256} is not in the content store`, 'Run "lockstep lock" again.');
    await uploadFile(context.store.blobs.path(sha256 as Sha256), {
      state: () => client.call('inputState', { params: { sha256 } }),
      putPart: (part, bytes) => client.call('putInputPart', { params: { sha256, part }, body: bytes }),
      finish: (size, parts) => client.call('finishInput', { params: { sha256 }, body: { size, parts: [...parts] } }),
    });
  }
}

async function follow(context: Context, client: FarmClient, job: string): Promise<void> {
  const item = context.progress.start(`job ${job.slice(0, 12)}`);
  await followEvents(
    () => client.call('followJob', { params: { job }, signal: context.cancelled }),
    (event) => {
      if (event.event !== 'job') return false;
      const line = JSON.parse(event.data) as JobLine;
      item.update(line.reason.startsWith(line.state) ? line.reason : `${line.state}: ${line.reason}`);
      return ['decided', 'failed', 'cancelled', 'disputed'].includes(line.state);
    },
    context.cancelled,
  );
  if (context.cancelled.aborted)
    throw new LockstepError('CANCELLED', 'No longer following', `The job goes on: lockstep farm why ${job.slice(0, 12)}.`);
  item.done();
}

/** Nothing is at its place before its bytes are those that the quorum agreed on. */
async function writeOutputs(client: FarmClient, view: JobView, folder: string): Promise<{ path: string; sha256: string }[]> {
  makeOutputFolder(folder);
  const written: { path: string; sha256: string }[] = [];
  for (const { name, sha256 } of view.outputs) {
    const path = join(folder, name);
    const temporary = `${path}.${process.pid}.part`;
    if (name.includes('/') || name.startsWith('.part'))
      throw new LockstepError('VERIFICATION_FAILED', `The farm names an output ${JSON.stringify(name)}`, 'Ask its operator.');
    const response = await client.call('output', { params: { job: view.job, sha256 } });
    const hash = createHash('sha256');
    try {
      await pipeline(
        Readable.fromWeb(response.body as ReadableStream<Uint8Array>),
        async function* (source: AsyncIterable<Uint8Array>) {
          for await (const chunk of source) {
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(temporary, { flags: 'wx' }),
      );
      const found = hash.digest('hex');
      if (found !== sha256)
        throw new LockstepError(
          'DIGEST_MISMATCH',
          `The farm sent other bytes for ${name}: SHA-256 ${found}`,
          'Nothing was written. Ask the farm’s operator.',
        );
      renameSync(temporary, path);
    } finally {
      if (existsSync(temporary)) rmSync(temporary);
    }
    written.push({ path, sha256 });
  }
  return written;
}
