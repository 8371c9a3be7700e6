/** What held and what did not, a line each; what is known not to hold is said plainly, and told when it holds after all. */

export interface Report {
  /** @returns whether it failed */
  run(name: string, known: string | null, work: () => Promise<void>, where: () => string): Promise<boolean>;
  /** @returns whether nothing failed that is not known to */
  end(): boolean;
}

export function makeReport(write: (line: string) => void): Report {
  let held = 0;
  const failed: string[] = [];
  const known: string[] = [];
  const mended: string[] = [];
  return {
    async run(name, reason, work, where) {
      const began = performance.now();
      const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;
      try {
        await work();
        held++;
        if (reason !== null) mended.push(name);
        write(`ok      ${name} (${seconds()})${reason === null ? '' : ' – was known not to hold: take it off the list'}`);
        return false;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (reason === null) failed.push(`${name}: ${message}`);
        else known.push(`${name}: ${reason}`);
        write(`${reason === null ? 'FAILED ' : 'known  '} ${name} (${seconds()}): ${reason ?? `${message}\n        ${where()}`}`);
        return true;
      }
    },
    end() {
      write(`\n${held} cases held, ${known.length} are known not to, ${failed.length} failed`);
      for (const one of known) write(`known not to hold: ${one}`);
      for (const one of mended) write(`holds by now: ${one}`);
      for (const one of failed) write(`FAILED: ${one}`);
      return failed.length === 0;
    },
  };
}
