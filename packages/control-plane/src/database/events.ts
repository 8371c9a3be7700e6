/** "Something has changed", said to every replica: what is said many times within a few milliseconds is said once. */

export interface Events {
  notify(what: string): void;
  /** What was said, here or by another replica. */
  deliver(what: string): void;
  onNotify(listener: (what: string) => void): () => void;
  close(): void;
}

/** Milliseconds. */
const TOGETHER = 2;

/** @param send to everybody, this process too: it ends in `deliver` */
export function events(send: (messages: readonly string[]) => void): Events {
  const listeners = new Set<(what: string) => void>();
  let waiting = new Set<string>();
  let timer: NodeJS.Timeout | null = null;
  return {
    notify(what) {
      waiting.add(what);
      timer ??= setTimeout(() => {
        timer = null;
        const messages = [...waiting];
        waiting = new Set();
        send(messages);
      }, TOGETHER);
    },
    deliver(what) {
      for (const listener of [...listeners]) listener(what);
    },
    onNotify(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      if (timer !== null) clearTimeout(timer);
    },
  };
}
