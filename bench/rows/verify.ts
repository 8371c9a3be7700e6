/** Row 4: is this 256 MiB file what somebody attested? */
import { mkdirSync, writeFileSync } from 'node:fs';
import { type Contestant, must } from '../measure.ts';
import { findProgram, lockstep, type Place } from '../place.ts';

const BYTES = 256 << 20;
const MANIFEST = `name = "large"
version = "1"

[source]
ref = "./src"

[environment]
kind = "host"

[build]
steps = ["head -c ${BYTES} /dev/zero > big"]

[[outputs]]
files = "big"

[resources]
output_mb = 512
`;

export function verifyLarge(place: Place): Contestant[] {
  const folder = place.folder('verify');
  const home = `${folder}/home`;
  mkdirSync(`${folder}/src`);
  writeFileSync(`${folder}/src/file`, 'source\n');
  writeFileSync(`${folder}/lockstep.toml`, MANIFEST);
  must(lockstep(['lock', '-q', folder], home));
  must(lockstep(['build', '-q', folder], home));
  const key = `${folder}/builder.pem`;
  writeFileSync(key, must(lockstep(['key'], home)));
  const file = `${folder}/lockstep-out/big`;
  if (findProgram('minisign') !== null) {
    must({ argv: ['minisign', '-G', '-W', '-p', `${folder}/minisign.pub`, '-s', `${folder}/minisign.key`] });
    must({ argv: ['minisign', '-S', '-s', `${folder}/minisign.key`, '-m', file] });
  }
  return [
    { name: '`lockstep verify`', needs: [], command: () => lockstep(['verify', file, '--key', key], home) },
    { name: '`openssl dgst -sha256`', needs: ['openssl'], command: () => ({ argv: ['openssl', 'dgst', '-sha256', file] }) },
    {
      name: '`minisign -V`',
      needs: ['minisign'],
      command: () => ({ argv: ['minisign', '-V', '-q', '-p', `${folder}/minisign.pub`, '-m', file] }),
    },
  ];
}
