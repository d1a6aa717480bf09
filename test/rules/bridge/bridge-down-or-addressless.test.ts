import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/bridge/bridge-down-or-addressless.ts';
import { rule as notInLease } from '../../../rules/flannel/bridge-address-not-in-lease.ts';
import { edited, recordedNodes } from '../../support/recorded-nodes.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';

const [vxlan, hostGw, legacy, docker] = await Promise.all(
  ['healthy-vxlan', 'healthy-host-gw', 'healthy-legacy', 'healthy-docker'].map(recordedNodes),
);

type Files = Readonly<Record<string, string>>;
const LO = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default qlen 1000
    link/ether 4a:ed:70:0d:59:70 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
`;

interface BridgeSpec {
  readonly name?: string;
  readonly flags?: string;
  readonly inet?: readonly string[];
  readonly more?: string;
}
/** `ip addr` of a bridge, number 10. */
const bridge = ({
  name = 'cni0',
  flags = 'BROADCAST,MULTICAST,UP,LOWER_UP',
  inet = ['10.244.1.1/24'],
  more = '',
}: BridgeSpec = {}) =>
  `10: ${name}: <${flags}> mtu 1450 qdisc noqueue ${more}state ${flags.includes('LOWER_UP') ? 'UP' : 'DOWN'} group default qlen 1000
    link/ether 0a:58:0a:f4:01:01 brd ff:ff:ff:ff:ff:ff
${inet.map((a) => `    inet ${a} brd + scope global ${name}\n       valid_lft forever preferred_lft forever\n`).join('')}`;
/** Its port number `i`, 20 + i here, 3 in the container. */
const veth = (i: number, name = 'cni0', flags = 'BROADCAST,MULTICAST,UP,LOWER_UP') =>
  `${20 + i}: veth${i}@if3: <${flags}> mtu 1450 qdisc noqueue master ${name} state ${flags.includes('LOWER_UP') ? 'UP' : 'DOWN'} group default qlen 1000
    link/ether fe:77:7b:b3:c4:0${i} brd ff:ff:ff:ff:ff:ff link-netnsid ${i}
