import { rule } from '../../../rules/flannel/vxlan-device-missing.ts';
import { type OverlayNode, overlayNode } from '../../support/overlay-node.ts';
import { recordedNodes } from '../../support/recorded-nodes.ts';
import { type NodeFiles, testRule } from '../../support/rule-table.ts';

const [vxlan, hostGw, legacy, docker] = await Promise.all(
  ['healthy-vxlan', 'healthy-host-gw', 'healthy-legacy', 'healthy-docker'].map(recordedNodes),
);

const conf = (backend: object | string, more: object = {}) =>
  `${JSON.stringify({ Network: '10.244.0.0/16', ...more, ...(typeof backend === 'string' ? {} : { Backend: backend }) }, null, 2)}\n`;
const FLANNELD = '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n';
const CONFLIST = 'files/etc/cni/net.d/10-flannel.conflist';
const base = { n: 1, peers: [2] } as const;
const plain = overlayNode(base).files;
const text = (path: string) => plain[path] as string;

/** A node whose flanneld reads this configuration; files of `more` replace others. */
function node(more: NodeFiles['files'] = {}, change: Partial<OverlayNode> = {}): NodeFiles {
  return overlayNode({
    ...base,
    ...change,
    files: {
      'flannel/net-conf.json': conf({ Type: 'vxlan' }),
      'cmdline/flanneld.txt': FLANNELD,
      [CONFLIST]: '{"name":"cbr0","plugins":[{"type":"flannel"}]}\n',
      ...more,
    },
  });
}

/** Of `ip addr` or `ip link` the device's block is gone. */
const gone = (path: string, dev: string) =>
  text(path).replace(new RegExp(`^\\d+: ${dev.replace('.', '\\.')}(?:@\\w+)?: [^\\n]*\\n(?: [^\\n]*\\n)*`, 'm'), '');
/** Its head has other flags and another state. */
const flagged = (dev: string, flags: string, state: string) => (t: string) =>
  t.replace(
    new RegExp(`^(\\d+: ${dev.replace('.', '\\.')}(?:@\\w+)?: )<[^>]*>(.*) state \\w+`, 'm'),
    `$1<${flags}>$2 state ${state}`,
  );
const both = (edit: (text: string) => string) => ({
  'host/ip/addr.txt': edit(text('host/ip/addr.txt')),
  'host/ip/link.txt': edit(text('host/ip/link.txt')),
});
/** The kernel drops a device's routes and entries when it goes or is taken down. */
const noRoutes = {
  'host/ip/route4.txt': text('host/ip/route4.txt').replace(/^.*flannel\.1.*\n/gm, ''),
  'host/ip/neigh.txt': text('host/ip/neigh.txt').replace(/^.*flannel\.1.*\n/gm, ''),
  'host/bridge/fdb.txt': text('host/bridge/fdb.txt').replace(/^.*flannel\.1.*\n/gm, ''),
};
const missing = {
  'host/ip/addr.txt': gone('host/ip/addr.txt', 'flannel.1'),
  'host/ip/link.txt': gone('host/ip/link.txt', 'flannel.1'),
  ...noRoutes,
};
const down = { ...both(flagged('flannel.1', 'BROADCAST,MULTICAST', 'DOWN')), ...noRoutes };
const direct = {
  'host/ip/route4.txt': `${noRoutes['host/ip/route4.txt']}unicast 10.244.2.0/24 via 192.168.50.12 dev eth0 proto boot scope global \n`,
};
const without = (files: NodeFiles, ...paths: string[]): NodeFiles => ({
  ...files,
  files: Object.fromEntries(Object.entries(files.files).filter(([path]) => !paths.includes(path))),
});
const deadWire = both(flagged('eth0', 'NO-CARRIER,BROADCAST,MULTICAST,UP', 'DOWN'));
const eth1 = `6: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default qlen 1000
    link/ether 02:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff
    inet 198.51.100.11/24 scope global eth1
       valid_lft forever preferred_lft forever
`;
const annotated = (backendData: string) =>
  `${JSON.stringify({ kind: 'Node', metadata: { name: 'a', annotations: { 'flannel.alpha.coreos.com/backend-data': backendData } }, spec: { podCIDR: '10.244.1.0/24' } }, null, 2)}\n`;
