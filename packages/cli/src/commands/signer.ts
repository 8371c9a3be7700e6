/** `lockstep signer …`, `lockstep key …` and `lockstep release …`. */
import { type Command, Option } from 'commander';
import { KEY_USES } from '@lockstep/protocol/key/key-use';
import { json, quiet } from './common-options.ts';

const PUBLIC_FORMATS = ['pem', 'minisign', 'signify', 'ssh', 'allowed-signers', 'note', 'nix'] as const;
const CARD = 'a node’s card, or a group’s; CARD@VIA says how it is reached: local:FOLDER, folder:FOLDER, serial:DEVICE[@SPEED], farm:WHERE';
const many = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

function secret(command: Command): Command {
  return command
    .option('--passphrase-file <file>', 'read the passphrase or PIN from a file (mode 0600)')
    .option('--passphrase-fd <number>', 'or from an open file descriptor; else the terminal is asked');
}

function newSecret(command: Command): Command {
  return secret(command).option('--no-passphrase', 'leave it unencrypted (mode 0600): for a home set-up');
}

function release(command: Command): Command {
  return secret(command)
    .option('--farm <where>', 'a farm of this machine (its folder has the rest), or its address')
    .option('--ca <file>', 'the farm’s authority')
    .option('--root <file>', 'the root.json to trust')
    .option('--policy <folder>', 'the signed policy')
    .option('--log <where>', 'the log or its mirror')
    .option('--node <card>', CARD, many)
    .option('--confirm', 'a node in this process shows what it signs, and asks on the terminal')
    .option('--yes', 'it shows what it signs, and is told yes: key and TUF documents have no evidence but a person')
    .option('--timeout <seconds>', 'for one answer, a person who is asked included', '900')
    .addOption(json())
    .addOption(quiet());
}

export function addSignerCommands(program: Command): void {
  const signer = program.command('signer').description('a signing node: checks the evidence again, shows it, signs, remembers');
  signer
    .command('init')
    .description('a new node in a folder')
    .argument('<folder>', 'its folder')
    .requiredOption('--name <name>', 'what it is called, for good')
    .requiredOption('--root <file>', 'the root.json that it pins')
    .option('--line <name>', 'a line of versions that it may begin to sign (default: main)', many)
    .option('--coordinator <pem>', 'who may begin a session with a share that it holds (the output of "lockstep key" there)', many)
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/signer/init.ts')).signerInit(folder, options));
  const running = (command: Command): Command =>
    secret(command)
      .option('--confirm', 'show a person what is to be signed, and ask on this terminal')
      .option('--yes', 'show it, and sign it: without either, key and TUF documents are refused')
      .option('--memory-key <name=use>', 'make a key now of the hardware’s random numbers, in memory only', many)
      .option('--require-hardware', 'refuse to make it without a hardware source')
      .addOption(json());
  running(signer.command('run').description('answer requests until it is stopped').argument('<folder>', 'of the node'))
    .option('--serial <device>', 'from a serial line: /dev/ttyS0, /dev/ttyUSB0')
    .option('--speed <baud>', 'of the line', '115200')
    .option('--folder <folder>', 'from files: requests in FOLDER/in, answers in FOLDER/out')
    .option('--farm <where>', 'from the post box of a farm, by a token of the role "signer" with the node’s name (LOCKSTEP_TOKEN)')
    .option('--ca <file>', 'the farm’s authority')
    .option('--ready-fd <number>', 'write a line there when it answers')
    .action(async (folder: string, options) => (await import('../verbs/signer/run.ts')).signerRun(folder, options));
  running(
    signer
      .command('sign')
      .description('answer one request that was carried here')
      .argument('<folder>', 'of the node')
      .argument('<request>', 'a file of "lockstep release request"'),
  )
    .requiredOption('--out <file>', 'where the answer goes')
    .action(async (folder: string, request: string, options) =>
      (await import('../verbs/signer/run.ts')).signerSign(folder, request, options),
    );
  signer
    .command('show')
    .description('its keys, where its own log stands, and what is due')
    .argument('<folder>', 'of the node')
    .addOption(json())
    .action(async (folder: string, options) => (await import('../verbs/signer/show.ts')).signerShow(folder, options));
  newSecret(
    signer
      .command('join-ceremony')
      .description('take part in making a threshold key, and keep a share of it')
      .argument('<folder>', 'of the node')
      .requiredOption('--at <folder>', 'where the ceremony’s messages are')
      .requiredOption('--initiator <pem>', 'who may begin it')
      .option('--confirm', 'show who takes part, and ask on this terminal')
      .option('--timeout <seconds>', 'for each message of another', '600')
      .addOption(json()),
  ).action(async (folder: string, options) => (await import('../verbs/key/threshold.ts')).joinCeremony(folder, options));

  addReleaseCommands(program);
}

