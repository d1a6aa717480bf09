import { rule } from '../../../rules/services/service-endpoint-dead.ts';
import { type NodeFiles, testRule } from '../../support/rule-table.ts';
import { podAddr } from '../forwarding/nodes.ts';
import { emptied, kubeNode, without } from './nodes.ts';

const HOST = '4026531840';
const INDEX = `${HOST} 1 systemd - -\n4026532001 2231 pause - /run/netns/cni-6b1f\n`;
/** ss of a pod, as the collector has it. */
const SS = `udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:* users:(("coredns",pid=2250,fd=11)) ino:91 sk:1 cgroup:/ <->
tcp LISTEN 0 4096 *:8080 *:* users:(("web",pid=2260,fd=3)) ino:92 sk:2 cgroup:/ v6only:0 <->
`;
const EMPTY_POD = { 'netns/4026532001/iptables-nft-save.txt': '', 'netns/4026532001/nft-tables.txt': '' } as const;

/** Node n with its one pod 10.244.n.10, which listens on 53/udp and 8080/tcp. */
function node(
  n: number,
  edit: (save: string) => string = (t) => t,
  more: NodeFiles['files'] = {},
  minute = 0,
): NodeFiles {
  const own = kubeNode(n, (t) => edit(t.replaceAll('10.244.1.11', '10.244.1.10')), {
    'netns/index.txt': INDEX,
    'netns/4026532001/ss-listen.txt': SS,
    ...EMPTY_POD,
    'cni/ipam.txt': `/var/lib/cni/networks/cbr0/10.244.${n}.10:4f1a\n`,
    ...more,
  });
  const context = { uid: 0, netns: HOST, pid1netns: HOST, mode: 'host' };
  return { ...own, info: { context, collectedAt: `2026-11-24T10:${String(minute).padStart(2, '0')}:00.000Z` } };
}
/** web's second endpoint moves to another pod of node 2. */
const moved = (t: string) =>
  t
    .replaceAll('10.244.2.10:8080', '10.244.2.77:8080')
    .replaceAll(
      '-s 10.244.2.10/32 -m comment --comment "default/web',
      '-s 10.244.2.77/32 -m comment --comment "default/web',
    );
/** It moves to a node that nobody knows. */
const stray =
  (all: boolean) =>
  (t: string): string =>
    moved(t)
      .replaceAll('10.244.2.77', '10.244.9.77')
      .replaceAll(all ? '10.244.1.10:8080' : ' none ', all ? '10.244.9.78:8080' : '');
const routed = (n: number, route: string): NodeFiles['files'] => {
  const { 'host/ip/route4.txt': text } = node(n).files as Record<string, string>;
  return { 'host/ip/route4.txt': `${text}${route}\n` };
};
const pod = (text: string) => ({ 'netns/4026532001/addr.json': text });

