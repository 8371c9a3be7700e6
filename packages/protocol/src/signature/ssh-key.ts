/** An Ed25519 key for users of OpenSSH: the line of a `.pub` file, and the allowed-signers file of ssh-keygen(1) "ALLOWED SIGNERS". */
import { toBase64 } from '../bytes/base64.ts';
import { isPrintable } from './printable.ts';
import { invalidKey, requireKeyBytes } from './refused.ts';
import { sshEd25519Blob } from './ssh-wire.ts';
import { isSshNamespace } from './sshsig.ts';

const FORMAT = 'public key of SSH';
const MAX_COMMENT = 255;

/** One line without its newline. @throws LockstepError KEY_INVALID */
export function formatSshPublicKey(publicKey: Uint8Array, comment: string): string {
  requireKeyBytes(FORMAT, 'key', publicKey, 32);
  return sshKeyLine('ssh-ed25519', sshEd25519Blob(publicKey), comment);
}

/** @throws LockstepError KEY_INVALID */
export function sshKeyLine(type: string, blob: Uint8Array, comment: string): string {
  if (!isPrintable(comment, MAX_COMMENT)) throw invalidKey(FORMAT, 'the comment is malformed or too long');
  return `${type} ${toBase64(blob)}${comment === '' ? '' : ` ${comment}`}`;
}

/** One file with one line: this key, for this principal, in this namespace only. @throws LockstepError KEY_INVALID */
export function formatAllowedSigners(principal: string, namespace: string, publicKey: Uint8Array): string {
  // Principals are a list of patterns: a comma or a wildcard would let in more than one.
  if (!/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}$/.test(principal)) throw invalidKey(FORMAT, 'the principal is malformed or too long');
  if (!isSshNamespace(namespace)) throw invalidKey(FORMAT, 'the namespace is empty, malformed or too long');
  return `${principal} namespaces="${namespace}" ${formatSshPublicKey(publicKey, '')}\n`;
}
