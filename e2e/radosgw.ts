/**
 * A real S3 from Debian's packages: Ceph's radosgw over one OSD that keeps everything in memory, on loopback, in a folder
 * of its own. About 12 seconds and 800 MB. All keys are for this one run.
 *
 * As a command: `node e2e/radosgw.ts up [FOLDER]` prints the environment to use it with, `down FOLDER` ends it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, existsSync, globSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';

export interface Radosgw {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly bucket: string;
  /** Resident memory of all its processes, in bytes. */
  memory(): number;
  /** Ends its processes, by their ids, and removes its folder. */
  stop(): Promise<void>;
}

const RADOSGW_PACKAGES = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-mgr'];
const PROGRAMS = ['monmaptool', 'ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph', 'radosgw-admin', 'radosgw'];
const BUCKET = 'farm';
const STORAGE_BYTES = 8 * 2 ** 30;

/** What is missing to run one, or null. */
export function radosgwMissing(): string | null {
  const missing = PROGRAMS.filter((program) => !['/usr/bin', '/usr/sbin', '/bin'].some((folder) => existsSync(`${folder}/${program}`)));
  if (missing.length === 0) return null;
  return `Ceph is not installed (${missing.join(', ')}): apt-get install -y --no-install-recommends ${RADOSGW_PACKAGES.join(' ')}`;
}

/** Ends with this process at the latest. @throws Error that says what is missing, or which step failed and its last words */
export async function startRadosgw(): Promise<Radosgw> {
  const folder = newFolder();
  process.once('exit', () => killIn(folder));
  return await startIn(folder);
}

function newFolder(): string {
  return mkdtempSync(`${tmpdir()}/lockstep-radosgw-`);
}

async function startIn(folder: string): Promise<Radosgw> {
  const missing = radosgwMissing();
  if (missing !== null) throw new Error(missing);
  try {
    return await bringUp(folder);
  } catch (error) {
    await stopIn(folder);
    throw error;
  }
}

async function bringUp(folder: string): Promise<Radosgw> {
  const [accessKey, secretKey] = [randomBytes(10).toString('hex').toUpperCase(), randomBytes(20).toString('hex')];
  const [mon, gateway] = await freePorts();
  const fsid = randomUUID();
  for (const name of ['run', 'mon', 'osd', 'mgr', 'rgw']) mkdirSync(`${folder}/${name}`, { recursive: true, mode: 0o700 });
  writeFileSync(`${folder}/ceph.conf`, configuration(folder, fsid, mon, gateway));
  const run = (program: string, ...args: string[]): void => runStep(folder, program, args);
  const daemon = (program: string, ...args: string[]): void => startDaemon(folder, program, args);

  run('monmaptool', '--create', '--addv', 'a', `[v1:127.0.0.1:${mon}]`, '--fsid', fsid, `${folder}/monmap`);
  run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', `${folder}/monmap`);
  daemon('ceph-mon', '-i', 'a');
  run('ceph', 'osd', 'create');
  run('ceph-osd', '-i', '0', '--mkfs');
  run('ceph', 'osd', 'crush', 'add', 'osd.0', '1', 'root=default', 'host=h');
  daemon('ceph-osd', '-i', '0');
  daemon('ceph-mgr', '-i', 'x');
  // A pool made before there is somebody to hold it may wait for ever.
  await answers(folder, ['osd', 'stat'], /1 up .*1 in /);
  run('radosgw-admin', 'user', 'create', '--uid=farm', '--display-name=farm', `--access-key=${accessKey}`, `--secret-key=${secretKey}`);
  daemon('radosgw', '-n', 'client.rgw');

  const endpoint = `http://127.0.0.1:${gateway}`;
  await createBucket(endpoint, accessKey, secretKey, folder);
  return { endpoint, accessKey, secretKey, bucket: BUCKET, memory: () => residentBytes(folder), stop: () => stopIn(folder) };
}

function configuration(folder: string, fsid: string, mon: number, gateway: number): string {
  return `[global]
fsid = ${fsid}
run dir = ${folder}/run
log file = ${folder}/$name.log
pid file = ${folder}/run/$name.pid
admin socket = ${folder}/run/$name.asok
auth cluster required = none
auth service required = none
auth client required = none
mon host = [v1:127.0.0.1:${mon}]
public addr = 127.0.0.1
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind ipv4 = true
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = memstore
memstore device bytes = ${STORAGE_BYTES}
osd crush update on start = false
osd class update on start = false
osd class load list = *
osd class default list = *
osd data = ${folder}/osd
osd journal = ${folder}/osd/journal
mon data = ${folder}/mon
mgr data = ${folder}/mgr
rgw data = ${folder}/rgw
mon cluster log file = ${folder}/cluster.log
rgw frontends = beast endpoint=127.0.0.1:${gateway} tcp_nodelay=1
rgw thread pool size = 64
`;
}

