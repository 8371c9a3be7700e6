/** A stream cut into pieces of `size` bytes, the last one shorter: what is held is one piece. */
export async function* piecesOf(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  let piece = Buffer.allocUnsafe(size);
  let filled = 0;
  for await (const chunk of source)
    for (let done = 0; done < chunk.length; ) {
      const take = Math.min(size - filled, chunk.length - done);
      piece.set(chunk.subarray(done, done + take), filled);
      filled += take;
      done += take;
      if (filled === size) {
        yield piece;
        piece = Buffer.allocUnsafe(size);
        filled = 0;
      }
    }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** For what is known to be small. */
export async function wholeOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
