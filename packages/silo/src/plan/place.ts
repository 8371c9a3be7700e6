/**
 * Fixed places inside the silo's private mount namespace. Fixed, because a build can read the paths in
 * /proc/self/mountinfo, and because every component of them can be entered by the mapped root of the sandbox.
 */
export const BASE = '/run/lockstep';
export const PLACE = {
  /** Read-only lower layer: the environment. */
  lower: `${BASE}/lower`,
  /** ext4 made for this run: what a build writes, bounded by scratch_mb, thrown away after. */
  disk: `${BASE}/disk`,
  upper: `${BASE}/disk/upper`,
  overlayWork: `${BASE}/disk/overlay`,
  work: `${BASE}/disk/build`,
  home: `${BASE}/disk/home`,
  tmp: `${BASE}/disk/tmp`,
  varTmp: `${BASE}/disk/vartmp`,
  /** The build directory seen through disorderfs. */
  disordered: `${BASE}/disordered`,
  root: `${BASE}/root`,
  /** An image under assembly. */
  image: `${BASE}/image`,
  fakes: `${BASE}/fakes`,
  clock: `${BASE}/clock`,
  bundle: `${BASE}/bundle`,
  state: `${BASE}/state`,
  steps: `${BASE}/steps`,
} as const;

/** Where the steps are shown inside the sandbox. */
export const STEPS_TARGET = '/run/lockstep';
/** Where bound inputs and an image under assembly are shown. */
export const TARGET_OF_IMAGE = '/target';

/**
 * Host ids 0x70000000..0x7000ffff stand for 0..65535 inside. Above what distributions give to users in /etc/subuid
 * (100000 up) and outside systemd-nspawn's range (0x00080000..0x6fffffff), so that no account of the host shares them.
 */
export const ID_BASE = 0x70000000;
export const ID_COUNT = 65_536;
