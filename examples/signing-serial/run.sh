#!/bin/sh
# A signing node behind a serial line, with a key that is nowhere but in its memory: see README.md.
. "$(dirname "$0")/../signing/setup.sh"

# Two ends of one cable. With two machines they are /dev/ttyS0 or /dev/ttyUSB0 on each.
socat pty,raw,echo=0,link=here pty,raw,echo=0,link=there &
STARTED="$STARTED $!"
until [ -e here ] && [ -e there ]; do sleep 0.1; done

show signer init vera --name vera --root "$PIN"
NODE="--node vera/card.json@serial:$WORK/here"

echo; echo '$ lockstep signer run vera --serial there --memory-key hello=release-dsse'
start lockstep signer run vera --serial there --memory-key hello=release-dsse >node.out
NODE_PROCESS=$!
cat node.out
sed -n '/BEGIN/,/END/p' node.out >hello.pub
release_key hello hello.pub
show release approve out-anna/hello.txt $TRUST $NODE --out out-anna --into log

# The power goes, and with it the key. The root says what the new one is; what the old one signed still counts. A person
# has to agree at the node, since no evidence stands behind it: --yes stands for that here, and --confirm would ask.
kill "$NODE_PROCESS"
wait "$NODE_PROCESS" || true
start lockstep signer run vera --serial there --memory-key hello=release-dsse --yes >node.out
sed -n '/BEGIN/,/END/p' node.out >next.pub
show key rotate hello --to next.pub --reason 'the node was restarted' --root-key trust/keys/root-1.pem $TRUST $NODE --into log
show verify out-anna/hello.txt $TRUST
