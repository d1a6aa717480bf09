import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { LAB_ENV, PYTHON } from '../support/lab/available.ts';
import { exited, guarded, type Holder, hold } from '../support/lab/holder.ts';

/** A packet to be sent as it is; `id` is its IP identification. */
export interface Shot {
  readonly id: number;
  readonly at: 'cli' | 'rtr' | 'srv';
  readonly src: string;
  readonly dst: string;
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly sport?: number;
  readonly dport?: number;
  readonly type?: number;
  readonly code?: number;
  readonly flags?: number;
  readonly ack?: number;
  /** Identifier of an ICMP echo; `id` without. */
  readonly echo?: number;
  readonly ttl?: number;
  readonly tos?: number;
}

/** Where a packet, or the answer to it, was seen. */
export interface Sight {
  readonly seen: 'cli' | 'srv' | 'local' | 'reject' | 'reset' | 'error';
  readonly src?: string;
  readonly dst?: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly code?: number;
}

const HOST = (own: string, gateway: string, more: readonly string[]) =>
  [
    'sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
    'ip link set lo up',
    'until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done',
    ...[own, ...more].map((a) => `ip addr add ${a}/24 dev eth0`),
    'ip link set eth0 up',
    `ip route add default via ${gateway}`,
    // the hosts answer nothing: every answer that is seen is the router's
    'iptables-nft -t raw -A PREROUTING -j DROP',
  ].join('\n');

/** cli (10.1.0.2) - c0 rtr s0 - srv (10.2.0.2 to .9): one router between two hosts. */
export class RouterLab {
  readonly #holders: readonly Holder[];
  readonly #shooter: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(holders: readonly Holder[], shooter: ChildProcess, lines: Interface) {
    this.#holders = holders;
    this.#shooter = shooter;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  static async create(): Promise<RouterLab> {
    const holders = await Promise.all([hold(['--net'], ':'), hold(['--net'], ':'), hold(['--net'], ':')]);
    const [cli, rtr, srv] = holders.map((h) => h.pid);
    const inside = (pid: number | undefined, script: string) =>
      spawnSync('nsenter', [`--net=/proc/${pid}/ns/net`, 'bash', '-e'], {
        input: script,
        env: LAB_ENV,
        encoding: 'utf8',
      });
    const made = inside(
      rtr,
      `sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
ip link set lo up
ip link add c0 type veth peer name eth0 netns ${cli}
ip link add s0 type veth peer name eth0 netns ${srv}
sysctl -qw net.ipv4.conf.c0.rp_filter=0 net.ipv4.conf.s0.rp_filter=0 net.ipv4.conf.c0.send_redirects=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=10000
ip addr add 10.1.0.1/24 dev c0
ip addr add 10.2.0.1/24 dev s0
ip addr add 10.2.0.254/24 dev s0
ip link set c0 up
ip link set s0 up
ip route add default via 10.2.0.2
ip route add blackhole 10.66.0.0/16`,
    );
    if (made.status !== 0) throw new Error(made.stderr);
    const more = [3, 4, 5, 6, 7, 8, 9].map((n) => `10.2.0.${n}`);
    for (const [pid, script] of [
      [cli, HOST('10.1.0.2', '10.1.0.1', [])],
      [srv, HOST('10.2.0.2', '10.2.0.1', more)],
    ] as const) {
      const ran = inside(pid, script);
      if (ran.status !== 0) throw new Error(ran.stderr);
    }
    const shooter = guarded(
      spawn(
        PYTHON,
        ['-I', '-S', '-B', new URL('hook-packets.py', import.meta.url).pathname, `${cli}`, `${rtr}`, `${srv}`],
        {
          env: LAB_ENV,
          stdio: ['pipe', 'pipe', 'inherit'],
        },
      ),
    );
    const lab = new RouterLab(holders, shooter, createInterface({ input: shooter.stdout! }));
    await lab.#lines.next();
    return lab;
  }

  /** Runs a script in the router; its output. */
  sh(script: string): { readonly status: number; readonly stdout: string; readonly stderr: string } {
    const pid = this.#holders[1]!.pid;
    const ran = spawnSync('nsenter', [`--net=/proc/${pid}/ns/net`, 'bash'], {
      input: script,
      env: LAB_ENV,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    return { status: ran.status ?? -1, stdout: ran.stdout, stderr: ran.stderr };
  }

  /** Sends the packets, and says where each was seen. */
  async shoot(shots: readonly Shot[]): Promise<ReadonlyMap<number, readonly Sight[]>> {
    this.#shooter.stdin?.write(`${JSON.stringify(shots)}\n`);
    const answer = JSON.parse((await this.#lines.next()).value as string) as Record<string, Sight[]>;
    return new Map(shots.map((s) => [s.id, answer[s.id] ?? []]));
  }

  async end(): Promise<void> {
    this.#shooter.stdin?.end();
    await exited(this.#shooter);
    await Promise.all(this.#holders.map((h) => h.end()));
  }
}
