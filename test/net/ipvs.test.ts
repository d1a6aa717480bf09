import { describe, expect, it } from 'vitest';
import { clusterOf, reach, type TraceRequest, trace } from '../../src/net/index.ts';
import { belief, ways } from '../support/kernel-check/compare.ts';
import type { TraceJson } from '../support/kernel-check/tracer.ts';
import { ipvsNode, type NodePlan, SETS, saved, VIPS } from './ipvs-nodes.ts';

const WEB = '-t 10.96.0.10:80';
const [HERE, THERE] = ['10.244.1.11:8080 -m -w 1', '10.244.2.10:8080 -m -w 1'];

/** Two nodes; the first has the services. */
const plans = (ipvs: string, a: Partial<NodePlan> = {}): readonly NodePlan[] => [
  { n: 1, pods: [10, 11], ipvs, vips: VIPS, ...a },
  { n: 2, pods: [10], ipvs: '', vips: VIPS },
];
const nodesOf = (list: readonly NodePlan[]) => {
  const peers = list.map((p) => p.n);
  return list.map((p) => ipvsNode(p, peers));
};
const follow = (list: readonly NodePlan[], from: string, to: string, more: Partial<TraceRequest> = {}) =>
  trace(nodesOf(list), { from, to, proto: 'tcp', ...more });
type Result = ReturnType<typeof follow>;

/** What stands at ipvs, without the words that every step has. */
const steps = (half: Result | Result['reply']) =>
  half?.hops
    .filter((h) => h.place === 'ipvs')
    .map(
      (h) => `${h.node} ${h.action} ${h.text.replace(/ \(.*ipvs is modelled, not verified against a kernel\)/, '')}`,
    );
const outcome = (r: Result) => [r.verdict, r.arrived?.src, r.arrived?.dst, r.reply?.verdict];