`;
/** The namespace at the other end of port `i`. */
const pod = (i: number, ip: string | null, routes: string): Files => ({
  [`netns/402653200${i}/addr.json`]: `${JSON.stringify([
    {
      ifindex: 3,
      link_index: 20 + i,
      ifname: 'eth0',
      flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
      operstate: 'UP',
      address: `02:00:00:00:02:0${i}`,
      link_netnsid: 0,
      linkinfo: { info_kind: 'veth' },
      addr_info: ip === null ? [] : [{ family: 'inet', local: ip, prefixlen: 24, scope: 'global', label: 'eth0' }],
    },
  ])}\n`,
  [`netns/402653200${i}/route4.txt`]: routes,
});
const via = (gateway: string, dev = 'eth0') =>
  `unicast default via ${gateway} dev ${dev} table main proto boot scope global \nunicast 10.244.1.0/24 dev eth0 table main proto kernel scope link src 10.244.1.10 \n`;
const POD1 = pod(1, '10.244.1.10', via('10.244.1.1'));
const POD2 = pod(2, '10.244.1.11', via('10.244.1.1'));
const ROUTES = (bridgeRoute = 'unicast 10.244.1.0/24 dev cni0 table main proto kernel scope link src 10.244.1.1 \n') =>
  `unicast default via 192.0.2.1 dev eth0 table main proto boot scope global \nunicast 192.0.2.0/24 dev eth0 table main proto kernel scope link src 192.0.2.10 \n${bridgeRoute}`;

const node = (addr: string, files: NodeFiles['files'] = {}): NodeFiles => ({
  files: { 'host/ip/addr.txt': LO + addr, 'host/ip/route4.txt': ROUTES(''), ...files },
});
const FLANNEL = (delegate: object = {}) => ({
  'files/run/flannel/subnet.env': 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\n',
  'files/etc/cni/net.d/10-flannel.conflist': `${JSON.stringify({ name: 'cbr0', plugins: [{ type: 'flannel', delegate }] })}\n`,
});
const CNI = (plugin: object) => ({
  'files/etc/cni/net.d/10-mynet.conflist': `${JSON.stringify({ name: 'mynet', plugins: [{ type: 'bridge', bridge: 'cni0', ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.1.0/24' }]] }, ...plugin }] })}\n`,
});
const network = (
  more: object = {},
  config: readonly object[] = [{ Subnet: '172.18.0.0/16', Gateway: '172.18.0.1' }],
) => ({
  'docker/network-inspect.json': `${JSON.stringify([{ Name: 'app', Id: '0123456789ab'.padEnd(64, '0'), Driver: 'bridge', Scope: 'local', Internal: false, IPAM: { Config: config }, Options: {}, Containers: {}, ...more }], null, 4)}\n`,
});
const BR = 'br-0123456789ab';
const bare = { inet: [] } as const;
const OPTION = 'com.docker.network.bridge';

testRule(rule, {
  finds: {
    'cni0 is down (V59)': {
      nodes: { a: node(bridge({ flags: 'BROADCAST,MULTICAST' }) + veth(1) + veth(2), { ...POD1, ...POD2 }) },
      expect: [
        {
          key: 'cni0 down',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message: /^cni0 is down on a with 2 containers on it/,
          cites: ['10: cni0: <BROADCAST,MULTICAST> mtu 1450', '21: veth1@if3:', '22: veth2@if3:'],
        },
      ],
    },
    'an internal network is down too, of which only ip addr came': {
      nodes: { a: node(bridge({ name: BR, flags: 'BROADCAST,MULTICAST' }) + veth(1, BR), network({ Internal: true })) },
      expect: [
        { key: `${BR} down`, confidence: 'likely', cites: [`10: ${BR}: <BROADCAST,MULTICAST>`, '21: veth1@if3:'] },
      ],
    },
    'cni0 lost its address (V74)': {
      nodes: { a: node(bridge(bare) + veth(1), POD1) },
      expect: [
        {
          key: 'cni0 addressless',
          severity: 'critical',
          confidence: 'proven',
          message:
            /^cni0 on a has no IPv4 address, but one container on it has the gateway 10\.244\.1\.1: nothing beyond their own network is reached$/,
          cites: ['10: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP>', 'default via 10.244.1.1 dev eth0'],
        },
      ],
    },
    'no namespace was collected: flannel’s lease says it': {
      nodes: { a: node(bridge(bare) + veth(1), FLANNEL()) },
      expect: [
        {
          confidence: 'likely',
          message: /but its containers are given the gateway 10\.244\.1\.1/,
          cites: ['10: cni0:', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
    'the bridge plugin’s own range says it': {
      nodes: { a: node(bridge(bare) + veth(1), CNI({ isGateway: true })) },
      expect: [{ confidence: 'likely', message: /gateway 10\.244\.1\.1/, cites: ['10: cni0:', '"isGateway":true'] }],
    },
    'a docker network': {
      nodes: { a: node(bridge({ name: BR, ...bare }) + veth(1, BR), network()) },
      expect: [{ key: `${BR} addressless`, confidence: 'likely', cites: [`10: ${BR}:`, '"Subnet": "172.18.0.0/16"'] }],
    },
    'its container goes out by another network: published ports are dead all the same': {
      nodes: {
        a: node(bridge({ name: BR, ...bare }) + veth(1, BR), {
          ...network(),
          ...pod(1, '172.18.0.2', via('10.9.0.1', 'eth1')),
        }),
      },
      expect: [{ key: `${BR} addressless`, confidence: 'likely', cites: [`10: ${BR}:`, '"Subnet"'] }],
    },
    'docker0 of a docker that does not print its gateway: the container does': {
      nodes: edited(docker!, 'docker-host', 'host/ip/addr.txt', (t) =>
        t.replace(/^ {4}inet 172\.17\.0\.1\/16.*\n.*\n/m, ''),
      ),
      expect: [{ key: 'docker0 addressless', confidence: 'proven', cites: ['docker0: <', 'default via 172.17.0.1'] }],
    },
    'another range on the bridge; new pods are fine': {
      nodes: {
        a: node(bridge({ inet: ['10.244.9.1/24'] }) + veth(1) + veth(2), {
          ...POD1,
          ...pod(2, '10.244.9.2', via('10.244.9.1')),
        }),
      },
      expect: [
        {
          key: 'cni0 10.244.1.1',
          severity: 'high',
          message: /^cni0 on a has 10\.244\.9\.1\/24, but one container on it has the gateway 10\.244\.1\.1/,
          cites: ['inet 10.244.9.1/24', 'default via 10.244.1.1 dev eth0'],
        },
      ],
    },
    'another device took the address and the route': {
      nodes: {
        a: node(bridge(bare) + veth(1) + bridge({ name: 'br9' }).replace(/^10:/, '30:'), {
          ...POD1,
          'host/ip/route4.txt': ROUTES(
            'unicast 10.244.1.0/24 dev br9 table main proto kernel scope link src 10.244.1.1 \n',
          ),
        }),
      },
      expect: [
        {
          key: 'cni0 addressless',
          message: /gateway 10\.244\.1\.1 \(now on br9\)/,
          cites: ['10: cni0:', 'default via 10.244.1.1 dev eth0', 'inet 10.244.1.1/24 brd + scope global br9'],
        },
      ],
    },
    'docker in a container has the same address inside: nobody on this bridge has it': {
      nodes: {
        a: node(bridge({ name: 'docker0', ...bare }) + veth(1, 'docker0'), {
          ...pod(1, '172.17.0.2', via('172.17.0.1')),
          'netns/4026532001/addr.json': (pod(1, '172.17.0.2', '')['netns/4026532001/addr.json'] as string).replace(
            /\]\n$/,
            `,${JSON.stringify({ ifindex: 4, ifname: 'docker0', flags: ['UP'], linkinfo: { info_kind: 'bridge' }, addr_info: [{ family: 'inet', local: '172.17.0.1', prefixlen: 16, scope: 'global' }] })}]\n`,
          ),
        }),
      },
      expect: [{ key: 'docker0 addressless', confidence: 'proven', cites: ['10: docker0:', 'default via 172.17.0.1'] }],
    },
    'arp_ignore: nobody answers for an address of another device': {
      nodes: {
        a: node(bridge(bare) + veth(1) + bridge({ name: 'dum0', inet: ['10.244.1.1/32'] }).replace(/^10:/, '30:'), {
          ...POD1,
          'host/ip/route4.txt': ROUTES('unicast 10.244.1.0/24 dev cni0 table main proto boot scope link \n'),
          'host/sys/sysctl.txt': 'net/ipv4/conf/all/arp_ignore:1\n',
        }),
      },
      expect: [{ key: 'cni0 addressless', cites: ['10: cni0:', 'default via', 'inet 10.244.1.1/32'] }],
    },
    'a container whose namespace is missing could be the gateway, but docker says it is the bridge': {
      nodes: {
        a: node(bridge({ name: BR, inet: ['172.19.0.1/16'] }) + veth(1, BR) + veth(2, BR), {
          ...network(),
          ...pod(1, '172.18.0.2', via('172.18.0.1')),
        }),
      },
      expect: [{ key: `${BR} 172.18.0.1`, cites: ['inet 172.19.0.1/16', 'default via 172.18.0.1'] }],
    },
  },
  passes: {
    'a healthy cluster': { nodes: vxlan! },
    'host-gw': { nodes: hostGw! },
    'iptables-legacy': { nodes: legacy! },
    'docker 20.10': { nodes: docker! },
    'a secondary address serves': {
      nodes: { a: node(bridge({ inet: ['10.244.9.1/24', '10.244.1.1/24'] }) + veth(1), POD1) },
    },
    'no namespace was collected, the lease’s address is there': {
      nodes: { a: node(bridge() + veth(1), FLANNEL()) },
    },
    'busybox does not say what is attached, but the bridge has what docker gave it': {
      nodes: {
        a: node('', {
          ...network(),
          'host/ip/addr.txt': `${LO}${bridge({ name: BR, inet: ['172.18.0.1/16'] })}`.replace(/ state \w+/g, ''),
        }),
        'old docker prints the length': node(
          bridge({ name: BR, inet: ['172.18.0.1/16'] }) + veth(1, BR),
          network({}, [{ Subnet: '172.18.0.0/16', Gateway: '172.18.0.1/16' }]),
        ),
      },
    },
    'an idle docker0 beside it: DOWN and NO-CARRIER': {
      nodes: {
        a: node(
          bridge() +
            veth(1) +
            bridge({ name: 'docker0', flags: 'NO-CARRIER,BROADCAST,MULTICAST,UP', inet: ['172.17.0.1/16'] }).replace(
              /^10:/,
              '30:',
            ),
          POD1,
        ),
      },
    },
  },
  notApplicable: {
    'dockerd -b br0: the NIC is in it, and the router of the LAN is the gateway': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': `${LO.replace('qdisc mq state', 'qdisc mq master br0 state').replace(/ {4}inet 192[\s\S]*/, '')}${bridge({ name: 'br0', inet: ['192.0.2.10/24'] })}${veth(1, 'br0')}`,
            ...network({ Name: 'bridge', Options: { [`${OPTION}.name`]: 'br0' } }, [
              { Subnet: '192.0.2.0/24', Gateway: '192.0.2.1' },
            ]),
          },
        },
      },
    },
    'no bridge': { nodes: { a: node('') } },
    'an idle cni0 without address, and docker0 taken down': {
      nodes: {
        a: node(
          bridge({ flags: 'NO-CARRIER,BROADCAST,MULTICAST,UP', inet: [] }) +
            bridge({ name: 'docker0', flags: 'BROADCAST,MULTICAST', inet: [] }).replace(/^10:/, '30:'),
        ),
      },
    },
    'what is on it has nobody at the other end': {
      nodes: { a: node(bridge(bare) + veth(1, 'cni0', 'NO-CARRIER,BROADCAST,MULTICAST,UP')) },
    },
    'an internal network, inhibit_ipv4, isolated, IPv6 alone': {
      nodes: Object.fromEntries(
        [
          network({ Internal: true }),
          network({ Options: { [`${OPTION}.inhibit_ipv4`]: 'true' } }),
          network({ Options: { [`${OPTION}.gateway_mode_ipv4`]: 'isolated' } }),
          network({}, [{ Subnet: 'fd00:18::/64', Gateway: 'fd00:18::1' }]),
        ].map((files, i) => [`n${i}`, node(bridge({ name: BR, ...bare }) + veth(1, BR), files)]),
      ),
    },
    'CNI with isGateway false, of the bridge plugin and of flannel’s': {
      nodes: {
        a: node(bridge(bare) + veth(1), CNI({ isGateway: false })),
        b: node(bridge(bare) + veth(1), CNI({})),
        c: node(bridge(bare) + veth(1), FLANNEL({ isGateway: false })),
      },
    },
    'containers without a default route, or with one by another device': {
      nodes: {
        a: node(
          bridge(bare) + veth(1),
          pod(1, '10.244.1.10', 'unicast 10.244.1.0/24 dev eth0 table main proto kernel scope link src 10.244.1.10 \n'),
        ),
        b: node(bridge(bare) + veth(1), pod(1, '10.244.1.10', via('10.9.0.1', 'net1'))),
        c: node(bridge(bare) + veth(1), pod(1, null, '')),
      },
    },
    'a router behind the network card, or behind another bridge, is the gateway': {
      nodes: {
        a: node(
          `${bridge(bare) + veth(1)}30: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq master cni0 state UP group default qlen 1000
    link/ether 02:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff
`,
          POD1,
        ),
        b: node(
          `${bridge(bare) + veth(1)}30: v-a@v-b: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master cni0 state UP group default qlen 1000
    link/ether 02:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff
31: v-b@v-a: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br9 state UP group default qlen 1000
    link/ether 02:00:00:00:07:02 brd ff:ff:ff:ff:ff:ff
`,
          POD1,
        ),
      },
    },
    'a container routes for the others': {
      nodes: {
        b: node(bridge({ name: BR, ...bare }) + veth(1, BR), {
          ...network({ Options: { [`${OPTION}.inhibit_ipv4`]: 'true' } }),
          ...pod(1, '172.18.0.2', via('172.18.0.254')),
        }),
        a: node(bridge(bare) + veth(1) + veth(2), { ...POD1, ...pod(2, '10.244.1.1', '') }),
      },
    },
    'docker0’s containers are sent to a router by default-gateway': {
      nodes: {
        a: node(bridge({ name: 'docker0', inet: ['172.17.0.1/16'] }) + veth(1, 'docker0'), {
          ...pod(1, '172.17.0.2', via('172.17.0.254')),
          'files/etc/docker/daemon.json': '{"default-gateway": "172.17.0.254"}\n',
        }),
      },
    },
  },
  unknown: {
    'nothing tells what the containers’ gateway is': {
      nodes: { a: node(bridge() + veth(1)), b: node(bridge(bare) + veth(1)) },
      because: /which gateway the containers on cni0 have was not collected/,
    },
    'which of two namespaces it is cannot be told': {
      nodes: {
        a: node(bridge(bare) + veth(1), {
          ...POD1,
          ...Object.fromEntries(
            Object.entries(POD1).map(([path, text]) => [path.replace('4026532001', '4026532077'), text]),
          ),
        }),
      },
      because: /which gateway the containers on cni0 have was not collected/,
    },
    'a container that was not collected may be the gateway': {
      nodes: { a: node(bridge(bare) + veth(1) + veth(2), POD1) },
      because: /one of them may be the gateway/,
    },
    'the node answers with the address of another device, or as a proxy': {
      nodes: {
        a: node(bridge(bare) + veth(1) + bridge({ name: 'dum0', inet: ['10.244.1.1/32'] }).replace(/^10:/, '30:'), {
          ...POD1,
          'host/ip/route4.txt': ROUTES('unicast 10.244.1.0/24 dev cni0 table main proto boot scope link \n'),
        }),
        b: node(bridge(bare) + veth(1), {
          ...POD1,
          'host/ip/route4.txt': ROUTES('unicast 10.244.1.0/24 dev cni0 table main proto boot scope link \n'),
          'host/sys/sysctl.txt': 'net/ipv4/conf/cni0/proxy_arp:1\n',
        }),
      },
      because: /dum0 with that address may answer.*proxy_arp may answer/,
    },
    'ip link in the place of ip addr, a cut list, ifconfig': {
      nodes: {
        a: { files: { ...POD1, 'host/ip/addr.txt': (LO + bridge() + veth(1)).replace(/^ +(inet|valid).*\n/gm, '') } },
        c: {
          files: {
            ...FLANNEL(),
            'host/ip/ifconfig.txt': `cni0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1450
        inet 10.244.9.1  netmask 255.255.255.0  broadcast 10.244.9.255
        ether 0a:58:0a:f4:01:01  txqueuelen 1000  (Ethernet)

veth1: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1450
        ether fe:77:7b:b3:c4:01  txqueuelen 0  (Ethernet)
`,
            'host/bridge/brctl-show.txt':
              'bridge name\tbridge id\t\tSTP enabled\tinterfaces\ncni0\t\t8000.0a580af40101\tno\t\tveth1\n',
          },
        },
        b: node('', { ...POD1, 'host/ip/addr.txt': { status: 'truncated', text: LO + bridge(bare) + veth(1) } }),
      },
      because: /whether cni0 has that address is not known.*whether cni0 has the address 10\.244\.1\.1 is not known/,
    },
    'busybox does not say what is attached': {
      nodes: {
        b: node('', { 'host/ip/addr.txt': `${LO}${bridge()}`.replace(/ state \w+/g, '') }),
        a: node('', { 'host/ip/addr.txt': `${LO}${bridge(bare)}`.replace(/ state \w+/g, '') }),
      },
      because: /whether a container is attached to cni0 was not collected/,
    },
    'a list cut behind a bridge that is well': {
      nodes: { a: node('', { ...POD1, 'host/ip/addr.txt': { status: 'truncated', text: LO + bridge() + veth(1) } }) },
      because: /list of the node’s devices was not collected whole/,
    },
    'up in one list, down in the other': {
      nodes: {
        a: node(bridge() + veth(1), {
          ...POD1,
          'host/ip/link.txt': (LO + bridge({ flags: 'BROADCAST,MULTICAST' }) + veth(1)).replace(
            /^ +(inet|valid).*\n/gm,
            '',
          ),
        }),
      },
      because: /went up or down while it was collected/,
    },
    'the bridge is a port itself': {
      nodes: { a: node(bridge({ ...bare, more: 'master br-lan ' }) + veth(1), POD1) },
      because: /is itself a port of br-lan/,
    },
    'the collector saw another namespace': {
      nodes: {
        a: {
          ...node(bridge(bare) + veth(1), POD1),
          info: { context: { uid: 0, netns: '4026532999', pid1netns: '4026531840', mode: 'container' } },
        },
      },
      because: /namespace of its own/,
    },
  },
});

describe('beside bridge-address-not-in-lease', () => {
  const both = (inet: readonly string[]) =>
    judge([rule, notInLease], { a: node(bridge({ inet }) + veth(1), { ...POD1, ...FLANNEL() }) });

  it('no address at all is this rule’s: the CNI plugin would set the leased one', () => {
    const { findings, matrix } = both([]);
    expect(findings.map((f) => f.rule)).toEqual(['bridge-down-or-addressless']);
    expect(matrix['bridge-address-not-in-lease']?.['a']).toBe('not-applicable');
  });

  it('another address than the leased one explains that the containers’ gateway is gone', () => {
    const { findings, causes } = both(['10.244.9.1/24']);
    expect(findings.map((f) => f.rule).sort()).toEqual(['bridge-address-not-in-lease', 'bridge-down-or-addressless']);
    expect(causes.map((c) => findings.find((f) => f.id === c.finding)?.rule)).toEqual(['bridge-address-not-in-lease']);
  });
});
