/** A verdict: named steps in order, each pass, fail or unreached, with the reason. Bad evidence is a failed step, never an exception. */

export type StepState = 'pass' | 'fail' | 'unreached';

export interface VerdictStep {
  readonly name: string;
  readonly state: StepState;
  readonly detail: string;
}

export interface Verdict {
  readonly schema: 'lockstep-verdict/v1';
  readonly ok: boolean;
  readonly steps: readonly VerdictStep[];
  /** What a reader should know although nothing failed: unpinned environment, one builder, … */
  readonly notes: readonly string[];
}

export class VerdictBuilder {
  private readonly steps: VerdictStep[] = [];
  private readonly notes: string[] = [];
  private readonly names: readonly string[];

  /** @param names every step that there will be, in order; what a failure keeps from being reached is listed all the same */
  constructor(names: readonly string[]) {
    this.names = names;
  }

  pass(name: string, detail: string): void {
    this.steps.push({ name, state: 'pass', detail });
  }

  fail(name: string, detail: string): Verdict {
    this.steps.push({ name, state: 'fail', detail });
    return this.done();
  }

  note(text: string): void {
    this.notes.push(text);
  }

  done(): Verdict {
    const seen = new Set(this.steps.map((step) => step.name));
    const unreached = this.names.filter((name) => !seen.has(name)).map((name) => ({ name, state: 'unreached' as const, detail: '' }));
    const steps = [...this.steps, ...unreached];
    return { schema: 'lockstep-verdict/v1', ok: steps.every((step) => step.state === 'pass'), steps, notes: this.notes };
  }
}
