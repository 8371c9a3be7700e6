/** PKCS#11 (OASIS, 2.40 and 3.0) libraries: loaded when a key asks for one, and what their answers mean here. */
import { isAbsolute } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type * as Pkcs11js from 'pkcs11js';

/** Sessions are used from Node's threads. */
const CKF_OS_LOCKING_OK = 2;

/** Owns a loaded library. */
export class Pkcs11Module {
  readonly path: string;
  readonly api: typeof Pkcs11js;
  readonly library: Pkcs11js.PKCS11;
  /** How often it was started. Handles of an earlier start are numbers that may mean something else by now. */
  starts = 0;
  private atWork = 0;

  constructor(path: string, api: typeof Pkcs11js, library: Pkcs11js.PKCS11) {
    this.path = path;
    this.api = api;
    this.library = library;
  }

  /** @throws LockstepError CUSTODY_FAILED */
  start(): void {
    try {
      this.library.C_Initialize({ flags: CKF_OS_LOCKING_OK });
    } catch (error) {
      if (codeOf(error) !== this.api.CKR_CRYPTOKI_ALREADY_INITIALIZED) throw custodyError(this, error);
    }
    this.starts++;
  }

  /**
   * Some libraries see a token that came back only when they begin anew. All sessions end by it.
   * @returns false, and does nothing, while a thread is inside the library
   */
  restart(): boolean {
    if (this.atWork > 0) return false;
    try {
      this.library.C_Finalize();
    } catch {
      // Not started, or broken: starting tells.
    }
    this.start();
    return true;
  }

  /** Work on another thread. */
  async inside<T>(work: () => Promise<T>): Promise<T> {
    this.atWork++;
    try {
      return await work();
    } finally {
      this.atWork--;
    }
  }
}

/**
 * Libraries of this process. It is the library that has this state: C_Initialize counts once for a process, and unloading
 * one under an open session ends the process. So the collector never gets hold of it.
 */
const LOADED = new Map<string, Pkcs11Module>();

/** @throws LockstepError HOST_CANNOT, USAGE, CUSTODY_FAILED */
export async function loadPkcs11(path: string): Promise<Pkcs11Module> {
  if (!isAbsolute(path))
    throw new LockstepError(
      'USAGE',
      `${path} is not an absolute path of a PKCS#11 module`,
      'A short name would be looked for in folders that others may write.',
    );
  const known = LOADED.get(path);
  if (known !== undefined) return known;
  const api = await importAddon();
  // Somebody else may have loaded it meanwhile.
  const loaded = LOADED.get(path);
  if (loaded !== undefined) return loaded;
  const library = new api.PKCS11();
  try {
    library.load(path);
  } catch (error) {
    throw new LockstepError(
      'HOST_CANNOT',
      `${path} is not a PKCS#11 module that can be loaded: ${messageOf(error)}`,
      'Install the module of the token’s vendor (for SoftHSM: apt-get install softhsm2) and give the path of its .so file.',
    );
  }
  const module = new Pkcs11Module(path, api, library);
  module.start();
  LOADED.set(path, module);
  return module;
}

async function importAddon(): Promise<typeof Pkcs11js> {
  try {
    const loaded = (await import('pkcs11js')) as typeof Pkcs11js & { readonly default?: typeof Pkcs11js };
    return loaded.default ?? loaded;
  } catch (error) {
    throw new LockstepError(
      'HOST_CANNOT',
      `PKCS#11 needs the optional package pkcs11js, which is not here: ${messageOf(error)}`,
      'Install make, g++ and python3, then npm install; or keep the key in a file.',
    );
  }
}

/** The return value of the library, or 0 for what is no PKCS#11 error. */
export function codeOf(error: unknown): number {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : 0;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

/** After these the session, the login or the handles are gone, and a new session may help. */
export function isSessionLost({ api }: Pkcs11Module, error: unknown): boolean {
  return (
    [
      api.CKR_SESSION_HANDLE_INVALID,
      api.CKR_SESSION_CLOSED,
      api.CKR_USER_NOT_LOGGED_IN,
      api.CKR_KEY_HANDLE_INVALID,
      api.CKR_OBJECT_HANDLE_INVALID,
      api.CKR_DEVICE_REMOVED,
      api.CKR_DEVICE_ERROR,
      api.CKR_TOKEN_NOT_PRESENT,
      api.CKR_SLOT_ID_INVALID,
    ] as readonly number[]
  ).includes(codeOf(error));
}

/** @returns an error of ours as it is, any other by what the library meant */
export function custodyError(module: Pkcs11Module, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  const { api } = module;
  const code = codeOf(error);
  const wrongPin: readonly number[] = [api.CKR_PIN_INCORRECT, api.CKR_PIN_INVALID, api.CKR_PIN_LEN_RANGE];
  if (wrongPin.includes(code))
    return new LockstepError(
      'PASSPHRASE_WRONG',
      'The token refused the PIN',
      'Tokens count wrong PINs and lock themselves: look before the next attempt.',
    );
  if (code === api.CKR_PIN_LOCKED)
    return new LockstepError('CUSTODY_FAILED', 'The token has locked its PIN', 'Its security officer has to set a new one.');
  return new LockstepError(
    'CUSTODY_FAILED',
    `The PKCS#11 module ${module.path} failed: ${messageOf(error)}`,
    'Is the token in its place, and its service running?',
  );
}
