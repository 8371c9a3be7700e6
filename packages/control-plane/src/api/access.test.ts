import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ROLES, type Role, TOKEN_ROLES } from '@lockstep/api/role';
import type { Route } from '@lockstep/api/route';
import { ROUTES, type RouteName } from '@lockstep/api/routes/table';
import { enrolmentWords } from '@lockstep/api/enrolment';
import { definitionOf, type SampleFarm, sampleFarm } from '../samples.ts';
import type { FarmApp } from './app.ts';
import type { Handlers } from './request.ts';

const DIGEST = 'a'.repeat(64);
const PARAMETERS: Readonly<Record<string, string>> = {
  job: DIGEST,
  sha256: DIGEST,
  part: DIGEST,
  attempt: '7',
  offset: '0',
  builder: 'nobody',
  token: 'nobody',
  path: 'checkpoint',
};

interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly transportKey?: string | null;
  readonly transportSpki?: Uint8Array | null;
  readonly address?: string;
}

function ask(app: FarmApp, asked: Asked): Promise<Response> {
  const { method = 'GET', path, headers = {}, body, transportKey = null, transportSpki = null, address = '192.0.2.7' } = asked;
  const init = { method, headers, ...(body === undefined ? {} : { body: body as string }) };
  return app.fetch(new Request(`https://farm.example${path}`, init), { address, transportKey, transportSpki });
}

const codeOf = async (response: Response): Promise<string> => ((await response.json()) as { error: { code: string } }).error.code;
const pathOf = (route: Route): string => route.path.replaceAll(/\{([a-z0-9]+)\+?\}/g, (_all, name: string) => PARAMETERS[name] ?? 'x');

