/**
 * The system calls that a build may make. An allow-list: what is not named answers EPERM, so that a call that a
 * future kernel adds is refused until somebody has looked at it. Left out on purpose: everything that mounts, loads,
 * traces other processes, opens by handle, sets clocks, makes namespaces, uses keyrings, bpf, io_uring or userfaultfd.
 */

const ALLOWED = `
accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime clock_nanosleep close
close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait
eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown
fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv
futex_wake futex_wait futex_requeue futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64
getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1
inotify_rm_watch ioprio_get ioprio_set kill landlock_create_ruleset landlock_add_rule landlock_restrict_self lchown lgetxattr link
linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise mbind membarrier memfd_create mincore mkdir mkdirat
mknod mknodat mlock mlock2 mlockall mmap mprotect mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep
newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl
pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv
recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop send sendfile sendmmsg
sendmsg sendto set_mempolicy set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid
setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid waitpid write writev
_llseek _newselect fcntl64 fstat64 fstatat64 fstatfs64 ftruncate64 getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32
getuid32 lchown32 chown32 fchown32 lstat64 mmap2 sendfile64 setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32
setresuid32 setreuid32 setuid32 sigreturn stat64 statfs64 truncate64 ugetrlimit clock_getres_time64 clock_gettime64
clock_nanosleep_time64 futex_time64 ppoll_time64 pselect6_time64 recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64
semtimedop_time64 timer_gettime64 ioctl io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents mq_open mq_unlink mq_timedsend
mq_timedreceive mq_notify mq_getsetattr waitpid sigaction sigprocmask sigpending sigsuspend nice cachestat map_shadow_stack
set_mempolicy_home_node timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64
`
  .trim()
  .split(/\s+/);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME. */
const NEW_NAMESPACES = 0x7e020080;
/**
 * AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (route queries; the namespace has only `lo`). Not AF_PACKET, AF_ALG,
 * AF_VSOCK, … This holds for the native architecture only, and so no other is allowed: 32-bit x86 has `socketcall`, whose
 * arguments lie in memory, where a filter cannot read them. A 32-bit program is killed.
 */
const SOCKET_FAMILIES = [1, 2, 10, 16];
/** PER_LINUX, PER_LINUX32, UNAME26, ADDR_NO_RANDOMIZE and their sum, and the query. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0x40000, 0x60000, 0xffffffff];

interface SyscallArgument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
}

interface SyscallRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  readonly errnoRet?: number;
  readonly args?: readonly SyscallArgument[];
}

export interface SeccompProfile {
  readonly defaultAction: 'SCMP_ACT_ERRNO';
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly SyscallRule[];
}

const EPERM = 1;
/** glibc falls back from clone3 to clone, whose flags a filter can read, only when it is told "no such call". */
const ENOSYS = 38;

/** @param install maintainer scripts also need chroot */
export function seccompProfile(install: boolean): SeccompProfile {
  const first = (value: number): SyscallArgument[] => [{ index: 0, value, op: 'SCMP_CMP_EQ' }];
  const rules: SyscallRule[] = [
    { names: install ? [...ALLOWED, 'chroot'] : ALLOWED, action: 'SCMP_ACT_ALLOW' },
    { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: NEW_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }] },
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
  for (const family of SOCKET_FAMILIES) rules.push({ names: ['socket'], action: 'SCMP_ACT_ALLOW', args: first(family) });
  for (const persona of PERSONALITIES) rules.push({ names: ['personality'], action: 'SCMP_ACT_ALLOW', args: first(persona) });
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64'],
    syscalls: rules,
  };
}
