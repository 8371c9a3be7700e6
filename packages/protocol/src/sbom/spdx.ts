/** SPDX 2.3 document (JSON) of everything that a definition puts in: made from the lock alone, so it is reproducible itself. */
import { isoTime } from '../time/iso-time.ts';
import { buildId, type Definition } from '../definition/definition.ts';
import type { Json } from '../json/parse.ts';
import { dependenciesOf } from '../provenance/dependencies.ts';
import type { Dependency } from '../statement/statement.ts';

const SPDX_ALGORITHMS: Readonly<Record<string, string>> = { sha256: 'SHA256', sha512: 'SHA512' };

export function spdxOf(definition: Definition): Json {
  const id = buildId(definition);
  const { manifest, lock } = definition;
  const dependencies = dependenciesOf(definition);
  const packages = dependencies.map((one, index) => packageOf(one, index));
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${manifest.name}-${manifest.version}`,
    documentNamespace: `urn:lockstep:sbom:${id}`,
    creationInfo: {
      created: isoTime(lock.source.date),
      creators: ['Tool: lockstep'],
      comment: 'The time is the source date, so that the document is the same whenever it is made.',
    },
    packages: [
      {
        SPDXID: 'SPDXRef-Build',
        name: manifest.name,
        versionInfo: manifest.version,
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        primaryPackagePurpose: 'APPLICATION',
      },
      ...packages,
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: 'SPDXRef-Build' },
      ...dependencies.map((one, index) => relationship(one, index)),
    ],
  };
}

function packageOf(one: Dependency, index: number): Json {
  const checksums = Object.entries(one.digest).flatMap(([algorithm, value]) => {
    const known = SPDX_ALGORITHMS[algorithm];
    return known === undefined ? [] : [{ algorithm: known, checksumValue: value }];
  });
  const purl = one.uri.startsWith('pkg:')
    ? { externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: one.uri }] }
    : {};
  const version = /@([^?]+)/.exec(one.uri.startsWith('pkg:') ? one.uri : '')?.[1];
  return {
    SPDXID: `SPDXRef-Input-${index}`,
    name: one.name,
    ...(version === undefined ? {} : { versionInfo: decodeURIComponent(version) }),
    downloadLocation: one.uri === '' || one.uri.startsWith('pkg:') || !/^[a-z][a-z0-9+.-]*:/.test(one.uri) ? 'NOASSERTION' : one.uri,
    filesAnalyzed: false,
    ...(checksums.length === 0 ? {} : { checksums }),
    ...purl,
  };
}

function relationship(one: Dependency, index: number): Json {
  const id = `SPDXRef-Input-${index}`;
  return one.name.startsWith('environment')
    ? { spdxElementId: id, relationshipType: 'BUILD_TOOL_OF', relatedSpdxElement: 'SPDXRef-Build' }
    : { spdxElementId: 'SPDXRef-Build', relationshipType: 'GENERATED_FROM', relatedSpdxElement: id };
}
