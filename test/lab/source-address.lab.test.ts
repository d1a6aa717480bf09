import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { NodeFacts } from '../../src/engine/index.ts';
import { formatAddr, parseAddr } from '../../src/net/addr.ts';
import { buildNode } from '../../src/net/index.ts';
import { keyTo } from '../../src/net/policy.ts';
import { labsAvailable } from '../support/lab/index.ts';
import { nodeEvidence } from '../support/rule-table.ts';

const DUMPS: Readonly<Record<string, string>> = {
  'host/ip/addr.txt': 'ip addr',
  'host/ip/addr.json': 'ip -j addr',
  'host/ip/link.txt': 'ip -d link',
  'host/ip/route4.txt': 'ip -4 -d route show table all',
  'host/ip/rule4.txt': 'ip -4 rule',
  'host/ip/route6.txt': 'ip -6 -d route show table all',
  'host/ip/rule6.txt': 'ip -6 rule',
};
const DEVICES = `
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link set lo up
for n in 0 1 2; do ip link add eth$n type veth peer name wire$n; ip link set wire$n up; ip link set eth$n up; done
`;
/** Nodes that differ in what there is to choose from. */
const NODES: Readonly<Record<string, string>> = {
  'global and unique local addresses': `
ip addr add 2001:db8:1::10/64 dev eth0; ip addr add 2001:db8:1::11/64 dev eth0; ip addr add fd00:1::10/64 dev eth0
ip addr add fd00:2::20/64 dev eth1; ip addr add 2001:db8:2::20/56 dev eth1
ip addr add fd00:99::1/128 dev lo; ip addr add 2002:c000:201::1/48 dev eth2
ip -6 route add default via 2001:db8:1::1 dev eth0
ip -6 route add fd00::/8 via fd00:2::1 dev eth1
ip addr add 192.0.2.10/24 dev eth0; ip addr add 192.0.2.11/24 dev eth0; ip addr add 198.51.100.10/25 dev eth0
ip addr add 203.0.113.1/32 dev lo
ip route add default via 198.51.100.1; ip route add 10.0.0.0/8 dev eth1; ip route add 10.9.0.0/16 via 192.0.2.1 src 192.0.2.11`,
  'a label against a longer prefix': `
ip addr add c000::1/64 dev eth0; ip addr add 2001:0:1::1/64 dev eth0
ip -6 route add default via c000::99 dev eth0`,
  'deprecated addresses': `
ip addr add 2001:db8:1::10/64 dev eth0 preferred_lft 0; ip addr add 2001:db8:1::66/64 dev eth0
ip addr add fd00:2::20/64 dev eth1 preferred_lft 0
ip -6 route add default via 2001:db8:1::1 dev eth0
ip -6 route add fd00::/8 via fd00:2::1 dev eth1
ip addr add 192.0.2.10/24 dev eth2; ip route add default via 192.0.2.1`,
  'a device that is down, addresses of link scope': `
ip addr add 2001:db8:1::10/64 dev eth1
ip -6 route add 2001:db8:9::/48 dev eth2
ip addr add 192.0.2.10/24 dev eth0; ip link set eth0 down
ip addr add 198.51.100.10/24 dev eth2 scope link; ip route add 10.0.0.0/8 dev eth2; ip route add default via 198.51.100.1`,
};
const DESTINATIONS = [
  ...['2001:db8:1::99', '2001:db8:2:5::1', '2001:db8:9::1', '2606:4700::1', 'fd00:1::99', 'fd00:2::99', 'fd12::1'],
  ...['2002:c000:204::1', 'fe80::99%eth1', '64:ff9b::1', '2001:db8:1::10', 'fd00:99::1'],
  ...['192.0.2.99', '198.51.100.99', '198.51.100.200', '10.1.1.1', '10.9.1.1', '8.8.8.8', '203.0.113.1'],
];

interface Asked {
  readonly files: Readonly<Record<string, string>>;
  /** Destination -> `dev src`, or why there is none. */
  readonly kernel: ReadonlyMap<string, string>;
}

function ask(node: string): Asked {
  const dumps = Object.entries(DUMPS).map(([path, how]) => `echo "===== ${path}"; ${how}`);
  const asks = DESTINATIONS.map((d) => {
    const [addr, dev] = d.split('%');
    return `echo "===== to ${d}"; ip route get ${addr}${dev === undefined ? '' : ` oif ${dev}`} 2>&1`;
  });
  const script = ['set -e', DEVICES, node, 'set +e', 'sleep 0.2', ...dumps, ...asks].join('\n');
  const ran = spawnSync('unshare', ['--net', 'bash', '-c', script], { encoding: 'utf8' });
  const files: Record<string, string> = {};
  const kernel = new Map<string, string>();
  for (const part of ran.stdout.split('===== ').slice(1)) {
    const head = part.slice(0, part.indexOf('\n'));
    const text = part.slice(head.length + 1);
    if (!head.startsWith('to ')) files[head] = text;
    else {
      const words = text.split(/\s+/);
      const of = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined);
      kernel.set(head.slice(3), of('src') === undefined ? 'none' : `${of('dev')} ${of('src')}`);
    }
  }
  if (kernel.size !== DESTINATIONS.length) throw new Error(`the node could not be built: ${ran.stderr}`);
  return { files, kernel };
}

function told(files: Asked['files'], destination: string): string {
  const [text = '', oif = null] = destination.split('%');
  const dst = parseAddr(text);
  if (dst === null) throw new Error(destination);
  const { host } = buildNode(new NodeFacts(nodeEvidence('node-a', { files })));
  const routing = host.routing(typeof dst === 'number' ? 4 : 6);
  const [answer] = routing.lookup({ ...keyTo(dst), oif });
  if (answer === undefined || (answer.type !== 'unicast' && answer.type !== 'local')) return 'none';
  if (answer.prefsrc !== null) return `${answer.dev} ${formatAddr(answer.prefsrc)}`;
  if (answer.type === 'local') return `lo ${formatAddr(dst)}`;
  const { addr } = routing.sourceAddress(answer.dev, dst, answer.via ?? dst, answer.via === null);
  return addr === null ? 'none' : `${answer.dev} ${formatAddr(addr)}`;
}

describe.runIf(labsAvailable())('the source that a node sends from', () => {
  it.each(Object.entries(NODES))('is the kernel’s: %s', (_, node) => {
    const { files, kernel } = ask(node);
    for (const form of ['host/ip/addr.txt', 'host/ip/addr.json']) {
      const one = Object.fromEntries(
        Object.entries(files).filter(([p]) => !p.startsWith('host/ip/addr') || p === form),
      );
      const ours = Object.fromEntries(DESTINATIONS.map((d) => [d, told(one, d)]));
      expect(ours).toEqual(Object.fromEntries(kernel));
    }
  });
});
