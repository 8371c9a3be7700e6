/** `lockstep completion`: scripts made from the commands as they are, so that they cannot go stale. */
import type { Command } from 'commander';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { report } from '../session.ts';

interface Verb {
  readonly name: string;
  readonly description: string;
  readonly options: readonly string[];
  /** Commands of its own: `log` has `log append`. */
  readonly commands: readonly string[];
}

export function completion(shell: string, program: Command): void {
  const verbs = program.commands.map(
    (command): Verb => ({
      name: command.name(),
      description: command.description(),
      options: [...new Set([command, ...command.commands].flatMap(optionsOf))],
      commands: command.commands.map((one) => one.name()),
    }),
  );
  const scripts: Readonly<Record<string, (verbs: readonly Verb[]) => string>> = { bash, zsh, fish };
  const script = scripts[shell];
  if (script === undefined) {
    process.exitCode = report(
      new LockstepError('USAGE', `There is no completion for ${JSON.stringify(shell)}`, 'There is bash, zsh and fish.'),
      false,
    );
    return;
  }
  process.stdout.write(script(verbs));
}

function optionsOf(command: Command): string[] {
  return command.options.flatMap((option) => (option.long === undefined || option.long === null ? [] : [option.long]));
}

function bash(verbs: readonly Verb[]): string {
  const cases = verbs.map((verb) => `    ${verb.name}) words="${[...verb.commands, ...verb.options].join(' ')}" ;;`).join('\n');
  return `_lockstep() {
  local current=\${COMP_WORDS[COMP_CWORD]} words=
  if [ "$COMP_CWORD" = 1 ]; then words="${verbs.map((verb) => verb.name).join(' ')}"
  else case \${COMP_WORDS[1]} in
${cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _lockstep lockstep
`;
}

function zsh(verbs: readonly Verb[]): string {
  const names = verbs.map((verb) => `'${verb.name}:${verb.description.replaceAll("'", "'\\''").replaceAll(':', '\\:')}'`).join(' ');
  const cases = verbs.map((verb) => `    ${verb.name}) compadd -- ${[...verb.commands, ...verb.options].join(' ')}; _files ;;`).join('\n');
  return `#compdef lockstep
_lockstep() {
  local -a verbs=(${names})
  if (( CURRENT == 2 )); then _describe verb verbs; return; fi
  case $words[2] in
${cases}
  esac
}
compdef _lockstep lockstep
`;
}

function fish(verbs: readonly Verb[]): string {
  return verbs
    .flatMap((verb) => [
      `complete -c lockstep -n __fish_use_subcommand -a ${verb.name} -d '${verb.description.replaceAll("'", "\\'")}'`,
      ...verb.commands.map((name) => `complete -c lockstep -n '__fish_seen_subcommand_from ${verb.name}' -a ${name}`),
      ...verb.options.map((option) => `complete -c lockstep -n '__fish_seen_subcommand_from ${verb.name}' -l ${option.slice(2)}`),
    ])
    .join('\n')
    .concat('\n');
}