testRule(rule, {
  finds: {
    'an address that may have ended while its node was collected': {
      nodes: { a: node(1, moved), b: node(2, moved) },
      expect: [
        {
          severity: 'medium',
          confidence: 'possible',
          nodes: ['b'],
          cites: ['10.244.2.77:8080', 'FLANNEL_SUBNET', 'absent: '],
        },
      ],
    },
    'an address of a node that is gone': {
      nodes: { a: node(1, stray(false)), b: node(2, stray(false)) },
      expect: [
        {
          severity: 'medium',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /^default\/web:http sends 50 % of new connections to 10\.244\.9\.77:8080: in flannel’s network 10\.244\.0\.0\/16, but in no collected node’s range, and a has only its default route to it$/,
          cites: ['absent: ', '10.244.9.77:8080', 'FLANNEL_NETWORK', 'default via'],
        },
      ],
    },
    'all of a service’s endpoints are there': {
      nodes: { a: node(1, stray(true)), b: node(2, stray(true)) },
      expect: [
        {
          severity: 'high',
          nodes: ['a'],
          cites: ['absent: ', '10.244.9.78:8080', '10.244.9.77:8080', 'FLANNEL_NETWORK', 'default via'],
        },
      ],
    },
    'the node asks for it in vain': {
      nodes: {
        a: node(1, moved),
        b: node(2, moved, { 'host/ip/neigh.txt': '10.244.2.77 dev cni0  used 12/9/6 probes 6 FAILED \n' }),
      },
      expect: [
        {
          severity: 'high',
          confidence: 'likely',
          nodes: ['b'],
          cites: ['10.244.2.77:8080', 'FLANNEL_SUBNET', 'absent: '],
        },
      ],
    },
    'an address that no pod of its node has': {
      nodes: { a: node(1, moved, {}, 5), b: node(2, moved) },
      answers: { a: 'pass' },
      expect: [
        {
          key: 'gone',
          severity: 'high',
          confidence: 'likely',
          nodes: ['b'],
          message:
            /^default\/web:http sends 50 ?% of new connections to 10\.244\.2\.77:8080: no pod of b has that address$/,
          cites: [
            '--to-destination 10.244.2.77:8080',
            'FLANNEL_SUBNET=10.244.2.1/24',
            'absent: a network namespace that has 10.244.2.77',
          ],
        },
      ],
    },
    'two of them': {
      nodes: {
        a: node(1, (t) => moved(t).replaceAll('10.244.2.10:53', '10.244.2.78:53')),
        b: node(2, (t) => moved(t).replaceAll('10.244.2.10:53', '10.244.2.78:53')),
      },
      expect: [
        {
          nodes: ['b'],
          message:
            /kube-dns:dns sends 50 ?% of new connections to 10\.244\.2\.78:53; default\/web:http sends .*: no pod of b has these addresses/,
          cites: [
            '--to-destination 10.244.2.78:53',
            '--to-destination 10.244.2.77:8080',
            'FLANNEL_SUBNET',
            'absent: a network namespace',
          ],
        },
      ],
    },
    'rules that are old on one node alone': {
      nodes: { a: node(1, (t) => t, {}, 0), b: node(2, (t) => t, {}, 9), c: node(3, moved, {}, 5) },
      answers: { a: 'pass' },
      expect: [
        {
          key: 'rules of c for pods of b',
          nodes: ['c', 'b'],
          message:
            /^On c default\/web:http sends 50 ?% of new connections to 10\.244\.2\.77:8080: no pod of b has that address, and the rules of a and b, which were collected before and after it, do not have it any more$/,
          cites: ['--to-destination 10.244.2.77:8080', 'FLANNEL_SUBNET=10.244.2.1/24', 'absent: a network namespace'],
        },
      ],
    },
    'nothing listens on the target port': {
      nodes: { a: node(1, (t) => t, { 'netns/4026532001/ss-listen.txt': SS.replace('*:8080', '*:80') }), b: node(2) },
      expect: [
        {
          key: 'nothing listens for default/web:http',
          severity: 'medium',
          nodes: ['a'],
          message:
            /to 10\.244\.1\.10:8080 on a, where nothing listens on 8080\/tcp: the pod listens on 53\/udp, 80\/tcp/,
          cites: ['--to-destination 10.244.1.10:8080', 'absent: a tcp listener on port 8080'],
        },
      ],
    },
    'a program that listens on loopback alone': {
      nodes: {
        a: node(1, (t) => t, {
          'netns/4026532001/ss-listen.txt': SS.replace('*:8080', '127.0.0.1:8080').replace(' *:*', ' 0.0.0.0:*'),
        }),
      },
      expect: [{ severity: 'medium', cites: ['10.244.1.10:8080', 'absent: a tcp listener on port 8080'] }],
    },
  },
  passes: {
    'every endpoint is a pod': { nodes: { a: node(1), b: node(2) } },
    'the owner was not collected': { nodes: { a: node(1, moved) } },
    'an address of a node that was not collected, which flannel has a route to': {
      nodes: { a: node(1, stray(false), routed(1, 'unicast 10.244.9.0/24 via 192.168.50.19 dev eth0')), b: node(2) },
    },
    'flannel’s network is behind one device': {
      nodes: { a: node(1, stray(false), routed(1, 'unicast 10.244.0.0/16 dev flannel.1')), b: node(2) },
    },
    'an address outside flannel’s network': {
      nodes: { a: node(1, (t) => stray(false)(t).replaceAll('10.244.9.77', '10.7.0.77')), b: node(2) },
    },
    'a policy rule may lead there': {
      nodes: {
        a: node(1, stray(false), {
          'host/ip/rule4.txt': '0:\tfrom all lookup local\n99:\tfrom all lookup 100\n32766:\tfrom all lookup main\n',
        }),
        b: node(2),
      },
    },
    'an endpoint that was made after its node was collected': {
      nodes: { a: node(1, moved, {}, 30), b: node(2, (t) => t, {}, 0) },
    },
    'a service mesh gives the pod’s packets another port': {
      nodes: {
        a: node(1, (t) => t, {
          'netns/4026532001/ss-listen.txt': SS.replace('*:8080', '*:15006'),
          'netns/4026532001/iptables-nft-save.txt':
            '# Generated by iptables-nft-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A PREROUTING -p tcp -j REDIRECT --to-ports 15006\nCOMMIT\n',
        }),
      },
    },
    'sockets of pods were not collected': {
      nodes: { a: node(1, (t) => t, { 'netns/4026532001/ss-listen.txt': { status: 'skipped', reason: '--quick' } }) },
    },
    'two clusters with the same pod ranges': {
      nodes: { a: node(1, moved), b: node(2, (t) => t.replaceAll('192.168.50.11:6443', '10.9.9.9:6443')) },
    },
  },
  notApplicable: {
    'no kube-proxy': { nodes: { a: node(1, emptied) } },
    'no flannel': { nodes: { a: node(1, (t) => t, { 'files/run/flannel/subnet.env': { status: 'absent' } }) } },
    'no endpoint among its pods': { nodes: { a: node(3) } },
  },
  unknown: {
    'a namespace was not read': {
      nodes: {
        a: node(1, (t) => t.replaceAll('10.244.1.10', '10.244.1.66'), {
          'netns/index.txt': `${INDEX}4026532002 2300 pause - /run/netns/cni-7\n`,
        }),
      },
      because:
        /whether 10\.244\.1\.66:53 of kube-system\/kube-dns:dns is a pod: the addresses of network namespace 4026532002/,
    },
    'no list of namespaces': {
      nodes: {
        a: node(1, (t) => t.replaceAll('10.244.1.10', '10.244.1.66'), {
          'netns/index.txt': { status: 'denied', reason: 'not root' },
        }),
      },
      because: /the list of network namespaces was not collected whole/,
    },
    'the address is leased': {
      nodes: {
        a: node(1, (t) => t.replaceAll('10.244.1.10', '10.244.1.66'), {
          'cni/ipam.txt': '/var/lib/cni/networks/cbr0/10.244.1.66:4f1a\n',
        }),
      },
      because: /it is leased, and no namespace shows it/,
    },
    'gVisor takes addresses out of namespaces': {
      nodes: { a: node(1, (t) => t, pod(podAddr('10.244.1.10').replace(/"addr_info":\[.*?\]/, '"addr_info":[]'))) },
      because: /the container at veth1 shows no address in its namespace/,
    },
  },
});

testRule(rule, {
  finds: {},
  passes: {
    // the chain of an endpoint that is gone stays for some time; no service leads to it
    'a chain that nothing leads to': {
      nodes: {
        a: node(1, (t) => without('-> 10.244.2.10:8080')(moved(t))),
        b: node(2, (t) => without('-> 10.244.2.77:8080')(moved(t))),
      },
    },
    'a large cluster without comments': {
      nodes: {
        a: node(1, (t) => t.replace(/(-A KUBE-S(?:VC|EP)-\S+) (.*?)-m comment --comment "[^"]*" /g, '$1 $2')),
        b: node(2),
      },
    },
  },
});
