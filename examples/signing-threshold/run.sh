#!/bin/sh
# A release key of which three nodes hold shares, and two are enough: see README.md.
. "$(dirname "$0")/../signing/setup.sh"

# Each of the three would be a machine of its own, of another person. They know who may ask them.
lockstep key >requester.pub
for name in vera walt xenia; do show signer init "$name" --name "$name" --root "$PIN" --coordinator requester.pub; done
HOLDERS=
for name in vera walt xenia; do HOLDERS="$HOLDERS --holder $name/card.json@local:$name"; done

# The key is made together: each says its part into a folder that all see, and nobody ever has the whole of it.
show key threshold hello --use release-dsse --at ceremony --threshold 2 $HOLDERS
PARTS=
for name in vera walt xenia; do
  lockstep signer join-ceremony "$name" --at ceremony --initiator requester.pub --no-passphrase >"$name.out" &
  PARTS="$PARTS $!"
done
for part in $PARTS; do wait "$part"; done
echo; cat vera.out
show key group --at ceremony $HOLDERS --out hello.json
sed -n '/BEGIN/,/END/p' vera.out >hello.pub
release_key hello hello.pub

# One of them is gone: two are enough.
mv xenia gone
show release approve out-anna/hello.txt $TRUST --node hello.json --out out-anna --into log
show verify out-anna/hello.txt $TRUST
