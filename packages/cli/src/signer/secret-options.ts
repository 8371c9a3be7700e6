/** Where a passphrase or PIN comes from: the terminal, a descriptor, a private file; never an argument, never the environment. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { readSecret, type SecretSource } from '@lockstep/signer/custody/passphrase';

export interface SecretOptions {
  readonly passphraseFile?: string;
  readonly passphraseFd?: string;
  /** commander's `--no-passphrase`. */
  readonly passphrase?: boolean;
}

/** null: none. */
export function newPassphrase(what: string, options: SecretOptions): Promise<Buffer | null> {
  return options.passphrase === false ? Promise.resolve(null) : readSecret(sourceOf(options), { what, isNew: true });
}

export function askPassphrase(what: string, options: SecretOptions): () => Promise<Buffer> {
  return () => readSecret(sourceOf(options), { what, isNew: false });
}

/** Asked once for all keys of a node: they are opened together. */
export function askOnce(what: string, options: SecretOptions): () => Promise<Buffer> {
  let first: Promise<Buffer> | null = null;
  return async () => {
    first ??= askPassphrase(what, options)();
    // Whoever uses it wipes its own copy.
    return Buffer.from(await first);
  };
}

function sourceOf(options: SecretOptions): SecretSource {
  if (options.passphraseFile !== undefined) return { from: 'file', path: options.passphraseFile };
  if (options.passphraseFd === undefined) return { from: 'terminal' };
  if (!/^[0-9]{1,4}$/.test(options.passphraseFd))
    throw new LockstepError('USAGE', '--passphrase-fd is no number of a descriptor', 'Open it in the shell: --passphrase-fd 3 3<FILE');
  return { from: 'fd', fd: Number(options.passphraseFd) };
}
