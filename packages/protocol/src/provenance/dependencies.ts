/** `resolvedDependencies`: every input of a definition with its digest, derived from the lock, so that a verifier can derive it too. */
import type { Definition } from '../definition/definition.ts';
import type { Lock, LockedFile, LockedPackage } from '../lock/lock.ts';
import { formatPackageUrl } from '../source-ref/package-url.ts';
import type { Dependency } from '../statement/statement.ts';

export function dependenciesOf(definition: Definition): Dependency[] {
  const { lock } = definition;
  return [...sourceDependencies(lock), ...environmentDependencies(lock), ...lock.inputs.map((file) => fileDependency('input', file))];
}

function sourceDependencies(lock: Lock): Dependency[] {
  const files = lock.source.files.map((file) => fileDependency('source', file));
  const { git } = lock.source;
  if (git === null) return files;
  const digest: Record<string, string> = { gitCommit: git.commit, gitTree: git.tree, ...(git.tag === null ? {} : { gitTag: git.tag }) };
  return [{ name: 'source', uri: lock.source.ref, digest }, ...files];
}

function fileDependency(role: string, file: LockedFile): Dependency {
  return {
    name: `${role}:${file.to}`,
    uri: file.uri,
    digest: { sha256: file.sha256, ...(file.fetched === null ? {} : fetchedDigest(file.fetched)) },
  };
}

/** The stored tar is named by sha256; what was fetched keeps its own digest beside it. */
function fetchedDigest(fetched: { algorithm: string; digest: string }): Record<string, string> {
  return { [fetched.algorithm === 'sha256' ? 'fetchedSha256' : fetched.algorithm]: fetched.digest };
}

function environmentDependencies(lock: Lock): Dependency[] {
  const { environment } = lock;
  if (environment.kind === 'rootfs') return [{ name: 'environment', uri: environment.uri, digest: { sha256: environment.sha256 } }];
  if (environment.kind === 'host') return [];
  return environment.packages.map((one) => ({
    name: `environment:${one.name}:${one.architecture}`,
    uri: packageUri(environment.distribution, one),
    digest: { sha256: one.sha256 },
  }));
}

export function packageUri(distribution: string, one: LockedPackage): string {
  return formatPackageUrl({
    type: 'deb',
    namespace: distribution,
    name: one.name,
    version: one.version,
    qualifiers: { arch: one.architecture },
  });
}
