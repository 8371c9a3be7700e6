/** The time that the two ends of a line go by: how long nothing came, never what day it is. */
export interface Clock {
  /** Milliseconds since any fixed moment; never goes back. */
  now(): number;
  /** @returns ends it */
  every(milliseconds: number, act: () => void): () => void;
}

export const MONOTONIC: Clock = {
  now: () => performance.now(),
  every: (milliseconds, act) => {
    const timer = setInterval(act, milliseconds);
    return () => clearInterval(timer);
  },
};
