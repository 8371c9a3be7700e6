/** `lockstep release request`: a signing request as a file, for a node that is reached by hand. */
import { writeDurably } from '@lockstep/store/durable';
import { cardsOf } from '../../release/group-card.ts';
import { makeReleaseRequest } from '../../release/make-request.ts';
import { runVerb } from '../../session.ts';
import { approversOf, findBuild, placesOf, type ReleaseOptions } from './release-options.ts';

export function releaseRequest(what: string, options: ReleaseOptions & { readonly out: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const places = placesOf(options);
    const { cells } = context.store;
    const { trust, evidence, buildId } = await findBuild(what, places, cells, context.now());
    const { bytes, record, plan } = await makeReleaseRequest(trust, evidence, {
      buildId,
      line: options.line,
      now: context.now(),
      nodes: cardsOf(approversOf(options)),
      rootFile: places.rootFile,
      policyFolder: places.policyFolder,
      cells,
    });
    writeDurably(options.out, bytes);
    print(`${record.name} ${record.version}: ${options.out}, ${bytes.length} bytes, ${plan.length} signatures asked for`, {
      schema: 'lockstep-release-request/v1',
      build_id: buildId,
      request: options.out,
      bytes: bytes.length,
      record,
    });
    return 0;
  });
}
