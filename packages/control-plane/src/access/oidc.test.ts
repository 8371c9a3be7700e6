import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { sampleFarm, START } from '../samples.ts';
import { type Oidc, oidcVerifier } from './oidc.ts';

const AUDIENCE = 'https://farm.example';
const SECONDS = START / 1000;
const GOOD = { sub: 'repo:example/hello:ref:refs/heads/main', repository: 'example/hello', ref: 'refs/heads/main' };

describe('tokens of a CI system', () => {
  let server: Server;
  let issuer = '';
  let other = '';
  let served = true;
  let key: CryptoKey;
  let rsa: { publicKey: CryptoKey; privateKey: CryptoKey };
  let stranger: CryptoKey;
  let verify: Oidc;
  const clock = { time: START };
  let asked = 0;

  before(async () => {
    const pair = await generateKeyPair('ES256', { extractable: true });
    key = pair.privateKey;
    rsa = await generateKeyPair('RS256', { extractable: true });
    stranger = (await generateKeyPair('ES256')).privateKey;
    const keys = [
      { ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' },
      { ...(await exportJWK(rsa.publicKey)), kid: 'two', alg: 'RS256', use: 'sig' },
    ];
    server = createServer((request, response) => {
      asked++;
      if (!served) response.writeHead(302, { location: `${issuer}/moved` }).end();
      else
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: request.url === '/empty' ? [] : keys }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    other = `${issuer}/other`;
    const one = { audience: AUDIENCE, claims: { repository: 'example/*', ref: 'refs/heads/main' }, name: 'repository' };
    verify = oidcVerifier(
      [
        { ...one, issuer, jwks: `${issuer}/jwks` },
        { ...one, issuer: other, jwks: `${issuer}/empty` },
      ],
      () => clock.time,
    )!;
  });
  after(() => new Promise((resolve) => server.close(resolve)));

  interface Change {
    readonly payload?: JWTPayload;
    readonly header?: Readonly<Record<string, unknown>>;
    readonly signer?: CryptoKey | Uint8Array;
    readonly drop?: readonly string[];
  }
  const token = ({ payload = {}, header = {}, signer = key, drop = [] }: Change = {}): Promise<string> => {
    const all: Record<string, unknown> = { ...GOOD, iss: issuer, aud: AUDIENCE, iat: SECONDS, exp: SECONDS + 300, ...payload };
    for (const claim of drop) delete all[claim];
    return new SignJWT(all as JWTPayload).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(signer);
  };
  const refused = async (change: Change, why?: RegExp): Promise<void> => {
    await assert.rejects(
      verify(await token(change)),
      { code: 'UNAUTHENTICATED', ...(why === undefined ? {} : { message: why }) },
      JSON.stringify(change),
    );
  };

  test('the right claims make a submitter, named apart from the farm’s own tokens', async () => {
    assert.equal(await verify(await token()), 'oidc:example/hello');
    assert.equal(await verify(await token({ header: { alg: 'RS256', kid: 'two' }, signer: rsa.privateKey })), 'oidc:example/hello');
    assert.equal(await verify(await token({ payload: { aud: ['other', AUDIENCE] } })), 'oidc:example/hello');
    assert.equal(
      oidcVerifier([], () => START),
      null,
    );
    const sample = await sampleFarm({ builders: 0, oidc: verify });
    const client = sample.client(await token());
    assert.equal((await client.call('listJobs')).jobs.length, 0);
    await assert.rejects(client.call('listTokens'), { code: 'FORBIDDEN' });
    await assert.rejects(sample.client(await token({ payload: { aud: 'x' } })).call('listJobs'), { code: 'UNAUTHENTICATED', status: 401 });
    await sample.close();
  });

  test('another issuer, audience, claim or key is refused', async () => {
    await refused({ payload: { iss: 'https://elsewhere.example' } }, /issuer/);
    await refused({ payload: { iss: other } });
    await refused({ payload: { iss: `${issuer}/` } }, /issuer/);
    await refused({ drop: ['iss'] });
    await refused({ payload: { aud: 'https://another-farm.example' } }, /aud/);
    await refused({ payload: { aud: `${AUDIENCE}/` } });
    await refused({ drop: ['aud'] });
    await refused({ payload: { repository: 'evil/hello' } }, /repository/);
    await refused({ payload: { repository: 'evil/example/hello' } });
    await refused({ payload: { ref: 'refs/heads/main2' } }, /ref/);
    await refused({ payload: { ref: 'refs/pull/1/merge' } });
    await refused({ payload: { ref: ['refs/heads/main'] } });
    await refused({ payload: { ref: true } });
    await refused({ drop: ['ref'] });
    await refused({ drop: ['sub'] });
    await refused({ signer: stranger }, /signature/);
    await refused({ header: { kid: 'none' } });
    await refused({ payload: { repository: 'example/a b' } }, /names nobody/);
    await refused({ payload: { repository: `example/${'a'.repeat(100)}` } }, /names nobody/);
  });

  test('the time of a token is bounded on both sides', async () => {
    await refused({ payload: { iat: SECONDS - 600, exp: SECONDS - 31 } }, /exp/);
    assert.ok(await verify(await token({ payload: { iat: SECONDS - 600, exp: SECONDS - 20 } })), 'clocks differ a little');
    await refused({ payload: { iat: SECONDS + 31 } }, /iat/);
    await refused({ payload: { iat: SECONDS - 3700, exp: SECONDS + 300 } }, /iat|old/);
    await refused({ payload: { nbf: SECONDS + 60 } }, /nbf/);
    await refused({ drop: ['exp'] }, /exp/);
    await refused({ drop: ['iat'] }, /iat/);
    const once = await token();
    assert.ok(await verify(once));
    clock.time += 331_000;
    await assert.rejects(verify(once), { code: 'UNAUTHENTICATED' });
    clock.time = START;
  });

  test('no algorithm, and a public key taken for a secret, are refused', async () => {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const [, payload = '', signature = ''] = (await token()).split('.');
    for (const header of [
      { alg: 'none' },
      { alg: 'None', kid: 'one' },
      { kid: 'one' },
      { alg: 'ES256', kid: 'one', crit: ['exp'], exp: 1 },
    ])
      for (const end of ['', signature]) await assert.rejects(verify(`${part(header)}.${payload}.${end}`), { code: 'UNAUTHENTICATED' });
    const spki = new TextEncoder().encode(await exportSPKI(rsa.publicKey));
    await refused({ header: { alg: 'HS256', kid: 'two' }, signer: spki });
    await refused({ header: { alg: 'HS256', kid: 'one' }, signer: spki });
    // Its own key, brought along.
    await refused({
      header: { jwk: await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey) },
      signer: stranger,
    });
    for (const text of ['', '..', 'a.b.c', `${part({})}.${part(null)}.`, `${part({})}.${part([])}.x`, `${'x'.repeat(9000)}.y.z`])
      await assert.rejects(verify(text), { code: 'UNAUTHENTICATED' }, text.slice(0, 20));
  });

  test('many tokens with unknown keys do not make the farm ask the issuer each time, and a redirect is not followed', async () => {
    const before = asked;
    for (let at = 0; at < 20; at++) await refused({ header: { kid: `none ${at}` } });
    assert.ok(asked - before <= 1, `asked ${asked - before} times`);
    served = false;
    const fresh = oidcVerifier(
      [{ issuer, audience: AUDIENCE, jwks: `${issuer}/jwks`, claims: { repository: '*' }, name: 'repository' }],
      () => START,
    )!;
    await assert.rejects(fresh(await token()), { code: 'FARM_UNUSABLE', message: /cannot be had/ });
    served = true;
  });
});