const CILIUM = { 'files/etc/cni/net.d/05-cilium.conflist': '{"name":"cilium","plugins":[{"type":"cilium-cni"}]}\n' };

testRule(rule, {
  finds: {
    'no device: flanneld runs, net-conf.json says vxlan': {
      nodes: { a: node(missing) },
      expect: [
        {
          key: 'flannel.1 missing',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^flannel\.1 is missing on a, whose flannel backend is vxlan: its pods and those of other nodes do not/,
          cites: ['"Type": "vxlan"', 'absent: the device flannel.1'],
        },
      ],
    },
    'no module: flanneld never got so far as a lease (incident 50)': {
      nodes: { a: node({ ...missing, 'files/run/flannel/subnet.env': { status: 'absent' } }) },
      expect: [{ confidence: 'likely', cites: ['"Type": "vxlan"', 'absent: the device flannel.1'] }],
    },
    'k3s carries flannel itself; its VNI is not 1': {
      nodes: {
        a: without(
          node({
            ...missing,
            'flannel/net-conf.json': conf({ Type: 'vxlan', VNI: 4096 }),
            'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n',
          }),
          'cmdline/flanneld.txt',
          CONFLIST,
        ),
      },
      expect: [
        {
          key: 'flannel.4096 missing',
          confidence: 'proven',
          cites: ['"Type": "vxlan"', 'absent: the device flannel.4096'],
        },
      ],
    },
    'of dual stack the IPv6 device': {
      nodes: { a: node({ 'flannel/net-conf.json': conf({ type: 'VXLAN' }, { EnableIPv6: true }) }) },
      expect: [
        {
          key: 'flannel-v6.1 missing',
          severity: 'high',
          message: /by IPv6$/,
          cites: ['"type": "VXLAN"', 'absent: the device flannel-v6.1'],
        },
      ],
    },
    'IPv6 only': {
      nodes: {
        a: node({
          ...missing,
          'flannel/net-conf.json': conf({ Type: 'vxlan' }, { EnableIPv4: false, EnableIPv6: true }),
        }),
      },
      expect: [{ key: 'flannel-v6.1 missing', severity: 'critical', cites: ['"Type": "vxlan"', 'absent:'] }],
    },
    'ifconfig was all there is: the routes say that no other backend runs': {
      nodes: {
        a: without(
          node({
            ...missing,
            'host/ip/ifconfig.txt':
              'lo: flags=73<UP,LOOPBACK,RUNNING>  mtu 65536\n        inet 127.0.0.1  netmask 255.0.0.0\n\neth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500\n        inet 192.168.50.11  netmask 255.255.255.0  broadcast 192.168.50.255\n        ether 02:00:00:00:00:01  txqueuelen 1000  (Ethernet)\n',
          }),
          'host/ip/addr.txt',
          'host/ip/link.txt',
        ),
      },
      expect: [{ confidence: 'likely', cites: ['"Type": "vxlan"', 'absent: the device flannel.1'] }],
    },
    'directRouting: peers on its own network need no device': {
      nodes: {
        a: node({ ...missing, ...direct, 'flannel/net-conf.json': conf({ Type: 'vxlan', DirectRouting: true }) }),
      },
      expect: [
        {
          severity: 'medium',
          message: /those of nodes behind a router are not$/,
          cites: ['"Type": "vxlan"', 'absent: the device flannel.1', '10.244.2.0/24 via 192.168.50.12 dev eth0'],
        },
      ],
    },
    'taken down': {
      nodes: { a: node(down) },
      expect: [
        {
          key: 'flannel.1 down',
          severity: 'critical',
          confidence: 'proven',
          message: /^flannel\.1 is down on a/,
          cites: ['3: flannel.1: <BROADCAST,MULTICAST> mtu 1450 qdisc noqueue state DOWN', '"Type": "vxlan"'],
        },
      ],
    },
    'taken down, no net-conf.json: its MAC is what flannel announces': {
      nodes: {
        a: without(
          node({ ...down, 'k8s/node.json': annotated('{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}') }),
          'flannel/net-conf.json',
        ),
      },
      expect: [{ confidence: 'likely', cites: ['3: flannel.1: <BROADCAST,MULTICAST>', 'VtepMAC'] }],
    },
    'taken down, no net-conf.json: its MTU is the lease’s': {
      nodes: { a: without(node(down), 'flannel/net-conf.json') },
      expect: [{ confidence: 'likely', cites: ['3: flannel.1: <BROADCAST,MULTICAST>', 'FLANNEL_MTU=1450'] }],
    },
    'what it sends by has no carrier (V83)': {
      nodes: { a: node(deadWire) },
      expect: [
        {
          key: 'flannel.1 below',
          severity: 'critical',
          confidence: 'proven',
          message: /^eth0 on a has no carrier, and flannel\.1 sends by it: no packet for pods of other nodes leaves/,
          cites: [
            '2: eth0@if9: <NO-CARRIER,BROADCAST,MULTICAST,UP>',
            '3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP>',
          ],
        },
      ],
    },
    'what it sends by is down, and routes say vxlan where net-conf.json says nothing': {
      nodes: { a: without(node(both(flagged('eth0', 'BROADCAST,MULTICAST', 'DOWN'))), 'flannel/net-conf.json') },
      expect: [{ message: /^eth0 on a is down/, cites: ['2: eth0@if9: <BROADCAST,MULTICAST>', '3: flannel.1: <'] }],
    },
    'another device has a route to the peers': {
      nodes: {
        a: node({
          ...deadWire,
          'host/ip/addr.txt': deadWire['host/ip/addr.txt'] + eth1,
          'host/ip/route4.txt': text('host/ip/route4.txt').replace(
            'default via 192.168.50.100 dev eth0',
            'default via 198.51.100.1 dev eth1',
          ),
        }),
      },
      expect: [
        {
          severity: 'high',
          confidence: 'possible',
          message: /lost unless eth1 reaches those nodes too$/,
          cites: ['eth0@if9', 'flannel.1', 'default via 198.51.100.1 dev eth1'],
        },
      ],
    },
    'a node alone, its cable out': {
      nodes: { a: node({ ...deadWire, ...noRoutes }) },
      expect: [
        { severity: 'medium', message: /no route leads to another node’s pods yet/, cites: ['eth0@if9', 'flannel.1'] },
      ],
    },
  },
  passes: {
    'a healthy cluster': { nodes: vxlan! },
    'iptables-legacy': { nodes: legacy! },
    'state UNKNOWN is normal': { nodes: { a: node() } },
    'net-conf.json not collected, routes by the device': { nodes: { a: without(node(), 'flannel/net-conf.json') } },
    'net-conf.json changed, flanneld not restarted: the old device still serves': {
      nodes: {
        a: node({ 'flannel/net-conf.json': conf({ Type: 'vxlan', VNI: 5 }) }),
        b: node({ 'flannel/net-conf.json': conf({ Type: 'host-gw' }) }),
      },
    },
    'directRouting: the device is there, no route uses it': {
      nodes: {
        a: node({ ...noRoutes, ...direct, 'flannel/net-conf.json': conf({ Type: 'vxlan', DirectRouting: true }) }),
      },
    },
    'a node alone': { nodes: { a: node(noRoutes) } },
  },
  notApplicable: {
    'no flannel': { nodes: docker! },
    'host-gw': { nodes: hostGw! },
    'host-gw, and the device of the time before is down': {
      nodes: { a: node({ ...down, ...direct, 'flannel/net-conf.json': conf({ Type: 'host-gw' }) }) },
    },
    'wireguard, ipip, and udp, which is what no Backend means': {
      nodes: {
        a: node({ ...missing, 'flannel/net-conf.json': conf({ Type: 'wireguard' }) }),
        b: node({ ...missing, 'flannel/net-conf.json': conf({ Type: 'ipip' }) }),
        c: node({ ...missing, 'flannel/net-conf.json': conf('none') }),
      },
    },
    'k3s with another CNI': {
      nodes: {
        a: without(
          node({ ...missing, 'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n--flannel-backend=none\n' }),
          'cmdline/flanneld.txt',
        ),
      },
    },
  },
  unknown: {
    'one device that somebody sent (ip addr show eth0)': {
      nodes: {
        a: {
          ...node({
            ...noRoutes,
            'host/ip/addr.txt': gone('host/ip/addr.txt', 'flannel.1').replace(/[\s\S]*?(?=^2: )/m, ''),
            'host/ip/link.txt': { status: 'absent' },
          }),
          info: { format: 'loose-files' },
        },
      },
      because: /whether flannel\.1 exists is not known: the node’s devices were not collected whole/,
    },
    'nothing tells the backend': {
      nodes: { a: without(node(missing), 'flannel/net-conf.json') },
      because: /backend is not known: net-conf\.json not collected/,
    },
    'the configuration is in etcd': {
      nodes: {
        a: node({ ...missing, 'cmdline/flanneld.txt': '/usr/bin/flanneld\n--etcd-endpoints=https://192.0.2.5:2379\n' }),
      },
      because: /backend is not known: flanneld reads its configuration from etcd/,
    },
    'net-conf.json is no JSON': {
      nodes: { a: node({ ...missing, 'flannel/net-conf.json': '{"Backend":{"Type":"vxlan",}\n' }) },
      because: /not valid JSON/,
    },
    'Cilium took over and left flannel’s files behind': {
      nodes: {
        a: without(node({ ...missing, ...CILIUM }), 'cmdline/flanneld.txt'),
        b: without(node({ ...down, ...CILIUM }), 'cmdline/flanneld.txt'),
      },
      because: /nothing collected shows that flannel still runs|flannel may have been replaced/,
    },
    'net-conf.json says vxlan since a moment ago, flanneld still runs with host-gw': {
      nodes: { a: node({ ...missing, ...direct }), b: node({ ...down, ...direct }) },
      because: /seems to run with another backend/,
    },
    'VNI changed on a node alone': {
      nodes: { a: node({ ...noRoutes, 'flannel/net-conf.json': conf({ Type: 'vxlan', VNI: 5 }) }) },
      because: /asks for flannel\.5, but flannel\.1 is there/,
    },
    'a device that nothing ties to the lease is down': {
      nodes: {
        a: without(
          node({
            ...down,
            'files/run/flannel/subnet.env': plain['files/run/flannel/subnet.env']!.toString().replace('1450', '1500'),
          }),
          'flannel/net-conf.json',
        ),
      },
      because: /is down, but whether flannel’s backend is vxlan is not known/,
    },
    'the list of devices was cut': {
      nodes: {
        a: node({
          ...missing,
          'host/ip/addr.txt': { status: 'truncated', text: missing['host/ip/addr.txt'] },
          'host/ip/link.txt': { status: 'timeout' },
        }),
      },
      because: /not collected whole/,
    },
    'ip -4 addr lists only what has an address': {
      nodes: {
        a: without(
          node({ ...missing, 'host/ip/addr.txt': missing['host/ip/addr.txt'].replace(/^ +link\/.*\n/gm, '') }),
          'host/ip/link.txt',
        ),
      },
      because: /not collected whole/,
    },
    'made anew meanwhile': {
      nodes: {
        a: node({ 'host/ip/addr.txt': missing['host/ip/addr.txt'], 'host/ip/link.txt': missing['host/ip/link.txt'] }),
        b: node({ 'host/ip/addr.txt': down['host/ip/addr.txt'] }),
        c: node({ 'host/ip/addr.txt': deadWire['host/ip/addr.txt'] }),
      },
      because: /not collected at one moment.*changed meanwhile.*went up or down/,
    },
    'ip addr alone does not say what the device sends by': {
      nodes: { a: without(node(), 'host/ip/link.txt') },
      because: /which device it sends by was not collected/,
    },
    'the collector saw another namespace': {
      nodes: {
        a: {
          ...node(missing),
          info: { context: { uid: 0, netns: '4026532999', pid1netns: '4026531840', mode: 'container' } },
        },
      },
      because: /namespace of its own/,
    },
    'loose files without a trace of flannel': {
      nodes: { a: { files: { 'host/ip/addr.txt': missing['host/ip/addr.txt'] } } },
      because: /whether flannel runs on this node was not collected/,
    },
  },
});
