/** Many small operations on a storage that answers late, a few of them at once. */

/** Enough to hide what a bucket takes to answer; fewer than the connections that its client keeps (50), which others need too. */
export const FILES_AT_ONCE = 32;

/**
 * At most `limit` under way at once, begun in their order. After a failure no other is begun.
 * @throws the first failure, once nothing is under way any more
 */
export async function eachAtMost<T>(limit: number, items: Iterable<T>, act: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      if (failures.length > 0) return;
      try {
        await act(next.value);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, work));
  if (failures.length > 0) throw failures[0];
}
