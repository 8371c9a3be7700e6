/**
 * What a key is for. Each role and each format has keys of its own: a signature that was made for one purpose is then
 * worth nothing for another, whatever bytes somebody manages to have signed.
 */
export const ALGORITHMS = ['ed25519', 'ecdsa-p256', 'rsa-2048'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** Which algorithms a key of each use may have; the first is what is made when nobody says. */
export const KEY_USES = {
  /** A builder: "I built this". */
  attestation: ['ecdsa-p256'],
  checker: ['ecdsa-p256'],
  coordinator: ['ecdsa-p256'],
  arbiter: ['ecdsa-p256'],
  /** A signing node itself: its answers and the entries of its own log. */
  node: ['ecdsa-p256'],
  log: ['ed25519'],
  witness: ['ed25519'],
  'tuf-root': ['ed25519'],
  'tuf-targets': ['ed25519'],
  'tuf-snapshot': ['ed25519'],
  'tuf-timestamp': ['ed25519'],
  /** The organisation: "we approve this release". Release record and VSA. */
  'release-dsse': ['ecdsa-p256', 'ed25519'],
  'release-minisign': ['ed25519'],
  'release-signify': ['ed25519'],
  'release-ssh': ['ed25519'],
  'release-note': ['ed25519'],
  /** Ed25519 over the bytes of the checksum file, nothing around it. */
  'release-raw': ['ed25519'],
  'nix-cache': ['ed25519'],
  /** UEFI knows RSA only. */
  'secure-boot': ['rsa-2048'],
} as const satisfies Readonly<Record<string, readonly [Algorithm, ...Algorithm[]]>>;

export type KeyUse = keyof typeof KEY_USES;

export function isKeyUse(text: string): text is KeyUse {
  return Object.hasOwn(KEY_USES, text);
}

export function mayUse(use: KeyUse, algorithm: Algorithm): boolean {
  return (KEY_USES[use] as readonly Algorithm[]).includes(algorithm);
}
