/**
 * A library that gives a build another wall clock, compiled when it is needed by the environment's own C compiler.
 *
 * Why not libfaketime: it shifts every file time that stat reports, or none, and what it does to utime(NULL) fails
 * (EINVAL); both break ordinary package builds. Here time before the start of the build is left alone (inputs keep
 * their dates), time after it is mapped to the other clock, in what clocks, stat and utimensat say alike: one world.
 * The map can also slow time down a thousandfold, so that two builds see the same second: that is how a leaked time is
 * told from a build that is unstable.
 *
 * It reads /run/lockstep-clock/clock: three decimal numbers, start and base in nanoseconds since 1970, and the slowdown.
 * Static binaries, and programs that make system calls themselves (Go), see the real clock.
 */
export const CLOCK_SHIM_SOURCE = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

typedef long long ns;
#define GIGA 1000000000LL
static ns start, base, slow = 1;
static int on;

__attribute__((constructor)) static void configure(void) {
  char text[128];
  int fd = syscall(SYS_openat, AT_FDCWD, "/run/lockstep-clock/clock", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  long length = syscall(SYS_read, fd, text, sizeof text);
  syscall(SYS_close, fd);
  ns values[3] = {0, 0, 0};
  int index = 0;
  for (long at = 0; at < length && index < 3; at++) {
    if (text[at] >= '0' && text[at] <= '9') values[index] = values[index] * 10 + (text[at] - '0');
    else index++;
  }
  if (values[0] <= 0 || values[1] <= 0 || values[2] <= 0) return;
  start = values[0]; base = values[1]; slow = values[2]; on = 1;
}

static ns to_build(ns t) { return !on || t < start ? t : base + (t - start) / slow; }
static ns to_host(ns t) { return !on || t < base ? t : start + (t - base) * slow; }
static ns join(ns sec, ns nsec) { return sec * GIGA + nsec; }
static void map(struct timespec *t) {
  ns mapped = to_build(join(t->tv_sec, t->tv_nsec));
  t->tv_sec = mapped / GIGA; t->tv_nsec = mapped % GIGA;
}

int clock_gettime(clockid_t id, struct timespec *t) {
  int result = syscall(SYS_clock_gettime, id, t);
  if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)) map(t);
  return result;
}
static struct timespec now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t; }
time_t time(time_t *out) { time_t t = now().tv_sec; if (out) *out = t; return t; }
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
  (void)zone;
  struct timespec t = now();
  if (tv) { tv->tv_sec = t.tv_sec; tv->tv_usec = t.tv_nsec / 1000; }
  return 0;
}
int timespec_get(struct timespec *t, int what) { if (what != TIME_UTC) return 0; *t = now(); return what; }

static int map_stat(int result, struct stat *s) {
  if (result == 0) { map(&s->st_mtim); map(&s->st_ctim); map(&s->st_atim); }
  return result;
}
int fstatat(int dir, const char *restrict path, struct stat *restrict s, int flags) { return map_stat(syscall(SYS_newfstatat, dir, path, s, flags), s); }
int stat(const char *restrict path, struct stat *restrict s) { return fstatat(AT_FDCWD, path, s, 0); }
int lstat(const char *restrict path, struct stat *restrict s) { return fstatat(AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW); }
int fstat(int fd, struct stat *s) { return map_stat(syscall(SYS_fstat, fd, s), s); }
int fstatat64(int dir, const char *restrict path, struct stat64 *restrict s, int flags) { return fstatat(dir, path, (struct stat *)s, flags); }
int stat64(const char *restrict path, struct stat64 *restrict s) { return stat(path, (struct stat *)s); }
int lstat64(const char *restrict path, struct stat64 *restrict s) { return lstat(path, (struct stat *)s); }
int fstat64(int fd, struct stat64 *s) { return fstat(fd, (struct stat *)s); }
int __xstat(int version, const char *path, struct stat *s) { (void)version; return stat(path, s); }
int __lxstat(int version, const char *path, struct stat *s) { (void)version; return lstat(path, s); }
int __fxstat(int version, int fd, struct stat *s) { (void)version; return fstat(fd, s); }
int __fxstatat(int version, int dir, const char *path, struct stat *s, int flags) { (void)version; return fstatat(dir, path, s, flags); }

static void map_statx(struct statx_timestamp *t) {
  ns mapped = to_build(join(t->tv_sec, t->tv_nsec));
  t->tv_sec = mapped / GIGA; t->tv_nsec = mapped % GIGA;
}
int statx(int dir, const char *restrict path, int flags, unsigned int mask, struct statx *restrict s) {
  int result = syscall(SYS_statx, dir, path, flags, mask, s);
  if (result == 0) { map_statx(&s->stx_mtime); map_statx(&s->stx_ctime); map_statx(&s->stx_atime); map_statx(&s->stx_btime); }
  return result;
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
  struct timespec mapped[2];
  if (times) for (int index = 0; index < 2; index++) {
    mapped[index] = times[index];
    if (times[index].tv_nsec == UTIME_NOW || times[index].tv_nsec == UTIME_OMIT) continue;
    ns t = to_host(join(times[index].tv_sec, times[index].tv_nsec));
    mapped[index].tv_sec = t / GIGA; mapped[index].tv_nsec = t % GIGA;
    if (mapped[index].tv_nsec < 0) { mapped[index].tv_nsec += GIGA; mapped[index].tv_sec--; }
  }
  return syscall(SYS_utimensat, dir, path, times ? mapped : NULL, flags);
}
int futimens(int fd, const struct timespec times[2]) { return utimensat(fd, NULL, times, 0); }
static int with_timevals(int dir, const char *path, const struct timeval tv[2], int flags) {
  if (!tv) return utimensat(dir, path, NULL, flags);
  struct timespec times[2] = {{tv[0].tv_sec, tv[0].tv_usec * 1000}, {tv[1].tv_sec, tv[1].tv_usec * 1000}};
  return utimensat(dir, path, times, flags);
}
int utimes(const char *path, const struct timeval tv[2]) { return with_timevals(AT_FDCWD, path, tv, 0); }
int lutimes(const char *path, const struct timeval tv[2]) { return with_timevals(AT_FDCWD, path, tv, AT_SYMLINK_NOFOLLOW); }
int futimes(int fd, const struct timeval tv[2]) { return with_timevals(fd, NULL, tv, 0); }
int futimesat(int dir, const char *path, const struct timeval tv[2]) { return with_timevals(dir, path, tv, 0); }
int utime(const char *path, const struct utimbuf *times) {
  if (!times) return utimensat(AT_FDCWD, path, NULL, 0);
  struct timespec ts[2] = {{times->actime, 0}, {times->modtime, 0}};
  return utimensat(AT_FDCWD, path, ts, 0);
}
`;