function addReleaseCommands(program: Command): void {
  const command = program.command('release').description('have what builders agreed on approved by signing nodes');
  const WHAT = 'a file that came out of the build, or a build id (8 digits or more)';
  const line = new Option('--line <name>', 'the line of versions').default('main');
  release(command.command('request').description('a signing request as a file, to be carried to a node').argument('<what>', WHAT))
    .addOption(line)
    .requiredOption('--out <file>', 'where to write it')
    .action(async (what: string, options) => (await import('../verbs/release/request.ts')).releaseRequest(what, options));
  secret(
    command
      .command('ask')
      .description('send a request to a node as it is, and fetch its answer')
      .argument('<request>', 'a file of "lockstep release request"')
      .requiredOption('--node <card>', CARD)
      .requiredOption('--out <file>', 'where the answer goes')
      .option('--timeout <seconds>', 'for the answer', '900')
      .addOption(json())
      .addOption(quiet()),
  ).action(async (request: string, options) => (await import('../verbs/release/ask.ts')).releaseAsk(request, options));
  release(command.command('approve').description('ask the nodes, check what they sign, write it, have it logged').argument('<what>', WHAT))
    .addOption(line)
    .option('--out <folder>', 'where record and signatures go: beside the artifacts')
    .option('--into <folder>', 'without a farm: the folder of the log’s operator')
    .action(async (what: string, options) => (await import('../verbs/release/approve.ts')).releaseApprove(what, options));
  release(
    command
      .command('import')
      .description('the same with answers that were carried by hand')
      .argument('<request>', 'the file of "lockstep release request"')
      .argument('<answers...>', 'files of "lockstep signer sign"'),
  )
    .addOption(line)
    .option('--out <folder>', 'where record and signatures go')
    .option('--into <folder>', 'without a farm: the folder of the log’s operator')
    .action(async (request: string, answers: string[], options) =>
      (await import('../verbs/release/approve.ts')).releaseImport(request, answers, options),
    );
}

