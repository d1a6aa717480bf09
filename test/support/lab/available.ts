import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What every process of a lab sees of our environment. */
export const LAB_ENV: NodeJS.ProcessEnv = { PATH, LC_ALL: 'C', LANG: 'C', TZ: 'UTC', HOME: '/root' };
const TOOLS = [
  'unshare',
  'nsenter',
  'bash',
  'ip',
  'bridge',
  'iptables-nft',
  'iptables-legacy',
  'nft',
  'sysctl',
  'mount',
  'chroot',
];

/** This Python, not a version manager's shim: a shim costs more than a whole lab. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

export function hasTool(name: string): boolean {
  return PATH.split(':').some((dir) => existsSync(`${dir}/${name}`));
}

function whyNot(): string | null {
  if (process.platform !== 'linux') return 'labs need Linux';
  if (process.getuid?.() !== 0) return 'labs need root (namespaces, real iptables)';
  const missing = TOOLS.filter((tool) => !hasTool(tool));
  if (missing.length > 0) return `labs need ${missing.join(', ')}`;
  if (!existsSync(PYTHON)) return 'labs need python3';
  const script =
    'ip link add name br0 type bridge && ip link add name vx0 type vxlan id 1 dstport 8472 && iptables-nft -A FORWARD -j ACCEPT && ' +
    'iptables-legacy -A FORWARD -j ACCEPT && mount -t sysfs sysfs /sys';
  const tried = spawnSync(
    'unshare',
    ['--net', '--mount', '--uts', '--pid', '--fork', '--mount-proc', 'sh', '-c', script],
    {
      env: LAB_ENV,
      encoding: 'utf8',
      timeout: 10_000,
    },
  );
  if (tried.status !== 0)
    return `labs need namespaces: ${(tried.stderr || String(tried.error ?? 'unshare failed')).trim()}`;
  return null;
}

let answer: { why: string | null } | undefined;

/**
 * Can labs run here? False comes with a printed reason. On CI a machine without labs is a broken machine:
 * there it throws, so that the test file fails where it would have been skipped.
 */
export function labsAvailable(): boolean {
  answer ??= { why: whyNot() };
  return judged(answer.why);
}

/** As labsAvailable, with a docker daemon to start. */
export function dockerLabsAvailable(): boolean {
  if (!labsAvailable()) return false;
  const missing = ['dockerd', 'docker', 'containerd', 'busybox'].filter((tool) => !hasTool(tool));
  return judged(missing.length > 0 ? `docker labs need ${missing.join(', ')}` : null);
}

function judged(why: string | null): boolean {
  if (why === null) return true;
  if (process.env.CI) throw new Error(`this is CI, and ${why}`);
  console.warn(`skipped: ${why}`);
  return false;
}
