import { expect, it } from 'vitest';
import { NodeFacts } from '../../src/engine/index.ts';
import { formatAddr, parseAddr } from '../../src/net/addr.ts';
import { clusterOf, trace } from '../../src/net/index.ts';
import { buildNode } from '../../src/net/model.ts';
import { keyTo } from '../../src/net/policy.ts';
import { type Edit, recordedNodes } from '../support/bundle-nodes.ts';
import { nodeEvidence } from '../support/rule-table.ts';
import { ADDR, nodeOf, QUIET, ROUTES, save } from './hook-nodes.ts';

const asked = async (edit: Edit) =>
  trace(clusterOf(await recordedNodes('healthy-vxlan', edit)), {
    from: '10.244.1.10',
    to: '10.244.2.10',
    proto: 'icmp',
  });

it('a loop through a tunnel ends with the TTL, not with the stack', async () => {
  const answer = await asked((node, path, text) =>
    node === 'node-b' && path === 'host/ip/route4.txt'
      ? text.replace(
          /^unicast 10\.244\.2\.0\/24 dev cni0/m,
          'unicast 10.244.2.0/24 via 10.244.1.0 dev flannel.1 onlink',
        )
      : text,
  );
  expect([answer.verdict, answer.because]).toEqual(['dropped', 'the TTL is used up: a routing loop']);
});

it('a table that a policy rule names is not empty because `ip route` does not show it', () => {
  const rules = QUIET['ip.rule4']?.replace('32766:', '32765:\tnot from all fwmark 0xca6c lookup 51820\n32766:') ?? '';
  const plain = ROUTES.replaceAll(/^.*table local.*\n/gm, '');
  const to = { from: 'node-a', to: '10.244.1.7', proto: 'icmp' } as const;
  const of = (routes: string) => trace(clusterOf([nodeOf({ ...QUIET, 'ip.rule4': rules, 'ip.route4': routes })]), to);
  expect(of(plain).because).toBe('ip.route4 shows the main table only');
  expect(of(ROUTES).because).not.toContain('main table');
});

it('an empty file for what is never empty is no answer', () => {
  const files = { 'host/ip/route4.txt': '', 'host/ip/rule4.txt': '', 'host/bridge/fdb.txt': '' };
  const facts = new NodeFacts(nodeEvidence('n', { files, info: { format: 'loose-files' } }));
  for (const kind of ['routes4', 'rules4', 'fdb'] as const) {
    const fact = facts.get(kind);
    expect(fact.missing || fact.closed, kind).toBe(false);
  }
});

it.each([
  ['of the main table', /^(?!.*table local)./, 'unknown', 'host/ip/route4.txt was not collected whole'],
  ['of another table', /./, 'via 192.0.2.254', ''],
])('a longer prefix may have stood where the routes were cut off: in the midst %s', (_, kept, verdict, because) => {
  const text = ROUTES.split('\n').filter((line) => kept.test(line));
  const files = {
    'host/ip/addr.txt': ADDR,
    'host/ip/rule4.txt': QUIET['ip.rule4'] ?? '',
    'host/ip/route4.txt': { status: 'truncated' as const, text: `${text.join('\n')}\n` },
  };
  const node = buildNode(new NodeFacts(nodeEvidence('node-a', { files })));
  const [answer] = node.host.routing(4).lookup(keyTo(parseAddr('198.51.100.7') as number));
  if (verdict === 'unknown') expect([answer?.type, answer?.reason?.because]).toEqual([verdict, because]);
  else expect([answer?.type, `via ${formatAddr(answer?.via ?? 0)}`]).toEqual(['unicast', verdict]);
});

const RULES = { 'host/ip/rule4.txt': QUIET['ip.rule4'] ?? '' };

it('a line that is not understood may be the longer prefix', () => {
  const to = (line: string, dst: string) => {
    const files = { 'host/ip/addr.txt': ADDR, 'host/ip/route4.txt': `${line}\n${ROUTES}`, ...RULES };
    const node = buildNode(new NodeFacts(nodeEvidence('node-a', { files })));
    return node.host.routing(4).lookup(keyTo(parseAddr(dst) as number))[0];
  };
  const cut = '198.51.100.0/24 via 192.0.';
  expect(to('', '198.51.100.7')?.type).toBe('unicast');
  expect(to(cut, '198.51.100.7')?.reason?.because).toBe('host/ip/route4.txt was not collected whole');
  // nothing is longer than the address itself
  expect(to(`${cut}\n198.51.100.7 dev eth0`, '198.51.100.7')?.type).toBe('unicast');
});

it('whose addresses were not read may be the one that is asked for', async () => {
  const answer = await asked((node, path, text) =>
    node === 'node-a' && /^host\/ip\/addr\.(txt|json)$/.test(path) ? '' : text,
  );
  expect([answer.verdict, answer.because]).toEqual(['unknown', expect.stringContaining('the devices are not known')]);
});

// by hand on Linux 6.18: connect(2) to a broadcast address fails with EACCES for UDP, with ENETUNREACH for TCP
it.each([
  ['udp', 'permission denied'],
  ['tcp', 'network unreachable'],
] as const)('a broadcast over %s: %s', (proto, error) => {
  const answer = trace(clusterOf([nodeOf(QUIET)]), { from: 'node-a', to: '10.244.1.255', port: 80, proto });
  expect(answer.because).toBe(`the route to 10.244.1.255 is broadcast: the sender gets "${error}"`);
});

it('whether a packet may come in for a loopback address is not known without the setting', () => {
  const nat = '-A PREROUTING -p tcp -m tcp --dport 8081 -j DNAT --to-destination 127.0.0.1:80';
  const sysctl = ['all', 'eth0']
    .flatMap((dev) => ['rp_filter', 'accept_local', 'arp_ignore'].map((key) => `net.ipv4.conf.${dev}.${key} = 0\n`))
    .join('');
  const of = (more: string) =>
    trace(clusterOf([nodeOf({ ...QUIET, 'fw.iptables-save': save('nat', nat), 'sys.sysctl': `${sysctl}${more}` })]), {
      from: '192.0.2.9',
      to: '192.0.2.1:8081',
      proto: 'tcp',
    });
  const set = (dev: string, value: number) => `net.ipv4.conf.${dev}.route_localnet = ${value}\n`;
  expect(of('').because).toBe('net/ipv4/conf/eth0/route_localnet of node-a was not collected');
  expect(of(set('eth0', 0)).because).toBe('net/ipv4/conf/all/route_localnet of node-a was not collected');
  expect(of(`${set('eth0', 0)}${set('all', 0)}`).because).toContain('(route_localnet=0)');
  expect(of(set('all', 1)).because).not.toContain('route_localnet');
});
