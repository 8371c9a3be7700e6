/**
 * The import table (ARCHITECTURE.md): who may import whom. npm hoists every package to where every other can reach it,
 * so only a test keeps the walls up.
 */
import { globSync, readFileSync } from 'node:fs';

const ROOT = `${import.meta.dirname}/..`;

interface Rule {
  readonly workspaces: readonly string[];
  readonly packages: readonly string[];
  /** Whether Node's own modules may be used. */
  readonly node: boolean;
}

export const IMPORT_TABLE: Readonly<Record<string, Rule>> = {
  protocol: {
    workspaces: [],
    packages: ['@noble/curves', '@noble/hashes', '@noble/post-quantum', 'smol-toml', 'toml-eslint-parser'],
    node: false,
  },
  silo: { workspaces: [], packages: [], node: true },
  store: { workspaces: ['protocol'], packages: ['@aws-sdk/client-s3', '@google-cloud/storage'], node: true },
  log: { workspaces: ['protocol', 'store'], packages: ['@noble/post-quantum'], node: true },
  builder: { workspaces: ['protocol', 'store', 'api'], packages: ['smol-toml'], node: true },
  api: { workspaces: ['protocol'], packages: ['zod'], node: true },
  'control-plane': {
    workspaces: ['protocol', 'store', 'api'],
    packages: ['@hono/node-server', '@peculiar/x509', 'hono', 'jose', 'kysely', 'pg', 'prom-client', 'reflect-metadata', 'zod'],
    node: true,
  },
  // A signing node keeps a log of its own: the same sequencer, not another one.
  signer: { workspaces: ['protocol', 'store', 'log'], packages: ['@noble/curves', '@noble/hashes', 'pkcs11js'], node: true },
  cli: {
    workspaces: ['protocol', 'store', 'log', 'builder', 'api', 'control-plane', 'signer'],
    packages: ['commander', 'smol-toml'],
    node: true,
  },
};

/** Names that say nothing of what is inside. */
const DRAWERS = /^(?:utils?|helpers?|common|shared|misc|types|index|lib)\.ts$/;
/** silo/src/tar/index.ts indexes archives: the standard word. */
const NOT_A_DRAWER = new Set(['packages/silo/src/tar/index.ts']);

/** @returns one message for each violation, each naming the fix */
export function violations(files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([file, text]) => {
    const owner = /^packages\/([^/]+)\//.exec(file)?.[1] ?? '';
    const rule = IMPORT_TABLE[owner];
    if (rule === undefined)
      return [
        `${file}: the package "${owner}" is not in the import table. Add it to IMPORT_TABLE in scripts/imports.ts and to ARCHITECTURE.md.`,
      ];
    const name = file.split('/').at(-1) ?? '';
    const drawer =
      DRAWERS.test(name) && !NOT_A_DRAWER.has(file)
        ? [`${file}: "${name}" is a drawer for odds and ends. Name the file for the one concept in it.`]
        : [];
    return [...drawer, ...importsOf(text).flatMap((specifier) => problemOf(file, owner, rule, specifier))];
  });
}

export function importsOf(text: string): string[] {
  return [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^'"\n;]*?(?:\{[^}]*\}[^'"\n;]*?)?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

function problemOf(file: string, owner: string, rule: Rule, specifier: string): string[] {
  if (specifier.startsWith('node:'))
    return rule.node ? [] : [`${file}: imports ${specifier}, but ${owner} runs in a browser. Take what it needs as an argument.`];
  if (specifier.startsWith('.'))
    return /(?:\.\.\/){3,}(?:silo|store|log|builder|cli|protocol|api|control-plane|signer)\//.test(specifier)
      ? [`${file}: reaches into another package by path (${specifier}). Import it by its name.`]
      : [];
  const workspace = /^@lockstep\/([^/]+)/.exec(specifier)?.[1];
  if (workspace !== undefined) {
    if (rule.workspaces.includes(workspace)) return [];
    const fix =
      workspace === 'silo'
        ? 'The silo is spawned, never imported: share the format in spec/scratch.md.'
        : `Allowed from ${owner}: ${rule.workspaces.join(', ') || 'no other package'}.`;
    return [`${file}: may not import @lockstep/${workspace}. ${fix}`];
  }
  const bare = specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : (specifier.split('/')[0] ?? '');
  return rule.packages.includes(bare)
    ? []
    : [`${file}: may not import ${bare}. Give the reason in ARCHITECTURE.md and add it to IMPORT_TABLE, or do without.`];
}

export function sourceFiles(): Map<string, string> {
  const files = globSync('packages/*/src/**/*.ts', { cwd: ROOT }).filter(
    (file) => !file.endsWith('.test.ts') && !file.endsWith('.d.ts') && !/samples?\.ts$/.test(file),
  );
  return new Map(files.map((file) => [file, readFileSync(`${ROOT}/${file}`, 'utf8')]));
}
