#!/bin/sh
# Everything that the two commands need, from a bare clone: npm packages by the lock, host packages by apt.
# usage: setup.sh demo|test|bench
set -eu
mode=$1
cd "$(dirname -- "$0")/.."

say() { printf '== %s\n' "$*" >&2; }

if ! cmp -s package-lock.json node_modules/.lockstep-lock 2>/dev/null || [ ! -x node_modules/.bin/node ]; then
	say "installing the locked npm packages (npm ci)"
	npm ci --no-audit --no-fund --loglevel=error >&2
	cp package-lock.json node_modules/.lockstep-lock
fi

# For building, and for varying a build.
packages="runc util-linux e2fsprogs attr tar xz-utils bzip2 zstd git ca-certificates disorderfs gcc libc6-dev"
case $mode in
demo) packages="$packages openssl socat" ;;
# Second implementations and things to attack with; chromium is a .deb on Debian only.
test) packages="$packages minisign signify-openbsd openssh-client nix-bin softhsm2 opensc make g++ python3 socat qemu-system-x86 busybox-static s6 iproute2 systemd openssl crun diffoscope-minimal cryptsetup-bin qemu-system-common chromium golang-go golang-golang-x-mod-dev radosgw ceph-mon ceph-osd ceph-mgr" ;;
bench) packages="$packages openssl softhsm2 opensc make g++ python3 socat minisign bubblewrap nix-bin time chromium golang-go golang-golang-x-mod-dev radosgw ceph-mon ceph-osd ceph-mgr" ;;
*) echo "usage: setup.sh demo|test|bench" >&2; exit 2 ;;
esac

missing=
if command -v dpkg-query >/dev/null; then
	. /etc/os-release
	for package in $packages; do
		[ "$package" = chromium ] && [ "$ID" != debian ] && continue
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
	done
else
	for program in runc mkfs.ext4 getfattr disorderfs cc; do command -v "$program" >/dev/null || missing="$missing $program"; done
fi
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		say "installing host packages:$missing"
		apt-get update -qq >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
	else
		echo "host cannot: these packages are missing. Install them as root, then run this again:" >&2
		echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
		exit 3
	fi
fi
if [ "$(id -u)" != 0 ]; then
	echo "host cannot: a sealed build needs root (mounts, loop devices, a 65,536-id user namespace). Run this as root." >&2
	exit 3
fi
# The package lists are what the host's apt has; a fresh container has none.
if command -v apt-get >/dev/null && ! ls /var/lib/apt/lists/*InRelease >/dev/null 2>&1; then
	say "fetching the package lists (apt-get update)"
	apt-get update -qq >&2
fi
