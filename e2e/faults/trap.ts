/** Where a process of a test kills itself: at one named step, once, before the step or after it and before anybody hears of it. */
import type { Json } from '@lockstep/protocol/json/parse';

/**
 * `before`: the call is not made. `within`: a transaction has done its work and is not committed. `after`: the call was
 * made, its answer is lost. `half`: half of the answer arrives.
 */
export type Phase = 'before' | 'within' | 'after' | 'half';

export interface Trap {
  /** @param skip how many times the step is let pass first */
  arm(step: string, phase: Phase, skip: number): void;
  around<T>(steps: readonly string[], work: (within: () => void) => Promise<T>): Promise<T>;
  /** For what happens in one turn. */
  now<T>(steps: readonly string[], work: () => T): T;
  /** Whether the step is to end with half an answer; then whoever sends it calls `die`. */
  isHalf(step: string): boolean;
}

/** As a power cut for this process: nothing is flushed, nobody is told. */
export function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

export function makeTrap(): Trap {
  let armed: { readonly step: string; readonly phase: Phase; skip: number } | null = null;
  const isHit = (steps: readonly string[]): Phase | null => {
    if (armed === null || !steps.includes(armed.step)) return null;
    return armed.skip-- > 0 ? null : armed.phase;
  };
  return {
    arm(step, phase, skip) {
      armed = { step, phase, skip };
    },
    async around(steps, work) {
      const mine = armed;
      const phase = isHit(steps);
      if (phase === 'before') die();
      const result = await work(phase === 'within' ? die : () => undefined);
      // Unless it was disarmed meanwhile.
      if (phase === 'after' && armed === mine) die();
      return result;
    },
    now(steps, work) {
      const phase = isHit(steps);
      if (phase === 'before') die();
      const result = work();
      if (phase === 'after') die();
      return result;
    },
    isHalf: (step) => armed?.phase === 'half' && armed.step === step,
  };
}

/** What a test says to one of its processes. */
export type Order =
  | { readonly order: 'arm'; readonly step: string; readonly phase: Phase; readonly skip: number }
  /** Milliseconds that the clock of the process is ahead. */
  | { readonly order: 'clock'; readonly ahead: number }
  /** Share of calls of the storage that go wrong. */
  | { readonly order: 'storage'; readonly share: number };

export function onOrder(listen: (order: Order) => void): void {
  process.on('message', (message: Json) => listen(message as unknown as Order));
  // Whoever gave the orders is gone.
  process.on('disconnect', () => process.exit(0));
}
