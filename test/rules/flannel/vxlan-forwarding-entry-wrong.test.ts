import { rule } from '../../../rules/flannel/vxlan-forwarding-entry-wrong.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';

const b = overlayNode({ n: 2, peers: [1] });
const a = (change: Partial<Parameters<typeof overlayNode>[0]>) => overlayNode({ n: 1, peers: [2], ...change });

/** The same node with other VTEP MACs, its own and those it knows: of a copy of the cluster, or after its device was made again. */
const remade = ({ files }: ReturnType<typeof overlayNode>) => ({
  files: Object.fromEntries(
    Object.entries(files).map(([path, text]) => [
      path,
      typeof text === 'string' ? text.replaceAll(/0e:00:00:00:00:/g, '0e:00:00:00:aa:') : text,
    ]),
  ),
});

/** As `kubectl get nodes -o json` prints what flannel wrote there. */
const api = (...nodes: { n: number; mac?: string; ip?: string }[]) => ({
  'k8s/nodes.json': `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'List',
      items: nodes.map(({ n, mac = `0e:00:00:00:00:0${n}`, ip = `192.168.50.1${n}` }) => ({
        kind: 'Node',
        metadata: {
          name: `worker-${n}`,
          annotations: {
            'flannel.alpha.coreos.com/backend-data': JSON.stringify({ VNI: 1, VtepMAC: mac }),
            'flannel.alpha.coreos.com/backend-type': 'vxlan',
            'flannel.alpha.coreos.com/public-ip': ip,
          },
        },
        spec: { podCIDR: `10.244.${n}.0/24`, podCIDRs: [`10.244.${n}.0/24`] },
      })),
    },
    null,
    4,
  )}\n`,
});

