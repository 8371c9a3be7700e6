/** `lockstep verify`: hashes the file and prints the verdict of @lockstep/protocol, step by step. Offline, writes nothing. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromPem } from '@lockstep/protocol/key/p256';
import type { Verdict } from '@lockstep/protocol/verdict/verdict';
import { type Expectation, verifyArtifact } from '@lockstep/protocol/verdict/verify';
import { sha256File } from '@lockstep/store/digests';
import { EXIT } from '../exit-code.ts';
import { readNamedFile } from '../read-file.ts';
import { report } from '../session.ts';
import { harmlessLine } from '../show/harmless.ts';
import type { VerifyOptions } from './verify-options.ts';

/** An attestation of a large environment is under 1 MiB. */
const MAX_ATTESTATION = 64 << 20;

export async function verifyVerb(file: string, options: VerifyOptions): Promise<void> {
  try {
    process.exitCode = await run(file, options);
  } catch (error) {
    process.exitCode = report(error, options.json === true);
  }
}

async function run(file: string, options: VerifyOptions): Promise<number> {
  requireFile(file);
  if (options.root !== undefined || options.policy !== undefined) {
    const { releaseVerdict } = await import('./verify-release.ts');
    return show(file, await releaseVerdict(file, options), {}, options);
  }
  if (options.key === undefined)
    throw new LockstepError(
      'USAGE',
      'Nothing was given to trust',
      'Give --key KEY.pem (the builder prints it with "lockstep key"), or --root ROOT.json with --policy FOLDER.',
    );
  const foreign = (['log', 'evidence', 'package'] as const).find((name) => options[name] !== undefined);
  if (foreign !== undefined)
    throw new LockstepError(
      'USAGE',
      `--${foreign} says nothing about one builder’s key`,
      'Give --root and --policy with it, or leave it out.',
    );
  const attestation = options.attestation ?? findAttestation(file);
  requireFile(attestation);
  if (statSync(attestation).size > MAX_ATTESTATION)
    throw new LockstepError('ENVELOPE_INVALID', `${attestation} is larger than 64 MiB`, 'That is no attestation.');
  const expect: Expectation = {
    ...(options.source === undefined ? {} : { source: options.source }),
    ...(options.farm === undefined ? {} : { farmId: options.farm }),
    ...(options.buildId === undefined ? {} : { buildId: options.buildId }),
    ...(options.environment === undefined ? {} : { environment: options.environment }),
  };
  const key = publicKeyFromPem(readNamedFile(options.key).toString('utf8'));
  const { digest } = sha256File(file);
  const verdict = verifyArtifact({
    attestation: readFileSync(attestation),
    artifact: { name: basename(file), sha256: digest },
    keys: [{ name: basename(options.key), key }],
    expect,
  });
  return show(file, verdict, { attestation }, options);
}

function show(file: string, verdict: Verdict, more: Readonly<Record<string, unknown>>, options: VerifyOptions): number {
  if (options.json === true) process.stdout.write(`${JSON.stringify({ ...verdict, file, ...more })}\n`);
  else process.stdout.write(`${describe(file, verdict)}\n`);
  return verdict.ok ? EXIT.ok : EXIT.verificationFailed;
}

function requireFile(path: string): void {
  if (!existsSync(path) || !statSync(path).isFile()) throw new LockstepError('FILE_NOT_FOUND', `${path} does not exist`, 'Check the path.');
}

/** `FILE.intoto.json`, or the only attestation in the folder. */
function findAttestation(file: string): string {
  const own = `${file}.intoto.json`;
  if (existsSync(own)) return own;
  const folder = dirname(file);
  const all = readdirSync(folder).filter((name) => name.endsWith('.intoto.json'));
  const only = all.length === 1 ? all[0] : undefined;
  if (only === undefined)
    throw new LockstepError(
      'FILE_NOT_FOUND',
      all.length === 0 ? `There is no attestation beside ${file}` : `There are ${all.length} attestations beside ${file}`,
      'Name one with --attestation.',
    );
  return join(folder, only);
}

function describe(file: string, verdict: Verdict): string {
  const sign = { pass: '✔', fail: '✘', unreached: '·' };
  const word = { pass: 'pass', fail: 'FAIL', unreached: 'not reached' };
  const width = Math.max(...verdict.steps.map((step) => step.name.length));
  const lines = verdict.steps.map(
    (step) =>
      `${sign[step.state]} ${step.name.padEnd(width)}  ${word[step.state]}${step.detail === '' ? '' : `: ${harmlessLine(step.detail)}`}`,
  );
  const notes = verdict.notes.map((note) => `note: ${harmlessLine(note)}`);
  return [
    ...lines,
    ...(verdict.ok ? notes : []),
    verdict.ok ? `VERIFIED ${harmlessLine(file)}` : `NOT VERIFIED ${harmlessLine(file)}`,
  ].join('\n');
}
