/** `nix-build` of one derivation in a store of its own: single user, sandboxed, nothing substituted. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { type Command, must } from './measure.ts';

const EXPRESSION = `derivation {
  name = "trivial";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo hi > $out" ];
  # Another derivation every time, so that it is really built.
  run = builtins.getEnv "BENCH_RUN";
}
`;

const many = (count: number): string => `builtins.genList (number: derivation {
  name = "trivial-\${toString number}";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo hi > $out" ];
  run = builtins.getEnv "BENCH_RUN";
}) ${count}
`;

/** @returns the command that builds the derivation of a run; the same run again is answered from the store */
export function nixBuild(folder: string): (run: string) => Command {
  return building(folder, EXPRESSION, []);
}

/** So many derivations that differ by their names, all in one command. */
export function nixBuildMany(folder: string, count: number, atOnce: number): (run: string) => Command {
  return building(folder, many(count), ['-j', String(atOnce)]);
}

function building(folder: string, expression: string, more: readonly string[]): (run: string) => Command {
  const file = `${folder}/trivial.nix`;
  writeFileSync(file, expression);
  const homes = { NIX_STORE_DIR: 'store', NIX_STATE_DIR: 'state', NIX_LOG_DIR: 'log', NIX_CONF_DIR: 'conf', HOME: 'home' };
  const env: Record<string, string> = { NIX_REMOTE: '', NIX_PATH: '' };
  for (const [name, part] of Object.entries(homes)) {
    env[name] = `${folder}/${part}`;
    mkdirSync(`${folder}/${part}`);
  }
  const options = {
    sandbox: 'true',
    'sandbox-fallback': 'false',
    'sandbox-paths': ['/bin/sh', ...librariesOf('/bin/sh')].join(' '),
    substitute: 'false',
    substituters: '',
    'build-users-group': '',
  };
  const argv = [
    'nix-build',
    file,
    '-o',
    `${folder}/result`,
    ...more,
    ...Object.entries(options).flatMap(([name, value]) => ['--option', name, value]),
  ];
  return (run) => ({ argv, env: { ...env, BENCH_RUN: run } });
}

/** The host's shell is linked dynamically; Nix shows it in the sandbox, with what it needs. */
function librariesOf(program: string): string[] {
  return (
    must({ argv: ['ldd', program] })
      .match(/\/\S+/g)
      ?.map(String) ?? []
  );
}
