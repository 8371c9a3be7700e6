/** Asks nodes and groups of holders for their signatures, and checks each against the key that it says it is of. */
import { randomBytes } from 'node:crypto';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyFromPem, anyKeyToPem, verifySignature } from '@lockstep/protocol/key/any-key';
import type { PlannedSignature } from '@lockstep/protocol/signing/plan';
import type { MadeSignature, SigningRecord } from '@lockstep/protocol/signing/record';
import { parseRequest } from '@lockstep/protocol/signing/request';
import { frostKey } from '@lockstep/signer/frost/frost-key';
import type { NodeKey } from '@lockstep/signer/frost/identity';
import type { Cells } from '@lockstep/store/cells';
import { readAnswer } from '../signer/answer.ts';
import { noteCheckpoint } from '../signer/known-checkpoints.ts';
import { type LineOptions, type LineTo, lineTo } from '../signer/line-to.ts';
import type { NodeCard } from '../signer/node-card.ts';
import type { Approver } from './group-card.ts';
import { noteSizes } from './seen-sizes.ts';

export interface AskedNode {
  readonly name: string;
  readonly record: SigningRecord;
}

export interface AskParts {
  readonly request: Uint8Array;
  readonly plan: readonly PlannedSignature[];
  readonly cells: Cells;
  readonly line: LineOptions;
  /** What holders of shares know this requester by. */
  readonly coordinator: NodeKey;
}

export interface Asked {
  readonly signatures: readonly MadeSignature[];
  readonly nodes: readonly AskedNode[];
}

/** @throws LockstepError SIGNING_REFUSED with the step, LINK_FAILED, CUSTODY_FAILED, VERIFICATION_FAILED */
export async function askApprover({ node, group }: Approver, parts: AskParts): Promise<Asked> {
  if (node !== null) {
    const line = lineTo(node, parts.line);
    try {
      const asked = await askNode(line, parts);
      requireSigned(asked);
      return { signatures: checked(asked.record.signatures, parts.plan), nodes: [asked] };
    } finally {
      await line.close();
    }
  }
  return group === null ? { signatures: [], nodes: [] } : askGroup(group, parts);
}

async function askNode(line: LineTo, { request, cells }: Pick<AskParts, 'request' | 'cells'>): Promise<AskedNode> {
  return takeAnswer(await line.ask(request), line.card, request, cells);
}

/** Remembers where the node’s log stood: the next request says it. */
export function takeAnswer(answer: Uint8Array, card: NodeCard, request: Uint8Array, cells: Cells): AskedNode {
  const { record, checkpoint } = readAnswer(answer, card, request);
  // A copy that has found itself to be older speaks of a log that the true node does not go on from.
  if (isRolledBack(record)) return { name: card.name, record };
  noteCheckpoint(cells, card, checkpoint, parseRequest(request).nodes[card.name] ?? null);
  noteSizes(cells, card, record);
  return { name: card.name, record };
}

export function requireSigned({ name, record }: AskedNode): void {
  if (record.result === 'signed') return;
  throw new LockstepError(
    isRolledBack(record) ? 'SIGNER_ROLLED_BACK' : 'SIGNING_REFUSED',
    `${name} refuses at the step "${record.step}": ${record.reason}`,
    'It is in the node’s own log. Correct what it names, and ask with a new request.',
    { reason: record.step },
  );
}

function isRolledBack({ result, step, reason }: SigningRecord): boolean {
  return result === 'refused' && step === 'memory' && reason.startsWith('SIGNER_ROLLED_BACK');
}

async function askGroup({ group, holders }: NonNullable<Approver['group']>, parts: AskParts): Promise<Asked> {
  // A group's card is often made by somebody else: this machine's token goes to the farm that it was told of, and to no other.
  const foreign = holders.find((card) => card.via?.startsWith('farm:') === true && card.via.slice('farm:'.length) !== parts.line.farm);
  if (foreign !== undefined)
    throw new LockstepError(
      'USAGE',
      `The card of the group has ${foreign.name} at ${foreign.via ?? ''}`,
      'If that is your farm, name it too: --farm WHERE.',
    );
  const lines = holders.map((card) => lineTo(card, parts.line));
  try {
    const { keyName, use } = group.ceremony;
    const plan = parts.plan.filter((one) => one.use === use);
    if (plan.some((one) => one.second !== null))
      throw new LockstepError(
        'USAGE',
        'minisign signs twice, the second time its first signature',
        'Give minisign a key of its own in another custody.',
      );
    const key = frostKey({
      group,
      name: keyName,
      use,
      holders: lines.map((line) => ({ name: line.card.name, ask: (message) => line.ask(message) })),
      coordinator: parts.coordinator,
      random: (bytes) => new Uint8Array(randomBytes(bytes)),
      patienceMilliseconds: parts.line.timeoutSeconds * 1000,
    });
    const made = await key.signAll(
      plan.map((one) => one.message),
      parts.request,
    );
    const signatures = plan.map(
      (one, at): MadeSignature => ({
        use: one.use,
        format: one.format,
        file: one.file,
        key: { name: keyName, id: group.publicKey.id, pem: anyKeyToPem(group.publicKey), number: null },
        message: sha256Hex(one.message),
        signature: toBase64(made.signatures[at] ?? new Uint8Array(0)),
        second: null,
      }),
    );
    // What each of them has written down about it, and where its log stands now.
    const nodes: AskedNode[] = [];
    for (const line of lines.filter((one) => made.signers.includes(one.card.name))) nodes.push(await askNode(line, parts));
    return { signatures: checked(signatures, parts.plan), nodes };
  } finally {
    for (const line of lines) await line.close();
  }
}

/** A node may be wrong, or somebody on the line: nothing is passed on that does not verify. */
export function checked(signatures: readonly MadeSignature[], plan: readonly PlannedSignature[]): MadeSignature[] {
  return signatures.map((one) => {
    const planned = plan.find(({ use, file }) => use === one.use && file === one.file);
    const key = anyKeyFromPem(one.key.pem);
    const signature = fromBase64(one.signature) ?? new Uint8Array(0);
    const second = one.second === null ? null : (fromBase64(one.second) ?? new Uint8Array(0));
    const holds =
      planned !== undefined &&
      key.id === one.key.id &&
      verifySignature(key, planned.message, signature) &&
      (planned.second === null ? second === null : second !== null && verifySignature(key, planned.second(signature), second));
    if (!holds)
      throw new LockstepError(
        'VERIFICATION_FAILED',
        `A signature of ${one.key.name} (${one.use} ${one.file ?? ''}) does not verify`,
        'Ask again; if it stays so, look at the node.',
      );
    return one;
  });
}
