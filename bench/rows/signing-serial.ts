/** A typical release over a serial line of 115,200 baud: to a node, and to two holders of a threshold on a line each. */
import { verifySignature } from '@lockstep/protocol/key/any-key';
import { frostKey } from '@lockstep/signer/frost/frost-key';
import { begin, generate, holderOf, makeNode, random } from '@lockstep/signer/frost/samples';
import { askOverSerial } from '@lockstep/signer/serial/client';
import { serveSerial } from '@lockstep/signer/serial/node';
import { type FigureRow, figureRow, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import { findProgram, type Place } from '../place.ts';
import { DEBIAN_PACKAGES, makeReleases } from '../signing.ts';
import { checkpointOf, judged, openBenchNode } from '../signing-node.ts';
import { BYTES_PER_SECOND, makeWire, type Wire } from '../signing-wire.ts';

const THRESHOLD = 2;
const HOLDERS = 3;
/** Ten times what it takes. */
const PATIENCE_SECONDS = 600;

type Take = (folder: string, request: Uint8Array) => Promise<Record<string, number>>;

export async function signingSerial(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const [release] = makeReleases(DEBIAN_PACKAGES, 1);
  if (release === undefined) throw new BenchError('no release was made');
  const request = release.request(null);
  const able = findProgram('socat') !== null;
  const meter = (name: string, folder: string, take: Take) => ({
    name,
    // What takes half a minute because of its baud rate needs no warm-up.
    take: able ? async (run: number) => (run === 0 ? {} : await take(place.folder(`signing-serial/${folder}-${run}`), request)) : null,
  });
  const bare = { seconds: request.length / BYTES_PER_SECOND, size: request.length };
  const metered = await meterSideBySide(
    [
      meter('a signing node: record, VSA and minisign of 3 files', 'node', overOne),
      meter(`FROST ${THRESHOLD} of ${HOLDERS}: record and VSA, each holder on a line of its own`, 'frost', overTwo),
      { name: 'the request’s bytes at that speed, computed', take: () => Promise.resolve(bare) },
    ],
    runs,
    checkpoint,
  );
  const what = `A release of two builders with ${DEBIAN_PACKAGES} Debian packages`;
  return [
    figureRow(`${what} over 115,200 baud, until it is signed: bounded by the request’s bytes`, 's', metered, 'seconds'),
    figureRow('… on the line to the node', 'bytes', metered, 'toNode', 'size'),
    figureRow('… on the line back', 'bytes', metered, 'toHost'),
  ];
}

async function overOne(folder: string, request: Uint8Array): Promise<Record<string, number>> {
  const { node } = await openBenchNode(`${folder}/node`, ['release-dsse', 'release-minisign']);
  const wire = await makeWire(folder);
  try {
    const serving = serveSerial(wire.node, (bytes) => node.answer(bytes));
    const start = performance.now();
    checkpointOf(await askOverSerial(wire.host, request, { timeoutSeconds: PATIENCE_SECONDS }));
    const seconds = (performance.now() - start) / 1000;
    await serving.stop();
    return { seconds, ...wire.carried };
  } finally {
    await wire.stop();
    await node.close();
  }
}

/** The bytes are those of one of the lines: the holders are asked at the same time. */
async function overTwo(folder: string, request: Uint8Array): Promise<Record<string, number>> {
  const party = await begin(THRESHOLD, HOLDERS, { use: 'release-dsse' });
  const shares = await generate(party);
  const coordinator = makeNode();
  const { keyName: name, use } = party.ceremony;
  const wires: Wire[] = [];
  const stops: (() => Promise<void>)[] = [];
  try {
    const holders = [];
    for (const share of shares.slice(0, THRESHOLD)) {
      const own = { use, public: share.group.publicKey };
      const check = (bytes: Uint8Array) =>
        Promise.resolve({ ok: true as const, messages: judged(bytes, own).plan.map((one) => one.message) });
      const holder = holderOf(party, share, coordinator, { check });
      const wire = await makeWire(folder, share.holder.name);
      wires.push(wire);
      const serving = serveSerial(wire.node, (bytes) => holder.answer(bytes));
      stops.push(() => serving.stop());
      const ask = (bytes: Uint8Array): Promise<Uint8Array> => askOverSerial(wire.host, bytes, { timeoutSeconds: PATIENCE_SECONDS });
      holders.push({ name: share.holder.name, ask });
    }
    const [first] = shares;
    const [wire] = wires;
    if (first === undefined || wire === undefined) throw new BenchError('no share was made');
    const key = frostKey({ group: first.group, name, use, holders, coordinator, random, patienceMilliseconds: PATIENCE_SECONDS * 1000 });
    const messages = judged(request, { use, public: key.public }).plan.map((one) => one.message);
    const start = performance.now();
    const { signatures, faults } = await key.signAll(messages, request);
    const seconds = (performance.now() - start) / 1000;
    const good = messages.every((message, at) => verifySignature(key.public, message, signatures[at] ?? new Uint8Array(0)));
    if (!good || faults.length > 0) throw new BenchError(`FROST over a line: ${faults.join('; ')}`);
    return { seconds, ...wire.carried };
  } finally {
    for (const stop of stops) await stop();
    for (const one of wires) await one.stop();
  }
}
