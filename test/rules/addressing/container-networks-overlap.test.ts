import { rule } from '../../../rules/addressing/container-networks-overlap.ts';
import type { Files } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const network = (name: string, subnet: string) => ({
  Name: name,
  Id: name.padEnd(64, '0'),
  Created: '2026-11-24T10:00:00Z',
  Scope: 'local',
  Driver: 'bridge',
  EnableIPv6: false,
  IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: subnet, Gateway: subnet.replace(/0\/\d+$/, '1') }] },
  Internal: false,
  Containers: {},
  Options: {},
  Labels: {},
});
const inspect = (...networks: unknown[]) => `${JSON.stringify(networks, null, 4)}\n`;
const addr = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 10.1.2.3/24 brd 10.1.2.255 scope global eth0
       valid_lft forever preferred_lft forever
`;
const route = 'unicast default via 10.1.2.1 dev eth0 proto dhcp scope global \n';
const lease = 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
const nodes = (files: Files) => ({ a: { files: { 'host/ip/addr.txt': addr, 'host/ip/route4.txt': route, ...files } } });
const staticpods = (range: string) =>
  `/etc/kubernetes/manifests/kube-apiserver.yaml:    - --service-cluster-ip-range=${range}\n`;

const bridge = (index: number, name: string, address: string) =>
  `${index}: ${name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default \n    link/ether 02:42:00:00:00:0${index} brd ff:ff:ff:ff:ff:ff\n    inet ${address} scope global ${name}\n       valid_lft forever preferred_lft forever\n`;

const services = (...ips: string[]) => `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
-A PREROUTING -j KUBE-SERVICES
${ips.map((ip, i) => `-A KUBE-SERVICES -d ${ip}/32 -p tcp -m comment --comment "${i === 0 ? 'default/kubernetes:https' : 'kube-system/kube-dns:dns-tcp'} cluster IP" -m tcp --dport ${i === 0 ? 443 : 53} -j KUBE-SVC-A\n`).join('')}COMMIT
`;

const controlPlane = (range: string) => ({
  files: {
    'host/ip/addr.txt': addr,
    'host/ip/route4.txt': route,
    'files/run/flannel/subnet.env': lease,
    'staticpods.txt': staticpods(range),
    'docker/network-inspect.json': '[]\n',
  },
});

/** Docker's network ingress, as a manager of a swarm lists it. */
const ingress = (subnet: string, attached = true, more: object = {}) => ({
  ...network('ingress', subnet),
  Scope: 'swarm',
  Driver: 'overlay',
  Ingress: true,
  Containers: attached
    ? {
        'ingress-sbox': {
          Name: 'ingress-endpoint',
          EndpointID: 'e',
          MacAddress: '02:42:0a:00:00:02',
          IPv4Address: subnet.replace(/0\//, '2/'),
          IPv6Address: '',
        },
      }
    : {},
  Options: { 'com.docker.network.driver.overlay.vxlanid_list': '4096' },
  ...more,
});
const lan = `${route}unicast 10.1.2.0/24 dev eth0 proto kernel scope link src 10.1.2.3 \n`;

testRule(rule, {
  finds: {
    'swarm’s ingress over the LAN of the node': {
      nodes: nodes({ 'host/ip/route4.txt': lan, 'docker/network-inspect.json': inspect(ingress('10.1.2.0/24')) }),
      expect: [
        {
          key: 'docker network ingress / node network eth0 10.1.2.0/24',
          severity: 'high',
          confidence: 'proven',
          message:
            /overlay network ingress \(10\.1\.2\.0\/24\) lies over 10\.1\.2\.0\/24 on eth0 of a: published ports do not answer clients/,
          cites: ['"Subnet": "10.1.2.0/24"', '10.1.2.0/24 dev eth0'],
        },
      ],
    },
    'an overlay network in a part of the LAN, to which nothing is attached yet': {
      nodes: nodes({
        'host/ip/route4.txt': `${route}unicast 10.0.0.0/8 dev eth0 proto kernel scope link src 10.1.2.3 \n`,
        'docker/network-inspect.json': inspect({ ...ingress('10.0.1.0/24', false), Name: 'apps' }),
      }),
      expect: [
        {
          key: 'docker network apps / node network eth0 10.0.0.0/8',
          severity: 'medium',
          confidence: 'likely',
          message: /nothing here is attached to it yet/,
          cites: ['"Subnet": "10.0.1.0/24"', '10.0.0.0/8 dev eth0'],
        },
      ],
    },
    'docker0 and cni0 on one lease (kubernetes/57 of the incidents)': {
      nodes: nodes({
        'host/ip/addr.txt': `${addr}${bridge(3, 'docker0', '10.244.1.1/24')}${bridge(4, 'cni0', '10.244.1.1/24')}`,
        'docker/network-inspect.json': inspect({
          ...network('bridge', '10.244.1.0/24'),
          Options: { 'com.docker.network.bridge.name': 'docker0' },
        }),
        'files/run/flannel/subnet.env': lease,
      }),
      expect: [
        {
          key: 'container bridge docker0 / container bridge cni0',
          severity: 'high',
          message: /container bridge docker0 \(10\.244\.1\.0\/24\) overlaps container bridge cni0/,
          cites: ['inet 10.244.1.1/24 scope global docker0', 'inet 10.244.1.1/24 scope global cni0'],
        },
      ],
    },
    'two bridges where no network is declared': {
      nodes: nodes({
        'host/ip/addr.txt': `${addr}${bridge(3, 'cni-podman0', '10.88.0.1/16')}${bridge(4, 'podman1', '10.88.0.1/16')}`,
      }),
      expect: [{ cites: ['cni-podman0', 'podman1'] }],
    },
    'a docker network inside the pod range': {
      nodes: nodes({
        'docker/network-inspect.json': inspect(network('bridge', '172.17.0.0/16'), network('shop', '10.244.7.0/24')),
        'files/run/flannel/subnet.env': lease,
      }),
      expect: [
        {
          key: 'pod network FLANNEL_NETWORK / docker network shop',
          severity: 'high',
          cites: ['FLANNEL_NETWORK=10.244.0.0/16', '10.244.7.0/24'],
        },
      ],
    },
    'service range inside a docker network': {
      nodes: nodes({
        'docker/network-inspect.json': inspect(network('big', '10.96.0.0/11')),
        'staticpods.txt': staticpods('10.96.0.0/12'),
      }),
      expect: [{ severity: 'critical', cites: ['10.96.0.0/11', '--service-cluster-ip-range=10.96.0.0/12'] }],
    },
    'two docker networks': {
      nodes: nodes({
        'docker/network-inspect.json': inspect(network('x', '172.18.0.0/16'), network('y', '172.18.4.0/24')),
      }),
      expect: [{ severity: 'high', cites: ['172.18.0.0/16', '172.18.4.0/24'] }],
    },
  },
  passes: {
    'swarm’s ingress apart from the LAN; a wide route by a router says nothing of who is in its range': {
      nodes: nodes({
        'host/ip/route4.txt': `${lan}unicast 10.0.0.0/8 via 10.1.2.1 dev eth0 proto static scope global \n`,
        'docker/network-inspect.json': inspect(ingress('10.0.0.0/24')),
      }),
    },
    'an internal overlay network: its containers are to reach nobody else': {
      nodes: nodes({
        'host/ip/route4.txt': lan,
        'docker/network-inspect.json': inspect({ ...ingress('10.1.2.0/24'), Name: 'apps', Internal: true }),
      }),
    },
    'the range of k3s begins at an odd /16, and ends with it': {
      nodes: nodes({
        'files/run/flannel/subnet.env': lease.replaceAll('10.244.', '10.42.'),
        'host/fw/iptables-save.txt': services('10.43.0.1', '10.43.0.10'),
      }),
    },
    'settings of a macvlan network (--config-only), and the network that was made from them': {
      nodes: nodes({
        'host/ip/addr.txt': addr,
        'docker/network-inspect.json': inspect(
          { ...network('settings', '192.168.9.0/24'), Driver: 'null', ConfigOnly: true },
          { ...network('mac', '192.168.9.0/24'), Driver: 'macvlan' },
        ),
      }),
    },
    'docker0 on the lease, and no other bridge': {
      nodes: nodes({
        'host/ip/addr.txt': `${addr}${bridge(3, 'docker0', '10.244.1.1/24')}`,
        'docker/network-inspect.json': inspect({
          ...network('bridge', '10.244.1.0/24'),
          Options: { 'com.docker.network.bridge.name': 'docker0' },
        }),
        'files/run/flannel/subnet.env': lease,
      }),
    },
    apart: {
      nodes: nodes({
        'docker/network-inspect.json': inspect(network('bridge', '172.17.0.0/16'), network('shop', '172.18.0.0/16')),
      }),
    },
    'docker0 on the flannel lease is docker + flannel without CNI': {
      nodes: nodes({
        'docker/network-inspect.json': inspect(network('bridge', '10.244.1.0/24')),
        'files/run/flannel/subnet.env': lease,
      }),
    },
  },
  notApplicable: { 'no container network at all': { nodes: nodes({}) } },
  unknown: {
    'swarm’s ingress, and the routes were cut off': {
      nodes: nodes({
        'host/ip/route4.txt': { status: 'truncated', text: route },
        'docker/network-inspect.json': inspect(ingress('10.1.2.0/24')),
      }),
      because:
        /^whether docker’s overlay network ingress lies over a network of the node is not known: its routes were not/,
    },
    'few services were seen: their range may be as wide as an API server takes, from the address of its own service on':
      {
        nodes: nodes({
          'host/ip/addr.txt': addr.replaceAll('10.1.2.', '10.100.2.'),
          'host/ip/route4.txt': route.replace('10.1.2.1', '10.100.2.1'),
          'files/run/flannel/subnet.env': lease,
          'host/fw/iptables-save.txt': services('10.96.0.1', '10.96.0.10'),
        }),
        because:
          /^whether the service network reaches node network eth0 \(10\.100\.2\.0\/24\): services were seen in 10\.96\.0\.0\/28, its range may be as wide as 10\.96\.0\.0\/12$/,
      },
    'services of two ranges: what lies between them is not theirs': {
      nodes: nodes({
        'files/run/flannel/subnet.env': lease,
        'cmdline/kubelet.txt': '/usr/bin/kubelet\n',
        'host/fw/iptables-save.txt': `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-A
-A KUBE-SERVICES -d 10.250.7.9/32 -p tcp -m comment --comment "default/new cluster IP" -m tcp --dport 80 -j KUBE-SVC-A
COMMIT
`,
      }),
      because: /service range is not known/,
    },
    'docker hung: its bridge is there, its list of networks is not': {
      nodes: nodes({
        'host/ip/addr.txt': `${addr}3: docker0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN group default \n    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    inet 172.17.0.1/16 scope global docker0\n       valid_lft forever preferred_lft forever\n`,
        'docker/network-inspect.json': { status: 'timeout' },
        'files/run/flannel/subnet.env': lease,
      }),
      because: /docker has networks here \(docker0\)/,
    },
    'nodes of two clusters with one pod range: whose services are those of a worker is not known': {
      nodes: {
        ...nodes({
          'files/run/flannel/subnet.env': lease,
          'cmdline/kubelet.txt': '/usr/bin/kubelet\n',
          'docker/network-inspect.json': `${JSON.stringify([network('inner', '10.43.7.0/24')])}\n`,
        }),
        x: controlPlane('10.43.0.0/16'),
        y: controlPlane('10.96.0.0/12'),
      },
      answers: { x: 'pass', y: 'pass' },
      because: /service range is not known/,
    },
    'kubernetes node, service range not known': {
      nodes: nodes({ 'files/run/flannel/subnet.env': lease, 'cmdline/kubelet.txt': '/usr/bin/kubelet\n' }),
      because: /service range is not known/,
    },
  },
});
