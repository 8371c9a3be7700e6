/** A threshold key’s card: the group, and how each holder is reached. No secret: whoever has it can only ask. */
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { list, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { isTable } from '@lockstep/protocol/decode/decode';
import { parseJson } from '@lockstep/protocol/json/parse';
import { decodeGroup, type FrostGroup } from '@lockstep/signer/frost/group';
import { readNamedFile } from '../read-file.ts';
import { decodeCard, type NodeCard } from '../signer/node-card.ts';

const decode = table({
  schema: oneOf(['lockstep-group/v1'] as const),
  group: text('base64', (value) => fromBase64(value) !== null, 2 << 20),
  holders: list(decodeCard, 32, 2),
});
export type GroupCard = TypeOf<typeof decode>;

export interface Approver {
  readonly node: NodeCard | null;
  readonly group: { readonly group: FrostGroup; readonly holders: readonly NodeCard[] } | null;
}

/** @param spec FILE or FILE@VIA, where VIA says how the node is reached from here */
export function readApprover(spec: string): Approver {
  const at = /^(.+?)@((?:local|folder|serial|farm):.+)$/.exec(spec);
  const file = at?.[1] ?? spec;
  const json = parseJson(readNamedFile(file), file);
  if (isTable(json) && json['schema'] === 'lockstep-group/v1') {
    const decoded = decode(json, []);
    if (!decoded.ok) throw issueError('KEY_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
    return {
      node: null,
      group: { group: decodeGroup(fromBase64(decoded.value.group) ?? new Uint8Array(0)), holders: decoded.value.holders },
    };
  }
  const decoded = decodeCard(json, []);
  if (!decoded.ok) throw issueError('KEY_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
  return { node: { ...decoded.value, via: at?.[2] ?? null }, group: null };
}

export function cardsOf(approvers: readonly Approver[]): NodeCard[] {
  const cards = approvers.flatMap(({ node, group }) => (node === null ? (group?.holders ?? []) : [node]));
  const twice = cards.find(
    (one, index) => cards.findIndex((other) => other.name === one.name && other.log !== one.log) !== -1 && index > 0,
  );
  if (twice !== undefined)
    throw new LockstepError('USAGE', `Two nodes are called ${twice.name}`, 'Give each node a name of its own when it is made.');
  return [...new Map(cards.map((one) => [one.name, one])).values()];
}
