/**
 * Some hundreds of builders in one process: each has its own keys, its own certificate and its own TLS connection. They
 * lease, say at once that the build failed, and lease again. Ends with its parent.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { Agent, request } from 'node:https';
import { enrolmentWords } from '@lockstep/api/enrolment';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import type { Asked, BuilderKeys, Told } from './simulated-builders.ts';

interface Member {
  readonly name: string;
  readonly attestation: KeyObject;
  readonly transport: KeyObject;
  certificate: string;
  agent: Agent | null;
}

/** Builders that enrol or connect at once, in one process. */
const AT_ONCE = 8;
/** Milliseconds. */
const TELL_EVERY = 50;
const WAIT_SECONDS = 10;

const members: Member[] = [];
let authority = '';
let working: Promise<unknown> | null = null;
let rest = new AbortController();
let leased = 0;
let latencies: number[] = [];

const tell = (told: Told): void => void process.send?.(told);
const spkiOf = (key: KeyObject): Uint8Array => new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }));
const idOf = (key: KeyObject): string => publicKeyFromSpki(spkiOf(key)).id;
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function makeMembers(builders: readonly BuilderKeys[]): void {
  for (const { name, attestationKey } of builders) {
    const transport = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    members.push({ name, attestation: createPrivateKey(attestationKey), transport, certificate: '', agent: null });
  }
}

async function enrol(member: Member, url: string, token: string, agent: Agent): Promise<void> {
  const words = enrolmentWords(member.name, idOf(member.transport), idOf(member.attestation));
  const proof = (key: KeyObject): string => base64(sign('sha256', Buffer.from(words), key));
  const reply = await post(agent, `${url}/v1/enrolments`, {
    token,
    name: member.name,
    transportKey: base64(spkiOf(member.transport)),
    attestationKey: base64(spkiOf(member.attestation)),
    transportProof: proof(member.transport),
    attestationProof: proof(member.attestation),
  });
  member.certificate = String(reply['certificate']);
}

async function connect(member: Member, url: string, capabilities: unknown): Promise<void> {
  member.agent?.destroy();
  member.agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: authority,
    cert: member.certificate,
    key: member.transport.export({ type: 'pkcs8', format: 'pem' }),
  });
  await post(member.agent, `${url}/v1/builder`, capabilities);
}

async function work({ agent }: Member, url: string, until: AbortSignal): Promise<void> {
  if (agent === null) return;
  while (!until.aborted) {
    const before = performance.now();
    const reply = await post(agent, `${url}/v1/builder/leases`, { free: 1, waitSeconds: WAIT_SECONDS });
    for (const { attempt, token } of reply['leases'] as { attempt: number; token: string }[]) {
      leased++;
      latencies.push(performance.now() - before);
      const failure = { who: 'build', code: 'BUILD_FAILED', message: 'simulated', hint: '' };
      await post(agent, `${url}/v1/attempts/${attempt}/failure`, failure, { 'lockstep-lease': token });
    }
  }
}

function post(agent: Agent, url: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Record<string, unknown>> {
  const bytes = Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { agent, method: 'POST', headers: { 'content-type': 'application/json', 'content-length': String(bytes.length), ...headers } },
      (incoming) => {
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.once('error', reject);
        incoming.once('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          if (incoming.statusCode === 200) resolve(JSON.parse(text) as Record<string, unknown>);
          else reject(new Error(`${url}: ${incoming.statusCode} ${text.slice(0, 300)}`));
        });
      },
    );
    outgoing.once('error', reject);
    outgoing.end(bytes);
  });
}

async function forAll(act: (member: Member, at: number) => Promise<void>): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    for (let at = next++; at < members.length; at = next++) await act(members[at]!, at);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

let address = '';
async function perform(asked: Asked): Promise<void> {
  if (asked.ask === 'fingerprints') {
    makeMembers(asked.builders);
    tell({ tell: 'fingerprints', fingerprints: members.map((one) => idOf(one.transport)) });
  } else if (asked.ask === 'enrol') {
    authority = asked.authority;
    const agent = new Agent({ keepAlive: true, ca: authority });
    await forAll((member, at) => enrol(member, asked.url, asked.tokens[at] ?? '', agent));
    agent.destroy();
    tell({ tell: 'done' });
  } else if (asked.ask === 'connect') {
    address = asked.url;
    await forAll((member) => connect(member, address, asked.capabilities));
    tell({ tell: 'done' });
  } else if (asked.ask === 'work') {
    rest = new AbortController();
    working = Promise.all(members.map((member) => work(member, address, rest.signal)));
    await working;
  } else {
    rest.abort();
    await working;
    tell({ tell: 'done' });
  }
}

process.on('message', (asked: Asked) => {
  perform(asked).catch((error: unknown) => tell({ tell: 'failed', why: String(error) }));
});
setInterval(() => {
  if (leased === 0) return;
  tell({ tell: 'leased', total: leased, latencies });
  leased = 0;
  latencies = [];
}, TELL_EVERY);
process.on('disconnect', () => process.exit(0));
