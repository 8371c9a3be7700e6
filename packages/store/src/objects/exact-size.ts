/** A stream of bytes that has as many as were promised, or fails. Neither more than one chunk is held, nor a byte too many passed on. */
export async function* exactSize(
  source: AsyncIterable<unknown>,
  size: number,
  wrong: (seen: number) => Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  let seen = 0;
  for await (const chunk of source) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (!(bytes instanceof Uint8Array)) throw new TypeError('a stream of bytes was expected');
    seen += bytes.length;
    if (seen > size) throw wrong(seen);
    yield bytes;
  }
  if (seen !== size) throw wrong(seen);
}