function runStep(folder: string, program: string, args: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(
    program,
    ['-c', `${folder}/ceph.conf`, ...args].slice(program === 'monmaptool' ? 2 : 0),
    {
      encoding: 'utf8',
      timeout: 90_000,
      env: { ...process.env, CEPH_CONF: `${folder}/ceph.conf` },
    },
  );
  if (status !== 0)
    throw new Error(
      `${program} ${args[0]} failed (${error?.message ?? status}): ${`${stdout}${stderr}`.slice(-2000)}\n${lastWords(folder)}`,
    );
}

async function answers(folder: string, question: readonly string[], expected: RegExp): Promise<void> {
  for (const until = Date.now() + 60_000; ; await sleep(100)) {
    const { stdout } = spawnSync('ceph', ['-c', `${folder}/ceph.conf`, ...question], { encoding: 'utf8', timeout: 20_000 });
    if (expected.test(stdout)) return;
    if (Date.now() > until) throw new Error(`ceph ${question.join(' ')} still answers ${stdout.slice(-500)}\n${lastWords(folder)}`);
  }
}

/** In the foreground (-f), so that it is our child and its id is known from the first moment. */
function startDaemon(folder: string, program: string, args: readonly string[]): void {
  const output = openSync(`${folder}/${program}.out`, 'a');
  const child = spawn(program, ['-c', `${folder}/ceph.conf`, '-f', ...args], {
    stdio: ['ignore', output, output],
    detached: true,
    env: { ...process.env, CEPH_CONF: `${folder}/ceph.conf` },
  });
  closeSync(output);
  child.on('error', () => undefined);
  child.unref();
  if (child.pid !== undefined) writeFileSync(`${folder}/run/${program}.owned`, `${child.pid} ${startTime(child.pid) ?? ''}`);
}

/** Two ports that were free a moment ago. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject).listen(0, '127.0.0.1', () => {
            const address = server.address();
            if (address !== null && typeof address === 'object') resolve(address.port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return [ports[0]!, ports[1]!];
}

async function createBucket(endpoint: string, accessKeyId: string, secretAccessKey: string, folder: string): Promise<void> {
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
    requestHandler: { requestTimeout: 30_000, connectionTimeout: 5000, throwOnRequestTimeout: true },
  });
  const until = Date.now() + 90_000;
  try {
    for (;;) {
      try {
        await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
        return;
      } catch (error) {
        if (Date.now() > until) throw new Error(`radosgw does not serve: ${String(error)}\n${lastWords(folder)}`, { cause: error });
        await sleep(100);
      }
    }
  } finally {
    client.destroy();
  }
}

function lastWords(folder: string): string {
  return globSync(`${folder}/*.out`)
    .map((file) => `${file}: ${readFileSync(file, 'utf8').slice(-600)}`)
    .join('\n');
}

/** The ids that were started here and still are the same processes: an id may since have been given to somebody else. */
function ownPids(folder: string): number[] {
  return globSync(`${folder}/run/*.owned`).flatMap((file) => {
    const [pid, started] = readFileSync(file, 'utf8').split(' ');
    return startTime(Number(pid)) === started ? [Number(pid)] : [];
  });
}

/** Field 22 of /proc/PID/stat; null for no process, or one that has ended and only waits to be collected. */
function startTime(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

function residentBytes(folder: string): number {
  const kilobytes = ownPids(folder).map((pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0));
  return kilobytes.reduce((a, b) => a + b, 0) * 1024;
}

/** Everything is in memory, so nothing is lost that would not be lost anyway: no need to ask kindly. */
async function stopIn(folder: string): Promise<void> {
  killIn(folder);
  for (let waited = 0; ownPids(folder).length > 0 && waited < 100; waited++) await sleep(50);
  rmSync(folder, { recursive: true, force: true });
}

function killIn(folder: string): void {
  for (const pid of ownPids(folder)) process.kill(pid, 'SIGKILL');
}

async function main(verb: string | undefined, folder: string | undefined): Promise<void> {
  if (verb === 'up') {
    const place = folder ?? newFolder();
    const { endpoint, accessKey, secretKey, bucket } = await startIn(place);
    process.stdout.write(
      `# node e2e/radosgw.ts down ${place}\nexport AWS_ACCESS_KEY_ID=${accessKey} AWS_SECRET_ACCESS_KEY=${secretKey}\nexport LOCKSTEP_OBJECTS='s3://${bucket}/farm?endpoint=${endpoint}'\n`,
    );
  } else if (verb === 'down' && folder !== undefined && existsSync(`${folder}/ceph.conf`)) await stopIn(folder);
  else {
    process.stderr.write('usage: node e2e/radosgw.ts up [FOLDER] | down FOLDER\n');
    process.exitCode = 2;
  }
}

if (import.meta.main) await main(process.argv[2], process.argv[3]);
