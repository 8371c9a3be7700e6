/** `lockstep policy …`. */
import type { Command } from 'commander';
import { json } from './common-options.ts';

const many = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

export function addPolicyCommands(program: Command): void {
  const policy = program.command('policy').description('who counts, for what, and how many of them: signed offline under one root');
  const root = 'the root.json to trust: then the folder’s signed policy is read, not the draft';

  policy
    .command('init')
    .description('the keys of a root, and a first policy to edit')
    .argument('<folder>', 'where they go')
    .option('--name <name>', 'what the policy is called', 'unnamed')
    .option('--operator <name>', 'who runs this machine', 'this operator')
    .option('--site <name>', 'where it stands', 'this site')
    .option('--root-keys <count>', 'how many keys the root and the targets role have', '1')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/policy/init.ts')).policyInit(folder, options));

  policy
    .command('check')
    .description('whether a policy is consistent; with --root also whether it is signed, current and not older than what was seen')
    .argument('<policy>', 'a policy.json, or a folder')
    .option('--root <file>', root)
    .addOption(json())
    .action(async (where: string, options) => (await import('../verbs/policy/explain.ts')).policyCheck(where, options));

  policy
    .command('sign')
    .description('sign FOLDER/policy.json and write FOLDER/repository (TUF)')
    .argument('<folder>', 'as "policy init" made it')
    .option('--root-threshold <count>', 'of the first root: how many of its keys have to sign', '1')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/policy/sign.ts')).policySign(folder, options));

  policy
    .command('request')
    .description('the next metadata, unsigned, for a signing node that holds the key of the role')
    .argument('<folder>', 'as "policy init" made it')
    .requiredOption('--role <role>', 'targets: the policy.json of the folder; root: the next root')
    .option('--hand-over <role=key>', 'of the next root: the role has this public key from then on', many)
    .requiredOption('--node <card>', 'whom to ask: its card', many)
    .requiredOption('--out <file>', 'where the request goes: lockstep release ask, or lockstep signer sign')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/policy/request.ts')).policyRequest(folder, options));

  policy
    .command('insert')
    .description('what was requested, with the answers’ signatures')
    .argument('<folder>', 'as "policy init" made it')
    .argument('<request>', 'the file of "policy request"')
    .argument('[answers...]', 'files of "lockstep release ask" or "lockstep signer sign"')
    .option('--node <card>', 'whose answers they are: the card', many)
    .option('--sign', 'and sign it with the keys of its role that lie in FOLDER/keys: the old root, when it hands over')
    .addOption(json())
    .action(async (folder: string, request: string, answers: string[], options) =>
      (await import('../verbs/policy/insert.ts')).policyInsert(folder, request, answers, options),
    );

  policy
    .command('explain')
    .description('what a policy says, in plain words')
    .argument('<policy>', 'a policy.json, or a folder')
    .option('--root <file>', root)
    .addOption(json())
    .action(async (where: string, options) => (await import('../verbs/policy/explain.ts')).policyExplain(where, options));

  policy
    .command('simulate')
    .description('what would be decided if these builders agreed and those differed')
    .argument('<policy>', 'a policy.json, or a folder')
    .requiredOption('--package <name>', 'of which package')
    .option('--agree <builders>', 'names, separated by commas')
    .option('--differ <builders>', 'names, separated by commas')
    .option('--root <file>', root)
    .addOption(json())
    .action(async (where: string, options) => (await import('../verbs/policy/simulate.ts')).policySimulate(where, options));

  policy
    .command('trusted-root')
    .description('a Sigstore trusted root with the policy’s logs, for verifiers of others')
    .argument('<policy>', 'a policy.json, or a folder')
    .option('--root <file>', root)
    .addOption(json())
    .action(async (where: string, options) => (await import('../verbs/policy/explain.ts')).policyTrustedRoot(where, options));
}
