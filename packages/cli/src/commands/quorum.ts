/** `lockstep quorum …`. */
import { type Command } from 'commander';
import { json } from './common-options.ts';

const DEFINITION = 'a project, a definition’s JSON, or a build id';

export function addQuorumCommands(program: Command): void {
  const quorum = program.command('quorum').description('decide about a definition by a policy: from statements, bundles, or a log');

  const trusted = (command: Command): Command =>
    command
      .requiredOption('--policy <where>', 'a folder with a signed policy, or a draft policy.json to try out')
      .option('--root <file>', 'the root.json to trust; without it the policy is taken unsigned')
      .addOption(json());
  const inLog = (command: Command): Command =>
    trusted(command).requiredOption('--log <folder>', 'the log: its operator’s folder').option('--key <file>', 'the key to sign with');

  trusted(quorum.command('explain', { isDefault: true }).description('the decision, for each output, builder and domain (the default)'))
    .argument('<definition>', DEFINITION)
    .argument('[statements...]', '.intoto.json files, .sigstore.json bundles, or a folder of bundles')
    .option('--log <where>', 'a log or its mirror, instead of files')
    .action(async (what: string, statements: string[], options) =>
      (await import('../verbs/quorum/explain.ts')).quorumExplain(what, statements, options),
    );

  inLog(quorum.command('open').description('open a round: deal conditions to the builders of the policy'))
    .argument('<definition>', DEFINITION)
    .option('--minutes <count>', 'for how long commitments are waited for', '60')
    .action(async (what: string, options) => (await import('../verbs/quorum/coordinate.ts')).quorumOpen(what, options));

  inLog(quorum.command('commit').description('a builder: log a salted commitment to its statement'))
    .argument('<attestation>', 'of this builder')
    .action(async (what: string, options) => (await import('../verbs/quorum/take-part.ts')).quorumCommit(what, options));

  inLog(quorum.command('close').description('a coordinator: the time for commitments is over'))
    .argument('<definition>', DEFINITION)
    .action(async (what: string, options) => (await import('../verbs/quorum/coordinate.ts')).quorumClose(what, options));

  inLog(quorum.command('reveal').description('a builder: log the statement that it committed to'))
    .argument('<attestation>', 'of this builder')
    .action(async (what: string, options) => (await import('../verbs/quorum/take-part.ts')).quorumReveal(what, options));

  inLog(quorum.command('decide').description('a coordinator: decide, sign the outcome, and log it'))
    .argument('<definition>', DEFINITION)
    .action(async (what: string, options) => (await import('../verbs/quorum/coordinate.ts')).quorumDecide(what, options));

  inLog(quorum.command('resolve').description('an arbiter: which result of a disagreement is accepted, with a reason'))
    .argument('<definition>', DEFINITION)
    .requiredOption('--accept <outputs>', 'the digest of the outputs that are accepted (8 digits or more), or none')
    .requiredOption('--reason <text>', 'why; it is logged')
    .action(async (what: string, options) => (await import('../verbs/quorum/resolve.ts')).quorumResolve(what, options));

  trusted(quorum.command('audit').description('decide every outcome of a log again, from the log alone, and compare to the letter'))
    .requiredOption('--log <where>', 'a log or its mirror')
    .action(async (options) => (await import('../verbs/quorum/audit.ts')).quorumAudit(options));

  trusted(quorum.command('export').description('everything that the decision about one build was made of, as Sigstore bundles'))
    .argument('<definition>', DEFINITION)
    .requiredOption('--log <where>', 'a log or its mirror')
    .requiredOption('--out <folder>', 'where the bundles go')
    .action(async (what: string, options) => (await import('../verbs/quorum/audit.ts')).quorumExport(what, options));
}
