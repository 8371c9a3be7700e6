#!/bin/sh
# A release key in a file with a passphrase, and a second one for minisign: see README.md.
. "$(dirname "$0")/../signing/setup.sh"

# A real passphrase is typed: without --passphrase-fd or --passphrase-file the terminal is asked.
echo 'correct horse battery staple' >passphrase && chmod 600 passphrase
show signer init vera --name vera --root "$PIN"
show key new hello --use release-dsse --signer vera --passphrase-fd 3 3<passphrase
show key new hello-minisign --use release-minisign --signer vera --passphrase-fd 3 3<passphrase

lockstep key export-public hello --signer vera >hello.pub
lockstep key export-public hello-minisign --signer vera >hello-minisign.pub
policy "policy.release = {
  threshold: 1,
  keys: [{ name: 'hello', key: pem('hello.pub') }],
  formats: [{ name: 'hello-minisign', use: 'release-minisign', key: pem('hello-minisign.pub') }] }"

show release approve out-anna/hello.txt $TRUST --node vera/card.json@local:vera --passphrase-fd 3 --out out-anna --into log 3<passphrase
show key export-public hello-minisign --signer vera --format minisign
minisign -VH -m out-anna/hello.txt -P "$(lockstep key export-public hello-minisign --signer vera --format minisign | tail -1)"
show verify out-anna/hello.txt $TRUST
