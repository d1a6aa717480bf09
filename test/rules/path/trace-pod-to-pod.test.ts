import { describe, expect, it } from 'vitest';
import { RULES } from '../../../rules/index.ts';
import { rule } from '../../../rules/path/trace-pod-to-pod.ts';
import type { TraceJson } from '../../../src/core/trace.ts';
import { bereft, edited, recordedNodes } from '../../support/recorded-nodes.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';

const [vxlan, hostGw, legacy, docker, noNft] = await Promise.all(
  ['healthy-vxlan', 'healthy-host-gw', 'healthy-legacy', 'healthy-docker', 'bundle-incomplete'].map(recordedNodes),
);
type Nodes = Readonly<Record<string, NodeFiles>>;
const SAVE = 'host/fw/iptables-save.txt';
const RAW = (...rules: string[]) =>
  `*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rules.join('\n')}\nCOMMIT\n`;
/** No rule knows this fault by name: raw drops what comes out of the tunnel. */
const rawDrop = (nodes: Nodes, node: string, rule: string) => edited(nodes, node, SAVE, (t) => RAW(rule) + t);
const firstForward = (nodes: Nodes, node: string, ...rules: string[]) =>
  edited(nodes, node, SAVE, (t) => t.replace(/^(?:\[\d+:\d+\] )?-A FORWARD /m, `${rules.join('\n')}\n$&`));
/** The tunnel's packets die in INPUT: no rule knows that by name. */
const blocked = (nodes: Nodes, node: string) =>
  edited(nodes, node, SAVE, (t) => t.replace('COMMIT', '-A INPUT -p udp -m udp --dport 8472 -j DROP\nCOMMIT'));
const only = (nodes: Nodes, ...ids: string[]): Nodes =>
  Object.fromEntries(Object.entries(nodes).filter(([id]) => ids.includes(id)));

const NO_ARP = (t: string) => t.replace(/^(\d+: cni0: <BROADCAST,)/m, '$1NOARP,');