export function addKeyCommands(key: Command): void {
  const uses = Object.keys(KEY_USES).join(', ');
  newSecret(key.command('new').description('a key for one use: in a file, or in a hardware module').argument('<name>', 'its name'))
    .requiredOption('--use <use>', uses)
    .option('--signer <folder>', 'the signing node that holds it')
    .option('--out <file>', 'or a file by itself')
    .option('--algorithm <name>', 'where a use knows several: ecdsa-p256 or ed25519')
    .option('--pkcs11 <module>', 'make it inside a hardware module: absolute path of its library')
    .option('--token <label>', 'with --pkcs11: which token')
    .option('--label <label>', 'with --pkcs11: the key’s label (default: its name)')
    .option('--import-minisign <file>', 'take over minisign’s own secret key')
    .addOption(json())
    .action(async (name: string, options) => (await import('../verbs/key/new.ts')).keyNew(name, options));
  key
    .command('list')
    .description('the keys of a node, and which are due to be rotated')
    .requiredOption('--signer <folder>', 'of the node')
    .addOption(json())
    .action(async (options) => (await import('../verbs/key/look.ts')).keyList(options));
  secret(
    key
      .command('fingerprint')
      .description('in the forms that people publish and compare')
      .argument('<key>', 'a file, or a name with --signer')
      .option('--signer <folder>', 'of the node')
      .addOption(json()),
  ).action(async (what: string, options) => (await import('../verbs/key/look.ts')).keyFingerprint(what, options));
  secret(
    key
      .command('export-public')
      .description('the public half, as other tools read it')
      .argument('<key>', 'a file, or a name with --signer')
      .option('--signer <folder>', 'of the node')
      .option('--name <name>', 'as it is to be called there')
      .addOption(new Option('--format <format>', 'for which tool').choices(PUBLIC_FORMATS).default('pem'))
      .addOption(json()),
  ).action(async (what: string, options) => (await import('../verbs/key/look.ts')).keyExportPublic(what, options));
  secret(
    key
      .command('export-minisign')
      .description('a minisign key as minisign itself keeps it, under the same passphrase')
      .argument('<file>', 'of the key')
      .requiredOption('--out <file>', 'where to write it')
      .addOption(json()),
  ).action(async (file: string, options) => (await import('../verbs/key/export-minisign.ts')).keyExportMinisign(file, options));
  const change = (command: Command): Command =>
    release(command)
      .requiredOption('--reason <text>', 'why; it is logged')
      .option('--root-key <file>', 'a key of the root that vouches for it, as many as its threshold', many)
      .option('--into <folder>', 'without a farm: the folder of the log’s operator')
      .addOption(new Option('--line <name>').default('main').hideHelp());
  change(
    key
      .command('rotate')
      .description('a release key hands over to another; verifiers follow')
      .argument('<old>', 'its name in the policy, or its id'),
  )
    .requiredOption('--to <key>', 'the new key: its public key, or its file')
    .option('--overlap-days <days>', 'both are used for so long; then revoke the old one as retired')
    .option('--made <text>', 'how the new key was made')
    .action(async (old: string, options) => (await import('../verbs/key/change.ts')).keyRotate(old, options));
  change(
    key.command('revoke').description('a release key approves nothing any more').argument('<key>', 'its name in the policy, or its id'),
  )
    .requiredOption('--why <why>', 'retired, lost or stolen')
    .option('--from-index <index>', 'of the log, from which nothing counts (with --root-key; default: from now on)')
    .action(async (what: string, options) => (await import('../verbs/key/change.ts')).keyRevoke(what, options));
  const ceremony = (command: Command): Command =>
    command
      .requiredOption('--at <folder>', 'an empty folder that all holders see, or that is carried between them')
      .requiredOption('--threshold <count>', 'how many holders it takes')
      .requiredOption('--holder <card>', 'a node that is to hold a share: its card', many)
      .addOption(json());
  ceremony(key.command('threshold').description('begin making a key of which several nodes hold shares').argument('<name>', 'its name'))
    .requiredOption('--use <use>', uses)
    .option('--dealer', 'deal it, instead of making it together')
    .action(async (name: string, options) => (await import('../verbs/key/threshold.ts')).keyThreshold(name, options));
  secret(ceremony(key.command('split').description('deal shares of an Ed25519 key that there is').argument('<file>', 'of the key'))).action(
    async (file: string, options) => (await import('../verbs/key/threshold.ts')).keySplit(file, options),
  );
  key
    .command('group')
    .description('the card of a threshold key, when all holders have confirmed it')
    .requiredOption('--at <folder>', 'the ceremony’s folder')
    .requiredOption('--holder <card>', 'each holder: CARD@VIA', many)
    .requiredOption('--out <file>', 'where to write it')
    .addOption(json())
    .action(async (options) => (await import('../verbs/key/threshold.ts')).keyGroup(options));
}
