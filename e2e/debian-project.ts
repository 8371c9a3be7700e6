/** A C program that is built in a locked Debian environment. */
import { project } from './lockstep.ts';

const SOURCE = { 'hello.c': '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' };

export const debianProject = (): string =>
  project({
    environment: 'kind = "debian"\nsuite = "host"\npackages = ["gcc", "libc6-dev"]',
    steps: ['gcc -O2 -o out hello.c', './out', 'dpkg-query -W > /tmp/packages; test -s /tmp/packages; test ! -e /etc/machine-id'],
    resources: 'memory_mb = 512\nscratch_mb = 512',
    files: SOURCE,
  });