describe('who may do what', () => {
  let sample: SampleFarm;
  const shown = new Map<Role, Partial<Asked>>();
  before(async () => {
    sample = await sampleFarm({ builders: 1 });
    for (const role of TOKEN_ROLES) shown.set(role, { headers: { authorization: `Bearer ${await sample.token(`a-${role}`, role)}` } });
    const { transportKey, transportSpki } = sample.builders[0]!;
    shown.set('builder', { transportKey, transportSpki });
    shown.set('anyone', {});
  });
  after(() => sample.close());

  test('every route × every role: as `allow` says, else 401 for whoever is unknown and 403 for the others', async () => {
    const wrong: string[] = [];
    let asked = 0;
    for (const [name, route] of Object.entries(ROUTES) as [RouteName, Route][])
      for (const role of ROLES) {
        const body = route.body === null ? {} : { body: route.body === 'bytes' ? new Uint8Array([1]) : '{}' };
        const response = await ask(sample.app, { method: route.method, path: pathOf(route), ...body, ...shown.get(role) });
        asked++;
        const text = await firstOf(response);
        const code = /"code":"([A-Z_]+)"/.exec(text)?.[1] ?? '';
        const told = `${name} as ${role}: ${response.status} ${code}`;
        if (!route.allow.includes(role)) {
          const expected = role === 'anyone' ? '401 UNAUTHENTICATED' : '403 FORBIDDEN';
          if (`${response.status} ${code}` !== expected) wrong.push(`${told}, not ${expected}`);
        } else if (
          [401, 403].includes(response.status) ||
          response.status >= 500 ||
          (response.status === 404 && /no such route/.test(text))
        )
          wrong.push(told);
      }
    assert.deepEqual(wrong, []);
    assert.equal(asked, Object.keys(ROUTES).length * ROLES.length);
  });

  test('what the table allows is what was meant: nothing that changes the farm is for anyone but by enrolment', () => {
    for (const [name, route] of Object.entries(ROUTES) as [RouteName, Route][]) {
      if (route.allow.includes('anyone')) assert.ok(route.method === 'GET' || name === 'enrol', name);
      if (route.method !== 'GET' && route.allow.includes('observer')) assert.equal(name, 'enrol');
      if (route.allow.includes('builder') && !route.allow.includes('anyone')) assert.deepEqual(route.allow, ['builder'], name);
      // An operator may do what a submitter may, a submitter what an observer may.
      if (route.allow.includes('submitter')) assert.ok(route.allow.includes('operator'), name);
      if (route.allow.includes('observer')) assert.ok(route.allow.includes('submitter'), name);
      if (route.method !== 'GET' && route.allow.includes('operator') && route.body !== 'bytes')
        assert.ok(route.audited || ['finishInput'].includes(name), `${name} is not in the audit log`);
    }
  });

  test('a route whose handler is missing does not compile', () => {
    // @ts-expect-error: `ready` is missing
    const handlers: Handlers<'health' | 'ready'> = { health: () => ({ status: 'ok' }) };
    // @ts-expect-error: the reply is another one
    const answers: Handlers<'health'> = { health: () => ({ status: 'bad' }) };
    assert.ok(handlers !== null && answers !== null);
  });

  test('what is not in the table is not there, for anybody', async () => {
    for (const [method, path] of [
      ['GET', '/'],
      ['GET', '/v1'],
      ['GET', '/v1/jobs/'],
      ['GET', '/v2/jobs'],
      ['PUT', '/v1/jobs'],
      ['PATCH', '/v1/tokens'],
      ['DELETE', `/v1/jobs/${DIGEST}`],
      ['GET', '/v1/tokens/../jobs/x/y'],
      ['GET', '//v1/tokens'],
      ['OPTIONS', '/v1/jobs'],
    ] as const) {
      const response = await ask(sample.app, { method, path, ...shown.get('operator') });
      assert.equal(response.status, 404, `${method} ${path}`);
      assert.equal(await codeOf(response), 'NOT_FOUND');
    }
  });

  test('tokens: revoked, expired, unknown and of another scheme are refused', async () => {
    const operator = sample.client(await sample.token('an-operator', 'operator'));
    const { token } = await operator.call('makeToken', { body: { name: 'ci/main', role: 'observer', days: 1 } });
    const status = async (authorization: string) => (await ask(sample.app, { path: '/v1/jobs', headers: { authorization } })).status;
    assert.equal(await status(`Bearer ${token}`), 200);
    for (const one of [
      `Basic ${token}`,
      `bearer ${token}`,
      token,
      `Bearer  ${token}`,
      `Bearer ${token} x`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${'A'.repeat(43)}`,
      'Bearer ',
      `Bearer ${'x'.repeat(9000)}`,
      'Bearer a.b.cccccccccccccc',
    ])
      assert.equal(await status(one), 401, one.slice(0, 60));
    sample.clock.time += 86_400_001;
    assert.equal(await status(`Bearer ${token}`), 401);
    sample.clock.time -= 86_400_001;
    assert.equal(await status(`Bearer ${token}`), 200);
    await operator.call('revokeToken', { params: { token: 'ci/main' } });
    assert.equal(await status(`Bearer ${token}`), 401);
    await assert.rejects(operator.call('revokeToken', { params: { token: 'nobody' } }), { code: 'NOT_FOUND' });
    await assert.rejects(operator.call('makeToken', { body: { name: 'ci/main', role: 'operator' } }), { code: 'REQUEST_INVALID' });
    const { tokens } = await operator.call('listTokens');
    assert.equal(tokens.find((one) => one.name === 'ci/main')?.revoked, true);
    assert.ok(!JSON.stringify(tokens).includes(token));
  });

  test('a bad token is not made good by a good certificate, and an unknown or retired certificate is refused', async () => {
    const { transportKey } = sample.builders[0]!;
    const announce = (more: Partial<Asked>) => ask(sample.app, { method: 'POST', path: '/v1/builder', body: '{}', ...more });
    assert.equal((await announce({ transportKey, headers: { authorization: `Bearer ${'A'.repeat(43)}` } })).status, 401);
    assert.equal((await announce({ transportKey: 'f'.repeat(64) })).status, 401);
    assert.equal((await announce({ transportKey })).status, 400, 'it is known; its body is none');
    const operator = sample.client(await sample.token('who-retires', 'operator'));
    const retired = sample.builders[0]!;
    await operator.call('setBuilder', { params: { builder: retired.name }, body: { state: 'retired' } });
    assert.equal((await announce({ transportKey })).status, 401);
    await assert.rejects(operator.call('setBuilder', { params: { builder: retired.name }, body: { state: 'active' } }), {
      code: 'NOT_FOUND',
    });
    await sample.farm.database.write((tx) => tx.updateTable('builders').set({ state: 'active' }).execute());
  });

  test('what an operator did is in the audit log, what was refused too, and no secret', async () => {
    const operator = sample.client(await sample.token('who-audits', 'operator'));
    const { token } = await operator.call('makeToken', { body: { name: 'audited', role: 'observer' } });
    await ask(sample.app, { method: 'POST', path: '/v1/tokens', body: '{}', ...shown.get('observer') });
    const { entries } = await operator.call('audit', { query: { limit: '2' } });
    assert.deepEqual(
      entries.map((one) => [one.who, one.role, one.action, one.status]),
      [
        ['a-observer', 'observer', 'makeToken', 403],
        ['who-audits', 'operator', 'makeToken', 200],
      ],
    );
    assert.ok(!JSON.stringify(entries).includes(token));
    const older = await operator.call('audit', { query: { before: String(entries[1]!.id), limit: '1' } });
    assert.ok(older.entries[0]!.id < entries[1]!.id);
  });
});

describe('what is asked', () => {
  let sample: SampleFarm;
  let authorization = '';
  before(async () => {
    sample = await sampleFarm({ builders: 0 });
    authorization = `Bearer ${await sample.token('operator', 'operator')}`;
  });
  after(() => sample.close());
  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    ask(sample.app, { method: 'POST', path, body, headers: { authorization, ...headers } });

  test('JSON that two parsers could read differently is refused', async () => {
    for (const body of [
      '',
      '{',
      '[]',
      'null',
      '{"name":"a","name":"b","role":"observer"}',
      '{"name":"a","role":"observer","__proto__":{"days":1}}',
      '{"name":"a","role":"observer","constructor":1}',
      '{"name":"a","role":"observer","extra":1}',
      '{"name":"a","role":"root"}',
      '{"name":"../a","role":"observer"}',
      '{"name":"a\\u0000","role":"observer"}',
      '{"name":"a","role":"observer","days":1e400}',
      `${'['.repeat(200)}${']'.repeat(200)}`,
      '\ufeff{"name":"a","role":"observer"}',
    ]) {
      const response = await post('/v1/tokens', body);
      assert.equal(response.status, 400, body.slice(0, 80));
      assert.match(await codeOf(response), /^(?:REQUEST|JSON)_INVALID$/);
    }
    assert.equal((await post('/v1/tokens', new Uint8Array([0xff, 0xfe, 0x7b]))).status, 400);
    assert.deepEqual(
      (await sample.farm.database.reads.selectFrom('tokens').select('name').execute()).map((one) => one.name),
      ['operator'],
    );
  });

  test('a body larger than its route takes is refused, whatever its length says', async () => {
    const large = JSON.stringify({ name: 'a'.repeat(70_000), role: 'observer' });
    for (const headers of [{}, { 'content-length': String(large.length) }, { 'content-length': '10' }]) {
      const response = await post('/v1/tokens', large, headers);
      assert.equal(response.status, 400);
      assert.match(await response.text(), /larger than 65536 bytes/);
    }
    // Streamed, without a length: it is let go at the bound, not read to its end.
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 65_536;
        if (sent > 100 << 20) controller.close();
        else controller.enqueue(new Uint8Array(65_536).fill(32));
      },
    });
    const request = new Request('https://farm.example/v1/tokens', {
      method: 'POST',
      body: endless,
      headers: { authorization },
      duplex: 'half',
    } as RequestInit);
    const response = await sample.app.fetch(request, { address: 'x', transportKey: null, transportSpki: null });
    assert.equal(response.status, 400);
    assert.ok(sent < 2 << 20, `${sent} bytes were read`);
  });

  test('paths and queries are held to their schemas', async () => {
    const get = async (path: string) => (await ask(sample.app, { path, headers: { authorization } })).status;
    for (const path of [
      '/v1/jobs?limit=-1',
      '/v1/jobs?limit=1e3',
      '/v1/jobs?state=done',
      '/v1/jobs?unknown=1',
      '/v1/jobs/ABCDEF01',
      '/v1/jobs/abc',
      `/v1/jobs/${'a'.repeat(65)}`,
      '/v1/jobs/abcdef01%00',
      '/v1/attempts/0/transcript',
      '/v1/attempts/99999999999999999999/transcript',
      '/v1/attempts/1.5/transcript',
    ])
      assert.equal(await get(path), 400, path);
    assert.equal(await get('/v1/jobs?limit=0'), 200);
    assert.equal(await get('/v1/jobs?limit=999999999&before=9999999999999'), 200);
    assert.equal(await get('/v1/jobs/abcdef01'), 404);
  });

  test('no path leads out of the log or the policy', async () => {
    for (const path of [
      '../farm.sqlite',
      '..%2ffarm.sqlite',
      '%2e%2e/x',
      'tile/../../x',

      '.hidden',
      'a//b',
      'a%00b',
      'a%5c..%5cb',
    ])
      for (const where of ['/log/', '/policy/']) {
        const { status } = await ask(sample.app, { path: `${where}${path}` });
        assert.ok(status === 404 || status === 400, `${where}${path}: ${status}`);
      }
    assert.equal((await ask(sample.app, { path: '/log/checkpoint' })).status, 200);
    assert.equal((await ask(sample.app, { path: '/policy/metadata/1.root.json' })).status, 200);
  });

  test('foreign bytes are never shown by a browser as a page', async () => {
    const response = await ask(sample.app, { path: '/log/checkpoint' });
    assert.equal(response.headers.get('content-type'), 'application/octet-stream');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  });

  test('a fault of the farm tells nothing of its inside', async () => {
    const { log } = sample;
    const size = () => Promise.resolve(log.entries.length);
    log.size = () => Promise.reject(new Error('password=geheim at /srv/farm'));
    const response = await ask(sample.app, { path: '/v1/status', headers: { authorization } });
    const text = await response.text();
    log.size = size;
    assert.equal(response.status, 500);
    assert.equal(response.headers.get('retry-after'), '5');
    assert.doesNotMatch(text, /geheim|srv|stack/);
    const ready = await ask(sample.app, { path: '/v1/ready' });
    assert.deepEqual([ready.status, ((await ready.json()) as { ready: boolean }).ready], [200, true]);
  });
});

test('who asks too often gets 429 and Retry-After, alone, until the time has passed', async () => {
  const sample = await sampleFarm({ builders: 0, limits: { rate: { perSecond: 2, burst: 5 } } });
  const [a, b] = [await sample.token('a', 'observer'), await sample.token('b', 'observer')];
  const get = (token: string | null, address = '192.0.2.1') =>
    ask(sample.app, { path: '/v1/jobs', address, headers: token === null ? {} : { authorization: `Bearer ${token}` } });
  for (let at = 0; at < 5; at++) assert.equal((await get(a)).status, 200);
  const refused = await get(a);
  assert.deepEqual([refused.status, refused.headers.get('retry-after'), await codeOf(refused)], [429, '1', 'RATE_LIMITED']);
  assert.equal((await get(b)).status, 200, 'another one is not refused for it');
  sample.clock.time += 1000;
  assert.deepEqual([(await get(a)).status, (await get(a)).status, (await get(a)).status], [200, 200, 429]);
  // Guessing tokens is slow, from one address.
  const guesses: number[] = [];
  for (let at = 0; at < 8; at++) guesses.push((await get('A'.repeat(43), '198.51.100.1')).status);
  assert.deepEqual(guesses, [401, 401, 401, 401, 401, 429, 429, 429]);
  assert.equal((await get(null, '198.51.100.2')).status, 401);
  // A clock that is set back locks nobody out.
  sample.clock.time -= 3_600_000;
  assert.equal((await get(b)).status, 200);
  sample.clock.time += 1000;
  assert.equal((await get(b)).status, 200);
  await sample.close();
});

test('on a private farm log and policy are for those who have a token or a certificate', async () => {
  const sample = await sampleFarm({ builders: 1, limits: { isPublic: false } });
  const paths = ['/log/checkpoint', '/policy/metadata/1.root.json'];
  for (const path of paths) {
    assert.equal((await ask(sample.app, { path })).status, 401, path);
    for (const role of ['observer', 'submitter', 'operator'] as const)
      assert.equal(
        (await ask(sample.app, { path, headers: { authorization: `Bearer ${await sample.token(`${role}${path}`, role)}` } })).status,
        200,
      );
    assert.equal((await ask(sample.app, { path, transportKey: sample.builders[0]!.transportKey })).status, 200);
  }
  assert.equal((await ask(sample.app, { path: '/v1/health' })).status, 200);
  await sample.close();
});

test('a failing audit log is told as every other fault', async () => {
  let failing = false;
  const sample = await sampleFarm({
    builders: 0,
    between: {
      database: (real) => ({ ...real, write: (work) => (failing ? Promise.reject(new Error('geheim')) : real.write(work)) }),
    },
  });
  failing = true;
  const response = await ask(sample.app, { method: 'POST', path: '/v1/tokens', body: '{}' });
  assert.ok(response.status >= 400);
  const text = await response.text();
  assert.match(text, /lockstep-error\/v1/);
  failing = false;
  await sample.close();
});

test('submitting: who, what and from where', async () => {
  const sample = await sampleFarm({ builders: 0, rule: { sources: ['git+https://host.example/*'] } });
  await sample.submit(definitionOf());
  const foreign = definitionOf({ sourceRef: 'git+https://elsewhere.example/x.git#refs/tags/v1' });
  await assert.rejects(sample.submit(foreign), { code: 'SUBMISSION_REFUSED', status: 403 });
  const { definitionToJson } = await import('@lockstep/protocol/definition/definition');
  const operator = sample.client(await sample.token('op', 'operator'));
  assert.equal((await operator.call('submit', { body: { definition: definitionToJson(foreign) as never } })).state, 'queued');
  const broken = definitionToJson(definitionOf()) as { lock: object };
  for (const definition of [{}, [], 1, null, { ...broken, extra: 1 }, { ...broken, lock: { ...broken.lock, resolves: 'b'.repeat(64) } }])
    await assert.rejects(operator.call('submit', { body: { definition: definition as never } }), { code: 'REQUEST_INVALID', status: 400 });
  assert.ok(enrolmentWords('a', 'b', 'c').endsWith('\n'));
  await sample.close();
});

/** What is there at once: streams go on. */
async function firstOf(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return Buffer.from(value ?? []).toString('utf8');
}
