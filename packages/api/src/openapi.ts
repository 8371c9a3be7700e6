/** OpenAPI 3.1 from the route table. */
import { z } from 'zod';
import { problem } from './problem.ts';
import type { Route } from './route.ts';
import { ROUTES } from './routes/table.ts';

type Schema = Record<string, unknown>;

export function openApi(version: string): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const [name, one] of Object.entries(ROUTES) as [string, Route][]) {
    const path = one.path.replaceAll('+}', '}');
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operation(name, one) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lockstep farm',
      version,
      description: 'A build farm that anyone can check.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Problem: schemaOf(problem, 'output') },
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of the farm, or an OpenID Connect token of a CI system that the farm knows.',
        },
        certificate: { type: 'mutualTLS', description: 'The certificate that a builder got when it joined.' },
      },
    },
  };
}

function operation(name: string, one: Route): Schema {
  const { allow } = one;
  return {
    operationId: name,
    summary: one.summary,
    'x-roles': allow,
    security: allow.includes('anyone') ? [] : allow.includes('builder') ? [{ certificate: [] }] : [{ token: [] }],
    parameters: [...parameters(one.params, 'path'), ...parameters(one.query, 'query')],
    ...(one.body === null ? {} : { requestBody: { required: true, content: contentOf(one.body, 'input') } }),
    responses: {
      200: { description: 'Done.', content: contentOf(one.reply, 'output') },
      default: { description: 'Not done, and why.', content: { 'application/json': { schema: { $ref: '#/components/schemas/Problem' } } } },
    },
  };
}

function parameters(schema: z.ZodType, where: 'path' | 'query'): Schema[] {
  const json = schemaOf(schema, 'input') as { properties?: Record<string, Schema>; required?: string[] };
  return Object.entries(json.properties ?? {}).map(([name, one]) => ({
    name,
    in: where,
    required: where === 'path' || (json.required ?? []).includes(name),
    schema: one,
  }));
}

function contentOf(shape: Route['body'], io: 'input' | 'output'): Schema {
  if (shape === 'bytes') return { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
  if (shape === 'events') return { 'text/event-stream': { schema: { type: 'string' } } };
  if (shape === 'text') return { 'text/plain': { schema: { type: 'string' } } };
  return shape === null ? {} : { 'application/json': { schema: schemaOf(shape, io) } };
}

/** Written out in place: references of JSON Schema are relative to the document, and each of ours is small. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    reused: 'inline',
    // Names of schemas would become references into a document that is not theirs.
    metadata: z.registry<{ id?: string }>(),
    override: (given) => void delete given.jsonSchema.id,
  }) as Schema;
  return json;
}
