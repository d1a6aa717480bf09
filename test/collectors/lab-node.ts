import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const root = join(fileURLToPath(import.meta.url), '../../..');
export const script = join(root, 'collectors/netcase-collect.sh');

/** Why the kernel tests cannot run here; undefined when they can. On CI they must run, so nothing excuses there. */
export const excuse: string | undefined = process.env.CI
  ? undefined
  : process.platform !== 'linux'
    ? 'not Linux'
    : process.getuid?.() !== 0
      ? 'not root'
      : undefined;
if (excuse !== undefined) console.log(`collector tests on a real kernel skipped: ${excuse}`);

/** A checkout may lie where the node has a file system of its own, as /tmp: the node gets a copy. */
const IN_NODE = 'etc/netcase-collect.sh';
const inside = (text: string): string => text.replaceAll(script, `/${IN_NODE}`);

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Where /out of the node lies on the machine that runs the test. */
  readonly out: string;
}

/**
 * Runs shell text as a small Kubernetes node: mount, network, pid and uts namespaces of its own, private copies of
 * /etc, /run, /tmp, /opt, /var/lib and /var/log, a bridge with one pod behind it, an uplink and a VXLAN device.
 */
export function inNode(body: string, options: { prepare?: string; timeout?: number } = {}): Ran {
  const dir = mkdtempSync(join(tmpdir(), 'collector-test-'));
  const out = join(dir, 'out');
  mkdirSync(out, { mode: 0o777 });
  mkdirSync(join(dir, 'etc'));
  const text = `
set -e
T=${dir}
cp -a /etc/. $T/etc/ 2>/dev/null || :
cp ${script} $T/${IN_NODE}
mount --bind $T/etc /etc
mkdir -p $T/empty; chmod 777 $T/out
mount --bind $T/out /mnt
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /opt; mount -t tmpfs tmpfs /var/lib; mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /root; mount -t tmpfs -o mode=1777 tmpfs /var/tmp
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs /tmp
rm -rf /etc/docker /etc/cni /etc/kubernetes /etc/containerd /etc/sysctl.d/* /etc/ufw; mkdir -p /etc/docker /etc/cni/net.d
printf node-a >/proc/sys/kernel/hostname
ip link set lo up
ip link add cni0 type bridge; ip addr add 10.244.1.1/24 dev cni0; ip link set cni0 up
ip link add eth0 type veth peer name wire0; ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up; ip link set wire0 up
ip route add default via 10.0.0.254
ip link add flannel.1 type vxlan id 1 local 10.0.0.1 dev eth0 dstport 8472 nolearning; ip link set flannel.1 up
SECRET_IN_ENVIRON=pl4nted-environ unshare --net sleep 1000 & POD=$!
while [ "$(readlink /proc/$POD/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add veth1 type veth peer name eth0 netns $POD; ip link set veth1 master cni0; ip link set veth1 up
nsenter -t $POD -n sh -c 'ip link set lo up; ip addr add 10.244.1.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.244.1.1'
${inside(options.prepare ?? '')}
set +e
cd /mnt
${inside(body)}
`;
  const file = join(dir, 'node.sh');
  writeFileSync(file, text);
  // Pid 1 of the namespace is this shell: all it started ends with it.
  const ran = spawnSync(
    'unshare',
    [
      '--mount',
      '--net',
      '--pid',
      '--uts',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation',
      'private',
      'bash',
      file,
    ],
    // unshare ignores the signal that would end it kindly
    { encoding: 'utf8', timeout: options.timeout ?? 500_000, killSignal: 'SIGKILL', maxBuffer: 64 << 20 },
  );
  return { status: ran.status, stdout: ran.stdout, stderr: ran.stderr, out };
}

/** A process that is called NAME, as the node's daemons are found by argv[0]. */
export function daemon(name: string, ...args: string[]): string {
  const words = args.map((a) => `'${a}'`).join(' ');
  // bash, because argv must stay as it is while the process only sleeps.
  return `( exec -a ${name} bash -c 'while :; do sleep 100; done' ${words} ) & sleep 0.2\n`;
}

export interface Line {
  readonly id: string;
  readonly path: string;
  readonly status: string;
  readonly instance?: string;
  readonly reason?: string;
  readonly argv?: string[];
  readonly redactions?: number;
  readonly sha256?: string;
  readonly bytes?: number;
  readonly ms?: number;
  readonly src?: string;
  readonly stderr?: string;
  readonly ns?: string;
  readonly rc?: number | null;
}

