import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/pod-route-missing-or-wrong.ts';
import { rule as forwarding } from '../../../rules/flannel/vxlan-forwarding-entry-wrong.ts';
import { judgeNode } from '../../../src/engine/index.ts';
import type { NodeInfo } from '../../../src/rule/index.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, nodeEvidence, testRule } from '../../support/rule-table.ts';

type Files = NodeFiles['files'];
interface Change {
  readonly peers?: readonly number[];
  readonly routes?: (text: string) => string;
  readonly rules?: string;
  readonly files?: Files;
  readonly info?: Partial<NodeInfo>;
}

const ROUTES = 'host/ip/route4.txt';

function edited(node: NodeFiles, change: Change): NodeFiles {
  const files: Record<string, Files[string]> = { ...node.files, ...change.files };
  const routes = files[ROUTES];
  if (change.routes !== undefined && typeof routes === 'string') files[ROUTES] = change.routes(routes);
  if (change.rules !== undefined) files['host/ip/rule4.txt'] = change.rules;
  return { files, ...(change.info === undefined ? {} : { info: change.info }) };
}

/** A vxlan node of a cluster of three. */
const node = (n: number, change: Change = {}): NodeFiles =>
  edited(overlayNode({ n, peers: change.peers ?? [1, 2, 3].filter((p) => p !== n) }), change);

const netConf = (backend: string): Files => ({
  'flannel/net-conf.json': `{\n  "Network": "10.244.0.0/16",\n  "Backend": {\n    "Type": "${backend}"\n  }\n}\n`,
});

/** The same over host-gw: no tunnel device. */
function direct(n: number, change: Change = {}): NodeFiles {
  const files: Record<string, Files[string]> = {
    ...node(n, { peers: change.peers ?? [1, 2, 3].filter((p) => p !== n) }).files,
  };
  const cut = (path: string, edit: (text: string) => string) => {
    files[path] = edit(files[path] as string);
  };
  const block = /^3: flannel\.1:[\s\S]*?(?=^4: )/m;
  cut('host/ip/addr.txt', (t) => t.replace(block, ''));
  cut('host/ip/link.txt', (t) => t.replace(block, ''));
  cut('host/ip/neigh.txt', (t) => t.replace(/^.*flannel\.1.*\n/gm, ''));
  cut('host/bridge/fdb.txt', (t) => t.replace(/^.*flannel\.1.*\n/gm, ''));
  cut(ROUTES, (t) =>
    t
      .replace(
        /via 10\.244\.(\d)\.0 dev flannel\.1 proto boot scope global onlink/g,
        'via 192.168.50.1$1 dev eth0 proto boot scope global',
      )
      .replace(/^.*flannel\.1.*\n/gm, ''),
  );
  return edited({ files }, change);
}

/** Takes the route to a subnet away, or puts something else in its place. */
const route = (p: number, other?: string) => (text: string) =>
  text.replace(new RegExp(`^unicast 10\\.244\\.${p}\\.0/24 .*\\n`, 'm'), other === undefined ? '' : `${other} \n`);

const at = (time: string) => ({ collectedAt: `2026-11-${time}:00.000Z` });

/** As `kubectl get nodes -o json` prints what flannel wrote there; `null`: a virtual node, of which flannel announced nothing. */
const api = (...nodes: (number | null)[]): Files => ({
  'k8s/nodes.json': `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'List',
      items: nodes.map((n) => ({
        kind: 'Node',
        metadata: {
          name: `worker-${n ?? 'virtual'}`,
          annotations:
            n === null
              ? {}
              : {
                  'flannel.alpha.coreos.com/backend-data': JSON.stringify({ VNI: 1, VtepMAC: `0e:00:00:00:00:0${n}` }),
                  'flannel.alpha.coreos.com/public-ip': `192.168.50.1${n}`,
                },
        },
        spec: { podCIDR: `10.244.${n ?? 77}.0/24` },
      })),
    },
    null,
    4,
  )}\n`,
});

