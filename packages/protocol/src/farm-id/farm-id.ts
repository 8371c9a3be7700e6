/**
 * `farm_id`: chosen by the producer, names the farm and not the build: organisation and generation
 * (`example-build-1`) or organisation and role (`example-build-amd64`).
 */

const FORM = /^[a-z0-9]+(?:[.-][a-z0-9]+)*$/;

export const FARM_ID_FORM = 'lower-case letters and digits in parts joined by "-" or ".", at most 64 characters, such as example-build-1';

export function isFarmId(text: string): boolean {
  return text.length <= 64 && FORM.test(text);
}

const ROLES = [
  'amd64',
  'arm64',
  'x86-64',
  'i386',
  'riscv64',
  'armhf',
  'ppc64el',
  's390x',
  'linux',
  'kernel',
  'images',
  'release',
  'staging',
  'home',
];

/** What people get wrong; advice, not errors. */
export function farmIdWarnings(id: string): string[] {
  const warnings: string[] = [];
  if (/(?:19|20)\d{2}[.-]?(?:0[1-9]|1[0-2])/.test(id))
    warnings.push('farm_id looks as if it holds a date: it names the farm, not the build, and stays the same.');
  else if (
    /[0-9a-f]{7,}/.test(id.replaceAll('-', '')) &&
    /[0-9a-f]*\d[0-9a-f]*/.test(id) &&
    /(?:^|[-.])(?=[0-9a-f]*\d)[0-9a-f]{7,}(?:$|[-.])/.test(id)
  ) {
    warnings.push('farm_id looks as if it holds a hash or a run number: nothing in it may change per build.');
  } else if (/(?:build|run|job|ci)[-.]?\d{3,}$/.test(id))
    warnings.push(
      'farm_id ends in a number that looks like a build counter: the number is the generation of the farm, and rises only when tooling or hosting changes in substance.',
    );
  if (/localhost|\.local$|\.lan$/.test(id)) warnings.push('farm_id names a machine: name the organisation and the role instead.');
  const last = id.split('-').at(-1) ?? '';
  if (!/^\d{1,3}$/.test(last) && !ROLES.some((role) => id.endsWith(role)))
    warnings.push('farm_id has neither a generation (example-build-1) nor a role (example-build-amd64) at its end.');
  return warnings;
}
