/** One signing session with chosen holders, as the coordinator sees it: ask all to commit, ask all for shares, add up. */
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import type { Participant } from './ceremony.ts';
import { type Answer, askAll, type Fault, faultOf, type HolderChannel, type Signer, wrong } from './ask-holders.ts';
import type { FrostGroup } from './group.ts';
import type { NodeKey } from './identity.ts';
import type { Random } from './seal.ts';
import { hexBytes, parsePoint } from './point.ts';
import { commitmentList, readCommitments, type SignerCommitments } from './session-commitments.ts';
import { SESSION, SHARES, SHARING } from './session-documents.ts';
import { hear, say } from './signed-message.ts';

/** What a coordinator has. */
export interface Coordination {
  readonly group: FrostGroup;
  /** What the holders know the coordinator by. */
  readonly coordinator: NodeKey;
  readonly random: Random;
  /** How long a holder may take for one answer: long enough for its check, and for a person if it asks one. */
  readonly patienceMilliseconds: number;
}

export type SessionResult =
  | { readonly ok: true; readonly signatures: readonly Uint8Array[] }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** @param request in base64 */
export async function runSession(
  options: Coordination,
  chosen: readonly HolderChannel[],
  messages: readonly Uint8Array[],
  request: string,
): Promise<SessionResult> {
  const { group, coordinator, random } = options;
  const signers = group.ceremony.participants.flatMap((participant) => {
    const channel = chosen.find((one) => one.name === participant.name);
    return channel === undefined ? [] : [{ channel, participant }];
  });
  const opening = await say(coordinator, SESSION, {
    schema: 'lockstep-frost-session/v1',
    ceremony: group.ceremony.id,
    signers: signers.map((one) => one.participant.name),
    nonce: toHex(random(32)),
    request,
  });
  const heard = hear(SESSION, opening, [{ name: 'the coordinator', nodeKey: coordinator.public }]);
  if (!heard.ok) throw new TypeError('the coordinator’s key does not sign what it verifies');
  const session = heard.said.digest;
  const digests = messages.map(sha256Hex);

  const first = await askAll(
    options.patienceMilliseconds,
    signers,
    opening,
    session,
    (signer, answer): Answer<{ all: SignerCommitments; text: string }> => {
      const read = readCommitments(answer, session, [signer.participant], digests);
      const text = fromUtf8(answer);
      if (!read.ok || text === null) return wrong(signer, read.ok ? 'its answer is not UTF-8' : `its commitment ${read.why}`);
      // noble would refuse them later, of all signers at once: here it is known whose they are.
      if (!read.commitments.pairs.every((one) => parsePoint(one.hiding) !== null && parsePoint(one.binding) !== null))
        return wrong(signer, 'its commitments are no points');
      return { value: { all: read.commitments, text } };
    },
  );
  if (!first.ok) return first;

  const sharing = await say(coordinator, SHARING, {
    schema: 'lockstep-frost-sharing/v1',
    session,
    commitments: first.values.map((one) => one.text),
  });
  const second = await askAll(options.patienceMilliseconds, signers, sharing, session, (signer, answer): Answer<readonly Uint8Array[]> => {
    const said = hear(SHARES, answer, [signer.participant]);
    if (!said.ok) return wrong(signer, `its answer ${said.why}`);
    const { value } = said.said;
    if (value.session !== session || value.from !== signer.participant.name || value.shares.length !== messages.length)
      return wrong(signer, 'its shares are of another session');
    return { value: value.shares.map(hexBytes) };
  });
  if (!second.ok) return second;
  const commitments = first.values.map((one) => one.all);
  return addUp(options, signers, messages, commitments, second.values);
}

/** The signature is held against the public key; only when it is wrong is each share, to say whose it was. */
function addUp(
  { group }: Coordination,
  signers: readonly Signer[],
  messages: readonly Uint8Array[],
  commitments: readonly SignerCommitments[],
  shares: readonly (readonly Uint8Array[])[],
): SessionResult {
  const signatures: Uint8Array[] = [];
  for (const [index, message] of messages.entries()) {
    const list = commitmentList(commitments, index);
    const shareOf = signers.map(({ participant }, at) => ({
      participant,
      share: Uint8Array.from(shares[at]?.[index] ?? new Uint8Array()),
    }));
    const byId = Object.fromEntries(shareOf.map(({ participant, share }) => [participant.identifier, share]));
    try {
      const signature = ed25519_FROST.aggregate(group.package, list, message, byId);
      if (verifySignature(group.publicKey, message, signature)) {
        signatures.push(signature);
        continue;
      }
    } catch {
      // Whose fault it was is found below.
    }
    const bad = shareOf.filter(({ participant, share }) => !shareIsGood(group.package, list, message, participant, share));
    return { ok: false, faults: bad.map(({ participant }) => faultOf(participant.name, 'its share is wrong')) };
  }
  return { ok: true, signatures };
}

function shareIsGood(
  group: FrostGroup['package'],
  list: ReturnType<typeof commitmentList>,
  message: Uint8Array,
  { identifier }: Participant,
  share: Uint8Array,
): boolean {
  try {
    return ed25519_FROST.verifyShare(group, list, message, identifier, share);
  } catch {
    return false;
  }
}
