/**
 * Which of two versions is the newer: the order of Debian policy section 5.6.12 (digits by value, "~" before everything,
 * letters before other signs), since it also orders what other ecosystems write. Not Semantic Versioning: there a
 * pre-release is told by "-", which is part of many version names.
 */

/** Below 0 when `a` is older, above 0 when it is newer, 0 when neither goes before the other. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [splitVersion(a), splitVersion(b)];
  if (left.epoch !== right.epoch) return left.epoch < right.epoch ? -1 : 1;
  return comparePart(left.upstream, right.upstream) || comparePart(left.revision, right.revision);
}

function splitVersion(text: string): { epoch: bigint; upstream: string; revision: string } {
  const colon = /^([0-9]{1,18}):/.exec(text);
  const rest = colon === null ? text : text.slice(colon[0].length);
  const dash = rest.lastIndexOf('-');
  return {
    epoch: BigInt(colon?.[1] ?? '0'),
    upstream: dash === -1 ? rest : rest.slice(0, dash),
    revision: dash === -1 ? '' : rest.slice(dash + 1),
  };
}

function comparePart(a: string, b: string): number {
  let [left, right] = [a, b];
  while (left !== '' || right !== '') {
    const words = [/^[^0-9]*/.exec(left)?.[0] ?? '', /^[^0-9]*/.exec(right)?.[0] ?? ''] as const;
    for (let at = 0; at < Math.max(words[0].length, words[1].length); at++) {
      const difference = weight(words[0].charAt(at)) - weight(words[1].charAt(at));
      if (difference !== 0) return difference;
    }
    [left, right] = [left.slice(words[0].length), right.slice(words[1].length)];
    const digits = [/^[0-9]*/.exec(left)?.[0] ?? '', /^[0-9]*/.exec(right)?.[0] ?? ''] as const;
    const [one, other] = [digits[0].replace(/^0+/, ''), digits[1].replace(/^0+/, '')];
    if (one.length !== other.length) return one.length - other.length;
    if (one !== other) return one < other ? -1 : 1;
    [left, right] = [left.slice(digits[0].length), right.slice(digits[1].length)];
  }
  return 0;
}

/** "~" before the end of the text, the end before letters, letters before all others. */
function weight(character: string): number {
  if (character === '~') return -1;
  if (character === '') return 0;
  const code = character.charCodeAt(0);
  return /[A-Za-z]/.test(character) ? code : code + 0x10_000;
}