describe('a service of kube-proxy in ipvs mode', () => {
  it('with its backend on the same node: the answer passes br_netfilter', () => {
    const r = follow(plans(saved([[WEB, 'rr', HERE]])), '10.244.1.10', '10.96.0.10:80');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.10', '10.244.1.11', 'delivered']);
    expect(steps(r)).toEqual(['node-a dnat 10.96.0.10:80 -> 10.244.1.11:8080 by rr']);
    expect(steps(r.reply)).toEqual(['node-a un-dnat 10.244.1.11:8080 -> 10.96.0.10:80']);
    const at = r.hops.find((h) => h.place === 'ipvs');
    expect(at?.text).toContain('ipvs is modelled, not verified against a kernel');
    expect(at?.cites).toMatchObject([
      { evidence: 'fw.ipvs', line: 1 },
      { evidence: 'fw.ipvs', line: 2 },
      { evidence: 'sys.sysctl' },
    ]);
    expect(r.hops.map((h) => h.place)).toContain('filter/OUTPUT');
  });

  it('answers past the node where bridged packets do not pass netfilter', () => {
    const off = { 'net/bridge/bridge-nf-call-iptables': 0, 'net/bridge/bridge-nf-call-ip6tables': 0 };
    const r = follow(plans(saved([[WEB, 'rr', HERE]]), { sysctls: off }), '10.244.1.10', '10.96.0.10:80');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.10', '10.244.1.11', 'dropped']);
    expect(r.reply?.because).toContain('the client asked 10.96.0.10:80 and gets an answer from 10.244.1.11:8080');
  });

  it('with its backend on another node', () => {
    const r = follow(plans(saved([[WEB, 'rr', THERE]])), '10.244.1.10', '10.96.0.10:80');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.10', '10.244.2.10', 'delivered']);
    expect(steps(r.reply)).toEqual(['node-a un-dnat 10.244.2.10:8080 -> 10.96.0.10:80']);
  });

  it('with the client itself as backend: KUBE-LOOP-BACK masquerades', () => {
    const r = follow(plans(saved([[WEB, 'rr', HERE]])), '10.244.1.11', '10.96.0.10:80');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.1', '10.244.1.11', 'delivered']);
  });

  it('asked by the node itself, whose source is the service address', () => {
    const r = follow(plans(saved([[WEB, 'rr', THERE]])), 'node-a', '10.96.0.10:80');
    expect(r.packet.src).toBe('10.96.0.10');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.0', '10.244.2.10', 'delivered']);
    expect(r.reply?.hops.filter((h) => /un-/.test(h.action)).map((h) => `${h.place} ${h.action}`)).toEqual([
      'conntrack un-snat',
      'ipvs un-dnat',
    ]);
  });

  it.each(['10.244.1.10', 'node-a'])('with a socket of the node behind it, asked by %s', (from) => {
    const r = follow(plans(saved([['-t 10.96.0.1:443', 'rr', '192.168.50.11:6443 -m -w 1']])), from, '10.96.0.1:443');
    expect([r.verdict, r.arrived?.dst, r.arrived?.dport, r.reply?.verdict]).toEqual([
      'delivered',
      '192.168.50.11',
      6443,
      'delivered',
    ]);
  });

  it('has a NodePort', () => {
    const r = follow(plans(saved([['-t 192.168.50.11:30080', 'rr', THERE]])), 'node-b', '192.168.50.11:30080');
    expect(outcome(r)).toEqual(['delivered', '10.244.1.0', '10.244.2.10', 'delivered']);
  });

  it.each([
    ['no endpoint', saved([[WEB, 'rr']])],
    ['only weights of 0', saved([[WEB, 'rr', '10.244.1.11:8080 -m -w 0']])],
  ])('with %s refuses', (_, ipvs) => {
    const r = follow(plans(ipvs), '10.244.1.10', '10.96.0.10:80');
    expect(r.verdict).toBe('rejected');
    expect(r.because).toContain('10.96.0.10:80/tcp of node-a has no real server with a weight above 0');
  });

  it('is not asked for echo requests', () => {
    const r = follow(plans(saved([[WEB, 'rr']])), '10.244.1.10', '10.96.0.10', { proto: 'icmp' });
    expect(outcome(r)).toEqual(['delivered', '10.244.1.10', '10.96.0.10', 'delivered']);
  });

  it('passes the filters of INPUT first', () => {
    const drop =
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -d 10.96.0.10 -j DROP\nCOMMIT\n';
    const texts = { 'fw.iptables-legacy-save': `# Generated by iptables-save v1.8.9 on Thu Nov 26 2026\n${drop}` };
    const r = follow(plans(saved([[WEB, 'rr', THERE]]), { texts }), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.hops.at(-1)?.text]).toEqual(['dropped', '-A INPUT -d 10.96.0.10 -j DROP']);
  });

  it('over UDP, over IPv6, by a firewall mark', () => {
    const udp = follow(
      plans(saved([['-u 10.96.0.10:53', 'rr', '10.244.2.10:5353 -m -w 1']])),
      '10.244.1.10',
      '10.96.0.10:53',
      { proto: 'udp' },
    );
    expect(outcome(udp)).toEqual(['delivered', '10.244.1.10', '10.244.2.10', 'delivered']);
    const six = follow(
      plans(saved([['-t [fd00:96::10]:80', 'rr', '[fd00:2::10]:8080 -m -w 1']])),
      'fd00:1::10',
      '[fd00:96::10]:80',
    );
    expect(outcome(six)).toEqual(['delivered', 'fd00:1::10', 'fd00:2::10', 'delivered']);
    const rules =
      '*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.96.0.1 -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n';
    const texts = { 'fw.iptables-legacy-save': `# Generated by iptables-save v1.8.9 on Thu Nov 26 2026\n${rules}` };
    const mark = follow(
      plans(saved([['-f 5', 'rr', '10.244.2.10:8080 -m -w 1']]), { texts }),
      '10.244.1.10',
      '10.96.0.1:7777',
    );
    expect([mark.verdict, mark.arrived?.dst, mark.arrived?.dport]).toEqual(['delivered', '10.244.2.10', 8080]);
  });

  it('counts a hop where it sends on, and none where it is the real server', () => {
    const rule = (text: string) => ({
      'fw.iptables-legacy-save': `# Generated by iptables-save v1.8.9 on Thu Nov 26 2026
*mangle\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A ${text}\nCOMMIT\n`,
    });
    const list = (text: string) => plans(saved([[WEB, 'rr', THERE]]), { texts: rule(text) });
    const at = (text: string) => follow(list(text), '10.244.1.10', '10.96.0.10:80').verdict;
    expect(at('OUTPUT -d 10.244.2.10 -m ttl --ttl-eq 63 -j DROP')).toBe('dropped');
    expect(at('POSTROUTING -d 10.244.2.10 -m ttl --ttl-eq 63 -j DROP')).toBe('dropped');
    expect(at('INPUT -d 10.96.0.10 -m ttl --ttl-eq 63 -j DROP')).toBe('delivered');
  });

  it('for every port keeps that of the packet', () => {
    const ipvs = saved([['-t 10.96.0.10:0', 'rr -p 60', '10.244.2.10:0 -m -w 1']]);
    const r = follow(plans(ipvs), '10.244.1.10', '10.96.0.10:8080');
    expect([r.verdict, r.arrived?.dst, r.arrived?.dport]).toEqual(['delivered', '10.244.2.10', 8080]);
  });

  it('on a loopback address is for the node alone', () => {
    const list = plans(saved([['-t 10.96.0.1:443', 'rr', '127.0.0.1:6443 -m -w 1']]));
    expect(follow(list, '10.244.1.10', '10.96.0.1:443')).toMatchObject({
      verdict: 'dropped',
      because: expect.stringContaining('nothing that came in is given to a loopback address'),
    });
    expect(follow(list, 'node-a', '10.96.0.1:443').verdict).toBe('delivered');
  });

  it('keeps packets that do not fit', () => {
    const r = follow(plans(saved([[WEB, 'rr', THERE]])), 'node-a', '10.96.0.10:80', { size: 1430 });
    expect([r.verdict, r.because]).toEqual([
      'dropped',
      expect.stringContaining('1470 bytes do not fit the MTU 1450 of flannel.1'),
    ]);
  });
});

