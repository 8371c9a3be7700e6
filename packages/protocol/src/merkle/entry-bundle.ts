/** C2SP tlog-tiles "Log entries": big-endian 16-bit lengths, each followed by its entry. */

/** What 16 bits can say. */
export const MAX_ENTRY_BYTES = 65_535;

export function formatEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw new TypeError('an entry has at most 65,535 bytes');
    out[at] = Math.floor(entry.length / 256);
    out[at + 1] = entry.length % 256;
    out.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return out;
}

/** null unless there are exactly `count` entries and nothing after them. */
export function parseEntryBundle(bytes: Uint8Array, count: number): Uint8Array[] | null {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (entries.length === count || at + 2 > bytes.length) return null;
    const length = (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    at += 2;
    if (at + length > bytes.length) return null;
    entries.push(bytes.slice(at, at + length));
    at += length;
  }
  return entries.length === count ? entries : null;
}
