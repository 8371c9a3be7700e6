/** Handles one message. What fails is told, and leaves the node as it was: somebody's message must not end it. */

/** @returns null when there is no answer */
export async function answerTo(
  message: Uint8Array,
  handle: (message: Uint8Array) => Promise<Uint8Array>,
  trouble: (text: string) => void,
): Promise<Uint8Array | null> {
  try {
    return await handle(message);
  } catch (error) {
    trouble(`a request could not be answered: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
