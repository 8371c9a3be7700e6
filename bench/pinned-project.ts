/** Definitions with a pinned environment of a shell and a few programs, which differ only by their names: nothing to build but `echo`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { FarmClient } from '@lockstep/api/client';
import { uploadFile } from '@lockstep/builder/node/upload';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { parseLock } from '@lockstep/protocol/lock/lock';
import { parseManifest } from '@lockstep/protocol/manifest/toml';
import { openStore, type Store } from '@lockstep/store/store';
import { must } from './measure.ts';
import { lockstep } from './place.ts';

const ROOTFS = `cd "$0"
mkdir -p r/bin r/etc
for p in sh cat head date; do cp -L /bin/$p r/bin/; done
for f in $(ldd /bin/sh /bin/head /bin/date | grep -o '/[^ ]*' | grep '^/lib' | sort -u); do mkdir -p r$(dirname $f); cp -L $f r$f; done
tar -C r -cJf rootfs.tar.xz .
rm -r r
sha256sum rootfs.tar.xz`;

export interface PinnedProject {
  readonly definition: (name: string) => Definition;
  /** What the farm does not have yet; once for all of them. */
  readonly upload: (client: FarmClient) => Promise<void>;
}

export interface PinnedParts {
  readonly step: string;
  readonly resources?: string;
}

/** @param folder a new one */
export function pinnedProject(
  folder: string,
  { step, resources = 'memory_mb = 256\nscratch_mb = 64\ntimeout = 300' }: PinnedParts,
): PinnedProject {
  const project = `${folder}/project`;
  if (!existsSync(project)) mkdirSync(`${project}/src`, { recursive: true });
  const sha256 = must({ argv: ['/bin/sh', '-euc', ROOTFS, folder] }).slice(0, 64);
  writeFileSync(`${project}/src/file`, 'source\n');
  const text = `name = "bench"
version = "1"

[source]
ref = "./src"

[environment]
kind = "rootfs"
url = ${JSON.stringify(`${folder}/rootfs.tar.xz`)}
sha256 = "${sha256}"

[build]
steps = [${JSON.stringify(step)}]

[[outputs]]
files = "out"

[resources]
${resources}
`;
  writeFileSync(`${project}/lockstep.toml`, text);
  const home = `${folder}/submitter`;
  must(lockstep(['lock', '-q', project], home));
  const lock = parseLock(readFileSync(`${project}/lockstep.lock`), 'lockstep.lock');
  const manifest = parseManifest(text, 'lockstep.toml');
  const definition = (name: string): Definition => makeDefinition({ ...manifest, name }, lock);
  const store = openStore(home);
  return { definition, upload: (client) => uploadCarried(client, store, definition('bench')) };
}

async function uploadCarried(client: FarmClient, store: Store, definition: Definition): Promise<void> {
  for (const { sha256 } of carriedInputs(definition)) {
    const params = { sha256 };
    await uploadFile(store.blobs.path(sha256 as Sha256), {
      state: () => client.call('inputState', { params }),
      putPart: (part, bytes) => client.call('putInputPart', { params: { sha256, part }, body: bytes }),
      finish: (size, parts) => client.call('finishInput', { params, body: { size, parts: [...parts] } }),
    });
  }
}