testRule(rule, {
  finds: {
    'raw drops what comes out of the tunnel': {
      nodes: rawDrop(vxlan!, 'node-b', '-A PREROUTING -i flannel.1 -j DROP'),
      expect: [
        {
          key: 'raw/PREROUTING: -A PREROUTING -i flannel.1 -j DROP',
          severity: 'critical',
          nodes: ['node-b', 'node-a', 'node-c'],
          message:
            /^10\.244\.1\.10 on node-a cannot reach 10\.244\.2\.10 on node-b: dropped on node-b at raw\/PREROUTING: .*3 more paths end there$/,
          cites: ['-A PREROUTING -i flannel.1 -j DROP'],
        },
      ],
    },
    'only UDP': {
      nodes: rawDrop(vxlan!, 'node-b', '-A PREROUTING -i flannel.1 -p udp -j DROP'),
      expect: [{ message: /by udp: dropped on node-b/, cites: ['-A PREROUTING -i flannel.1 -p udp -j DROP'] }],
    },
    'only answers': {
      nodes: rawDrop(hostGw!, 'node-b', '-A PREROUTING -i eth0 -p icmp -m icmp --icmp-type 0 -j DROP'),
      expect: [
        {
          message: /10\.244\.2\.10 on node-b cannot reach .* by icmp: its answer is dropped on node-b/,
          cites: ['--icmp-type 0 -j DROP'],
        },
      ],
    },
    'outer packets die in INPUT of one node': {
      nodes: blocked(vxlan!, 'node-c'),
      expect: [
        {
          nodes: ['node-c', 'node-a', 'node-b'],
          message: /dropped on node-c at filter\/INPUT/,
          cites: ['--dport 8472 -j DROP'],
        },
      ],
    },
    'a rule redirects what pods ask for': {
      nodes: edited(vxlan!, 'node-b', SAVE, (t) =>
        t.replace(
          /^(?:\[\d+:\d+\] )?-A POSTROUTING /m,
          '-A PREROUTING -i cni0 -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.2.222:53\n$&',
        ),
      ),
      expect: [
        {
          message:
            /by udp: dropped on node-b at .*10\.244\.2\.222.*, redirected by "-A PREROUTING -i cni0 .*-j DNAT --to-destination 10\.244\.2\.222:53"/,
          cites: ['--to-destination 10.244.2.222:53', 'cni0', 'absent: a neighbour 10.244.2.222 on cni0'],
        },
      ],
    },
    'a rule uses up the TTL': {
      nodes: edited(
        vxlan!,
        'node-b',
        SAVE,
        (t) => `*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i cni0 -j TTL --ttl-set 1\nCOMMIT\n${t}`,
      ),
      expect: [
        {
          message: /the TTL is used up, set by "-A PREROUTING -i cni0 -j TTL --ttl-set 1"/,
          cites: ['-j TTL --ttl-set 1', ''],
        },
      ],
    },
    'two causes are two findings': {
      nodes: rawDrop(
        rawDrop(vxlan!, 'node-b', '-A PREROUTING -i flannel.1 -j DROP'),
        'node-c',
        '-A PREROUTING -i flannel.1 -j DROP',
      ),
      expect: [
        {
          key: 'raw/PREROUTING: -A PREROUTING -i flannel.1 -j DROP',
          cites: ['-A PREROUTING'],
        },
        {
          key: 'raw/PREROUTING: -A PREROUTING -i flannel.1 -j DROP',
          cites: ['-A PREROUTING'],
        },
      ],
    },
  },
  passes: {
    'a healthy vxlan cluster': { nodes: vxlan! },
    'host-gw': { nodes: hostGw! },
    'iptables-legacy': { nodes: legacy! },
    'a network policy drops on purpose': {
      nodes: edited(vxlan!, 'node-b', SAVE, (t) =>
        t
          .replace(/^:FORWARD .*$/m, '$&\n:KUBE-ROUTER-FORWARD - [0:0]')
          .replace(
            /^(?:\[\d+:\d+\] )?-A FORWARD /m,
            '-A FORWARD -j KUBE-ROUTER-FORWARD\n-A KUBE-ROUTER-FORWARD -d 10.244.2.10/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable\n$&',
          ),
      ),
    },
    'two clusters with the same pod addresses in one case': {
      nodes: {
        ...vxlan!,
        ...Object.fromEntries(
          Object.entries(vxlan!).map(([id, { files, info }]) => [
            id.replace('node-', 'other-'),
            {
              info: info ?? {},
              files: Object.fromEntries(
                Object.entries(files).map(([path, text]) => [
                  path,
                  typeof text === 'string'
                    ? text.replaceAll('192.168.50.', '192.168.60.').replaceAll('0e:00:00:00:00:', '0e:00:00:00:01:')
                    : text,
                ]),
              ),
            },
          ]),
        ),
      },
    },
  },
  notApplicable: {
    'a docker host': { nodes: docker! },
    'one node alone': { nodes: only(vxlan!, 'node-a') },
  },
  unknown: {
    'ARP is off on a bridge': {
      nodes: edited(edited(vxlan!, 'node-b', 'host/ip/addr.txt', NO_ARP), 'node-b', 'host/ip/link.txt', NO_ARP),
      because: /ARP is off on cni0 of node-b \(NOARP\), which neither asks for neighbours nor answers them/,
    },
    'native tables were not collected': {
      nodes: noNft!,
      because: /native nft tables are not known/,
    },
    'the pods’ namespaces were not collected': {
      nodes: only(
        bereft(vxlan!, 'node-b', (p) => p.startsWith('netns/')),
        'node-b',
      ),
      because: /namespaces of the pods on cni0 were not collected/,
    },
    'a rule that nobody can evaluate': {
      nodes: firstForward(vxlan!, 'node-b', '-A FORWARD -m recent --update --name X --rsource -j DROP'),
      answers: { 'node-a': 'unknown', 'node-c': 'unknown' },
      because: /recent/,
    },
  },
});

