/** `lockstep log …` and `lockstep witness`. */
import { type Command, Option } from 'commander';
import { json, quiet } from './common-options.ts';

const KEY = 'the log’s verifier key, or a file with it (default: of the operator’s own folder)';
const many = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function addLogCommands(program: Command): void {
  const log = program.command('log').description('an append-only log in C2SP tiles: write it, prove, watch and mirror it');

  log
    .command('init')
    .description('a new log: its key, its name, whom it asks to witness')
    .argument('<folder>', 'the operator’s folder; FOLDER/public is to be served')
    .requiredOption('--origin <name>', 'the log’s name for good, an address without a scheme: log.example.org/farm')
    .option('--witnesses <file>', 'a C2SP tlog-policy with witnesses and their addresses')
    .option('--state <folder>', 'where the last checkpoint is kept (default: FOLDER/cells); elsewhere, it is not restored with the log')
    .option(
      '--in-storage',
      'its files will lie in a farm’s storage (log_in = "storage"), for several replicas; each gets a copy of the folder',
    )
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/log/init.ts')).logInit(folder, options));

  log
    .command('append')
    .description('append signed documents; resolves when the checkpoint is published, and writes a Sigstore bundle beside each')
    .argument('<folder>', 'the operator’s folder')
    .argument('[files...]', 'DSSE envelopes (.intoto.json)')
    .option('--key <pem>', 'the public key of their signer (default: this builder’s)')
    .option('--reference <log>', 'append what another log has published, once it was verified')
    .option('--reference-key <vkey>', 'that log’s verifier key')
    .addOption(json())
    .addOption(quiet())
    .action(async (folder: string, files: string[], options) => (await import('../verbs/log/append.ts')).logAppend(folder, files, options));

  log
    .command('prove')
    .description('a Sigstore bundle of what is logged, a tlog-proof, or a consistency proof')
    .argument('<log>', 'folder or http(s) address')
    .argument('[what]', 'an index, or an .intoto.json file')
    .option('--from <size>', 'prove consistency from an earlier size instead')
    .addOption(new Option('--form <form>', 'of an inclusion proof').choices(['bundle', 'tlog-proof']).default('bundle'))
    .option('--out <file>', 'where to write it')
    .option('--key <vkey>', KEY)
    .addOption(json())
    .action(async (where: string, what: string | undefined, options) =>
      (await import('../verbs/log/prove.ts')).logProve(where, what, options),
    );

  log
    .command('verify')
    .description('a whole log; a bundle; or two saved checkpoints, which show a split view')
    .argument('<what...>', 'a log, a .sigstore.json file, or two checkpoint files')
    .option('--key <vkey>', KEY)
    .option('--witnesses <file>', 'a C2SP tlog-policy: refuse what too few have cosigned')
    .option('--log <where>', 'for two checkpoints of different sizes: the log that has to prove them')
    .addOption(json())
    .action(async (what: string[], options) => (await import('../verbs/log/verify.ts')).logVerify(what, options));

  log
    .command('monitor')
    .description('what is new in a log, by key and by package; alarms when it was rewritten')
    .argument('<log>', 'folder or http(s) address')
    .option('--key <vkey>', KEY)
    .option('--state <file>', 'keeps the last checkpoint that was accepted')
    .option('--signer <id>', 'only entries by this key (the beginning of its id)')
    .option('--package <name>', 'only statements about this package')
    .addOption(json())
    .action(async (where: string, options) => (await import('../verbs/log/monitor.ts')).logMonitor(where, options));

  log
    .command('mirror')
    .description('a verified copy of a log’s static files; again to bring it up to date')
    .argument('<log>', 'folder or http(s) address')
    .argument('<folder>', 'where the copy goes')
    .option('--key <vkey>', KEY)
    .addOption(json())
    .action(async (where: string, folder: string, options) => (await import('../verbs/log/mirror.ts')).logMirror(where, folder, options));

  log
    .command('show')
    .description('a log’s verifier key and checkpoint, or one entry with what was signed')
    .argument('<log>', 'folder or http(s) address')
    .argument('[index]', 'of an entry')
    .option('--key <vkey>', KEY)
    .addOption(json())
    .action(async (where: string, index: string | undefined, options) =>
      (await import('../verbs/log/show.ts')).logShow(where, index, options),
    );

  const witness = program.command('witness').description('a witness of its own (C2SP tlog-witness): cosigns only what continues a log');
  witness
    .argument('<folder>', 'its keys and what it has seen; made when it is not there')
    .option('--name <name>', 'its name for good: witness.example.org/w1')
    .option('--log <vkey>', 'a log to follow, by its verifier key; may be repeated', many, [])
    .option('--listen <host:port>', 'where to listen (default 127.0.0.1:7380)')
    .option('--ready-fd <number>', 'descriptor that gets a newline when it serves (s6)')
    .addOption(json())
    .addOption(quiet())
    .action(async (folder: string, options) => (await import('../verbs/witness.ts')).witnessVerb(folder, options));
  program
    .command('witness-keys')
    .description('the verifier keys of a witness, for the policy of a log')
    .argument('<folder>', 'the witness’s folder; made when it is not there')
    .option('--name <name>', 'its name for good')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/witness.ts')).witnessKeysVerb(folder, options));
}
