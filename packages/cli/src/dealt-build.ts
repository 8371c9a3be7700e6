/** A build under the conditions that an opening dealt to this builder. */
import type { AttestedBuild } from '@lockstep/builder/build/build';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import type { Context } from '@lockstep/builder/context';
import { buildDealt } from '@lockstep/builder/vary/dealt';
import { buildId, type Definition } from '@lockstep/protocol/definition/definition';
import { OPENING } from '@lockstep/protocol/commitment/documents';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { isTable } from '@lockstep/protocol/decode/decode';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { readNamedFile } from './read-file.ts';

/** @param file the opening, as "lockstep quorum open --json" printed it or as the log has it */
export function buildForRound(context: Context, definition: Definition, file: string): Promise<AttestedBuild> {
  const json = parseJson(readNamedFile(file), file);
  const decoded = OPENING.decode(isTable(json) && json['opening'] !== undefined ? json['opening'] : json, []);
  if (!decoded.ok) throw issueError('DOCUMENT_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
  const opening = decoded.value;
  const id = buildId(definition);
  if (opening.build_id !== id)
    throw new LockstepError(
      'ROUND_REFUSED',
      `The round is about build ${opening.build_id}, and this is ${id}`,
      'Lock the same definition: the same manifest and the same lock.',
    );
  const key = openAttestationKey(context.settings.keyFile).id;
  const own = opening.roster.find((one) => one.key === key);
  if (own === undefined)
    throw new LockstepError(
      'ROUND_REFUSED',
      'This builder is not on the roster of the round',
      'Set LOCKSTEP_KEY to the key that the policy lists.',
    );
  return buildDealt(context, definition, own.ambient);
}
