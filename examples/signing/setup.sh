# What the five examples have in common: a farm in a temporary folder whose two builders agree on a small program.
# It is sourced, and leaves behind: the commands below, and the folder $WORK, where everything is.
set -eu

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$(mktemp -d)
# A store of its own, so that nothing of yours is read or changed.
export LOCKSTEP_HOME="$WORK/home"
# The Node of the lock file, where it is installed: "npm ci" brings it.
PATH="$ROOT/node_modules/.bin:$PATH"
STARTED=
trap 'for one in $STARTED; do kill "$one" 2>/dev/null || true; done; rm -rf "$WORK"' EXIT
cd "$WORK"

lockstep() { node "$ROOT/packages/cli/src/main.ts" "$@"; }
show() { printf '\n$ lockstep %s\n' "$*"; lockstep "$@"; }

# policy CODE: changes policy.json by a line of JavaScript, as an editor would, and signs it as the next version.
policy() {
  node -e 'const fs = require("node:fs"); const pem = (file) => fs.readFileSync(file, "utf8");
    const policy = JSON.parse(fs.readFileSync("trust/policy.json")); eval(process.argv[1]);
    fs.writeFileSync("trust/policy.json", JSON.stringify(policy, null, 2))' "policy.version += 1; $1"
  lockstep policy sign trust >/dev/null
}

# release_key NAME FILE: from now on this key approves releases.
release_key() {
  policy "policy.release = { threshold: 1, keys: [{ name: '$1', key: pem('$2') }], formats: [] }"
}

# start lockstep ARGUMENTS…: beside this script, which goes on when it is ready, and ends it with itself.
start() {
  shift
  rm -f ready
  (exec node "$ROOT/packages/cli/src/main.ts" "$@" --ready-fd 9 9>ready) &
  STARTED="$STARTED $!"
  until [ -s ready ]; do
    kill -0 "$!" || exit 1
    sleep 0.1
  done
}

# A shell and two programs of this machine are environment enough for a build of one line.
mkdir -p rootfs/bin rootfs/etc project
for program in /bin/sh /bin/cat; do
  cp -L "$program" rootfs/bin/
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do mkdir -p "rootfs$(dirname "$library")"; cp -L "$library" "rootfs$library"; done
done
tar -C rootfs -cf rootfs.tar .
cat >project/lockstep.toml <<END
name = "hello"
version = "1.0"
[source]
ref = "."
[environment]
kind = "rootfs"
url = "$WORK/rootfs.tar"
sha256 = "$(sha256sum rootfs.tar | cut -c1-64)"
[build]
steps = ["echo hello > hello.txt"]
[[outputs]]
files = "hello.txt"
END

# Two builders, a log, and a policy by which both have to agree. Here one person is everybody; that is said ("simulated").
for name in anna ben; do lockstep key make "$name.pem" >"$name.pub"; done
LOG_KEY=$(lockstep log init log --origin log.example.org/farm | head -1)
lockstep policy init trust --name example >/dev/null
policy "
  const domain = (who) => ({ operator: who, site: who, lineage: who, simulated: true });
  policy.builders = ['anna', 'ben'].map((name) => ({ name, key: pem(name + '.pub'), domain: domain(name) }));
  policy.logs = [{ key: '$LOG_KEY', operator: 'anna', site: 'anna', simulated: true }];
  policy.rules = [{ packages: '*', tier: 'container', quorum: 2, commitments: 'none', sources: ['*'] }];"
PIN="$WORK/trust/repository/metadata/1.root.json"
TRUST="--root $PIN --policy $WORK/trust --log $WORK/log/public"

lockstep lock project -q
for name in anna ben; do
  LOCKSTEP_KEY="$name.pem" lockstep build project --out "out-$name" -q >/dev/null
  LOCKSTEP_KEY="$name.pem" lockstep log append log "out-$name"/*.intoto.json >/dev/null
done
echo "anna and ben have built hello 1.0, and agree; nobody has approved it:"
lockstep verify out-anna/hello.txt $TRUST --unsigned
