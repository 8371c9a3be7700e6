/** A fault that is more than one step: a whole run of a farm with it. */
export interface Scenario {
  readonly name: string;
  /** @param root a folder that is not there yet @throws with what does not hold */
  readonly run: (root: string) => Promise<void>;
  /** What is known not to hold, and why. */
  readonly known?: string;
}
