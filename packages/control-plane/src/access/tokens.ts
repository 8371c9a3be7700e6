/** Tokens of people and programs: shown once, kept as a hash. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { TokenRole } from '@lockstep/api/role';
import type { Farm } from '../farm.ts';
import { hashToken, newToken } from '../leases/lease.ts';

const DAY = 86_400_000;

/** @throws LockstepError REQUEST_INVALID when there is one of that name */
export async function makeToken(farm: Farm, name: string, role: TokenRole, days: number | null): Promise<string> {
  const token = newToken();
  const now = farm.now();
  await farm.database.write(async (tx) => {
    const taken = await tx.selectFrom('tokens').select('name').where('name', '=', name).executeTakeFirst();
    if (taken !== undefined)
      throw new LockstepError(
        'REQUEST_INVALID',
        `There is a token named ${name}`,
        'Choose another name: what was audited under the old one stays told apart.',
      );
    await tx
      .insertInto('tokens')
      .values({
        token: hashToken(token),
        name,
        role,
        created_at: now,
        expires_at: days === null ? null : now + days * DAY,
        revoked_at: null,
      })
      .execute();
  });
  return token;
}

export async function revokeToken(farm: Farm, name: string): Promise<void> {
  const { numUpdatedRows } = await farm.database.write((tx) =>
    tx.updateTable('tokens').set({ revoked_at: farm.now() }).where('name', '=', name).executeTakeFirst(),
  );
  if (Number(numUpdatedRows) === 0) throw new LockstepError('NOT_FOUND', `There is no token named ${name}`, 'See "lockstep farm tokens".');
}
