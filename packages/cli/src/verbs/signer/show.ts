/** `lockstep signer show`: what a node holds, where its own log stands, and what of its keys is due. */
import { existsSync, readdirSync } from 'node:fs';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { viewLog } from '@lockstep/log/watch/log-view';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type CommonOptions, runVerb } from '../../session.ts';
import { cardOf, heldKeys, openSignerHome, type SignerHome } from '../../signer/home.ts';
import { ageOf, dueLine } from '../../signer/rotation-due.ts';

export function signerShow(folder: string, options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const home = openSignerHome(folder);
    const view = await published(home);
    const keys = heldKeys(home);
    const shares = existsSync(`${folder}/shares`) ? readdirSync(`${folder}/shares`).filter((name) => name.endsWith('.share.json')) : [];
    const due = keys.flatMap((held) => dueLine(held.name, ageOf(held), context.now()) ?? []);
    print(
      [
        `${home.config.name}, lines ${home.config.lines.join(', ')}`,
        ...keys.map((held) => `key ${held.name}: ${held.use}, ${held.custody}`),
        ...shares.map((name) => `share ${name.replace('.share.json', '')}`),
        ...(keys.length + shares.length === 0 ? ['no key: it can sign nothing'] : []),
        `log ${formatVerifierKey(home.log.key)}`,
        `    ${view === null ? 'nothing signed or refused yet' : `${view.checkpoint.size} entries`}; export it with: lockstep log mirror ${folder}/log/public FOLDER --key …`,
        ...due,
      ].join('\n'),
      {
        schema: 'lockstep-signer-show/v1',
        card: cardOf(home),
        keys: keys.map(({ name, use, custody }) => ({ name, use, custody })),
        shares: shares.map((name) => name.replace('.share.json', '')),
        checkpoint: view?.text ?? null,
        due,
      },
    );
    return 0;
  });
}

async function published({ log }: SignerHome): Promise<Awaited<ReturnType<typeof viewLog>> | null> {
  try {
    return await viewLog(log.source, log.key);
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'FILE_NOT_FOUND') return null;
    throw error;
  }
}
