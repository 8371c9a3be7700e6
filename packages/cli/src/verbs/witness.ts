/** `lockstep witness`: a witness of its own (C2SP tlog-witness). Runs until it is told to end. */
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openWitness } from '@lockstep/log/witness/witness-home';
import { witnessServer } from '@lockstep/log/witness/server';
import { logKey } from '../farm-log.ts';
import { type CommonOptions, runVerb } from '../session.ts';
import { tellReady } from './ready-fd.ts';

interface Options extends CommonOptions {
  readonly name?: string;
  readonly log: readonly string[];
  readonly listen?: string;
  readonly readyFd?: string;
}

/** Where it listens unless told otherwise: for a proxy with TLS on the same machine. */
const DEFAULT_LISTEN = '127.0.0.1:7380';

export function witnessVerb(folder: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const witness = openWitness(
      folder,
      options.name ?? null,
      options.log.map((vkey) => logKey('', vkey)),
      context.now,
    );
    const keys = [witness.ed25519.key, witness.mlDsa.key].map(formatVerifierKey);
    const [host, port] = address(options.listen ?? DEFAULT_LISTEN);
    const server = witnessServer(witness, (error) => context.progress.warn(error instanceof Error ? error.message : String(error)));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new LockstepError('HOST_CANNOT', `Cannot listen on ${host}:${port}: ${error.message}`, 'Choose another --listen.')),
      );
      server.listen(port, host, resolve);
    });
    const bound = server.address();
    const url = `http://${host}:${typeof bound === 'object' && bound !== null ? bound.port : port}`;
    print([...keys, `listening on ${url}, following ${[...witness.logs.keys()].join(', ') || 'no log yet (--log VKEY)'}`].join('\n'), {
      schema: 'lockstep-witness/v1',
      keys,
      url,
      logs: [...witness.logs.keys()],
    });
    tellReady(options.readyFd);
    await new Promise<void>((resolve) => context.cancelled.addEventListener('abort', () => resolve(), { once: true }));
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return 0;
  });
}

export function witnessKeysVerb(folder: string, options: CommonOptions & { readonly name?: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const witness = openWitness(folder, options.name ?? null, [], context.now);
    const keys = [witness.ed25519.key, witness.mlDsa.key].map(formatVerifierKey);
    print(keys.join('\n'), { schema: 'lockstep-witness-keys/v1', keys });
    return 0;
  });
}

function address(listen: string): [string, number] {
  const match = /^([0-9a-zA-Z.:[\]-]+):([0-9]{1,5})$/.exec(listen);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535)
    throw new LockstepError('USAGE', `--listen ${listen} is no address`, 'Write HOST:PORT; port 0 takes any free one.');
  return [(match[1] ?? '').replace(/^\[|\]$/g, ''), port];
}