const cniConf = (type: string): Files => ({
  'files/etc/cni/net.d/10-a.conflist': `{\n  "name": "x",\n  "plugins": [\n    { "type": "${type}" }\n  ]\n}\n`,
});

const USUAL = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
const [b, c] = [node(2), node(3)];

/** As kubernetes/canal.yaml writes it. */
const CANAL: Files = {
  'files/etc/cni/net.d/10-canal.conflist':
    '{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"calico","mtu":1450,"ipam":{"type":"host-local","ranges":[[{"subnet":"usePodCidr"}]]},"policy":{"type":"k8s"}},{"type":"portmap","snat":true}]}\n',
};

testRule(rule, {
  finds: {
    'Canal, of which the arguments of flanneld did not come': {
      nodes: {
        a: node(1, { routes: route(2), files: CANAL }),
        b: node(2, { files: CANAL }),
        c: node(3, { files: CANAL }),
      },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          severity: 'critical',
          cites: ['absent: a route to 10.244.2.0/24', 'unicast default via', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'one route lost on a vxlan node': {
      nodes: { a: node(1, { routes: route(2) }), b, c },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a', 'b'],
          message:
            /^a has no route to 10\.244\.2\.0\/24, the pod subnet of b: the default route takes packets for its pods to 192\.168\.50\.100 by eth0$/,
          cites: ['absent: a route to 10.244.2.0/24', 'default via 192.168.50.100', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
      answers: { b: 'findings', c: 'pass' },
    },
    'one of two nodes has no way back': {
      nodes: { a: node(1, { peers: [2] }), b: node(2, { peers: [1], routes: route(1) }) },
      expect: [
        {
          key: 'missing 10.244.1.0/24',
          nodes: ['b', 'a'],
          cites: ['absent: a route', 'default via', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
    'no default route either': {
      nodes: { a: node(1, { routes: (t) => route(2)(t).replace(/^unicast default.*\n/m, '') }), b, c },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          message: /the kernel answers that there is none$/,
          cites: ['absent: a route to 10.244.2.0/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'a route of somebody else’s takes them: that may know the pods': {
      nodes: {
        a: node(1, { routes: (t) => route(2)(t).replace(/^/, 'unicast 10.0.0.0/8 via 192.168.50.7 dev eth0 \n') }),
        b,
        c,
      },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          confidence: 'likely',
          message: /the route to 10\.0\.0\.0\/8 takes packets for its pods to 192\.168\.50\.7 by eth0$/,
          cites: ['absent: a route to 10.244.2.0/24', '10.0.0.0/8 via 192.168.50.7', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a guard route for the whole range is left': {
      nodes: { a: node(1, { routes: (t) => route(2)(t).replace(/^/, 'blackhole 10.244.0.0/16 \n') }), b, c },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          message: /blackhole 10\.244\.0\.0\/16 rejects packets for its pods$/,
          cites: ['absent: a route to 10.244.2.0/24', 'blackhole 10.244.0.0/16', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a blackhole for the subnet': {
      nodes: { a: node(1, { routes: route(2, 'blackhole 10.244.2.0/24') }), b, c },
      expect: [
        {
          key: 'rejected 10.244.2.0/24',
          message:
            /^a rejects packets for 10\.244\.2\.0\/24, the pod subnet of b: the route blackhole 10\.244\.2\.0\/24 takes them$/,
          cites: ['blackhole 10.244.2.0/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'unreachable wins by metric': {
      nodes: {
        a: node(1, {
          routes: (t) =>
            route(
              2,
              'unreachable 10.244.2.0/24\nunicast 10.244.2.0/24 via 10.244.2.0 dev flannel.1 metric 5 onlink',
            )(t),
        }),
        b,
        c,
      },
      expect: [{ key: 'rejected 10.244.2.0/24', cites: ['unreachable 10.244.2.0/24', 'FLANNEL_SUBNET'] }],
    },
    'a policy rule rejects them': {
      nodes: { a: node(1, { rules: `100:\tfrom all to 10.244.2.0/24 unreachable\n${USUAL}` }), b, c },
      expect: [
        {
          key: 'rejected 10.244.2.0/24',
          message: /a policy rule takes them$/,
          cites: ['100:\tfrom all to 10.244.2.0/24 unreachable', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a policy rule for packets of pods leads to a table of its own': {
      nodes: {
        a: node(1, {
          rules: `100:\tfrom 10.244.1.0/24 lookup 100\n${USUAL}`,
          routes: (t) => `${t}unicast default via 192.168.50.7 dev eth0 table 100 proto static \n`,
          peers: [2],
        }),
        b: node(2, { peers: [1] }),
      },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          message: /the default route takes packets for its pods to 192\.168\.50\.7 by eth0$/,
          cites: ['absent: a route', '100:\tfrom 10.244.1.0/24', 'table 100', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'flannel.1 is down: every route over it is gone': {
      nodes: {
        a: node(1, {
          routes: (t) => t.replace(/^unicast .*flannel\.1.*\n/gm, ''),
          files: {
            'host/ip/addr.txt': (overlayNode({ n: 1, peers: [] }).files['host/ip/addr.txt'] as string).replace(
              '3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP>',
              '3: flannel.1: <BROADCAST,MULTICAST>',
            ),
          },
        }),
        b,
        c,
      },
      expect: [
        {
          key: 'missing 10.244.2.0/24',
          message: /by eth0; flannel\.1 is down$/,
          cites: ['absent', '3: flannel.1: <BROADCAST,MULTICAST>', 'default', 'FLANNEL_SUBNET'],
        },
        { key: 'missing 10.244.3.0/24', cites: ['absent', '3: flannel.1', 'default', 'FLANNEL_SUBNET'] },
      ],
    },
    'host-gw, a route lost; its configuration says the backend': {
      nodes: {
        a: direct(1, { peers: [2], routes: route(2), files: netConf('host-gw') }),
        b: direct(2, { peers: [1] }),
      },
      expect: [
        { key: 'missing 10.244.2.0/24', confidence: 'proven', cites: ['absent', 'default via', 'FLANNEL_SUBNET'] },
      ],
    },
    'host-gw, a route lost; the other node’s routes say the backend': {
      nodes: { a: direct(1, { routes: (t) => route(3)(route(2)(t)) }), b: direct(2), c: direct(3) },
      expect: [
        { key: 'missing 10.244.2.0/24', cites: ['absent', 'default via', 'FLANNEL_SUBNET=10.244.2'] },
        { key: 'missing 10.244.3.0/24', cites: ['absent', 'default via', 'FLANNEL_SUBNET=10.244.3'] },
      ],
    },
    'host-gw, the next hop is no node (S08)': {
      nodes: {
        a: direct(1, { routes: route(2, 'unicast 10.244.2.0/24 via 192.168.50.99 dev eth0') }),
        b: direct(2),
        c: direct(3),
      },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          severity: 'critical',
          confidence: 'likely',
          message:
            /^a routes 10\.244\.2\.0\/24, the pod subnet of b, to 192\.168\.50\.99 by eth0: b is not reached by that$/,
          cites: ['10.244.2.0/24 via 192.168.50.99', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'host-gw, the next hop is a node that has no route either': {
      nodes: {
        a: direct(1, { routes: route(2, 'unicast 10.244.2.0/24 via 192.168.50.13 dev eth0') }),
        b: direct(2),
        c: direct(3, { routes: route(2, 'unicast 10.244.2.0/24 via 192.168.50.11 dev eth0') }),
      },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          nodes: ['a', 'b'],
          message: /: that is c, which does not route it to b either$/,
          cites: ['via 192.168.50.13', 'FLANNEL_SUBNET'],
        },
        {
          key: 'astray 10.244.2.0/24',
          nodes: ['c', 'b'],
          message: /: that is a, which does not/,
          cites: ['via 192.168.50.11', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'another node passes packets on: they arrive': {
      nodes: { a: node(1, { routes: route(2, 'unicast 10.244.2.0/24 via 10.244.3.0 dev flannel.1 onlink') }), b, c },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          severity: 'medium',
          message:
            /to 10\.244\.3\.0 by flannel\.1: that is c, by which packets take a detour as long as it forwards them$/,
          cites: ['10.244.2.0/24 via 10.244.3.0', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a tunnel end that nobody has': {
      nodes: { a: node(1, { routes: route(2, 'unicast 10.244.2.0/24 via 10.244.77.0 dev flannel.1 onlink') }), b, c },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          severity: 'critical',
          confidence: 'likely',
          cites: ['via 10.244.77.0', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'its LAN in the place of the tunnel': {
      nodes: { a: node(1, { routes: route(2, 'unicast 10.244.2.0/24 dev eth0 proto static scope link') }), b, c },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          message: /to eth0 without a next hop/,
          cites: ['10.244.2.0/24 dev eth0', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'half of the subnet goes elsewhere': {
      nodes: {
        a: node(1, { routes: (t) => t.replace(/^/, 'unicast 10.244.2.128/25 via 192.168.50.99 dev eth0 \n') }),
        b,
        c,
      },
      expect: [
        {
          key: 'astray 10.244.2.0/24',
          severity: 'high',
          message: /10\.244\.2\.0\/24 \(10\.244\.2\.128 to 10\.244\.2\.255\), the pod subnet of b, to 192\.168\.50\.99/,
          cites: ['10.244.2.128/25 via 192.168.50.99', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a node without bundle, by what flannel announced': {
      nodes: { a: node(1, { peers: [2], files: api(1, 2, 3) }), b: node(2, { peers: [1, 3], files: api(1, 2, 3) }) },
      expect: [
        {
          key: 'missing 10.244.3.0/24',
          confidence: 'likely',
          nodes: ['a'],
          message: /the pod subnet of worker-3/,
          cites: ['absent: a route to 10.244.3.0/24', 'default via', 'flannel.alpha.coreos.com/public-ip'],
        },
      ],
      answers: { b: 'pass' },
    },
    'nobody routes a node’s subnet: it is that node’s fault': {
      nodes: {
        a: node(1, { peers: [3] }),
        b,
        c: node(3, { peers: [1] }),
      },
      expect: [
        {
          key: 'unrouted 10.244.2.0/24',
          confidence: 'likely',
          nodes: ['b', 'a', 'c'],
          message: /^None of the 2 nodes that route other pod subnets has a route to 10\.244\.2\.0\/24, that of b/,
          cites: [
            'FLANNEL_SUBNET=10.244.2.1/24',
            'absent: a route to 10.244.2.0/24',
            'absent: a route to 10.244.2.0/24',
          ],
        },
      ],
    },
    'the bundle of its owner is of later, but others had the route before': {
      nodes: {
        a: node(1, { routes: route(2), info: at('24T10:00') }),
        b: node(2, { info: at('24T18:00') }),
        c: node(3, { info: at('24T09:30') }),
      },
      expect: [{ key: 'missing 10.244.2.0/24', confidence: 'proven', cites: ['absent', 'default', 'FLANNEL_SUBNET'] }],
    },
  },
  passes: {
    vxlan: { nodes: { a: node(1), b, c } },
    'host-gw': { nodes: { a: direct(1), b: direct(2), c: direct(3) } },
    'directRouting: some by the tunnel, some directly': {
      nodes: { a: node(1, { routes: route(2, 'unicast 10.244.2.0/24 via 192.168.50.12 dev eth0') }), b, c },
    },
    'udp: one device for the whole range': {
      nodes: Object.fromEntries(
        [1, 2].map((n) => [
          `n${n}`,
          direct(n, {
            peers: [],
            routes: (t) =>
              t.replace(/^/, `unicast 10.244.0.0/16 dev flannel0 proto kernel scope link src 10.244.${n}.0 \n`),
            files: { ...netConf('udp'), ...api(1, 2) },
          }),
        ]),
      ),
    },
    wireguard: {
      nodes: Object.fromEntries(
        [1, 2].map((n) => [
          `n${n}`,
          direct(n, {
            peers: [],
            routes: (t) => t.replace(/^/, 'unicast 10.244.0.0/16 dev flannel-wg proto boot scope link \n'),
            files: { ...netConf('wireguard'), ...api(1, 2) },
          }),
        ]),
      ),
    },
    ipip: {
      nodes: Object.fromEntries(
        [1, 2].map((n) => [
          `n${n}`,
          direct(n, {
            peers: [3 - n],
            routes: (t) =>
              t.replace(
                /(via 192\.168\.50\.1\d) dev eth0 proto boot scope global \n/,
                '$1 dev flannel.ipip proto boot scope global onlink \n',
              ),
            files: netConf('ipip'),
          }),
        ]),
      ),
    },
    'policy rules of others that pods do not meet': {
      nodes: {
        a: node(1, {
          rules: `100:\tfrom 192.168.50.11 lookup 100\n5210:\tfrom all fwmark 0x80000/0xff0000 lookup main\n${USUAL}`,
        }),
        b,
        c,
      },
    },
    'a pod of its own with a foreign address': {
      nodes: { a: node(1, { routes: (t) => `${t}unicast 10.244.2.77 dev veth1 proto static scope link \n` }), b, c },
    },
    'a guard route behind all of them': {
      nodes: { a: node(1, { routes: (t) => `blackhole 10.244.0.0/16 \n${t}` }), b, c },
    },
    'Canal: calico makes the links, flanneld the routes': {
      nodes: {
        a: node(1, {
          files: { ...cniConf('calico'), 'cmdline/flanneld.txt': '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n' },
        }),
        b,
        c,
      },
    },
  },
  notApplicable: {
    'no flannel': {
      nodes: {
        a: { files: { ...direct(1, { peers: [] }).files, 'files/run/flannel/subnet.env': { status: 'absent' } } },
      },
    },
    'one node': { nodes: { a: node(1, { peers: [] }) } },
    'a cloud routes pods (alloc)': {
      nodes: {
        a: direct(1, { peers: [], files: netConf('alloc') }),
        b: direct(2, { peers: [], files: netConf('alloc') }),
      },
    },
    'calico, with what flannel left behind': {
      nodes: {
        a: node(1, { peers: [], files: cniConf('calico') }),
        b: node(2, { peers: [], files: cniConf('calico') }),
      },
    },
    'IPv6 only': {
      nodes: {
        a: node(1, {
          peers: [],
          files: {
            'files/run/flannel/subnet.env':
              'FLANNEL_IPV6_NETWORK=fd00:10:244::/48\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
          },
        }),
      },
    },
    'a virtual node beside it': { nodes: { a: node(1, { peers: [], files: api(1, null) }) } },
  },
  unknown: {
    'a node with a tunnel among nodes without one: what goes into it, nobody takes out': {
      nodes: { a: node(1), b: direct(2), c: direct(3) },
      answers: { b: 'pass', c: 'pass' },
      because:
        /the route to 10\.244\.2\.0\/24 leads into flannel\.1, and the node that has the subnet has no flannel device/,
    },
    'the text ends in the name of a device': {
      nodes: {
        a: node(1, { routes: (t) => route(2)(t).concat('unicast 10.244.2.0/24 via 10.244.2.0 dev flan') }),
        b,
        c,
      },
      answers: { b: 'pass', c: 'pass' },
      because: /flan of the route to 10\.244\.2\.0\/24 is not among the node’s devices/,
    },
    'the text ends in a next hop': {
      nodes: { a: node(1, { routes: (t) => route(2)(t).concat('unicast 10.244.2.0/24 via 10.24') }), b, c },
      answers: { b: 'pass', c: 'pass' },
      because: /host\/ip\/route4\.txt was not collected whole/,
    },
    'no bundle of the other one': {
      nodes: { a: node(1, { peers: [2] }) },
      because: /^a route leads to a pod subnet of which nothing tells whose it is/,
    },
    'nothing tells the backend: a cloud may route pods': {
      nodes: { a: direct(1, { peers: [] }), b: direct(2, { peers: [] }) },
      because: /nothing that was collected ties it to other nodes/,
    },
    'no device and no configuration: which backend it is': {
      nodes: {
        a: { files: { ...direct(1, { peers: [] }).files, ...api(1, 2) } },
        b: { files: { ...direct(2, { peers: [] }).files, ...api(1, 2) } },
      },
      because: /which backend of flannel carries packets to other nodes is not known/,
    },
    'a device is left, nobody has a route and nothing tells the backend': {
      nodes: {
        a: node(1, { routes: (t) => route(3)(route(2)(t)) }),
        b: node(2, { routes: (t) => route(3)(route(1)(t)) }),
      },
      because: /no node routes any pods, and whether flannel’s backend writes routes here is not known/,
    },
    'routes were not collected whole': {
      nodes: {
        a: node(1, {
          files: {
            [ROUTES]: {
              status: 'truncated',
              text: route(2)(overlayNode({ n: 1, peers: [2, 3] }).files[ROUTES] as string),
            },
          },
        }),
        b,
        c,
      },
      answers: { b: 'pass', c: 'pass' },
      because: /whether a routes 10\.244\.2\.0\/24 to b is not known: host\/ip\/route4\.txt was not collected whole/,
    },
    'policy rules were not collected': {
      nodes: { a: node(1, { files: { 'host/ip/rule4.txt': { status: 'failed' } }, routes: route(2) }), b, c },
      answers: { b: 'pass', c: 'pass' },
      because: /policy rules of a are not known/,
    },
    'no bundle of the others': {
      nodes: { a: node(1) },
      because: /^2 routes lead to pod subnets of which nothing tells whose they are/,
    },
    'wireguard: nothing ties two nodes to one cluster': {
      nodes: {
        a: direct(1, { peers: [], files: netConf('wireguard') }),
        b: direct(2, { peers: [], files: netConf('wireguard') }),
      },
      because: /nothing that was collected ties it to other nodes of 10\.244\.0\.0\/16, as b/,
    },
    'the lease is not known': {
      nodes: { a: { files: { ...node(1).files, 'files/run/flannel/subnet.env': { status: 'failed' } } } },
      because: /the pod subnet that flannel leased to this node is not known/,
    },
    'the owner came later: its lease may be newer': {
      nodes: { a: node(1, { peers: [], info: at('24T10:00') }), b: node(2, { peers: [1], info: at('24T12:00') }) },
      answers: { b: 'pass' },
      because: /that b had the pod subnet 10\.244\.2\.0\/24 when a was collected is not known: it was seen later only/,
    },
    'the owner was collected days before: it may have left': {
      nodes: { a: node(1, { peers: [], info: at('24T10:00') }), b: node(2, { peers: [1], info: at('20T10:00') }) },
      answers: { b: 'pass' },
      because: /or on another day/,
    },
    'nobody has the route any more, hours later: it may have left': {
      nodes: {
        a: node(1, { peers: [3], info: at('24T10:00') }),
        b: node(2, { info: at('24T05:00') }),
        c: node(3, { peers: [1], info: at('24T10:00') }),
      },
      answers: { b: 'pass' },
      because: /no node routes it there, and it may have left/,
    },
    'a device whose other end nobody shows': {
      nodes: {
        a: node(1, {
          routes: route(2, 'unicast 10.244.2.0/24 dev wg0 proto static scope link'),
          files: {
            'host/ip/addr.txt': `${overlayNode({ n: 1, peers: [] }).files['host/ip/addr.txt']}6: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/none \n    inet 10.9.0.1/32 scope global wg0\n       valid_lft forever preferred_lft forever\n`,
          },
        }),
        b,
        c,
      },
      answers: { b: 'pass', c: 'pass' },
      because: /where wg0 leads, by the route to 10\.244\.2\.0\/24, is not known/,
    },
    'whose the next hop is, is not known': {
      nodes: {
        a: direct(1, { peers: [2], routes: route(2, 'unicast 10.244.2.0/24 via 192.168.60.12 dev eth0') }),
        b: direct(2, {
          peers: [1],
          files: { 'host/ip/addr.txt': { status: 'truncated', text: direct(2).files['host/ip/addr.txt'] as string } },
        }),
      },
      answers: { b: 'pass' },
      because: /whose address the next hop of 10\.244\.2\.0\/24 is/,
    },
    'its own bridge has the subnet: another rule’s': {
      nodes: { a: node(1, { routes: route(2, 'unicast 10.244.2.0/24 dev cni0 proto kernel scope link') }), b, c },
      answers: { b: 'pass', c: 'pass' },
      because: /meets an address or a bridge of this node/,
    },
    'two nodes with one lease: another rule’s': {
      nodes: {
        a: node(1, { peers: [2] }),
        b: node(2, { peers: [1] }),
        d: edited(overlayNode({ n: 4, subnet: 2, peers: [1] }), {}),
      },
      answers: { b: 'pass', d: 'pass' },
      because: /more than one node claims 10\.244\.2\.0\/24/,
    },
  },
});

describe('pod-route-missing-or-wrong beside others', () => {
  it('has no command that writes a route into a device that is down', () => {
    const down = (t: string) => t.replace(/(flannel\.1: <BROADCAST,MULTICAST),UP,LOWER_UP/, '$1');
    const text = overlayNode({ n: 1, peers: [2, 3] }).files['host/ip/addr.txt'] as string;
    const runs = (files: Files) =>
      judge([rule], { a: node(1, { routes: route(2), files }), b, c }).findings[0]?.remediation?.map((r) => r.run);
    expect(runs({})).toHaveLength(2);
    expect(runs({ 'host/ip/addr.txt': down(text) })).toHaveLength(1);
  });

  it('has no command for a device that may be left of another backend', () => {
    const hostGw = (t: string) =>
      t.replace(/via 10\.244\.(\d)\.0 dev flannel\.1(.*) onlink/g, 'via 192.168.50.1$1 dev eth0$2');
    const nodes = { a: node(1, { routes: (t) => hostGw(route(2)(t)) }), b: node(2, { routes: hostGw }), c };
    const [found] = judge([rule], nodes).findings;
    expect(found?.message).toMatch(/^a has no route to 10\.244\.2\.0\/24/);
    expect(found?.remediation).toHaveLength(1);
  });

  it('does not compare nodes of two clusters with one pod range', () => {
    const other = (n: number, peers: number[]) =>
      edited(overlayNode({ n, subnet: n - 3, peers }), {
        routes: (t) => t.replace(/10\.244\.([56])\.0/g, (_, p: string) => `10.244.${Number(p) - 3}.0`),
      });
    const nodes = {
      a: node(1, { peers: [2], routes: route(2) }),
      b: node(2, { peers: [1] }),
      x: other(5, [6]),
      y: other(6, [5]),
    };
    expect(judge([rule], nodes).findings.map((f) => f.nodes)).toEqual([['a', 'b']]);
  });

  it('tells of many subnets once', () => {
    const all = [1, 2, 3, 4, 5, 6];
    const nodes = Object.fromEntries(
      all.map((n) => [
        `n${n}`,
        edited(
          overlayNode({ n, peers: all.filter((p) => p !== n) }),
          n === 1 ? { routes: (t) => t.replace(/^.*dev flannel\.1 proto boot.*\n/gm, '') } : {},
        ),
      ]),
    );
    const { findings, matrix } = judge([rule], nodes);
    expect(findings.map((f) => f.message)).toEqual([
      'n1 has no route to the pod subnets of 5 nodes (10.244.2.0/24 of n2, 10.244.3.0/24 of n3, 10.244.4.0/24 of n4 and 2 more): ' +
        'the default route takes packets for its pods to 192.168.50.100 by eth0',
    ]);
    expect(findings[0]?.nodes).toEqual(['n1', 'n2', 'n3', 'n4', 'n5', 'n6']);
    expect(matrix[rule.id]?.['n1']).toBe('findings');
  });

  it('names the route alone where a next hop is nobody’s tunnel end', () => {
    const astray = route(2, 'unicast 10.244.2.0/24 via 10.244.77.0 dev flannel.1 onlink');
    const { findings } = judge([rule, forwarding], { a: node(1, { routes: astray }), b, c });
    expect(findings.map((f) => f.rule)).toEqual(['pod-route-missing-or-wrong']);
  });

  it('keeps little of a healthy node, however many peers it has', () => {
    const digests: number[] = [];
    for (const n of [50, 200]) {
      const lines = Array.from(
        { length: n },
        (_, i) => `unicast 10.244.${i + 2}.0/24 via 10.244.${i + 2}.0 dev flannel.1 onlink `,
      );
      const files = { ...overlayNode({ n: 1, peers: [] }).files };
      files[ROUTES] = (files[ROUTES] as string).replace(/(?<=10\.244\.1\.1 \n)/, `${lines.join('\n')}\n`);
      const { map } = judgeNode(nodeEvidence('a', { files }), [rule]).digests[rule.id] as { map: unknown };
      digests.push(JSON.stringify(map).length);
    }
    expect(digests[0]).toBeLessThan(700);
    expect(digests[1]).toBeLessThan((digests[0] as number) + 10);
  });
});

describe('what flanneld did not write it does not mend', () => {
  const USUAL = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
  const second = (line: string) => USUAL.replace('\n', `\n${line}\n`);
  const more = (line: string) => (t: string) => `${t}${line}\n`;
  const verify = 'ip route get 10.244.2.10 from 10.244.1.10 iif cni0';
  it.each<[string, Change, RegExp, string]>([
    [
      'a policy rule to a VPN’s table',
      {
        rules: second('200:\tfrom 10.244.0.0/16 lookup 200'),
        routes: more('unicast default via 192.168.50.100 dev eth0 table 200 proto boot scope global '),
      },
      /the default route takes packets/,
      'ip rule add pref 1 to 10.244.0.0/16 lookup main',
    ],
    [
      'a policy rule that rejects',
      { rules: second('50:\tfrom all to 10.244.2.0/24 blackhole') },
      /a policy rule takes them/,
      'ip rule add pref 1 to 10.244.0.0/16 lookup main',
    ],
    [
      'nothing leads to the main table',
      { rules: USUAL.replace(/32766.*\n/, '') },
      /does not find its route to 10\.244\.2\.0\/24, .*: no policy rule leads to the main table$/,
      'ip rule add pref 32766 lookup main',
    ],
    [
      'a host route to a router',
      { routes: more('unicast 10.244.2.10 via 192.168.50.100 dev eth0 proto boot scope global ') },
      /to 192\.168\.50\.100 by eth0/,
      'ip route del 10.244.2.10/32 via 192.168.50.100 dev eth0',
    ],
    [
      'a blackhole over half of the subnet',
      { routes: more('blackhole 10.244.2.0/25 proto boot scope global ') },
      /the route blackhole 10\.244\.2\.0\/25/,
      'ip route del blackhole 10.244.2.0/25',
    ],
  ])('%s', (_, change, message, run) => {
    const found = judge([rule], { a: node(1, change), b: node(2), c: node(3) }).findings.filter((f) =>
      f.message.includes('10.244.2.'),
    );
    expect(found.map((f) => f.message)).toEqual([expect.stringMatching(message)]);
    expect(found[0]?.remediation?.map((r) => [r.run, r.verify])).toEqual([[run, verify]]);
  });
});
