#!/bin/sh
# The unit tests and one sealed build under the next Node, which is installed beside, not into, the project.
set -eu
cd "$(dirname -- "$0")/.."
beside=$(mktemp -d)
trap 'rm -rf "$beside"' EXIT
npm install --no-save --no-audit --no-fund --loglevel=error --prefix "$beside" "node-linux-$(node -p process.arch)@26.10.0" >&2
node=$beside/node_modules/node-linux-$(node -p process.arch)/bin/node
"$node" --version
LOCKSTEP_HOME=$beside/home "$node" --test --test-concurrency=2 --test-reporter=dot $(find packages scripts -name '*.test.ts' -not -name '*.long.test.ts' -not -path '*/node_modules/*' | sort) e2e/silo-alone.test.ts
