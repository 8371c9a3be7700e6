import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { farmClient } from '@lockstep/api/client';
import { enrolmentWords } from '@lockstep/api/enrolment';
import { CAPABLE, directTransport, type SampleFarm, sampleFarm } from '../samples.ts';
import { openAuthority } from './authority.ts';

const REFUSED = { code: 'ENROLMENT_REFUSED', status: 403 };

interface Key {
  readonly id: string;
  readonly spki: Buffer;
  sign(words: string): string;
}

function newKey(): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    id: createHash('sha256').update(spki).digest('hex'),
    spki,
    sign: (words) => sign('sha256', Buffer.from(words), privateKey).toString('base64'),
  };
}

describe('joining a farm', () => {
  let sample: SampleFarm;
  before(async () => {
    sample = await sampleFarm({ builders: 0 });
    operator = sample.client(await sample.token('op', 'operator'));
  });
  let operator: ReturnType<SampleFarm['client']>;
  after(() => sample.close());
  const tokenFor = async (name: string, key: Key, minutes = 60): Promise<string> =>
    (await operator.call('makeJoinToken', { body: { name, fingerprint: key.id, minutes } })).token;

  const request = (
    token: string,
    name: string,
    transport: Key,
    attestation: Key,
    words = enrolmentWords(name, transport.id, attestation.id),
  ) => ({
    token,
    name,
    transportKey: transport.spki.toString('base64'),
    attestationKey: attestation.spki.toString('base64'),
    transportProof: transport.sign(words),
    attestationProof: attestation.sign(words),
  });
  const enrol = (body: ReturnType<typeof request>) => sample.client(null).call('enrol', { body });

  test('a token for its key makes a builder, once; the certificate is short-lived, for that key and for clients only', async () => {
    const [transport, attestation] = [newKey(), newKey()];
    const token = await tokenFor('one', transport);
    const body = request(token, 'one', transport, attestation);
    const { certificate, authority, expiresAt } = await enrol(body);
    const made = new X509Certificate(certificate);
    const ca = new X509Certificate(authority);
    assert.ok(made.verify(ca.publicKey) && made.checkIssued(ca));
    assert.ok(made.publicKey.export({ type: 'spki', format: 'der' }).equals(transport.spki));
    assert.equal(made.subject, 'CN=one');
    assert.equal(made.ca, false);
    assert.deepEqual(made.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    assert.equal(expiresAt - sample.clock.time, 48 * 3_600_000);
    assert.equal(Date.parse(made.validTo), Math.floor(expiresAt / 1000) * 1000);
    // Said again by the same keys, because the answer was lost; by other keys it is a replay.
    assert.equal((await enrol(body)).authority, authority);
    assert.equal((await sample.farm.database.reads.selectFrom('builders').select('name').execute()).length, 1);
    const other = newKey();
    await assert.rejects(enrol(request(token, 'one', transport, other)), REFUSED);
    // Its connection is its name; it is not in the policy, so it is offered nothing.
    const client = farmClient(directTransport(sample.app, transport.id, transport.spki), null);
    assert.deepEqual(await client.call('announce', { body: CAPABLE }), {
      name: 'one',
      listed: false,
      draining: false,
      heartbeatSeconds: 10,
    });
    const renewed = await client.call('renew');
    await operator.call('setBuilder', { params: { builder: 'one' }, body: { state: 'retired' } });
    await assert.rejects(enrol(body), REFUSED, 'who is retired does not come back with the old token');
    assert.ok(new X509Certificate(renewed.certificate).publicKey.export({ type: 'spki', format: 'der' }).equals(transport.spki));
  });

  test('a token counts for its name, its key and its time only; every fault has the same answer', async () => {
    const [transport, attestation] = [newKey(), newKey()];
    const messages = new Set<string>();
    const fails = (body: ReturnType<typeof request>) =>
      assert.rejects(enrol(body), (error: Error & { code: string }) => {
        messages.add(error.message);
        return error.code === 'ENROLMENT_REFUSED';
      });
    const token = await tokenFor('two', transport);
    await fails(request(token, 'three', transport, attestation));
    await fails(request(token, 'two', newKey(), attestation));
    await fails(request('x'.repeat(43), 'two', transport, attestation));
    await fails(request('', 'two', transport, attestation));
    const short = await tokenFor('two', transport, 1);
    sample.clock.time += 60_001;
    await fails(request(short, 'two', transport, attestation));
    assert.equal(messages.size, 1);
    // None of that used it up.
    assert.ok((await enrol(request(token, 'two', transport, attestation))).certificate);
  });

  test('of many that come with one token at once one joins', async () => {
    const transport = newKey();
    const token = await tokenFor('raced', transport);
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => enrol(request(token, 'raced', transport, newKey()))));
    assert.equal(all.filter((one) => one.status === 'fulfilled').length, 1);
  });

  test('keys that are not shown to be one’s own, or are one, or are another’s, are refused', async () => {
    const [transport, attestation, stranger] = [newKey(), newKey(), newKey()];
    const token = await tokenFor('four', transport);
    const good = request(token, 'four', transport, attestation);
    const words = enrolmentWords('four', transport.id, attestation.id);
    await assert.rejects(enrol({ ...good, attestationProof: stranger.sign(words) }), REFUSED);
    await assert.rejects(enrol({ ...good, transportProof: stranger.sign(words) }), REFUSED);
    await assert.rejects(enrol({ ...good, attestationProof: '' }), REFUSED);
    await assert.rejects(enrol({ ...good, attestationKey: stranger.spki.toString('base64') }), REFUSED);
    await assert.rejects(
      enrol(request(token, 'four', transport, attestation, enrolmentWords('five', transport.id, attestation.id))),
      REFUSED,
    );
    await assert.rejects(enrol(request(token, 'four', transport, transport)), { ...REFUSED, message: /the same/ });
    await assert.rejects(enrol({ ...good, attestationKey: Buffer.alloc(91).toString('base64') }), { code: 'KEY_INVALID', status: 400 });
    await enrol(good);
    // Another builder's keys, in either role.
    const late = newKey();
    await assert.rejects(enrol(request(await tokenFor('six', late), 'six', late, attestation)), { ...REFUSED, message: /four has one/ });
    await assert.rejects(enrol(request(await tokenFor('six', transport), 'six', transport, newKey())), {
      ...REFUSED,
      message: /four has one/,
    });
  });

  test('a key that another builder attests with is no transport key, and the other way round', async () => {
    const [transport, attestation, third] = [newKey(), newKey(), newKey()];
    await enrol(request(await tokenFor('seven', transport), 'seven', transport, attestation));
    await assert.rejects(enrol(request(await tokenFor('eight', attestation), 'eight', attestation, third)), REFUSED);
    await assert.rejects(enrol(request(await tokenFor('nine', third), 'nine', third, transport)), REFUSED);
  });

  test('who joins anew under its name replaces itself; the old key is nobody', async () => {
    const [before, later, attestation] = [newKey(), newKey(), newKey()];
    await enrol(request(await tokenFor('ten', before), 'ten', before, attestation));
    await enrol(request(await tokenFor('ten', later), 'ten', later, attestation));
    const as = (key: Key) => farmClient(directTransport(sample.app, key.id, key.spki), null).call('announce', { body: CAPABLE });
    await assert.rejects(as(before), { code: 'UNAUTHENTICATED' });
    assert.equal((await as(later)).name, 'ten');
  });

  test('a token that was refused for its keys can be used with the right ones: the whole enrolment is one', async () => {
    const [transport, taken] = [newKey(), newKey()];
    await enrol(request(await tokenFor('eleven', taken), 'eleven', taken, newKey()));
    const row = await sample.farm.database.reads.selectFrom('builders').selectAll().where('name', '=', 'eleven').executeTakeFirstOrThrow();
    const attestation = newKey();
    await sample.farm.database.write((tx) =>
      tx.updateTable('builders').set({ attestation_key: attestation.id }).where('name', '=', 'eleven').execute(),
    );
    const token = await tokenFor('twelve', transport);
    await assert.rejects(enrol(request(token, 'twelve', transport, attestation)), REFUSED);
    assert.ok((await enrol(request(token, 'twelve', transport, newKey()))).certificate);
    assert.equal(row.transport_key, taken.id);
  });
});

test('the authority is made once, and its own certificate is for the names that are asked for', async () => {
  const sample = await sampleFarm({ builders: 0 });
  const again = await openAuthority(`${sample.folder}/authority`, sample.farm.now);
  assert.equal(again.fingerprint, sample.services.authority.fingerprint);
  const first = await again.serverIdentity(['127.0.0.1', 'farm.example']);
  const made = new X509Certificate(first.certificate);
  assert.equal(made.checkHost('farm.example'), 'farm.example');
  assert.equal(made.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(made.checkHost('other.example'), undefined);
  assert.equal((await again.serverIdentity(['farm.example'])).certificate, first.certificate);
  assert.notEqual((await again.serverIdentity(['farm.example', 'new.example'])).certificate, first.certificate);
  const { statSync } = await import('node:fs');
  for (const file of ['authority.key.pem', 'server.key.pem'])
    assert.equal(statSync(`${sample.folder}/authority/${file}`).mode & 0o777, 0o600);
  await sample.close();
});
