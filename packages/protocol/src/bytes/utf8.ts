const encoder = new TextEncoder();

export function toUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text, or null when the bytes are not well-formed UTF-8. A byte order mark is kept, so that it cannot hide. */
export function fromUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Whether every surrogate is half of a pair: what is not has no UTF-8 and therefore no canonical bytes. */
export function isWellFormed(text: string): boolean {
  return text.isWellFormed();
}
