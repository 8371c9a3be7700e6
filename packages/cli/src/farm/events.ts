/** Reads server-sent events (WHATWG HTML, section 9.2.6) and goes on by the last id when a connection is lost. */
import { StringDecoder } from 'node:string_decoder';
import { FarmError } from '@lockstep/api/problem';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export interface FarmEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** Milliseconds. */
const FIRST_PAUSE = 300;
const LONGEST_PAUSE = 10_000;
/** A line longer than this is none that a farm sends. */
const MOST_LINE = 8 << 20;

async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<FarmEvent> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let event = 'message';
  let data: string[] = [];
  let id: string | null = null;
  for await (const bytes of body) {
    rest += decoder.write(Buffer.from(bytes));
    if (rest.length > MOST_LINE) throw new LockstepError('FARM_UNREACHABLE', 'The farm sent a line without an end', 'Check the address.');
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event, data: data.join('\n'), id };
        event = 'message';
        data = [];
      } else if (!line.startsWith(':')) {
        const colon = line.indexOf(':');
        const field = colon === -1 ? line : line.slice(0, colon);
        const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'event') event = value;
        else if (field === 'data') data.push(value);
        else if (field === 'id') id = value;
      }
    }
  }
}

/**
 * @param open a new stream, from after the last id on
 * @param use returns true when it has seen enough
 */
export async function followEvents(
  open: (lastId: string | null) => Promise<Response>,
  use: (event: FarmEvent) => Promise<boolean> | boolean,
  signal: AbortSignal,
): Promise<void> {
  let lastId: string | null = null;
  for (let wait = FIRST_PAUSE; !signal.aborted; wait = Math.min(LONGEST_PAUSE, wait * 2)) {
    try {
      const response = await open(lastId);
      for await (const event of readEvents(response.body as unknown as AsyncIterable<Uint8Array>)) {
        wait = FIRST_PAUSE;
        lastId = event.id ?? lastId;
        if (await use(event)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function isPassing(error: unknown): boolean {
  if (error instanceof FarmError) return error.status >= 500 || error.status === 429;
  // A connection that breaks in the middle is no error of ours.
  return !(error instanceof LockstepError) || error.code === 'FARM_UNREACHABLE';
}
