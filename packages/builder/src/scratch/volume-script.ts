/**
 * What makes and unmakes a volume, one shell script for each kind: data until a supervisor runs it. It runs as process 1
 * of a pid namespace, in a mount namespace of its own, in the folder of the scratch. Its arguments: the size in MiB, and
 * a name that begins with the owner's pid. Descriptors 3 and 4 each give the key once; nothing writes it anywhere.
 * The image of a qemu-luks volume is there already (luks-header.ts). It says "ready" and the pid that has the volume in
 * its namespace, and ends when its standard input does.
 */
import type { SecretKind } from './scratch-kind.ts';

/** The mount point within the folder; the scratch is a folder on the volume, so that without the mount there is none. */
export const SCRATCH_WITHIN = 'volume/scratch';

const NO_CORE = 'ulimit -c 0';
/** No journal: what is on it when the machine fails is worth nothing. */
const MKFS = 'mkfs.ext4 -q -F -m 0 -O ^has_journal,^resize_inode -E lazy_itable_init=1,nodiscard';
const OPTIONS = 'nosuid,nodev,noatime';

const OPEN: Readonly<Record<SecretKind, string>> = {
  /**
   * The device mapper knows no namespaces: closed at once, but deferred, the mapping ends with the mount. Whoever died
   * between the two left a mapping, which is closed by the next.
   */
  luks: `
for old in /dev/mapper/lockstep-scratch-*; do
  pid=\${old#/dev/mapper/lockstep-scratch-}; pid=\${pid%%-*}
  if [ -e "$old" ] && [ ! -d "/proc/$pid" ]; then cryptsetup close --deferred "\${old##*/}" || :; fi
done
truncate -s "$1M" image
cat <&3 | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - image
cat <&4 | cryptsetup open --type luks2 --key-file - image "lockstep-scratch-$2"
${MKFS} "/dev/mapper/lockstep-scratch-$2"
mount -o ${OPTIONS},noinit_itable "/dev/mapper/lockstep-scratch-$2" volume
cryptsetup close --deferred "lockstep-scratch-$2"
rm image`,
  // Unlinked as soon as it is in use: the bytes end with the daemon, and the daemon with its namespaces.
  'qemu-luks': `
${MKFS} export
mount -o loop,${OPTIONS},noinit_itable export volume
rm image`,
  // noswap (Linux 6.4) also holds when somebody turns swap on during the build.
  tmpfs: `
options="size=$1m,mode=0700,${OPTIONS}"
mount -t tmpfs -o "$options,noswap" lockstep volume 2>/dev/null || mount -t tmpfs -o "$options" lockstep volume`,
};

/**
 * Runs in the outer mount namespace; the volume is mounted in an inner one, which the daemon is not in. Else, when all
 * are killed, the daemon may be the last to leave: it would unmount the volume while it ends, wait for itself to write
 * what is unwritten, and be stuck in the kernel for ever.
 */
const DAEMON = `
: > export
cat <&3 | qemu-storage-daemon --object secret,id=key,file=/proc/self/fd/0 \
  --blockdev driver=file,node-name=image,filename=image,cache.no-flush=on \
  --blockdev driver=luks,node-name=clear,file=image,key-secret=key \
  --export type=fuse,id=clear,node-name=clear,mountpoint=export,writable=on --daemonize`;

/** The script for `sh -euc`. Where there is a daemon, the second half of it goes into the inner namespace. */
export function volumeScript(kind: SecretKind): string {
  const volume = [
    NO_CORE,
    'umask 077',
    'mkdir volume',
    OPEN[kind].trim(),
    'exec 3<&- 4<&-',
    `mkdir -p ${SCRATCH_WITHIN}/inputs`,
    // /proc is that of the outside: the pid by which the owner reaches this namespace.
    'read -r pid rest < /proc/self/stat',
    'echo "ready $pid"',
    'read -r end || :',
    // What is deleted first need not be written out by umount.
    `rm -rf ${SCRATCH_WITHIN}`,
    'umount volume',
  ].join('\n');
  if (kind !== 'qemu-luks') return volume;
  return [NO_CORE, 'umask 077', DAEMON.trim(), `exec unshare --mount --propagation private -- /bin/sh -euc '${volume}' scratch "$@"`].join(
    '\n',
  );
}
