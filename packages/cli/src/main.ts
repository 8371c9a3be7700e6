#!/usr/bin/env node
/** `lockstep`: one file per verb, each loaded when it is called, so that starting costs nothing for what is not used. */
import { Command, CommanderError } from 'commander';
import { EXIT } from './exit-code.ts';
import { addFarmCommands } from './commands/farm.ts';
import { addLogCommands } from './commands/log.ts';
import { json, offline, quiet } from './commands/common-options.ts';
import { addPolicyCommands } from './commands/policy.ts';
import { addKeyCommands, addSignerCommands } from './commands/signer.ts';
import { addQuorumCommands } from './commands/quorum.ts';
import { VERSION } from './version.ts';

const program = new Command('lockstep')
  .description('Build from source, sealed and repeatable, and let anybody check it.')
  .version(VERSION)
  .showHelpAfterError('(run with --help for usage)')
  .enablePositionalOptions()
  .addHelpText('after', '\nExit codes: 0 ok, 1 failed, 2 usage, 3 host cannot, 4 not reproducible, 5 refused, 6 verification failed');

program
  .command('init')
  .description('write a lockstep.toml for what is there, or for a package URL')
  .argument('[what]', 'a directory, pkg:deb/DISTRIBUTION/NAME or pkg:npm/NAME@VERSION', '.')
  .option('--out <folder>', 'where to write the manifest of something that is not a directory')
  .option('--force', 'replace a manifest that is there')
  .addOption(json())
  .addOption(quiet())
  .action(async (what: string, options) => (await import('./verbs/init.ts')).init(what, options));

program
  .command('lock')
  .description('resolve every input to digests and write lockstep.lock')
  .argument('[dir]', 'directory with a lockstep.toml', '.')
  .option('--update', 'resolve again although the lock is current')
  .addOption(json())
  .addOption(quiet())
  .action(async (dir: string, options) => (await import('./verbs/lock.ts')).lock(dir, options));

program
  .command('build')
  .description('one sealed build: outputs, attestation, SBOM, transcript')
  .argument('[dir]', 'directory with a lockstep.toml', '.')
  .option('--out <folder>', 'where to write the outputs (default: DIR/lockstep-out)')
  .option('--fresh', 'build even if this definition was built before')
  .option('--dry-run', 'print the plan (mounts, limits, steps) and build nothing')
  .option('--vary', 'build again, identically and then under variations; name what makes a difference')
  .option('--only <names>', 'with --vary: only these variations, separated by commas')
  .option('--round <opening>', 'build under the conditions that this opening of a round dealt to this builder')
  .addOption(offline())
  .addOption(json())
  .addOption(quiet())
  .action(async (dir: string, options) => (await import('./verbs/build.ts')).buildVerb(dir, options));

program
  .command('rebuild')
  .description('reproduce from an attestation alone and compare; or compare with what somebody has shipped')
  .argument('<attestation>', 'a .intoto.json file')
  .option('--against <what...>', 'pkg:deb/DISTRIBUTION, pkg:deb/DISTRIBUTION/NAME@VERSION, or files to compare the outputs with')
  .option('--out <folder>', 'where to write the rebuilt outputs')
  .option('--key <pem>', 'refuse the attestation unless this public key signed it')
  .addOption(offline())
  .addOption(json())
  .addOption(quiet())
  .action(async (attestation: string, options) => (await import('./verbs/rebuild.ts')).rebuildVerb(attestation, options));

program
  .command('verify')
  .description('the verdict on a file, step by step: by a builder’s key, or by a policy')
  .argument('<file>', 'the file to verify')
  .option('--key <pem>', 'one builder’s public key to trust')
  .option('--attestation <file>', 'with --key: its attestation (default: the one *.intoto.json beside it)')
  .option('--root <file>', 'the root.json to trust')
  .option('--policy <folder>', 'with --root: the signed policy')
  .option('--log <where>', 'with --root: a log or its mirror, folder or http(s) address')
  .option('--evidence <folder>', 'with --root: bundles instead of a log (default: beside the file)')
  .option('--unsigned', 'with --root: also what nobody has approved as a release; the verdict says so')
  .option('--package <name>', 'with --root: the package that the file is expected to be of')
  .option('--source <ref>', 'the source_ref that is expected')
  .option('--farm <id>', 'with --key: the farm_id that is expected')
  .option('--build-id <sha256>', 'the build id that is expected')
  .option('--environment <sha256>', 'with --key: the environment that is expected')
  .addOption(json())
  .addOption(quiet())
  .action(async (file: string, options) => (await import('./verbs/verify.ts')).verifyVerb(file, options));

program
  .command('compare')
  .description('what differs in two results of one definition, and which condition makes the difference')
  .argument('<first>', 'an attestation, or the folder with it and its outputs')
  .argument('<second>', 'another')
  .option('--no-build', 'only compare; do not build to find the cause')
  .addOption(offline())
  .addOption(json())
  .addOption(quiet())
  .action(async (first: string, second: string, options) => (await import('./verbs/compare.ts')).compareVerb(first, second, options));

addFarmCommands(program);
addQuorumCommands(program);
addPolicyCommands(program);
addLogCommands(program);
addSignerCommands(program);

const key = program.command('key').description('keys: by itself, the public half of this builder’s attestation key');
key
  .addOption(json())
  .addOption(quiet())
  .action(async (options) => (await import('./verbs/key.ts')).keyVerb(options));
key
  .command('make')
  .description('a new ECDSA P-256 key for a coordinator or an arbiter; prints its public half')
  .argument('<file>', 'where to write it')
  .addOption(json())
  .action(async (file: string, options) => (await import('./verbs/key.ts')).keyMakeVerb(file, options));

addKeyCommands(key);

program
  .command('doctor')
  .description('what this host can and cannot do, and what to install')
  .addOption(json())
  .addOption(quiet())
  .action(async (options) => (await import('./verbs/doctor.ts')).doctor(options));

program
  .command('completion')
  .description('a completion script for your shell')
  .argument('<shell>', 'bash, zsh or fish')
  .action(async (shell: string) => (await import('./verbs/completion.ts')).completion(shell, program));

function exitOverrides(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) exitOverrides(child);
}
exitOverrides(program);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help and --version are asked for; everything else that commander refuses is a usage error.
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}