describe('several real servers', () => {
  const shares = (r: Result) => r.branches.map((b) => [b.probability, b.arrived?.dst]);
  it.each([
    ['rr', [1, 3], [0.5, 0.5]],
    ['wrr', [1, 3], [0.25, 0.75]],
    ['lc', [1, 3], [null, null]],
    ['sh', [1, 3], [null, null]],
    ['rr -p 10800', [1, 1], [null, null]],
  ])('%s: each is a way', (scheduler, [one, three], [p, q]) => {
    const ipvs = saved([[WEB, scheduler, `10.244.1.11:8080 -m -w ${one}`, `10.244.2.10:8080 -m -w ${three}`]]);
    const r = follow(plans(ipvs), '10.244.1.10', '10.96.0.10:80');
    expect(r.verdict).toBe('delivered');
    expect(shares(r)).toEqual([
      [p, '10.244.1.11'],
      [q, '10.244.2.10'],
    ]);
  });

  it('leaves out those of weight 0', () => {
    const ipvs = saved([[WEB, 'rr', '10.244.1.11:8080 -m -w 0', THERE]]);
    const r = follow(plans(ipvs), '10.244.1.10', '10.96.0.10:80');
    expect([r.branches.length, r.arrived?.dst]).toEqual([0, '10.244.2.10']);
  });

  it('says which part is lost', () => {
    const ipvs = saved([[WEB, 'rr', THERE, '10.244.2.99:8080 -m -w 1']]);
    const r = follow(plans(ipvs), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.branches.map((b) => [b.probability, b.verdict])]).toEqual([
      'dropped',
      [
        [0.5, 'delivered'],
        [0.5, 'dropped'],
      ],
    ]);
  });
});

