/** What the parts of the demo are given. */
export interface DemoTools {
  readonly cli: string;
  readonly folder: string;
  /** The store of the demo: what is prepared there need not be prepared again. */
  readonly store: string;
  /** Runs lockstep, shows it, and returns what it printed. */
  readonly lockstep: (args: readonly string[], expected?: number, env?: Readonly<Record<string, string>>) => string;
  readonly heading: (text: string) => void;
}
