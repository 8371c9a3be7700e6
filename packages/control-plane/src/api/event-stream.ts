/** Server-sent events (WHATWG HTML, section 9.2): one line of data each, an id to resume from, a comment while nothing happens. */

export interface EventWriter {
  send(event: string, data: unknown, id?: string): void;
  end(): void;
}

/** Proxies end what is silent for long. */
const ALIVE = 15_000;
/** Bytes that a slow reader may be behind; then it is let go, and resumes by its last id. */
const MOST_BEHIND = 4 << 20;

/** @param begin is called once; what it returns is called when the reader has gone or the stream has ended */
export function eventStream(signal: AbortSignal, begin: (writer: EventWriter) => () => void): Response {
  const encoder = new TextEncoder();
  let stop: () => void = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const finish = (): void => {
    if (over) return;
    over = true;
    clearInterval(timer);
    stop();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const write = (text: string): void => {
          if (over) return;
          controller.enqueue(encoder.encode(text));
          if ((controller.desiredSize ?? 0) >= -MOST_BEHIND) return;
          finish();
          controller.error(new Error('the reader is too slow'));
        };
        const writer: EventWriter = {
          send: (event, data, id) => write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
          end() {
            if (over) return;
            finish();
            controller.close();
          },
        };
        timer = setInterval(() => write(':\n\n'), ALIVE);
        timer.unref();
        write(':\n\n');
        stop = begin(writer);
        // It may have ended within the first call.
        if (over) stop();
        signal.addEventListener('abort', finish, { once: true });
      },
      cancel: finish,
    },
    new ByteLengthQueuingStrategy({ highWaterMark: 65_536 }),
  );
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' } });
}
