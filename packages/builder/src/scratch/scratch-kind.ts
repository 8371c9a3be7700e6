/** What the scratch of a build lies on. */

/** Kinds whose content nobody can read once the build is over, best first: the order in which `auto` tries them. */
export const SECRET_KINDS = ['luks', 'qemu-luks', 'tmpfs'] as const;
export type SecretKind = (typeof SECRET_KINDS)[number];

/**
 * plain: a folder of the store. luks: a LUKS2 volume of the kernel's dm-crypt. qemu-luks: a LUKS volume that QEMU's
 * storage daemon decrypts, for kernels without dm-crypt. tmpfs: memory, only where nothing swaps. auto: the best of
 * those three that works here, never plain.
 */
export const SCRATCH_KINDS = ['plain', ...SECRET_KINDS, 'auto'] as const;
export type ScratchKind = (typeof SCRATCH_KINDS)[number];

export function isScratchKind(text: string): text is ScratchKind {
  return SCRATCH_KINDS.some((kind) => kind === text);
}
