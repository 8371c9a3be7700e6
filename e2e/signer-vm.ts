/**
 * A virtual machine without a network card, whose only way out is its second serial port: Debian's cloud kernel, a first file system
 * of busybox, stty, flock, this very node and one bundled program, under QEMU's emulation. The first port is its console, a file.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, globSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rolldown } from 'rolldown';

const KERNEL_PACKAGE = 'linux-image-cloud-amd64';
/** In the order of their dependencies. Serial ports are built in. */
const MODULES = ['virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'virtio-rng'];
/** The machine ends by itself after this, also when nobody is left to end it. */
const LIFE_SECONDS = 230;
const BOOT_SECONDS = 120;

export interface SignerVm {
  /** The host's end of the machine's /dev/ttyS1. */
  readonly line: string;
  readonly qemu: ChildProcess;
  /** What its console said so far. */
  console(): string;
  stop(): Promise<void>;
}

export interface VmProgram {
  /** A TypeScript file, bundled for the machine. */
  readonly entry: string;
  /** Arguments of each run of it, one after the other. */
  readonly runs: readonly (readonly string[])[];
  /** More files for the machine, by their path there. */
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
  /** What its console says when it serves. */
  readonly ready: RegExp;
}

/** @param folder for the kernel, the first file system and the console. @throws Error with the console's last words */
export async function startSignerVm(folder: string, program: VmProgram): Promise<SignerVm> {
  const kernel = fetchKernel(`${folder}/kernel`);
  await firstFileSystem(folder, kernel.modules, program);
  const vm = await boot(folder, kernel.image);
  try {
    await until(() => program.ready.test(vm.console()) || vm.qemu.exitCode !== null, BOOT_SECONDS);
    if (!program.ready.test(vm.console())) throw new Error(`The machine does not serve: ${vm.console().slice(-2000)}`);
    return vm;
  } catch (error) {
    await vm.stop();
    throw error;
  }
}

/** By the host's own apt, which checks it against the archive's signed index. The package of that name only names the current kernel. */
function fetchKernel(folder: string): { image: string; modules: readonly string[] } {
  mkdirSync(`${folder}/root`, { recursive: true });
  const depends = run('apt-cache', ['depends', '--important', KERNEL_PACKAGE], folder);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error(`${KERNEL_PACKAGE} is not known here: apt-get update`);
  run('apt-get', ['download', name], folder);
  const archive = readdirSync(folder).find((file) => file.endsWith('.deb'));
  run('dpkg-deb', ['-x', `${folder}/${archive}`, `${folder}/root`], folder);
  const [image] = globSync(`${folder}/root/boot/vmlinuz-*`);
  if (image === undefined) throw new Error(`${name} has no kernel`);
  const modules = MODULES.map((module) => {
    const [path] = globSync(`${folder}/root/lib/modules/*/kernel/**/${module}.ko`);
    if (path === undefined) throw new Error(`${name} has no module ${module}`);
    return path;
  });
  return { image, modules };
}

/** A cpio archive in the format that the kernel unpacks, made of a folder. */
async function firstFileSystem(folder: string, modules: readonly string[], program: VmProgram): Promise<void> {
  const root = `${folder}/root`;
  const build = await rolldown({ input: program.entry, platform: 'node', logLevel: 'warn', external: ['pkcs11js'] });
  await build.write({ dir: `${root}/app`, format: 'esm', entryFileNames: 'main.js', chunkFileNames: '[name]-[hash].js' });
  await build.close();
  for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp', 'modules']) mkdirSync(`${root}/${name}`, { recursive: true });
  writeFileSync(`${root}/app/package.json`, '{"type":"module"}');
  writeFileSync(`${root}/init`, initScript(modules.length, program.runs), { mode: 0o755 });
  for (const [path, content] of Object.entries(program.files ?? {})) {
    mkdirSync(dirname(`${root}${path}`), { recursive: true });
    writeFileSync(`${root}${path}`, content);
  }
  copyFileSync(which('busybox'), `${root}/bin/busybox`);
  symlinkSync('busybox', `${root}/bin/sh`);
  for (const [index, module] of modules.entries()) copyFileSync(module, `${root}/modules/${index}.ko`);
  for (const [name, path] of Object.entries({ node: realpathSync(process.execPath), stty: which('stty'), flock: which('flock') })) {
    copyFileSync(path, `${root}/bin/${name}`);
    for (const library of librariesOf(path)) {
      mkdirSync(`${root}${dirname(library)}`, { recursive: true });
      copyFileSync(library, `${root}${library}`);
    }
  }
  run('sh', ['-c', 'cd root && find . | busybox cpio -o -H newc -R 0:0 > ../initramfs'], folder);
}

function initScript(modules: number, runs: readonly (readonly string[])[]): string {
  return [
    '#!/bin/sh',
    // Node needs no dump of itself: it would hold the keys (signer/custody/core-dumps.ts).
    'b=/bin/busybox; export PATH=/bin HOME=/tmp LOCKSTEP_HOME=/tmp/home; ulimit -c 0',
    '$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev',
    ...Array.from({ length: modules }, (_, index) => `$b insmod /modules/${index}.ko`),
    ...runs.map((args) => `node /app/main.js ${args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ')}`),
    'echo "the program ended with $?"',
    '$b poweroff -f',
    '',
  ].join('\n');
}

async function boot(folder: string, image: string): Promise<SignerVm> {
  const log = `${folder}/console.log`;
  writeFileSync(log, '');
  const machine = ['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '1024', '-nodefaults', '-no-user-config'];
  const devices = ['-nic', 'none', '-display', 'none', '-no-reboot', '-serial', `file:${log}`, '-serial', 'pty'];
  const random = ['-object', 'rng-random,filename=/dev/urandom,id=random', '-device', 'virtio-rng-pci,rng=random'];
  const kernel = ['-kernel', image, '-initrd', `${folder}/initramfs`, '-append', 'console=ttyS0 quiet panic=-1'];
  const command = ['--kill-after=5', String(LIFE_SECONDS), 'qemu-system-x86_64', ...machine, ...devices, ...random, ...kernel];
  const qemu = spawn('timeout', command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => void qemu.kill('SIGTERM');
  process.once('exit', kill);
  let said = '';
  qemu.stdout.on('data', (text) => (said += String(text)));
  qemu.stderr.on('data', (text) => (said += String(text)));
  const stop = async (): Promise<void> => {
    process.off('exit', kill);
    if (qemu.exitCode !== null || qemu.signalCode !== null) return;
    const gone = once(qemu, 'exit');
    kill();
    await gone;
  };
  const device = (): string | undefined => /redirected to (\/dev\/pts\/\d+)/.exec(said)?.[1];
  try {
    await until(() => device() !== undefined || qemu.exitCode !== null, 20);
    const line = device();
    if (line === undefined) throw new Error(`QEMU did not start: ${said}`);
    return { line, qemu, console: () => readFileSync(log, 'utf8'), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function until(holds: () => boolean, seconds: number): Promise<void> {
  for (const end = performance.now() + seconds * 1000; !holds() && performance.now() < end; ) await sleep(50);
}

function librariesOf(program: string): string[] {
  return [...run('ldd', [program], '/').matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
}

function which(program: string): string {
  const path = ['/bin', '/usr/bin', '/sbin', '/usr/sbin'].map((folder) => `${folder}/${program}`).find((one) => globSync(one).length > 0);
  if (path === undefined) throw new Error(`${program} is not installed`);
  return realpathSync(path);
}

function run(program: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.error?.message ?? done.stderr}`);
  return done.stdout;
}
