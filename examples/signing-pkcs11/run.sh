#!/bin/sh
# A release key that was made inside a hardware module and never leaves it: see README.md.
. "$(dirname "$0")/../signing/setup.sh"

# SoftHSM2 stands for the module; with a real one only the path of its library differs.
MODULE=/usr/lib/softhsm/libsofthsm2.so
mkdir tokens
printf 'directories.tokendir = %s/tokens\nlog.level = ERROR\n' "$WORK" >softhsm2.conf
export SOFTHSM2_CONF="$WORK/softhsm2.conf"
softhsm2-util --init-token --free --label release --pin 271828 --so-pin 314159
echo 271828 >pin && chmod 600 pin

show signer init vera --name vera --root "$PIN"
show key new hello --use release-dsse --signer vera --pkcs11 "$MODULE" --token release --passphrase-fd 3 3<pin
lockstep key export-public hello --signer vera --passphrase-fd 3 3<pin >hello.pub
release_key hello hello.pub
show release approve out-anna/hello.txt $TRUST --node vera/card.json@local:vera --passphrase-fd 3 --out out-anna --into log 3<pin
show verify out-anna/hello.txt $TRUST
