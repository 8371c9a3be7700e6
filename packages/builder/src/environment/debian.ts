/**
 * Assembles a Debian root file system from locked packages, offline, inside the sandbox: maintainer scripts are foreign
 * code. Nothing of the host's is used but dpkg-deb and tar to unpack the essential set; the rest is done by the
 * environment's own dpkg. The same packages give the same tar, whatever the host.
 */
import type { LockedEnvironment, LockedPackage } from '@lockstep/protocol/lock/lock';
import type { SiloJob } from '../silo/job.ts';
import { NEUTRAL_DATE, ownJob } from '../silo/job.ts';

type DebianEnvironment = Extract<LockedEnvironment, { kind: 'debian' }>;

/** Room for the largest build environments seen (4 GiB installed); the image is sparse. */
const IMAGE_MB = 12_288;

export function debName(one: LockedPackage): string {
  return `${one.name}_${one.architecture}.deb`;
}

/** What the sandbox mounts over the image while it is assembled. */
const MOUNTED = ['/proc', '/sys', '/dev', '/run', '/tmp', '/var/tmp', '/build', '/inputs'];

/** Configured before all others: dpkg needs users and directories. */
const FIRST = ['base-passwd', 'base-files'];

/** First job: unpack the essential packages into an empty image, with the host's dpkg-deb, as far as needed to run dpkg. */
export function unpackJob(environment: DebianEnvironment, image: string): SiloJob {
  const bootstrap = environment.packages.filter((one) => one.bootstrap);
  // Merged /usr (the only layout that Debian supports since 12, Ubuntu since 23.04): links first, then packages through them.
  const links = environment.architecture === 'amd64' ? ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'] : ['bin', 'sbin', 'lib'];
  const run = [
    'cd /target',
    ': > lockstep-start',
    `for d in ${links.join(' ')}; do mkdir -p usr/$d; ln -s usr/$d $d; done`,
    // A package that was given by digest only may still be named by anybody: unpack by our own names.
    `for deb in ${bootstrap.map((one) => debName(one)).join(' ')}; do dpkg-deb --fsys-tarfile /inputs/$deb | tar -x --keep-directory-symlink --same-permissions --numeric-owner -f -; done`,
    `mkdir -p var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/parts var/lib/dpkg/alternatives proc sys dev run tmp`,
    ': > var/lib/dpkg/status; : > var/lib/dpkg/available',
  ].join('\n');
  return ownJob({
    profile: 'install',
    inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
    steps: [{ name: 'unpack the essential packages', run }],
    outputs: [],
    keepImage: image,
    limits: { ...ownJob({ profile: 'install', steps: [], outputs: [] }).limits, scratchMb: IMAGE_MB },
  });
}

/** Second job: the image is the root; its own dpkg installs everything. */
export function installJob(environment: DebianEnvironment, image: string): SiloJob {
  const bootstrap = environment.packages.filter((one) => one.bootstrap);
  const rest = environment.packages.filter((one) => !one.bootstrap);
  const paths = (packages: readonly LockedPackage[]): string => packages.map((one) => `/inputs/${debName(one)}`).join(' ');
  const first = FIRST.flatMap((name) => bootstrap.filter((one) => one.name === name));
  const dpkg =
    'dpkg --force-unsafe-io --force-confnew --path-exclude=/usr/share/man/* --path-exclude=/usr/share/doc/* --path-exclude=/usr/share/info/* --path-exclude=/usr/share/lintian/*';
  const steps = [
    {
      name: 'configure the essential packages',
      run: [
        'mkdir -p /usr/sbin; printf "#!/bin/sh\\nexit 101\\n" > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d',
        ...first.map((one) => `${dpkg} --force-depends --install ${paths([one])}`),
        `${dpkg} --force-depends --install ${paths(bootstrap)}`,
      ].join('\n'),
    },
    ...(rest.length === 0
      ? []
      : [{ name: `install ${rest.length} packages`, run: `${dpkg} --force-depends --unpack ${paths(rest)}\n${dpkg} --configure -a` }]),
    {
      name: 'remove what differs from run to run',
      run: [
        'dpkg --audit > /tmp/audit; if [ -s /tmp/audit ]; then cat /tmp/audit; exit 1; fi',
        'rm -f /usr/sbin/policy-rc.d /etc/machine-id /etc/hostname /etc/resolv.conf /etc/.pwd.lock /var/lib/dbus/machine-id /var/cache/ldconfig/aux-cache',
        'rm -f /var/lib/dpkg/*-old /var/lib/dpkg/lock* /var/lib/dpkg/triggers/Lock /var/cache/debconf/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-',
        'rm -rf /var/log/* /var/cache/apt/* /var/lib/apt/lists/* /var/cache/man /usr/share/doc/* /usr/share/man/* /usr/share/info/*',
        // Byte code is made from set and dictionary order in places; Python makes it again where it is wanted.
        'find / -xdev -name __pycache__ -type d -prune -exec rm -rf {} +',
        // The password-age field is the day of the installation.
        '[ ! -e /etc/shadow ] || sed -i -E "s/^([^:]*:[^:]*:)[0-9]+:/\\10:/" /etc/shadow',
        // Whatever was written now gets one time; what came out of packages keeps its own.
        `find / -xdev \\( ${MOUNTED.map((path) => `-path ${path}`).join(' -o ')} \\) -prune -o -newer /lockstep-start -exec touch -h -d @${NEUTRAL_DATE} {} +`,
        'rm -f /lockstep-start',
        `touch -h -d @${NEUTRAL_DATE} /`,
      ].join('\n'),
    },
  ];
  return ownJob({
    profile: 'install',
    rootfs: { kind: 'image', path: image, writable: true },
    inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
    env: {
      DEBIAN_FRONTEND: 'noninteractive',
      DEBCONF_NONINTERACTIVE_SEEN: 'true',
      DEBCONF_NOWARNINGS: 'yes',
      HOME: '/root',
      USER: 'root',
      LOGNAME: 'root',
    },
    steps,
    outputs: [{ kind: 'rootfs', name: 'environment' }],
  });
}
