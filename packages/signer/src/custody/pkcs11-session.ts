/** A logged-in session with one token, found by its label, and the keys in it. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import type { Handle, Template } from 'pkcs11js';
import { algorithmOfParams, keyOfPoint } from './pkcs11-encoding.ts';
import { codeOf, custodyError, type Pkcs11Module } from './pkcs11-module.ts';

/** Taken over and wiped; only the string that the library wants stays until it is collected. */
export type AskPin = () => Promise<Uint8Array>;

export interface TokenSession {
  readonly module: Pkcs11Module;
  readonly handle: Handle;
  /** Of which start of the library the handle is. */
  readonly start: number;
}

/** A signing node has a handful; a token with more is searched by label only. */
const MAX_OBJECTS = 256;

/**
 * A process that is logged in already stays so: the library then does not look at the PIN.
 * @throws LockstepError CUSTODY_FAILED, PASSPHRASE_WRONG
 */
export async function openSession(module: Pkcs11Module, tokenLabel: string, pin: AskPin): Promise<TokenSession> {
  const { library, api } = module;
  let handle: Handle | null = null;
  try {
    handle = library.C_OpenSession(slotOf(module, tokenLabel), api.CKF_SERIAL_SESSION | api.CKF_RW_SESSION);
    await logIn(module, handle, pin);
    return { module, handle, start: module.starts };
  } catch (error) {
    if (handle !== null) closeSession({ module, handle, start: module.starts });
    throw custodyError(module, error);
  }
}

async function logIn({ library, api }: Pkcs11Module, session: Handle, ask: AskPin): Promise<void> {
  const secret = Buffer.from(await ask());
  const pin = secret.toString('utf8');
  secret.fill(0);
  // The library binding cuts nothing off, but a token that has no PIN pad would take an empty one as "none".
  if (pin === '') throw new LockstepError('PASSPHRASE_WRONG', 'No PIN was given', 'Give the PIN of the token’s user.');
  try {
    library.C_Login(session, api.CKU_USER, pin);
  } catch (error) {
    if (codeOf(error) !== api.CKR_USER_ALREADY_LOGGED_IN) throw error;
  }
}

/** The session may be gone already, with its token. */
export function closeSession({ module, handle, start }: TokenSession): void {
  if (start !== module.starts) return;
  try {
    module.library.C_CloseSession(handle);
  } catch {
    // Nothing is left to close.
  }
}

function slotOf({ library, path }: Pkcs11Module, label: string): Handle {
  const found: Handle[] = [];
  const labels: string[] = [];
  for (const slot of library.C_GetSlotList(true)) {
    // Padded with blanks to 32 bytes (PKCS#11 section 3.2).
    const name = library.C_GetTokenInfo(slot).label.trimEnd();
    labels.push(JSON.stringify(name));
    if (name === label) found.push(slot);
  }
  const [slot, second] = found;
  if (slot !== undefined && second === undefined) return slot;
  throw new LockstepError(
    'CUSTODY_FAILED',
    second === undefined ? `${path} has no token ${JSON.stringify(label)}` : `${path} has several tokens ${JSON.stringify(label)}`,
    second === undefined ? `Its tokens: ${labels.join(', ') || 'none'}.` : 'Give each token a label of its own.',
  );
}

export interface TokenKey {
  readonly label: string;
  readonly id: Buffer;
  /** null: an algorithm that is not signed with here, or no public key beside it in the token. */
  readonly public: AnyKey | null;
  /** Sensitive and not extractable: it can be used, and never read. */
  readonly stays: boolean;
  readonly handle: Handle;
}

/** The private keys, or those with the label. @throws what the library throws */
export function keysIn(session: TokenSession, label: string | null): readonly TokenKey[] {
  const { api } = session.module;
  const named: Template = label === null ? [] : [{ type: api.CKA_LABEL, value: label }];
  return find(session, [{ type: api.CKA_CLASS, value: api.CKO_PRIVATE_KEY }, ...named]).map((handle) => {
    const read = (type: number): Buffer => attribute(session, handle, type) ?? Buffer.alloc(0);
    const id = read(api.CKA_ID);
    return {
      label: read(api.CKA_LABEL).toString('utf8'),
      id,
      public: publicKeyBeside(session, id, read(api.CKA_LABEL)),
      stays: read(api.CKA_SENSITIVE)[0] === 1 && read(api.CKA_EXTRACTABLE)[0] === 0,
      handle,
    };
  });
}

function publicKeyBeside(session: TokenSession, id: Buffer, label: Buffer): AnyKey | null {
  const { api } = session.module;
  const [handle, second] = find(session, [
    { type: api.CKA_CLASS, value: api.CKO_PUBLIC_KEY },
    { type: api.CKA_ID, value: id },
    { type: api.CKA_LABEL, value: label },
  ]);
  if (handle === undefined || second !== undefined) return null;
  const algorithm = algorithmOfParams(attribute(session, handle, api.CKA_EC_PARAMS) ?? Buffer.alloc(0));
  const point = attribute(session, handle, api.CKA_EC_POINT);
  return algorithm === null || point === null ? null : keyOfPoint(algorithm, point);
}

function find({ module: { library }, handle }: TokenSession, template: Template): readonly Handle[] {
  library.C_FindObjectsInit(handle, template);
  try {
    return library.C_FindObjects(handle, MAX_OBJECTS);
  } finally {
    library.C_FindObjectsFinal(handle);
  }
}

/** null when the object has none: an RSA key has no curve. */
function attribute({ module: { library, api }, handle }: TokenSession, object: Handle, type: number): Buffer | null {
  try {
    return library.C_GetAttributeValue(handle, object, [{ type }])[0]?.value ?? null;
  } catch (error) {
    const none: readonly number[] = [api.CKR_ATTRIBUTE_TYPE_INVALID, api.CKR_ATTRIBUTE_SENSITIVE];
    if (none.includes(codeOf(error))) return null;
    throw error;
  }
}
