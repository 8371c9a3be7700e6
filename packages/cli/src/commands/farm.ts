/** `lockstep farm …`, `submit`, `transcript`, `builder …`. */
import type { Command } from 'commander';
import { json, quiet } from './common-options.ts';

const JOB = 'a build id, or at least 8 digits of it';

export function addFarmCommands(program: Command): void {
  const farm = program.command('farm').description('a build farm: run it, and look after it');
  const at = (command: Command): Command =>
    command
      .option('--farm <where>', 'the farm’s folder, or https://HOST:PORT (default: LOCKSTEP_FARM, else the one of this machine)')
      .option('--ca <file>', 'the farm’s certificate authority, for an address')
      .addOption(json());

  farm
    .command('run', { isDefault: true })
    .description('run it: API, reconciler and log, and the witness and builders that farm.toml names (the default)')
    .argument('[folder]', 'with a farm.toml (default: the one of this machine, made if there is none)')
    .option('--role <role>', 'all, or api: no builders in this process', 'all')
    .option('--ready-fd <number>', 'write a line there when it serves')
    .option('--debug', 'tell more')
    .addOption(json())
    .action(async (folder: string | undefined, options) => (await import('../verbs/farm/run.ts')).farmRun(folder, options));
  farm
    .command('init')
    .description('make a farm in a folder')
    .argument('[folder]', 'a new one (default: the one of this machine)')
    .option('--home', 'the simple case: one builder, no witness, no commitments')
    .option('--name <name>', 'of the farm', 'home')
    .option('--builders <count>', 'builders in its own process', '2')
    .option('--no-witness', 'no witness in its own process')
    .option('--no-signer', 'no signing node in its folder: what is agreed on stays unsigned')
    .option('--listen <address>', 'HOST:PORT of the API', '127.0.0.1:7300')
    .addOption(json())
    .action(async (folder: string | undefined, options) => (await import('../verbs/farm/init.ts')).farmInit(folder, options));
  at(farm.command('status').description('the farm at a glance, and what is wrong')).action(async (options) =>
    (await import('../verbs/farm/look.ts')).farmStatus(options),
  );
  at(farm.command('jobs').description('jobs, the newest first'))
    .option('--state <state>', 'only these')
    .option('--limit <count>', 'so many', '20')
    .action(async (options) => (await import('../verbs/farm/look.ts')).farmJobs(options));
  at(farm.command('builders').description('builders, and what they do')).action(async (options) =>
    (await import('../verbs/farm/look.ts')).farmBuilders(options),
  );
  at(farm.command('why').description('what a job waits for, and all that was tried').argument('<job>', JOB)).action(
    async (job: string, options) => (await import('../verbs/farm/look.ts')).farmWhy(job, options),
  );
  at(farm.command('cancel').description('stop working on a job').argument('<job>', JOB)).action(async (job: string, options) =>
    (await import('../verbs/farm/act.ts')).farmChange('cancelJob', job, options),
  );
  at(farm.command('retry').description('try a failed or cancelled job again').argument('<job>', JOB)).action(async (job: string, options) =>
    (await import('../verbs/farm/act.ts')).farmChange('retryJob', job, options),
  );
  for (const [verb, state, text] of [
    ['drain', 'draining', 'a builder finishes what it has and gets nothing new'],
    ['resume', 'active', 'a drained builder gets work again'],
    ['retire', 'retired', 'a builder is shut out for good; it may join anew'],
  ] as const)
    at(farm.command(verb).description(text).argument('<builder>', 'its name')).action(async (builder: string, options) =>
      (await import('../verbs/farm/act.ts')).farmSetBuilder(state, builder, options),
    );
  at(
    farm
      .command('join-token')
      .description('a token of one use with which a builder may join')
      .argument('<name>', 'what the builder is called'),
  )
    .requiredOption('--key <fingerprint>', 'of its transport key: lockstep builder keys')
    .option('--minutes <count>', 'for how long', '60')
    .action(async (name: string, options) => (await import('../verbs/farm/act.ts')).farmJoinToken(name, options));
  at(
    farm
      .command('token')
      .description('a token for somebody; it is shown once')
      .argument('<name>', 'whose')
      .argument('<role>', 'observer, submitter, operator, or signer (named as its node)'),
  )
    .option('--days <count>', 'for how long, or never', '365')
    .action(async (name: string, role: string, options) => (await import('../verbs/farm/act.ts')).farmToken(name, role, options));
  at(
    farm
      .command('share')
      .description('how much of the farm a submitter gets beside the others (1 is the usual)')
      .argument('<submitter>', 'whose')
      .argument('<number>', 'such as 2 or 0.5'),
  ).action(async (submitter: string, share: string, options) =>
    (await import('../verbs/farm/act.ts')).farmShare(submitter, share, options),
  );
  at(farm.command('resolve').description('an arbiter: which result of a dispute is accepted, with a reason').argument('<job>', JOB))
    .requiredOption('--accept <outputs>', 'the digest of the outputs that are accepted (8 digits or more), or none')
    .requiredOption('--reason <text>', 'why; it is logged')
    .requiredOption('--key <file>', 'the arbiter’s key')
    .action(async (job: string, options) => (await import('../verbs/farm/act.ts')).farmResolve(job, options));
  at(farm.command('tokens').description('who has tokens')).action(async (options) =>
    (await import('../verbs/farm/look.ts')).farmTokens(options),
  );
  at(farm.command('revoke').description('revoke a token').argument('<name>', 'whose')).action(async (name: string, options) =>
    (await import('../verbs/farm/act.ts')).farmRevoke(name, options),
  );
  at(farm.command('audit').description('who did what'))
    .option('--limit <count>', 'so many', '50')
    .action(async (options) => (await import('../verbs/farm/look.ts')).farmAudit(options));
  at(farm.command('pin').description('keep all that belongs to a job').argument('<job>', JOB))
    .requiredOption('--reason <text>', 'why')
    .action(async (job: string, options) => (await import('../verbs/farm/act.ts')).farmPin(job, options));
  at(farm.command('unpin').description('stop keeping it').argument('<job>', JOB)).action(async (job: string, options) =>
    (await import('../verbs/farm/act.ts')).farmUnpin(job, options),
  );
  at(farm.command('gc').description('remove what nothing needs; what the log names stays'))
    .option('--dry-run', 'only tell')
    .option('--older-than <hours>', 'only what is older', '168')
    .action(async (options) => (await import('../verbs/farm/act.ts')).farmGarbage(options));

  farm
    .command('reindex')
    .description('make the database again from content store and log (the farm must not run)')
    .argument('<folder>', 'with the farm.toml')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/farm/keep.ts')).farmReindex(folder, options));
  farm
    .command('migrate')
    .description('copy a farm that does not run to another database and storage')
    .argument('<from>', 'its folder')
    .argument('<to>', 'a folder with the new farm.toml')
    .addOption(json())
    .addOption(quiet())
    .action(async (from: string, to: string, options) => (await import('../verbs/farm/keep.ts')).farmMigrate(from, to, options));

  at(
    program
      .command('submit')
      .description('have a farm build it, and fetch what its builders agreed on')
      .argument('[what]', 'a directory with a lockstep.toml, or a reference: pkg:deb/…, pkg:npm/…, git+…', '.'),
  )
    .option('--out <folder>', 'where the agreed outputs go')
    .option('--priority <number>', '-100 to 0; operators up to 100; the higher the sooner', '0')
    .option('--no-follow', 'do not wait for it')
    .addOption(quiet())
    .action(async (what: string, options) => (await import('../verbs/submit.ts')).submitVerb(what, options));
  at(program.command('transcript').description('what a build printed').argument('<job>', JOB))
    .option('-f, --follow', 'and what it prints')
    .option('--attempt <number>', 'of which attempt (default: the last)')
    .option('--raw', 'as it is, control characters and all')
    .action(async (job: string, options) => (await import('../verbs/transcript.ts')).transcriptVerb(job, options));

  const builder = program.command('builder').description('a building node of its own');
  builder
    .command('run', { isDefault: true })
    .description('build for the farm that was joined (the default)')
    .option('--slots <count>', 'builds at once', '1')
    .option('--max-memory <MiB>', 'the most that one build gets, whatever its manifest asks for')
    .option('--max-disk <MiB>', 'the same for disk')
    .option('--max-seconds <count>', 'the same for time')
    .option('--max-cpus <count>', 'the same for CPUs')
    .option('--ready-fd <number>', 'write a line there when the farm was reached')
    .option('--debug', 'tell more')
    .addOption(json())
    .action(async (options) => (await import('../verbs/builder/run.ts')).builderRun(options));
  builder
    .command('keys')
    .description('this builder’s two keys: for the join token, and for the policy')
    .addOption(json())
    .action(async (options) => (await import('../verbs/builder/keys.ts')).builderKeys(options));
  builder
    .command('join')
    .description('join a farm, with a token of one use')
    .argument('<address>', 'https://HOST:PORT; replicas separated by commas')
    .requiredOption('--name <name>', 'as the token was made for')
    .requiredOption('--token <token>', 'from "lockstep farm join-token"')
    .requiredOption('--authority <fingerprint>', 'of the farm’s authority, as the farm printed it')
    .option('--root <file>', 'the policy’s root.json to pin: then it looks into the witnessed log before it reveals')
    .addOption(json())
    .action(async (url: string, options) => (await import('../verbs/builder/join.ts')).builderJoin(url, options));
}
