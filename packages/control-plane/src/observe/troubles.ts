/** What goes wrong again and again in this process, until it goes right: for `farm status` and /v1/ready. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export interface Trouble {
  readonly of: string;
  /** Its code, for those who need not know more. */
  readonly code: string;
  readonly message: string;
}

export interface Troubles {
  note(of: string, error: unknown): void;
  clear(of: string): void;
  list(): readonly Trouble[];
}

export function makeTroubles(): Troubles {
  const now = new Map<string, Trouble>();
  return {
    note: (of, error) =>
      void now.set(of, {
        of,
        code: error instanceof LockstepError ? error.code : 'failed',
        message: error instanceof Error ? error.message : String(error),
      }),
    clear: (of) => void now.delete(of),
    list: () => [...now.values()],
  };
}
