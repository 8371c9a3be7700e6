/** Every process that a row leaves running: a signal to the benchmark ends them too, each by its own id. */
import type { ChildProcess } from 'node:child_process';

const running = new Set<ChildProcess>();

export function tracked<T extends ChildProcess>(child: T): T {
  running.add(child);
  const gone = (): void => void running.delete(child);
  child.once('exit', gone);
  child.once('error', gone);
  return child;
}

export function endChildren(signal: 'SIGTERM' | 'SIGKILL'): void {
  for (const child of running) child.kill(signal);
}
