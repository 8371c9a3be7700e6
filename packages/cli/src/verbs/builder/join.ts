/** `lockstep builder join`: with a token of one use, over a connection whose authority is checked by its fingerprint. */
import { fetchAuthority, join } from '@lockstep/builder/node/join';
import { farmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { writeDurably } from '@lockstep/store/durable';
import { keepJoined, pinnedRootFile } from '../../farm/joined.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly name: string;
  readonly token: string;
  readonly authority: string;
  readonly root?: string;
}

export function builderJoin(url: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    if (!url.split(',').every((one) => /^https:\/\/[^/,\s]+\/?$/.test(one)))
      throw new LockstepError(
        'USAGE',
        `${url} is no address of a farm`,
        'Give it as https://HOST:PORT; several replicas separated by commas.',
      );
    const fingerprint = options.authority.replace(/^sha256:/, '');
    if (!/^[0-9a-f]{64}$/.test(fingerprint))
      throw new LockstepError('USAGE', '--authority is no SHA-256', 'The farm prints it when it starts: authority sha256:…');
    const authority = await fetchFirst(url.split(','), fingerprint);
    const transport = httpsTransport({ url, authority, identity: null });
    try {
      const joined = await join(farmClient(transport.send, null), context.settings.keyFile, options.name, options.token);
      if (options.root !== undefined) writeDurably(pinnedRootFile(context.store), readNamedFile(options.root));
      keepJoined(context.store, { name: options.name, url, authority, certificate: joined.certificate, expiresAt: joined.expiresAt });
      print(`joined ${url} as ${options.name}; start it: lockstep builder run`, {
        schema: 'lockstep-builder-join/v1',
        url,
        name: options.name,
        expiresAt: joined.expiresAt,
      });
      return 0;
    } finally {
      transport.close();
    }
  });
}

/** From whichever replica answers. */
async function fetchFirst(urls: readonly string[], fingerprint: string): Promise<string> {
  let last: unknown = null;
  for (const url of urls) {
    try {
      return await fetchAuthority(url.trim(), fingerprint);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
