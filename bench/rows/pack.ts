/** Row 5: one canonical tar and its digest, of about 500 MB in large, middling and very many small files. */
import { createCipheriv } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { BenchError, type Command, type Contestant, must } from '../measure.ts';
import { silo, type Place } from '../place.ts';

const KINDS = [
  { name: 'small', files: 20_000, bytes: 4_000, perFolder: 100 },
  { name: 'middle', files: 800, bytes: 150_000, perFolder: 40 },
  { name: 'large', files: 10, bytes: 30_000_000, perFolder: 5 },
] as const;

export function packTree(place: Place): Contestant[] {
  const folder = place.folder('pack');
  const tree = `${folder}/tree`;
  makeTree(tree);
  const ours = `${folder}/ours.tar`;
  const theirs = `${folder}/theirs.tar`;
  const gnu = gnuTar(tree, theirs);
  const digest = (JSON.parse(must(silo(['pack', tree, ours]))) as { sha256: string }).sha256;
  if (!must(gnu).includes(digest) || !readFileSync(ours).equals(readFileSync(theirs))) throw new BenchError('the two tars differ');
  rmSync(ours);
  rmSync(theirs);
  return [
    { name: '`lockstep-silo pack`', needs: [], command: () => silo(['pack', tree, ours]), after: () => rmSync(ours, { force: true }) },
    {
      name: '`tar --sort=name …`, tee, `openssl dgst`, sync',
      needs: ['tar', 'openssl'],
      command: () => gnu,
      after: () => rmSync(theirs, { force: true }),
    },
  ];
}

/** The same bytes, written, synced and hashed in one pass. */
function gnuTar(tree: string, file: string): Command {
  const options = '--format=posix --pax-option=delete=atime,delete=ctime --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner';
  const names = readdirSync(tree).sort();
  const script = `tar ${options} -C "$0" -cf - -- "$@" | tee "$FILE" | openssl dgst -sha256; sync "$FILE"`;
  return { argv: ['/bin/sh', '-eu', '-c', script, tree, ...names], env: { FILE: file, LC_ALL: 'C' } };
}

/** Always the same tree; its bytes look random, as those of an archive do. */
function makeTree(tree: string): void {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  for (const kind of KINDS) {
    for (let index = 0; index < kind.files; index++) {
      const folder = `${tree}/${kind.name}/${Math.floor(index / kind.perFolder)}/files`;
      if (index % kind.perFolder === 0) {
        mkdirSync(folder, { recursive: true });
        symlinkSync('files', `${folder}/../link`);
      }
      writeFileSync(`${folder}/${index}.data`, stream.update(Buffer.alloc(kind.bytes)), { mode: index % 10 === 0 ? 0o755 : 0o644 });
    }
  }
}
