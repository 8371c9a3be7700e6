/** Who may call a route. Each principal has one role; an operator may do what a submitter may, a submitter what an observer may. */
export const ROLES = ['anyone', 'observer', 'submitter', 'operator', 'builder', 'signer'] as const;
export type Role = (typeof ROLES)[number];

/** Roles that somebody may hold by a token. */
export const TOKEN_ROLES = ['observer', 'submitter', 'operator', 'signer'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

export const READERS: readonly Role[] = ['observer', 'submitter', 'operator'];
export const SUBMITTERS: readonly Role[] = ['submitter', 'operator'];
export const OPERATORS: readonly Role[] = ['operator'];
export const BUILDERS: readonly Role[] = ['builder'];
/** Signing nodes: they fetch what they are asked, and nothing else. */
export const SIGNERS: readonly Role[] = ['signer'];
export const ANYONE: readonly Role[] = [...ROLES];