describe('trace-pod-to-pod beside other rules', () => {
  const causesOf = (nodes: Nodes) => judge(RULES, nodes).causes.map((c) => c.finding);
  /** Nobody has the hardware address that the node sends its pods' packets to. */
  const nameless = (nodes: Nodes, node: string) =>
    edited(
      nodes,
      node,
      'host/ip/neigh.txt',
      (t) =>
        t.replace(/^10\.244\.\d+\.\d+ dev cni0 .*\n/gm, '') +
        '10.244.2.10 dev cni0 lladdr 02:de:ad:be:ef:01 PERMANENT \n10.244.3.10 dev cni0 lladdr 02:de:ad:be:ef:01 PERMANENT \n',
    );

  it('carries the traced packet, every cited line with its text', () => {
    const found = judge([rule], rawDrop(vxlan!, 'node-b', '-A PREROUTING -i flannel.1 -j DROP')).findings[0];
    const trace = found?.trace as TraceJson;
    expect(trace.verdict).toBe('dropped');
    expect(trace.hops.at(-1)?.cites[0]).toHaveProperty('text', '-A PREROUTING -i flannel.1 -j DROP');
    expect(trace.hops.flatMap((h) => h.cites).filter((c) => 'line' in c && c.text === undefined)).toEqual([]);
  });

  it('lends the traced packet to the rule that explains it', async () => {
    const { findings, causes } = judge(RULES, await recordedNodes('forward-drops-pod-traffic'));
    const cause = findings.find((f) => f.id === causes[0]?.finding);
    expect(cause?.rule).toBe('forward-drops-pod-traffic');
    const trace = cause?.trace as TraceJson;
    expect(trace.verdict).toBe('rejected');
    expect(trace.hops.at(-1)).toMatchObject({ node: 'node-b', place: 'filter/FORWARD' });
  });

  it('is the cause where no rule knows the fault', () => {
    expect(causesOf(nameless(vxlan!, 'node-b'))).toEqual([
      'trace-pod-to-pod/node-b+node-a+node-c:bridge cni0: no device behind cni0 has the hardware address 02:de:ad:be:ef:01',
    ]);
  });

  it('is no symptom of a fault that breaks nothing yet', () => {
    const both = edited(nameless(vxlan!, 'node-b'), 'node-a', 'host/ip/neigh.txt', (t) =>
      t.replace(/^(10\.244\.2\.0 dev flannel\.1 .*)PERMANENT/m, '$1STALE'),
    );
    expect(causesOf(both)).toEqual([
      expect.stringMatching(/^trace-pod-to-pod\/node-b\+/),
      expect.stringMatching(/^vxlan-forwarding-entry-wrong\/node-a.*:not-permanent 10\.244\.2\.0/),
    ]);
  });

  it('is no symptom of a fault elsewhere', () => {
    const both = nameless(
      edited(vxlan!, 'node-a', 'host/bridge/fdb.txt', (t) =>
        t.replace(/^.* dev flannel\.1 dst 192\.168\.50\.12 .*\n/m, ''),
      ),
      'node-c',
    );
    const causes = causesOf(both);
    expect(causes.some((c) => c.startsWith('vxlan-forwarding-entry-wrong/'))).toBe(true);
    expect(causes.some((c) => c.startsWith('trace-pod-to-pod/') && /^[^:]*\/node-c\+.*:bridge cni0/.test(c))).toBe(
      true,
    );
    expect(causes.some((c) => c.startsWith('trace-pod-to-pod/') && !c.startsWith('trace-pod-to-pod/node-c+'))).toBe(
      false,
    );
  });

  const faults = [
    'bridge-address-not-in-lease',
    'forward-drops-pod-traffic',
    'interface-forwarding-disabled',
    'ip-forward-disabled',
    'pod-cidr-duplicate',
    'subnet-overlaps-node-network',
    'vxlan-forwarding-entry-wrong',
    'vxlan-parameters-disagree',
  ];
  it.each(faults)('%s is the cause, broken paths are its symptoms', async (name) => {
    const { causes, findings } = judge(RULES, await recordedNodes(name));
    expect(findings.some((f) => f.rule === 'trace-pod-to-pod')).toBe(true);
    expect(causes.filter((c) => c.finding.startsWith('trace-')).map((c) => c.finding)).toEqual([]);
    const named = causes.filter((c) => c.finding.startsWith(`${name}/`));
    expect(named.flatMap((c) => c.explains).some((id) => id.startsWith('trace-pod-to-pod/'))).toBe(true);
  });

  it('does not follow packets between more than 60 nodes, and says so', () => {
    const many = Object.fromEntries(
      Array.from({ length: 61 }, (_, i): [string, NodeFiles] => [`node-${i}`, vxlan!['node-a'] as NodeFiles]),
    );
    const { matrix, findings } = judge([rule], many);
    expect(findings).toEqual([]);
    expect(new Set(Object.values(matrix[rule.id] ?? {}))).toEqual(new Set(['not-applicable']));
  });
});

it('bundles of different days: the path is one that no packet took', () => {
  const twice = {
    'node-a': vxlan!['node-a']!,
    'node-b': edited(vxlan!, 'node-b', SAVE, (t) =>
      t.replace(':FORWARD ACCEPT', ':FORWARD DROP').replaceAll('-j ACCEPT', '-j DROP'),
    )['node-b']!,
  };
  const older = (days: number) => {
    const at = new Date(Date.parse(vxlan!['node-a']!.info!.collectedAt!) - days * 86_400_000).toISOString();
    return { ...twice, 'node-b': { ...twice['node-b'], info: { ...twice['node-b'].info, collectedAt: at } } };
  };
  const said = (days: number) =>
    judge([rule], older(days)).findings.map((f) => [
      f.severity,
      f.confidence,
      / but .*/.exec(f.message)?.[0].replace(/;.*/, ''),
    ]);
  expect(said(0.5)[0]).toEqual(['critical', 'proven', undefined]);
  expect(said(17)[0]).toEqual(['medium', 'possible', ' but the bundle of node-b is 17 days older than that of node-a']);
});
