/** What a prepared environment is kept under: the lock's part that it is made from. */
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { LockedEnvironment } from '@lockstep/protocol/lock/lock';

/** How the assembly works: raised when the same packages would give another tree. */
const ASSEMBLY = 1;

export function environmentKey(environment: LockedEnvironment): Sha256 {
  return sha256Hex(canonicalBytes(JSON.parse(JSON.stringify({ assembly: ASSEMBLY, environment })) as Json));
}
