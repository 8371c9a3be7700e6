/** Inputs that nobody can fetch but whoever has them: a directory, a local root file system, files that the program made. */
import { parsePackageUrl } from '../source-ref/package-url.ts';
import { isProblem, parseSourceRef } from '../source-ref/source-ref.ts';
import type { Definition } from './definition.ts';

export interface CarriedInput {
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** Each digest once. */
export function carriedInputs({ lock }: Definition): CarriedInput[] {
  const files = [...lock.source.files, ...lock.inputs].filter((file) => !isFetched(file.uri));
  const { environment } = lock;
  const rootfs = environment.kind === 'rootfs' && !environment.uri.startsWith('https://') ? [environment] : [];
  return [...new Map([...files, ...rootfs].map(({ sha256, size }) => [sha256, { sha256, size }])).values()];
}

/** Whether a builder can get it from where the lock says it comes from. */
function isFetched(uri: string): boolean {
  if (uri.startsWith('https://')) return true;
  const purl = parsePackageUrl(uri);
  if (purl !== null) return purl.type === 'npm' || purl.type === 'deb';
  const source = parseSourceRef(uri);
  return !isProblem(source) && source.kind === 'git';
}
