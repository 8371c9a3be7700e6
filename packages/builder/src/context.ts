/** What every operation of a builder is given: the store, the clock, where progress goes, and the settings. */
import type { Store } from '@lockstep/store/store';
import type { ScratchKind } from './scratch/scratch-kind.ts';

export interface Progress {
  /** Something that takes time begins. Ends with the returned call. */
  start(title: string): ProgressItem;
  note(text: string): void;
  warn(text: string): void;
  /** The last bytes that a failed step printed; shown at the end. */
  tail(bytes: Buffer): void;
}

export interface ProgressItem {
  update(detail: string): void;
  /** Raw bytes that a build printed; whoever shows them makes them harmless. */
  output(bytes: Buffer): void;
  done(detail?: string): void;
  failed(): void;
}

export interface Settings {
  readonly farmId: string;
  readonly runtime: 'runc' | 'crun';
  /** What the scratch of a build lies on. */
  readonly scratch: ScratchKind;
  /** Base URLs of archives with a pool/, tried for packages that the host's archive no longer has. */
  readonly snapshots: readonly string[];
  /** Whether fetching may go to loopback and private addresses. */
  readonly allowPrivate: boolean;
  /** Absolute path of the silo's launcher. */
  readonly silo: string;
  /** Never touch the network: everything comes from the content store. */
  readonly offline: boolean;
  readonly version: string;
  /** The builder's attestation key (ECDSA P-256, PEM). */
  readonly keyFile: string;
}

export interface Context {
  readonly store: Store;
  readonly settings: Settings;
  readonly progress: Progress;
  /** Seconds since 1970. */
  readonly now: () => number;
  readonly cancelled: AbortSignal;
}

/** Run one titled piece of work, so that a failure closes its line too. */
export async function step<T>(context: Context, title: string, work: (item: ProgressItem) => Promise<T> | T): Promise<T> {
  const item = context.progress.start(title);
  try {
    const result = await work(item);
    item.done();
    return result;
  } catch (error) {
    item.failed();
    throw error;
  }
}