export interface Bundle {
  readonly file: string;
  readonly dir: string;
  readonly members: string[];
  readonly identity: Record<string, unknown> & { node: Record<string, unknown>; context: Record<string, unknown> };
  readonly manifest: {
    evidence: Line[];
    end: { records: number; ok: number; complete: boolean; deadline: boolean };
  };
  readonly manifestText: string;
  item(id: string, instance?: string): Line;
  text(path: string): string;
  /** All bytes of all members in one string. */
  everything(): string;
}

export function bundlesIn(out: string): string[] {
  return readdirSync(out)
    .filter((f) => f.endsWith('.tar.gz'))
    .sort()
    .map((f) => join(out, f));
}

/** Unpacks a bundle and checks all that holds for every bundle: order, hashes, records, plain members. */
export function readBundle(file: string): Bundle {
  const dir = `${file}.d`;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  const list = run('tar', ['-tvzf', file]).split('\n').filter(Boolean);
  for (const line of list) if (!line.startsWith('-rw-------')) throw new Error(`not a plain 0600 file: ${line}`);
  const members = run('tar', ['-tzf', file]).split('\n').filter(Boolean);
  run('tar', ['-xzf', file, '-C', dir]);
  const stem = file.slice(file.lastIndexOf('/') + 1).replace(/\.tar\.gz$/, '');
  for (const member of members) if (!member.startsWith(`${stem}/`)) throw new Error(`outside the root: ${member}`);
  const inner = members.map((m) => m.slice(stem.length + 1));
  if (new Set(inner).size !== inner.length) throw new Error('a member comes twice');
  const at = join(dir, stem);
  if (inner[0] !== 'bundle.json' || inner.at(-2) !== 'manifest.json' || inner.at(-1) !== 'SHA256SUMS')
    throw new Error(`member order: ${inner[0]} ... ${inner.slice(-2)}`);
  const check = spawnSync('sha256sum', ['-c', '--quiet', '--strict', 'SHA256SUMS'], { cwd: at, encoding: 'utf8' });
  if (check.status !== 0) throw new Error(`SHA256SUMS: ${check.stdout}${check.stderr}`);
  const manifestText = readFileSync(join(at, 'manifest.json'), 'utf8');
  const manifest = JSON.parse(manifestText);
  const lines = manifestText.split('\n').slice(1, -2);
  if (lines.length !== manifest.end.records) throw new Error(`${lines.length} lines, ${manifest.end.records} records`);
  for (const line of lines) JSON.parse(line.replace(/,$/, ''));
  const named = new Set(['bundle.json', 'manifest.json', 'SHA256SUMS']);
  for (const e of manifest.evidence as Line[]) {
    const hasFile = ['ok', 'failed', 'timeout', 'truncated'].includes(e.status);
    if (hasFile !== inner.includes(e.path)) throw new Error(`${e.path} is ${e.status}, member: ${!hasFile}`);
    if (hasFile) named.add(e.path);
    if (hasFile && statSync(join(at, e.path)).size !== e.bytes) throw new Error(`bytes of ${e.path}`);
    if (e.stderr !== undefined) named.add(e.stderr);
    if (e.status !== 'ok' && e.reason === undefined) throw new Error(`no reason: ${e.path} ${e.status}`);
  }
  for (const member of inner) if (!named.has(member)) throw new Error(`member without record: ${member}`);
  const text = (path: string): string => readFileSync(join(at, path), 'utf8');
  return {
    file,
    dir: at,
    members: inner,
    identity: JSON.parse(text('bundle.json')),
    manifest,
    manifestText,
    item(id, instance) {
      const found = (manifest.evidence as Line[]).find(
        (e) => e.id === id && (instance === undefined || e.instance === instance),
      );
      if (found === undefined) throw new Error(`no record of ${id} ${instance ?? ''}`);
      return found;
    },
    text,
    everything: () => inner.map((m) => readFileSync(join(at, m), 'latin1')).join('\n'),
  };
}

export function onlyBundle(ran: Ran): Bundle {
  const files = bundlesIn(ran.out);
  if (files.length !== 1) throw new Error(`${files.length} bundles\n${ran.stdout}\n${ran.stderr}`);
  return readBundle(files[0]!);
}

export function run(command: string, args: string[]): string {
  const ran = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (ran.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${ran.status} ${ran.stderr}`);
  return ran.stdout;
}

export function present(tool: string): boolean {
  return (process.env.PATH ?? '').split(':').some((d) => existsSync(join(d, tool)));
}

function cleanUp(ran: Ran): void {
  rmSync(join(ran.out, '..'), { recursive: true, force: true });
}

/** `inNode`, whose nodes are cleaned up when the tests of the file have run. */
export function cleanedNodes(): typeof inNode {
  const ran: Ran[] = [];
  afterAll(() => {
    for (const r of ran) cleanUp(r);
  });
  return (...args) => {
    const r = inNode(...args);
    ran.push(r);
    return r;
  };
}
