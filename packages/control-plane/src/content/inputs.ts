/** What submitters upload: kept apart by submitter until it is whole, so that nobody learns or gets what others have. */
import type { Farm } from '../farm.ts';
import { inputKey, submitterScope } from './keys.ts';
import { finishUpload, forgetParts, presentParts, putPart } from './parts.ts';

export async function inputState(farm: Farm, submitter: string, sha256: string): Promise<{ present: string[]; complete: boolean }> {
  const row = await farm.database.reads
    .selectFrom('inputs')
    .select('size')
    .where('sha256', '=', sha256)
    .where('submitter', '=', submitter)
    .executeTakeFirst();
  return row === undefined
    ? { present: await presentParts(farm.objects, { scope: submitterScope(submitter), sha256 }), complete: false }
    : { present: [], complete: true };
}

export async function putInputPart(farm: Farm, submitter: string, sha256: string, part: string, bytes: Uint8Array): Promise<void> {
  await putPart(farm, { scope: submitterScope(submitter), sha256 }, part, bytes);
  farm.metrics.uploadedBytes.inc(bytes.length);
}

/** Whoever finishes an input has shown that they have its bytes. */
export async function finishInput(farm: Farm, submitter: string, sha256: string, size: number, parts: readonly string[]): Promise<void> {
  const { complete } = await inputState(farm, submitter, sha256);
  if (complete) return;
  const upload = { scope: submitterScope(submitter), sha256 };
  try {
    // What somebody else has uploaded does not stand in for what this one has not.
    await finishUpload(farm, upload, size, parts, inputKey(sha256), 'always');
  } catch (error) {
    // Another call of the same submitter may have been faster.
    if ((await inputState(farm, submitter, sha256)).complete) return;
    throw error;
  }
  await farm.database.write((tx) =>
    tx
      .insertInto('inputs')
      .values({ sha256, submitter, size, uploaded_at: farm.now() })
      .onConflict((conflict) => conflict.doNothing())
      .execute(),
  );
  await forgetParts(farm, upload);
}
