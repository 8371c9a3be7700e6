/**
 * A post box for signing nodes: they pull what they are asked, and put down what they answer; nothing connects to them.
 * The farm carries bytes, and reads none of them.
 */
import { z } from 'zod';
import { route } from '../route.ts';
import { OPERATORS, SIGNERS } from '../role.ts';
import { countText, sha256 } from '../values.ts';

/** The largest message of any kind (spec/frost.md "Bounds"). */
export const MAX_SIGNING_MESSAGE = 16 << 20;

/** As a node is called (spec/signing-request.md): a part of a path, and of a key in the storage. */
const node = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/);
const message = z.strictObject({ node, message: sha256 });
const own = z.strictObject({ message: sha256 });
/** Seconds that the caller waits for something to come. */
const wait = z.strictObject({ wait: countText.optional() });

export const signingRoutes = {
  putSigningMessage: route('PUT /v1/signing/{node}/{message}', {
    allow: OPERATORS,
    summary: 'Put a message down for a node, named by its SHA-256.',
    params: message,
    body: 'bytes',
    maxBody: MAX_SIGNING_MESSAGE,
    reply: z.strictObject({}),
    audited: true,
  }),
  signingAnswer: route('GET /v1/signing/{node}/{message}/answer', {
    allow: OPERATORS,
    summary: 'What the node has answered; waits for it for so many seconds.',
    params: message,
    query: wait,
    reply: 'bytes',
  }),
  signingInbox: route('GET /v1/signing-inbox', {
    allow: SIGNERS,
    summary: 'Messages for the node that asks, which it has not answered; waits for one for so many seconds.',
    query: wait,
    reply: z.strictObject({ messages: z.array(sha256) }),
  }),
  takeSigningMessage: route('GET /v1/signing-inbox/{message}', {
    allow: SIGNERS,
    summary: 'One message for the node that asks.',
    params: own,
    reply: 'bytes',
  }),
  putSigningAnswer: route('PUT /v1/signing-inbox/{message}/answer', {
    allow: SIGNERS,
    summary: 'The node’s answer to one of its messages. The first one stays.',
    params: own,
    body: 'bytes',
    maxBody: MAX_SIGNING_MESSAGE,
    reply: z.strictObject({}),
    audited: true,
  }),
} as const;
