#!/bin/sh
# A signing node that no line leads to: the request is carried there, the answer is carried back. See README.md.
. "$(dirname "$0")/../signing/setup.sh"
mkdir safe stick

# In the safe: a machine without a network. What it has to be given once is the root that it pins.
cp "$PIN" stick/root.json
show signer init safe/vera --name vera --root stick/root.json
show key new hello --use release-dsse --signer safe/vera --no-passphrase
cp safe/vera/card.json stick/
lockstep key export-public hello --signer safe/vera >stick/hello.pub

# Outside: the key goes into the policy, and a request onto the stick.
release_key hello stick/hello.pub
show release request out-anna/hello.txt $TRUST --node stick/card.json --out stick/hello.request

# In the safe. With --confirm it shows what it is, and a person says yes.
show signer sign safe/vera stick/hello.request --out stick/hello.answer

# Outside.
show release import stick/hello.request stick/hello.answer --node stick/card.json --out out-anna --into log $TRUST
show verify out-anna/hello.txt $TRUST
