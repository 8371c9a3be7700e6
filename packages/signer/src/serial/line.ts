/** What carries bytes between a host and a node: a tty, or two ends in one process. Loses, changes and doubles what it likes. */
export interface Line {
  /** Resolves when there is room for more; so nothing is piled up in front of a slow line. Rejects when the line is gone. */
  write(bytes: Uint8Array): Promise<void>;
  /** @returns stops listening */
  onData(listener: (bytes: Uint8Array) => void): () => void;
  /** Called once, with the reason, when the line is gone; at once when it is gone already. @returns stops listening */
  onEnd(listener: (reason: string) => void): () => void;
  close(): Promise<void>;
}
