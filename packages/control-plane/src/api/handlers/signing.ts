/** The post box of signing nodes. A node is known by its token, whose name is the node's. */
import type { signingRoutes } from '@lockstep/api/routes/signing';
import { answerTo, putAnswer, putMessage, takeMessage, waitingFor } from '../../content/post-box.ts';
import { bytesResponse } from '../answer.ts';
import type { Handlers } from '../request.ts';

export const signingHandlers: Handlers<keyof typeof signingRoutes> = {
  async putSigningMessage({ farm }, { params, body }) {
    await putMessage(farm, params.node, params.message, body);
    return {};
  },
  signingAnswer: async ({ farm }, { params, query, signal }) =>
    bytesResponse(await answerTo(farm, params.node, params.message, query.wait ?? 0, signal)),
  signingInbox: async ({ farm }, { principal, query, signal }) => ({
    messages: await waitingFor(farm, principal.name, query.wait ?? 0, signal),
  }),
  takeSigningMessage: async ({ farm }, { params, principal }) => bytesResponse(await takeMessage(farm, principal.name, params.message)),
  async putSigningAnswer({ farm }, { params, principal, body }) {
    await putAnswer(farm, principal.name, params.message, body);
    return {};
  },
};
