/** Builders within the farm's own process: the same agent, the same routes, without the way over the network. */
import { type Agent, startAgent } from '@lockstep/builder/node/agent';
import { join, transportKeyFile } from '@lockstep/builder/node/join';
import { exclusive } from '@lockstep/builder/node/work';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import type { Context } from '@lockstep/builder/context';
import type { FarmApp } from '@lockstep/control-plane/api/app';
import { makeJoinToken } from '@lockstep/control-plane/enrolment/enrol';
import { farmClient, type Transport } from '@lockstep/api/client';
import { openStore } from '@lockstep/store/store';
import type { FarmHome } from './farm-config.ts';
import type { OpenFarm } from './open-farm.ts';

/** Straight into the application. @param transportKey who it is that asks; null: nobody in particular */
function directTransport(app: FarmApp, transportKey: string | null, transportSpki: Uint8Array | null): Transport {
  return ({ method, path, headers, body, signal }) =>
    app.fetch(
      new Request(`https://farm.local${path}`, {
        method,
        headers,
        ...(body === null ? {} : { body: new Uint8Array(body) }),
        ...(signal === null ? {} : { signal }),
      }),
      {
        address: 'this process',
        transportKey,
        transportSpki,
      },
    );
}

export async function startLocalBuilders(home: FarmHome, open: OpenFarm, context: Context): Promise<Agent[]> {
  const { config, at } = home;
  if (config.builder.length === 0) return [];
  const store = openStore(at(config.builders_store));
  const once = exclusive();
  const agents: Agent[] = [];
  for (const { name, key, slots } of config.builder) {
    const keyFile = at(key);
    const transport = openAttestationKey(transportKeyFile(keyFile));
    const known = await open.farm.database.reads.selectFrom('builders').select('transport_key').where('name', '=', name).executeTakeFirst();
    if (known?.transport_key !== transport.id) {
      const { token } = await makeJoinToken(open.farm, name, transport.id, 5);
      await join(farmClient(directTransport(open.app, null, null), null), keyFile, name, token);
    }
    agents.push(
      startAgent({
        context: { ...context, store, settings: { ...context.settings, keyFile } },
        client: farmClient(directTransport(open.app, transport.id, transport.spki), null),
        name,
        slots,
        ceilings: {},
        once,
        say: (level, message, fields) => open.farm.journal(level, `builder: ${message}`, { builder: name, ...fields }),
      }),
    );
  }
  return agents;
}
