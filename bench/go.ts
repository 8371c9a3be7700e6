/** Go's transparency log library, as Debian has it, at the same work. */
import { existsSync, writeFileSync } from 'node:fs';
import { must } from './measure.ts';
import { findProgram } from './place.ts';
import type { ProofTimes, WrittenProofs } from './proof-times.ts';

const GOPATH = '/usr/share/gocode';

export interface GoTimes extends ProofTimes {
  /** Leaves per second added to a tree in memory. */
  readonly growth: number;
  /** Of that tree, in base64. */
  readonly root: string;
}

/** @returns what times it in a new process; null when there is no Go or no golang-golang-x-mod-dev */
export function goTimes(folder: string, written: WrittenProofs, leaves: number): (() => GoTimes) | null {
  if (findProgram('go') === null || !existsSync(`${GOPATH}/src/golang.org/x/mod/sumdb/tlog/tlog.go`)) return null;
  const program = `${folder}/go-tlog`;
  must({
    argv: ['go', 'build', '-o', program, `${import.meta.dirname}/go-tlog/main.go`],
    cwd: folder,
    env: { GO111MODULE: 'off', GOPATH, GOFLAGS: '', GOCACHE: `${folder}/go-cache` },
  });
  writeFileSync(`${folder}/proofs.json`, JSON.stringify(written));
  return () => JSON.parse(must({ argv: [program, `${folder}/proofs.json`, String(leaves)] })) as GoTimes;
}