describe('what is not known', () => {
  const ONE = saved([[WEB, 'rr', THERE]]);
  it.each([
    ['direct routing', '10.244.2.10:80 -g -w 1', 'rr', 'by direct routing, which is not followed'],
    ['tunnels', '10.244.2.10:80 -i -w 1', 'rr', 'by tunnel, which is not followed'],
    [
      'a scheduler of another name',
      THERE,
      'odd',
      'the scheduler odd of the ipvs service 10.96.0.10:80/tcp is not followed',
    ],
    ['a persistence engine', THERE, 'rr -p 60 --pe sip', 'has a persistence engine'],
  ])('%s', (_, server, scheduler, because) => {
    const r = follow(plans(saved([[WEB, scheduler, server]])), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.because]).toEqual(['unknown', expect.stringContaining(because)]);
  });

  it('hashing onto a server of weight 0', () => {
    const r = follow(plans(saved([[WEB, 'sh', THERE, '10.244.1.11:8080 -m -w 0']])), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.because]).toEqual(['unknown', expect.stringContaining('its server of weight 0')]);
  });

  it('services that were not collected, where something else tells of ipvs', () => {
    const r = follow(plans('', { without: ['fw.ipvs'] }), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.missing]).toEqual([
      'unknown',
      [{ because: 'the ipvs services of node-a are not known: fw.ipvs not collected', evidence: ['fw.ipvs'] }],
    ]);
    const nodePort = follow(plans('', { without: ['fw.ipvs'] }), 'node-b', '192.168.50.11:30080');
    expect(nodePort.verdict).toBe('unknown');
    const pods = follow(plans('', { without: ['fw.ipvs'] }), '10.244.1.10', '10.244.2.10:8080');
    expect(pods.verdict).toBe('delivered');
  });

  it('a kernel without ipvs is no question', () => {
    const r = follow(plans('', { vips: [], none: true, without: ['fw.ipvs'] }), '10.244.1.10', '192.168.50.11:30080');
    expect([r.verdict, r.because]).toEqual(['rejected', expect.stringContaining('nothing listens')]);
  });

  it('a list that was cut', () => {
    const r = follow(plans(`${ONE}-A -t 10.96.0.1:`), '10.244.1.10', '10.96.0.1:443');
    expect([r.verdict, r.because]).toEqual([
      'unknown',
      expect.stringContaining('was not collected or understood whole'),
    ]);
  });

  it('whether connection tracking goes along', () => {
    const r = follow(plans(ONE, { sysctls: { 'net/ipv4/vs/conntrack': null } }), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.reply?.verdict, r.missing]).toEqual([
      'delivered',
      'unknown',
      [{ because: 'net/ipv4/vs/conntrack of node-a was not collected', evidence: ['sys.sysctl'] }],
    ]);
  });

  it('a service that changed while it was collected', () => {
    const proc = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A60000A:0050 rr
`;
    const same = `${proc}  -> 0AF4020A:1F90      Masq    1      0          0\n`;
    const to = ['10.244.1.10', '10.96.0.10:80'] as const;
    expect(follow(plans(ONE + same), ...to).verdict).toBe('delivered');
    expect(follow(plans(same), ...to).verdict).toBe('delivered');
    expect(follow(plans(ONE + proc), ...to)).toMatchObject({
      verdict: 'unknown',
      because: expect.stringContaining('stands differently in the two halves'),
    });
  });

  it('connections of FTP, and services without connections', () => {
    const ftp = follow(plans(saved([['-t 10.96.0.10:21', 'rr', THERE]])), '10.244.1.10', '10.96.0.10:5000');
    expect([ftp.verdict, ftp.because]).toEqual(['unknown', expect.stringContaining('FTP service 10.96.0.10:21/tcp')]);
    const ops = saved([['-u 10.96.0.10:53', 'rr -o', '10.244.2.10:5353 -m -w 1']]);
    const one = follow(plans(ops), '10.244.1.10', '10.96.0.10:53', { proto: 'udp' });
    expect([one.verdict, one.because]).toEqual(['unknown', expect.stringContaining('keeps no connections')]);
  });

  it('whether a chain of the same priority comes first', () => {
    const chain = { family: 'ip', table: 'x', name: 'in', handle: 1, type: 'filter', hook: 'input', prio: 99 };
    const nftables = [{ table: { family: 'ip', name: 'x', handle: 1 } }, { chain: { ...chain, policy: 'drop' } }];
    const texts = { 'fw.nft-json': JSON.stringify({ nftables }) };
    const r = follow(plans(ONE, { texts }), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.because]).toEqual(['unknown', expect.stringContaining('(priority 99) of node-a runs before')]);
    const other = follow(plans(ONE, { texts }), '10.244.1.10', '10.96.0.10:81');
    expect([other.verdict, other.because]).toEqual(['dropped', expect.stringContaining('policy DROP of nft ip x in')]);
  });

  it('settings that change what ipvs does', () => {
    const r = follow(plans(ONE, { sysctls: { 'net/ipv4/vs/drop_packet': 3 } }), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.because]).toEqual(['unknown', expect.stringContaining('net.ipv4.vs.drop_packet = 3')]);
  });
});

describe('without connection tracking (net.ipv4.vs.conntrack = 0)', () => {
  const off = { sysctls: { 'net/ipv4/vs/conntrack': 0 } };
  it('kube-proxy drops the answers of other nodes', () => {
    const r = follow(plans(saved([[WEB, 'rr', THERE]]), off), '10.244.1.10', '10.96.0.10:80');
    expect([r.verdict, r.reply?.verdict, r.reply?.hops.at(-1)?.text]).toEqual([
      'delivered',
      'dropped',
      '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    ]);
  });
  it('nothing is masqueraded, and other nodes have the address as well', () => {
    const r = follow(plans(saved([[WEB, 'rr', THERE]]), off), 'node-a', '10.96.0.10:80');
    expect([r.verdict, r.because]).toEqual(['dropped', 'the source is an address of node-b itself (accept_local=0)']);
  });
  it('sockets of the node answer', () => {
    const ipvs = saved([['-t 10.96.0.1:443', 'rr', '192.168.50.11:6443 -m -w 1']]);
    const r = follow(plans(ipvs, off), '10.244.1.10', '10.96.0.1:443');
    expect([r.verdict, r.reply?.verdict]).toEqual(['delivered', 'delivered']);
  });
});

describe('a plain director', () => {
  const director: readonly NodePlan[] = [
    { n: 1, pods: [], ipvs: saved([['-t 192.168.50.11:80', 'wrr', '192.168.50.12:6443 -m -w 1']]) },
    { n: 2, pods: [], ipvs: '' },
    { n: 3, pods: [], ipvs: '' },
  ];
  it('whose real server answers the client itself', () => {
    const r = follow(director, 'node-c', '192.168.50.11:80');
    expect([r.verdict, r.arrived?.node, r.reply?.verdict]).toEqual(['delivered', 'node-b', 'dropped']);
    expect(r.reply?.because).toContain('the client asked 192.168.50.11:80 and gets an answer from 192.168.50.12:6443');
  });
  it('whose real server answers through it', () => {
    const via = { 'ip.route4': 'default via 192.168.50.11 dev eth0\nlocal 192.168.50.12 dev eth0 table local\n' };
    const r = follow(
      director.map((p) => (p.n === 2 ? { ...p, texts: via } : p)),
      'node-c',
      '192.168.50.11:80',
    );
    expect([r.verdict, r.reply?.verdict, steps(r.reply)]).toEqual([
      'delivered',
      'delivered',
      ['node-a un-dnat 192.168.50.12:6443 -> 192.168.50.11:80'],
    ]);
  });
});

/** Said to be open: the verdict, the answer's, where it arrives, or whether anybody listens. */
const open = (r: Result): boolean =>
  ways(r as TraceJson).some(
    (w) =>
      [w.verdict, w.reply?.verdict].includes('unknown') ||
      (w.verdict === 'delivered' && w.arrived === null) ||
      w.because.includes('whether something listens is not'),
  );

describe('less evidence', () => {
  const services = saved([
    [WEB, 'rr', HERE, THERE],
    ['-t 10.96.0.1:443', 'rr', '192.168.50.11:6443 -m -w 1'],
    ['-t 192.168.50.11:30080', 'rr', THERE],
  ]);
  it.each([
    ['10.244.1.10', '10.96.0.10:80', 1],
    ['10.244.1.10', '10.96.0.10:80', 0],
    ['node-a', '10.96.0.10:80', 1],
    ['node-a', '10.96.0.1:443', 1],
    ['node-b', '192.168.50.11:30080', 1],
    ['10.244.1.11', '10.96.0.10:81', 1],
    ['10.244.1.11', '10.96.0.1:443', 0],
  ])('turns no verdict: %s to %s, conntrack %d', (from, to, conntrack) => {
    const list = plans(services, { sysctls: { 'net/ipv4/vs/conntrack': conntrack } });
    const before = follow(list, from, to);
    const alone =
      'ip.addr-json ip.link-json ip.route4 ip.rule4 ip.neigh bridge.fdb sys.sysctl sys.modules sock.ss-listen'
        .split(' ')
        .concat('fw.iptables-legacy-save fw.ipset-save fw.ipvs fw.nft-json fw.ip-tables-names'.split(' '))
        .concat(['netns.sysctl@40265110', 'netns.route4@40265110', 'netns.ss-listen@40265110']);
    const removals = [...alone.map((id) => [id]), ['ip.addr-json', 'ip.link-json'], ['fw.ipvs', 'sys.modules']];
    const objections: string[] = [];
    for (const at of [0, 1])
      for (const without of removals) {
        const after = follow(
          list.map((p, i) => (i === at ? { ...p, without } : p)),
          from,
          to,
        );
        if (belief(after as TraceJson) !== belief(before as TraceJson) && !open(after))
          objections.push(`without ${without} of ${at}: ${after.because}, ${after.reply?.because}`);
      }
    expect(objections).toEqual([]);
  });
});

describe('reach', () => {
  const services = saved([
    [WEB, 'rr', HERE, THERE],
    ['-u 192.168.50.12:8472', 'rr', '10.244.1.11:8472 -m -w 1'],
  ]);
  it.each([
    ['services of others', saved([[WEB, 'rr', HERE, THERE]]), {}],
    ['a service that takes the tunnel to one node', services, {}],
    ['services that were not collected', '', { without: ['fw.ipvs'] }],
  ])('says with %s what following every pair says', (_, ipvs, more) => {
    const list = [...plans(ipvs, more), { n: 3, pods: [10], ipvs: '', vips: VIPS, texts: { 'fw.ipset-save': SETS } }];
    const said = (small: number) =>
      reach(clusterOf(nodesOf(list)), small).groups.map(({ verdict, because, pairs, blocks }) => ({
        verdict,
        because,
        pairs,
        blocks,
      }));
    expect(said(0)).toEqual(said(1000));
  });
});
