/** Several at once, but not more than `limit`; the source is read no faster than they end. The first failure ends it. */
export async function inFlight<T>(
  source: AsyncIterable<T> | Iterable<T>,
  limit: number,
  act: (item: T, at: number) => Promise<void>,
): Promise<void> {
  const flying = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let at = 0;
  try {
    for await (const item of source) {
      const one = act(item, at++)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => flying.delete(one));
      flying.add(one);
      if (flying.size >= limit) await Promise.race(flying);
      if (failures.length > 0) break;
    }
  } finally {
    await Promise.all(flying);
  }
  if (failures.length > 0) throw failures[0];
}
