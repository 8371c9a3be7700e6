/** What a request comes to, as data: the signatures that are to be made, or the step that it fails at. */
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import type { ReleaseRecord } from '@lockstep/protocol/release/release-record';
import type { PlannedSignature } from '@lockstep/protocol/signing/plan';
import type { KeyRequest, TufRequest } from '@lockstep/protocol/signing/request';
import type { Learned, SigningRecord } from '@lockstep/protocol/signing/record';
import type { VerdictStep } from '@lockstep/protocol/verdict/verdict';
import type { Memory } from './memory.ts';

export interface Judged {
  readonly about: string;
  readonly steps: readonly VerdictStep[];
  /** null: to be signed. */
  readonly refused: { readonly step: string; readonly reason: string } | null;
  readonly plan: readonly PlannedSignature[];
  /** What a person is shown. */
  readonly shown: string;
  /** Nothing but a person can say whether it is meant: there is no evidence that the node could check. */
  readonly needsPerson: boolean;
  /** Seconds since 1970. */
  readonly now: number;
  readonly release: ReleaseRecord | null;
  readonly tuf: SigningRecord['tuf'];
  readonly learned: Learned | null;
}

export interface JudgeInput {
  readonly memory: Memory;
  /** The root that the node pins. */
  readonly root: Uint8Array;
  readonly lines: readonly string[];
  /** The keys that the node holds. */
  readonly keys: readonly { readonly use: KeyUse; readonly public: AnyKey }[];
  /** Seconds since 1970: the later of its own clock and what it has seen. */
  readonly now: number;
}

export function usesOf(input: JudgeInput): KeyUse[] {
  return input.keys.map((key) => key.use);
}

export function refusal(about: string, step: string, reason: string, now: number): Judged {
  return {
    about,
    steps: [],
    refused: { step, reason },
    plan: [],
    shown: '',
    needsPerson: false,
    now,
    release: null,
    tuf: null,
    learned: null,
  };
}

/** Why the bytes of a document that carries no evidence are not what was asked for; null when they are. */
export function differs(plan: readonly PlannedSignature[], request: KeyRequest | TufRequest): string | null {
  if (plan.length === 0) return 'this node has no key for it';
  for (const { use, message } of plan) {
    const asked = request.expected.filter((one) => one.use === use);
    const bytes = fromBase64(asked[0]?.bytes ?? '');
    if (asked.length !== 1 || bytes === null || !sameHash(bytes, message))
      return `${use}: the bytes that were handed in are not those of the document`;
  }
  return null;
}