testRule(rule, {
  finds: {
    'a MAC that a peer without bundle does not announce': {
      nodes: { a: a({ files: api({ n: 1 }, { n: 2, mac: '0e:00:00:00:00:77' }) }) },
      expect: [
        {
          key: 'neighbour-mac 10.244.2.0',
          nodes: ['a'],
          confidence: 'likely',
          message: /MAC 0e:00:00:00:00:02, but worker-2 announces 0e:00:00:00:00:77/,
          cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:02', 'dst 192.168.50.12', 'VtepMAC'],
        },
      ],
    },
    'a remote that a peer without bundle does not announce': {
      nodes: { a: a({ files: api({ n: 2, ip: '192.168.50.77' }) }) },
      expect: [
        {
          key: 'fdb-remote 10.244.2.0',
          message: /to 192\.168\.50\.12, but worker-2 announces 192\.168\.50\.77/,
          cites: ['via 10.244.2.0', 'lladdr', 'dst 192.168.50.12', 'flannel.alpha.coreos.com/public-ip'],
        },
      ],
    },
    'the MAC that a node announces is not that of its device (flannel-io/flannel#1795)': {
      nodes: { a: a({ files: api({ n: 1, mac: 'e6:7c:02:8e:e8:7e' }, { n: 2 }) }), b },
      expect: [
        {
          key: 'announced-mac flannel.1',
          nodes: ['a'],
          message: /a announces the VTEP MAC e6:7c:02:8e:e8:7e, but its flannel\.1 has 0e:00:00:00:00:01/,
          cites: ['VtepMAC', '3: flannel.1'],
        },
      ],
      answers: { b: 'pass' },
    },
    'a changed MAC of a node that knows nobody: only its address says whom the entries are for': {
      nodes: {
        a: a({ peers: [3] }),
        b: remade(overlayNode({ n: 2, peers: [] })),
        c: overlayNode({ n: 3, peers: [1, 2] }),
      },
      expect: [
        {
          key: 'neighbour-mac 10.244.2.0',
          nodes: ['c', 'b'],
          confidence: 'likely',
          message: /MAC 0e:00:00:00:00:02, but flannel\.1 there has 0e:00:00:00:aa:02/,
          cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:02', 'dst 192.168.50.12', '3: flannel.1'],
        },
      ],
      answers: { a: 'unknown', b: 'findings' },
    },
    'a changed MAC, by bundles of two days': {
      nodes: {
        a: a({}),
        b: { ...remade(overlayNode({ n: 2, peers: [] })), info: { collectedAt: '2026-11-20T10:00:00.000Z' } },
      },
      expect: [
        {
          key: 'neighbour-mac 10.244.2.0',
          severity: 'medium',
          confidence: 'possible',
          message: /0e:00:00:00:aa:02 .*; their bundles are more than a day apart/,
          cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:02', 'dst 192.168.50.12', '3: flannel.1'],
        },
      ],
    },
    'the node was renumbered under its device (V84)': {
      nodes: {
        a: a({}),
        b: {
          files: {
            ...b.files,
            'host/ip/addr.txt': `${b.files['host/ip/addr.txt']}`.replaceAll('192.168.50.12/', '192.168.50.33/'),
          },
        },
      },
      expect: [
        {
          key: 'local-address flannel.1',
          nodes: ['b'],
          confidence: 'proven',
          message: /flannel\.1 on b was made with the address 192\.168\.50\.12, which b does not have/,
          cites: ['3: flannel.1', 'absent: the address 192.168.50.12'],
        },
      ],
      answers: { a: 'pass' },
    },
    'no forwarding entry (S07a)': {
      nodes: { a: a({ fdb: () => '' }), b },
      expect: [
        {
          key: 'no-fdb 10.244.2.0',
          nodes: ['a', 'b'],
          cites: ['10.244.2.0/24 via 10.244.2.0', 'lladdr 0e:00:00:00:00:02', 'absent: an entry 0e:00:00:00:00:02'],
        },
      ],
      answers: { b: 'findings' },
    },
    'no neighbour (S07b)': {
      nodes: { a: a({ neigh: () => '' }), b },
      expect: [
        {
          key: 'no-neighbour 10.244.2.0',
          cites: ['10.244.2.0/24 via 10.244.2.0', 'absent: an entry with a MAC for 10.244.2.0'],
        },
      ],
    },
    'stale VTEP MAC (S07c)': {
      nodes: {
        a: a({ neigh: (_, l) => l.replace('00:02', '00:77'), fdb: (_, l) => l.replace('00:02', '00:77') }),
        b,
      },
      expect: [
        {
          key: 'neighbour-mac 10.244.2.0',
          message: /MAC 0e:00:00:00:00:77, but flannel\.1 there has 0e:00:00:00:00:02/,
          cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:77', '0e:00:00:00:00:77 dev flannel.1', '3: flannel.1'],
        },
      ],
    },
    'remote is a dead underlay address (S07d)': {
      nodes: { a: a({ fdb: (_, l) => l.replace('192.168.50.12', '192.168.50.99') }), b },
      expect: [
        {
          key: 'fdb-remote 10.244.2.0',
          message: /to 192\.168\.50\.99, but b is at 192\.168\.50\.12/,
          cites: ['via 10.244.2.0', 'lladdr', 'dst 192.168.50.99', '3: flannel.1'],
        },
      ],
    },
    'two remotes for one MAC': {
      nodes: { a: a({ fdb: (_, l) => `${l}\n${l.replace('192.168.50.12', '192.168.50.99')}` }), b },
      expect: [
        {
          key: 'fdb-duplicate 10.244.2.0',
          cites: ['via 10.244.2.0', 'lladdr', 'dst 192.168.50.12', 'dst 192.168.50.99'],
        },
      ],
    },
    'its own MAC as neighbour': {
      nodes: { a: a({ neigh: (_, l) => l.replace('00:02', '00:01') }), b },
      expect: [{ key: 'own-mac 10.244.2.0', cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:01'] }],
    },
    'a neighbour that the kernel may forget': {
      nodes: { a: a({ neigh: (_, l) => l.replace('PERMANENT', 'STALE') }), b },
      expect: [
        {
          key: 'not-permanent 10.244.2.0',
          severity: 'medium',
          nodes: ['a', 'b'],
          message:
            /^a has a STALE neighbour entry for b, not a permanent one: .*\(subnet 10\.244\.2\.0\/24 via flannel\.1\)$/,
          cites: ['via 10.244.2.0', 'lladdr 0e:00:00:00:00:02 used 12/12/12 probes 0 STALE', 'dst 192.168.50.12'],
        },
      ],
    },
    'a neighbour that the kernel may forget, without its forwarding entry: the graver fault': {
      nodes: { a: a({ neigh: (_, l) => l.replace('PERMANENT', 'STALE'), fdb: () => '' }), b },
      expect: [
        { key: 'no-fdb 10.244.2.0', severity: 'critical', cites: ['via 10.244.2.0', 'STALE', 'absent: an entry'] },
      ],
    },
    'a missing entry needs no bundle of the peer': {
      nodes: { a: a({ fdb: () => '' }) },
      expect: [{ key: 'no-fdb 10.244.2.0', nodes: ['a'], cites: ['via', 'lladdr', 'absent: an entry'] }],
    },
  },
  passes: {
    'only a part of the addresses came': {
      nodes: {
        a: a({}),
        b: {
          files: {
            ...b.files,
            'host/ip/addr.txt': `${b.files['host/ip/addr.txt']}`.replace(/^2: eth0[\s\S]*?(?=^3:)/m, ''),
          },
        },
      },
    },
    'another address of the same node: a tunnel’s socket hears each (flanneld --public-ip)': {
      nodes: {
        a: a({ fdb: (_, l) => l.replace('192.168.50.12', '10.9.8.12') }),
        b: {
          files: {
            ...b.files,
            'host/ip/addr.txt': (b.files['host/ip/addr.txt'] as string).replace(
              / {4}inet 192\.168\.50\.12\/24 scope global eth0\n/,
              '$&       valid_lft forever preferred_lft forever\n    inet 10.9.8.12/24 scope global secondary eth0\n',
            ),
          },
        },
      },
    },
    'entries match the peer': { nodes: { a: a({}), b } },
    'entries match the peer and what it announces': { nodes: { a: a({ files: api({ n: 1 }, { n: 2 }) }), b } },
    'the bundle of the peer says more than what it announced': {
      nodes: { a: a({ files: api({ n: 1 }, { n: 2, ip: '192.168.50.77' }) }), b },
    },
    'a copy of the cluster, the same addresses on another LAN: each has its own peers': {
      nodes: { x2: remade(b), x1: remade(a({})), a: a({}), b },
    },
    'a node twice, before and after its device was made again: the one that entries are of is the peer': {
      nodes: { a: a({}), old: remade(overlayNode({ n: 2, peers: [] })), b },
      answers: { old: 'not-applicable' },
    },
    'DirectRouting: one peer by the overlay, one on the same wire': {
      nodes: {
        a: a({
          files: {
            'host/ip/route4.txt': `${a({}).files['host/ip/route4.txt'] as string}unicast 10.244.3.0/24 via 192.168.50.13 dev eth0 proto boot scope global \n`,
          },
        }),
        b: overlayNode({ n: 2, peers: [1, 3] }),
        c: overlayNode({ n: 3, peers: [1, 2] }),
      },
    },
    'nothing is asked of a neighbour that needs no ARP': {
      nodes: { a: a({ neigh: (_, l) => l.replace('PERMANENT', 'NOARP') }), b },
    },
  },
  unknown: {
    'a peer behind a router: it announces an address that it does not have (public-ip-overwrite)': {
      nodes: {
        a: a({ fdb: (_, l) => l.replace('192.168.50.12', '10.9.8.7'), files: api({ n: 2, ip: '10.9.8.7' }) }),
        b,
      },
      answers: { b: 'pass' },
      because: /^1 of 1 overlay peers are sent to at an address that is not theirs/,
    },
    'a public address of a node that has a private one (k3s --node-external-ip)': {
      nodes: { a: a({ fdb: (_, l) => l.replace('192.168.50.12', '198.41.0.9') }), b },
      answers: { b: 'pass' },
      because: /^1 of 1 overlay peers are sent to at an address that is not theirs/,
    },
    'the entries of one bridge that somebody sent (bridge fdb show br cni0)': {
      nodes: {
        a: {
          ...a({
            files: {
              'host/bridge/fdb.txt':
                '33:33:00:00:00:01 dev cni0 self permanent\n0a:58:0a:f4:01:01 dev cni0 vlan 1 master cni0 permanent\n02:00:00:00:01:01 dev veth1 master cni0 \n33:33:00:00:00:01 dev veth1 self permanent\n',
            },
          }),
          info: { format: 'loose-files' },
        },
        b,
      },
      answers: { b: 'pass' },
      because: /^the neighbour or forwarding table was not collected whole$/,
    },
    'a route to whom nobody is, in the place of a known peer: pod-route-missing-or-wrong names it': {
      nodes: {
        a: a({
          files: {
            'host/ip/route4.txt': (a({}).files['host/ip/route4.txt'] as string).replace(
              'via 10.244.2.0',
              'via 10.244.77.0',
            ),
          },
        }),
        b,
      },
      answers: { b: 'pass' },
      because: /^1 of 1 routes lead to another node than the one whose subnet they name$/,
    },
    'a node of another cluster with the same pod range is not the peer': {
      nodes: {
        a: a({}),
        z: overlayNode({ n: 5, subnet: 2, peers: [] }),
      },
      answers: { z: 'not-applicable' },
      because: /have no bundle here that shows their vxlan device/,
    },
    'peer not collected, what it announces agrees': {
      nodes: { a: a({ files: api({ n: 1 }, { n: 2 }) }) },
      because: /have no bundle here that shows their vxlan device/,
    },
    'a node that no route leads to: its entries are not looked at': {
      nodes: { a: a({}), b: overlayNode({ n: 2, peers: [1, 3] }), c: overlayNode({ n: 3, peers: [1, 2] }) },
      answers: { b: 'pass', c: 'pass' },
      because: /^no route names the VTEP of c: what is written for it was not looked at$/,
    },
    'an entry is left of a node that no route leads to, and its MAC changed': {
      nodes: {
        a: a({
          peers: [3],
          fdb: (_, line) => `0e:00:00:00:00:02 dev flannel.1 dst 192.168.50.12 self permanent\n${line}`,
        }),
        b: remade(overlayNode({ n: 2, peers: [] })),
        c: overlayNode({ n: 3, peers: [1] }),
      },
      answers: { b: 'not-applicable', c: 'unknown' },
      because: /^no route names the VTEP of b, whose MAC no entry here has: /,
    },
    'flannel announces a node that no route leads to, and that was not collected': {
      nodes: { a: a({ files: api({ n: 1 }, { n: 2 }, { n: 3 }) }), b },
      because: /^no route names the VTEP that flannel announces of worker-3/,
    },
    'what flannel announces tells that a node without a route is one of the cluster': {
      nodes: {
        a: a({ peers: [3], files: api({ n: 1 }, { n: 2, mac: '0e:00:00:00:aa:02' }, { n: 3 }) }),
        b: remade(overlayNode({ n: 2, peers: [] })),
        c: overlayNode({ n: 3, peers: [1] }),
      },
      answers: { b: 'not-applicable', c: 'unknown' },
      because: /^no route names the VTEP of b: /,
    },
    'peer not collected': { nodes: { a: a({}) }, because: /have no bundle here that shows their vxlan device/ },
    'forwarding table cut': {
      nodes: {
        a: a({
          files: {
            'host/bridge/fdb.txt': { status: 'truncated', text: '33:33:00:00:00:01 dev eth0 self permanent\n' },
          },
        }),
        b,
      },
      answers: { b: 'pass' },
      because: /not collected whole/,
    },
  },
});
