/** Bundles what users install: the CLI (one chunk per verb), the silo, and the silo's launcher, into dist/. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rolldown } from 'rolldown';

const root = `${import.meta.dirname}/..`;

async function bundle(out: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await bundleOne(`${root}/packages/cli/src/main.ts`, out, 'lockstep.js');
  await bundleSilo(out);
}

/** The silo alone: one script and its launcher. */
export async function bundleSilo(out: string): Promise<void> {
  mkdirSync(out, { recursive: true });
  await bundleOne(`${root}/packages/silo/src/main.ts`, out, 'silo.js');
  copyFileSync(`${root}/packages/silo/bin/lockstep-silo`, `${out}/lockstep-silo`);
  chmodSync(`${out}/lockstep-silo`, 0o755);
}

async function bundleOne(input: string, out: string, name: string): Promise<void> {
  // A native addon, for those who have hardware modules: installed beside the bundle, or not there.
  const build = await rolldown({ input, platform: 'node', logLevel: 'warn', external: ['pkcs11js'] });
  await build.write({ dir: out, format: 'esm', entryFileNames: `inner-${name}`, chunkFileNames: '[name]-[hash].js' });
  await build.close();
  // A compile cache saves most of the start-up: V8 keeps the compiled code beside the user's other caches.
  const start = `#!/usr/bin/env node\nimport { enableCompileCache } from 'node:module';\nenableCompileCache();\nawait import('./inner-${name}');\n`;
  writeFileSync(`${out}/${name}`, start);
  chmodSync(`${out}/${name}`, 0o755);
  if (readFileSync(`${out}/inner-${name}`).length === 0) throw new Error(`${name} is empty`);
}

if (import.meta.main) {
  await bundle(`${root}/dist`);
  process.stdout.write('dist/ written\n');
}
