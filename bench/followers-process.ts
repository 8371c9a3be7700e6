/** Some hundreds of followers of one transcript in one process, each over a TLS connection of its own. Ends with its parent. */
import { Agent, request } from 'node:https';
import type { FollowersAsked, FollowersTold } from './rows/farm-followers.ts';

/** Followers that connect at once. */
const AT_ONCE = 8;

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
const tell = (told: FollowersTold): void => void process.send?.(told);
let events = 0;
/** Bytes of the transcript that arrived, all followers together. */
let bytes = 0;
let latencies: number[] = [];

function follow({ url, authority, token, attempt, from, line }: FollowersAsked & { readonly ask: 'follow' }): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${url}/v1/attempts/${attempt}/transcript/events?from=${from}`,
      { agent, ca: authority, headers: { authorization: `Bearer ${token}` } },
      (incoming) => {
        if (incoming.statusCode !== 200) {
          reject(new Error(`a follower was answered ${incoming.statusCode}`));
          return;
        }
        let rest = '';
        incoming.setEncoding('latin1');
        incoming.on('data', (part: string) => {
          const blocks = (rest + part).split('\n\n');
          rest = blocks.pop() ?? '';
          for (const block of blocks) take(block, line);
          // The comment that it begins with.
          resolve();
        });
        const over = (): void => tell({ tell: 'failed', why: 'the farm let a follower go' });
        incoming.once('error', over);
        incoming.once('end', over);
      },
    );
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** Each line begins with when it was sent, by the clock that all processes of this host share. */
function take(block: string, line: number): void {
  const data = /^data: "([A-Za-z0-9+/=]*)"$/m.exec(block)?.[1];
  if (data === undefined) return;
  const now = process.hrtime.bigint();
  const text = Buffer.from(data, 'base64');
  events++;
  bytes += text.length;
  for (let at = 0; at < text.length; at += line) latencies.push(Number(now - BigInt(text.toString('latin1', at, at + 20))) / 1e6);
}

async function perform(asked: FollowersAsked): Promise<void> {
  if (asked.ask === 'follow') {
    let left = asked.followers;
    const one = async (): Promise<void> => {
      while (left-- > 0) await follow(asked);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    tell({ tell: 'following' });
  } else {
    // All of the latencies would be much to say each time.
    tell({ tell: 'counted', events, bytes, latencies: asked.reset ? latencies : [] });
    if (!asked.reset) return;
    events = 0;
    bytes = 0;
    latencies = [];
  }
}

process.on('message', (asked: FollowersAsked) => {
  perform(asked).catch((error: unknown) => tell({ tell: 'failed', why: String(error) }));
});
process.on('disconnect', () => process.exit(0));
