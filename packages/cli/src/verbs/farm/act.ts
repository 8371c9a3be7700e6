/** `lockstep farm cancel|retry|drain|resume|retire|token|revoke|join-token|pin|unpin|gc`: what people do to a farm. */
import type { TokenRole } from '@lockstep/api/role';
import { TOKEN_ROLES } from '@lockstep/api/role';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { type FarmOptions, withFarm } from '../../farm/connect.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

type Options = CommonOptions & FarmOptions;

export function farmChange(what: 'cancelJob' | 'retryJob', job: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const { state } = await client.call(what, { params: { job } });
      print(`${job} is ${state}`, { schema: 'lockstep-farm-change/v1', job, state });
      return 0;
    }),
  );
}

export function farmSetBuilder(state: 'active' | 'draining' | 'retired', builder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      await client.call('setBuilder', { params: { builder }, body: { state } });
      print(`${builder} is ${state}`, { schema: 'lockstep-farm-builder/v1', builder, state });
      return 0;
    }),
  );
}

export function farmToken(name: string, role: string, options: Options & { readonly days: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const found = TOKEN_ROLES.find((one): one is TokenRole => one === role);
      if (found === undefined) throw new LockstepError('USAGE', `${role} is no role of a token`, `Use one of ${TOKEN_ROLES.join(', ')}.`);
      const { token } = await client.call('makeToken', {
        body: { name, role: found, days: options.days === 'never' ? null : wholeNumber('--days', options.days) },
      });
      print(token, { schema: 'lockstep-farm-token/v1', name, role: found, token });
      return 0;
    }),
  );
}

export function farmRevoke(token: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      await client.call('revokeToken', { params: { token } });
      print(`${token} is revoked`, { schema: 'lockstep-farm-revoke/v1', token });
      return 0;
    }),
  );
}

export function farmJoinToken(name: string, options: Options & { readonly key: string; readonly minutes: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client, url }) => {
      const fingerprint = options.key.replace(/^sha256:/, '');
      if (!/^[0-9a-f]{64}$/.test(fingerprint))
        throw new LockstepError(
          'USAGE',
          `--key ${options.key} is no fingerprint`,
          'On the builder: lockstep builder keys. It prints the fingerprint of its transport key.',
        );
      const { token, expiresAt, authority } = await client.call('makeJoinToken', {
        body: { name, fingerprint, minutes: wholeNumber('--minutes', options.minutes) },
      });
      print(
        [
          `on the builder, until ${new Date(expiresAt).toISOString()}, once:`,
          `lockstep builder join ${url} --name ${name} --token ${token} --authority sha256:${authority}`,
        ].join('\n'),
        {
          schema: 'lockstep-farm-join-token/v1',
          url,
          name,
          token,
          authority,
          expiresAt,
        },
      );
      return 0;
    }),
  );
}

export function farmShare(submitter: string, share: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      if (!/^[0-9]{1,4}(?:\.[0-9]{1,2})?$/.test(share))
        throw new LockstepError('USAGE', `${share} is no share`, 'Give a number such as 1, 2 or 0.5.');
      await client.call('setShare', { body: { submitter, share: Number(share) } });
      print(`${submitter} has a share of ${share}`, { schema: 'lockstep-farm-share/v1', submitter, share: Number(share) });
      return 0;
    }),
  );
}

/** An arbiter's word about a dispute, signed here and logged by the farm. */
export function farmResolve(
  job: string,
  options: Options & { readonly accept: string; readonly reason: string; readonly key: string },
): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const view = await client.call('job', { params: { job } });
      const decision = view.decision as unknown as Decision | null;
      if (decision?.dispute == null)
        throw new LockstepError('ROUND_REFUSED', `Nobody disagrees about ${view.job.slice(0, 12)}`, `It is ${view.state}.`);
      const groups = decision.groups.filter((one) => one.digest.startsWith(options.accept));
      if (options.accept !== 'none' && (options.accept.length < 8 || groups.length !== 1))
        throw new LockstepError(
          'USAGE',
          `--accept ${options.accept} names none of the results`,
          `Give 8 digits or more of one of ${decision.groups.map((one) => `${one.digest} (${one.builders.join(', ')})`).join(', ')}, or none.`,
        );
      const accept = options.accept === 'none' ? null : (groups[0]?.digest ?? null);
      const document = signDocument(options.key, RESOLUTION, {
        schema: 'lockstep-resolution/v1',
        build_id: view.job,
        dispute: decision.dispute,
        accept,
        reason: options.reason,
      });
      const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
      await client.call('submitDocument', {
        body: {
          payloadType: document.payloadType,
          payload: base64(document.payload),
          signature: base64(document.signature),
          key: base64(document.signer.spki),
        },
      });
      print(`said of ${view.job.slice(0, 12)}: ${accept ?? 'none of the results'}`, {
        schema: 'lockstep-farm-resolve/v1',
        job: view.job,
        accept,
      });
      return 0;
    }),
  );
}

export function farmPin(job: string, options: Options & { readonly reason: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      await client.call('pin', { params: { job }, body: { reason: options.reason } });
      print(`${job} is pinned`, { schema: 'lockstep-farm-pin/v1', job });
      return 0;
    }),
  );
}

export function farmUnpin(job: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      await client.call('unpin', { params: { job } });
      print(`${job} is not pinned`, { schema: 'lockstep-farm-unpin/v1', job });
      return 0;
    }),
  );
}

export function farmGarbage(options: Options & { readonly dryRun?: boolean; readonly olderThan: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) =>
    withFarm(options, async ({ client }) => {
      const report = await client.call('collectGarbage', {
        body: { dryRun: options.dryRun === true, olderThanHours: Number(options.olderThan) },
      });
      print(
        [
          ...report.objects,
          `${report.collected.count} objects, ${report.collected.bytes} bytes ${report.dryRun ? 'would be removed' : 'removed'}; ${report.kept.count} objects, ${report.kept.bytes} bytes kept`,
        ].join('\n'),
        { schema: 'lockstep-farm-garbage/v1', ...report },
      );
      return 0;
    }),
  );
}

function wholeNumber(option: string, value: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(value))
    throw new LockstepError('USAGE', `${option} ${value} is no number`, 'Give a whole number from 1 on.');
  return Number(value);
}
