import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openApi } from './openapi.ts';
import { ROLES } from './role.ts';
import type { Route } from './route.ts';
import { ROUTES } from './routes/table.ts';

type Value = null | boolean | number | string | readonly Value[] | { readonly [key: string]: Value };
type Table = Readonly<Record<string, Value>>;

// As it is sent.
const document = JSON.parse(JSON.stringify(openApi('1.2.3'))) as Table;
const paths = document['paths'] as Readonly<Record<string, Readonly<Record<string, Table>>>>;
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, one]) => ({ path, method, one })),
);

const isTable = (value: Value | undefined): value is Table => typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : assert.fail('no text'));

/** RFC 6901, from the root of the document: OpenAPI 3.1 resolves references of schemas without `$id` there. */
function resolve(pointer: string): Value | undefined {
  if (!pointer.startsWith('#/')) return undefined;
  let value: Value | undefined = document;
  for (const part of pointer
    .slice(2)
    .split('/')
    .map((one) => decodeURIComponent(one).replaceAll('~1', '/').replaceAll('~0', '~')))
    value = isTable(value) ? value[part] : Array.isArray(value) ? (value as readonly Value[])[Number(part)] : undefined;
  return value;
}

function references(value: Value, at: string): { at: string; to: string }[] {
  if (Array.isArray(value)) return (value as readonly Value[]).flatMap((one, index) => references(one, `${at}/${index}`));
  if (!isTable(value)) return [];
  return Object.entries(value).flatMap(([key, one]) => (key === '$ref' ? [{ at, to: textOf(one) }] : references(one, `${at}/${key}`)));
}

test('openApi has what OpenAPI 3.1 requires at its top', () => {
  assert.equal(document['openapi'], '3.1.0');
  const info = document['info'] as Table;
  assert.ok(typeof info['title'] === 'string' && info['version'] === '1.2.3');
  const allowed = [
    'openapi',
    'info',
    'servers',
    'paths',
    'components',
    'security',
    'tags',
    'externalDocs',
    'webhooks',
    'jsonSchemaDialect',
  ];
  assert.deepEqual(
    Object.keys(document).filter((key) => !allowed.includes(key)),
    [],
  );
  for (const one of document['servers'] as readonly Table[]) assert.ok(typeof one['url'] === 'string');
});

test('openApi has every route of the table once, and nothing else', () => {
  const told = operations.map(({ one }) => textOf(one['operationId'])).toSorted();
  assert.deepEqual(told, Object.keys(ROUTES).toSorted());
  for (const { path, method, one } of operations) {
    const route = ROUTES[one['operationId'] as keyof typeof ROUTES] as Route;
    assert.equal(`${method.toUpperCase()} ${path}`, `${route.method} ${route.path.replaceAll('+}', '}')}`);
    assert.deepEqual(one['x-roles'], route.allow);
    assert.ok((one['x-roles'] as readonly string[]).every((role) => ROLES.includes(role as 'anyone')));
    assert.ok(typeof one['summary'] === 'string' && one['summary'].length > 3);
  }
  assert.equal(new Set(operations.map(({ path, method }) => `${method} ${path.replaceAll(/\{[^}]+\}/g, '{}')}`)).size, operations.length);
});

test('openApi names each parameter of a path, once, required, with a schema', () => {
  for (const { path, one } of operations) {
    const parameters = one['parameters'] as readonly Table[];
    const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]!).toSorted();
    const told = parameters.filter((parameter) => parameter['in'] === 'path');
    assert.deepEqual(told.map((parameter) => textOf(parameter['name'])).toSorted(), named, path);
    for (const parameter of parameters) {
      assert.ok(parameter['in'] === 'path' || parameter['in'] === 'query');
      assert.equal(typeof parameter['required'], 'boolean');
      if (parameter['in'] === 'path') assert.equal(parameter['required'], true);
      assert.ok(isTable(parameter['schema']));
      assert.deepEqual(Object.keys(parameter).toSorted(), ['in', 'name', 'required', 'schema']);
    }
    assert.equal(new Set(parameters.map((parameter) => `${textOf(parameter['in'])} ${textOf(parameter['name'])}`)).size, parameters.length);
  }
});

test('openApi has bodies where a route takes one, answers for good and bad, and security that exists', () => {
  const schemes = Object.keys((document['components'] as Table)['securitySchemes'] as Table);
  for (const { method, one, path } of operations) {
    const route = ROUTES[one['operationId'] as keyof typeof ROUTES] as Route;
    const body = one['requestBody'] as Table | undefined;
    assert.equal(body !== undefined, route.body !== null, path);
    if (method === 'get') assert.equal(body, undefined);
    const responses = one['responses'] as Readonly<Record<string, Table>>;
    assert.deepEqual(Object.keys(responses).toSorted(), ['200', 'default']);
    for (const content of [body, ...Object.values(responses)].map((each) => each?.['content'] as Table | undefined))
      for (const [type, media] of Object.entries(content ?? {})) {
        assert.match(type, /^(?:application\/(?:json|octet-stream)|text\/(?:plain|event-stream))$/);
        assert.ok(isTable(media) && isTable(media['schema']), path);
      }
    for (const response of Object.values(responses)) assert.ok(typeof response['description'] === 'string');
    const security = one['security'] as readonly Table[];
    assert.ok(security.every((each) => Object.keys(each).every((name) => schemes.includes(name))));
    assert.equal(security.length === 0, route.allow.includes('anyone'), path);
  }
});

test('every reference of openApi leads somewhere within it', () => {
  const found = references(document, '#');
  assert.ok(found.length > operations.length - 1);
  assert.deepEqual(
    found.filter(({ to }) => resolve(to) === undefined),
    [],
  );
});

test('openApi is plain JSON without keywords that are not JSON Schema’s', () => {
  const text = JSON.stringify(document);
  assert.doesNotMatch(text, /"\$schema"|"~|"_zod"|"id":"[A-Z]/);
  assert.doesNotMatch(text, /undefined|\[object/);
});
