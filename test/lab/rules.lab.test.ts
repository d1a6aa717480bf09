import { describe, expect, it } from 'vitest';
import { serious } from '../support/analyse.ts';
import { judge, type Named, namesIt } from '../support/judge.ts';
import type { Effect, LabSpec } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { Lab, labsAvailable } from '../support/lab/index.ts';

interface Fault extends Named {
  readonly name: string;
  readonly inject: (lab: Lab) => Promise<Effect>;
  readonly spec?: LabSpec;
}

const faults: readonly Fault[] = [
  {
    name: 'ip_forward=0',
    inject: labs.ipForwardDisabled,
    severity: 'critical',
    cites: ['net/ipv4/ip_forward:0', 'net/ipv4/conf/cni0/forwarding:0'],
  },
  {
    name: 'flannel.1 does not forward',
    inject: (l) => labs.interfaceForwardingDisabled(l, 'flannel.1'),
    severity: 'high',
    cites: ['net/ipv4/conf/flannel.1/forwarding:0'],
  },
  {
    name: 'cni0 does not forward',
    inject: (l) => labs.interfaceForwardingDisabled(l, 'cni0'),
    severity: 'high',
    cites: ['net/ipv4/conf/cni0/forwarding:0'],
  },
  {
    name: 'FORWARD policy',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'policy'),
    severity: 'critical',
    cites: [':FORWARD DROP'],
  },
  {
    name: 'FORWARD REJECT first',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'reject-first'),
    severity: 'critical',
    cites: ['-A FORWARD -j REJECT --reject-with icmp-host-prohibited'],
  },
  {
    name: 'legacy drops beside nft',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'other-backend'),
    severity: 'critical',
    cites: [':FORWARD DROP'],
  },
  {
    name: 'nft drops beside legacy',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'other-backend'),
    spec: { iptables: 'legacy' },
    severity: 'critical',
    cites: [':FORWARD DROP'],
  },
  { name: 'no masquerade', inject: labs.egressMasqueradeMissing, severity: 'high', cites: [':POSTROUTING ACCEPT'] },
  {
    name: 'no masquerade, host-gw',
    inject: labs.egressMasqueradeMissing,
    spec: { backend: 'host-gw' },
    severity: 'high',
    cites: [':POSTROUTING ACCEPT'],
  },
  {
    name: 'no masquerade, legacy',
    inject: labs.egressMasqueradeMissing,
    spec: { iptables: 'legacy' },
    severity: 'high',
    cites: [':POSTROUTING ACCEPT'],
  },
  {
    name: 'docker0 over the LAN',
    inject: labs.subnetOverlapsNodeNetwork,
    severity: 'critical',
    cites: ['inet 192.168.50.1/24', '192.168.50.0/24 dev eth0'],
  },
  {
    name: 'one pod CIDR twice',
    inject: labs.podCidrDuplicate,
    spec: labs.DUPLICATE_CIDR,
    severity: 'critical',
    cites: ['FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'cni0 outside its lease',
    inject: labs.bridgeAddressNotInLease,
    severity: 'critical',
    cites: ['inet 10.244.9.1/24', 'FLANNEL_SUBNET=10.244.1.1/24'],
  },
  {
    name: 'VXLAN port',
    inject: (l) => labs.vxlanParametersDisagree(l, 'port'),
    severity: 'critical',
    cites: ['dstport 4789', 'dstport 8472'],
  },
  {
    name: 'VXLAN VNI',
    inject: (l) => labs.vxlanParametersDisagree(l, 'vni'),
    severity: 'critical',
    cites: ['vxlan id 2', 'vxlan id 1'],
  },
  {
    name: 'no fdb entry',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'no-fdb'),
    severity: 'critical',
    cites: ['10.244.2.0/24 via 10.244.2.0', 'absent: an entry 0e:00:00:00:00:02'],
  },
  {
    name: 'no neighbour',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'no-neighbour'),
    severity: 'critical',
    cites: ['absent: an entry with a MAC for 10.244.2.0'],
  },
  {
    name: 'stale VTEP MAC',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'stale-mac'),
    severity: 'critical',
    cites: ['lladdr 0e:00:00:00:00:77'],
  },
  {
    name: 'dead underlay',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'dead-underlay'),
    severity: 'critical',
    cites: ['dst 192.168.50.99'],
  },
  {
    name: 'peer changed its MAC',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'peer-mac-changed'),
    severity: 'critical',
    cites: ['0e:00:00:00:00:22'],
  },
  {
    name: 'bridged frames pass iptables by',
    inject: labs.bridgeNetfilterOff,
    spec: labs.SERVICE_ON_THE_BRIDGE,
    severity: 'high',
    cites: ['net/bridge/bridge-nf-call-iptables:0', 'DNAT --to-destination 10.244.1.11:80'],
  },
  {
    name: 'the underlay shrank under flannel.1',
    inject: (l) => labs.overlayMtuTooLarge(l),
    severity: 'high',
    cites: ['flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450', ' mtu 1400 '],
  },
  {
    name: 'a route with a smaller MTU under flannel.1',
    inject: (l) => labs.overlayMtuTooLarge(l, 'route'),
    severity: 'high',
    cites: ['mtu 1450', '192.168.50.12 dev eth0', 'mtu 1400'],
  },
  {
    name: 'one node with a smaller MTU',
    inject: (l) => labs.mtuDiffersAcrossNodes(l),
    spec: { nodes: 3 },
    severity: 'medium',
    cites: [' mtu 1400 ', ' mtu 1500 '],
  },
  {
    name: 'one overlay with a smaller MTU',
    inject: (l) => labs.mtuDiffersAcrossNodes(l, 'overlay'),
    spec: { nodes: 3 },
    severity: 'low',
    cites: [' mtu 1350 ', ' mtu 1450 '],
  },
  {
    name: 'flannel.1 deleted',
    inject: (l) => labs.vxlanDeviceMissing(l, 'deleted'),
    severity: 'critical',
    cites: ['"Type": "vxlan"', 'absent: the device flannel.1'],
  },
  {
    name: 'flannel.1 down',
    inject: (l) => labs.vxlanDeviceMissing(l, 'down'),
    severity: 'critical',
    cites: ['flannel.1: <BROADCAST,MULTICAST>', '"Type": "vxlan"'],
  },
  {
    name: 'the device below flannel.1 down',
    inject: (l) => labs.vxlanDeviceMissing(l, 'below-down'),
    severity: 'critical',
    cites: [': <BROADCAST,MULTICAST> mtu 1500', 'flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP>'],
  },
  {
    name: 'the device below flannel.1 unplugged',
    inject: (l) => labs.vxlanDeviceMissing(l, 'below-unplugged'),
    severity: 'critical',
    cites: [': <NO-CARRIER,BROADCAST,MULTICAST,UP', 'flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP>'],
  },
  {
    name: 'cni0 down',
    inject: (l) => labs.bridgeDownOrAddressless(l, 'down'),
    severity: 'critical',
    cites: ['cni0: <BROADCAST,MULTICAST> mtu 1450', 'master cni0 state UP'],
  },
  {
    name: 'cni0 without an address',
    inject: (l) => labs.bridgeDownOrAddressless(l, 'no-address'),
    severity: 'critical',
    cites: ['cni0: <BROADCAST,MULTICAST,UP,LOWER_UP>', 'default via 10.244.1.1 dev eth0'],
  },
  {
    name: 'cni0’s address on another device',
    inject: (l) => labs.bridgeDownOrAddressless(l, 'address-moved'),
    severity: 'critical',
    cites: ['cni0: <BROADCAST,MULTICAST,UP,LOWER_UP>', 'default via 10.244.1.1', 'scope global br9'],
  },
  {
    name: 'no route to the pods of one node',
    inject: labs.podRouteMissingOrWrong,
    spec: { nodes: 3 },
    severity: 'critical',
    cites: ['absent: a route to 10.244.2.0/24', 'default via 192.168.50.', 'FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'no route to the pods of one node, host-gw',
    inject: labs.podRouteMissingOrWrong,
    spec: { backend: 'host-gw', nodes: 3 },
    severity: 'critical',
    cites: ['absent: a route to 10.244.2.0/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'a blackhole for the pods of one node',
    inject: (l) => labs.podRouteMissingOrWrong(l, 'blackhole'),
    severity: 'critical',
    cites: ['blackhole 10.244.2.0/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'a next hop that is no node',
    inject: (l) => labs.podRouteMissingOrWrong(l, 'next-hop'),
    spec: { backend: 'host-gw', nodes: 3 },
    severity: 'critical',
    cites: ['10.244.2.0/24 via 192.168.50.', 'FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'a next hop that passes packets on',
    inject: (l) => labs.podRouteMissingOrWrong(l, 'detour'),
    spec: { nodes: 3 },
    severity: 'medium',
    cites: ['10.244.2.0/24 via 10.244.3.0 dev flannel.1', 'FLANNEL_SUBNET=10.244.2.1/24'],
  },
  {
    name: 'cgroup driver in files',
    inject: (l) => labs.cgroupDriverMismatch(l, 'config'),
    severity: 'high',
    cites: ['cgroupDriver: systemd', 'SystemdCgroup = false'],
  },
  {
    name: 'cgroup driver by flag',
    inject: (l) => labs.cgroupDriverMismatch(l, 'flag'),
    severity: 'high',
    cites: ['--cgroup-driver=cgroupfs', 'SystemdCgroup = true'],
  },
  {
    name: 'no default route',
    inject: labs.defaultRouteMissing,
    severity: 'high',
    cites: ['absent: a default route'],
  },
  {
    name: 'a second address is another node’s',
    inject: (l) => labs.duplicateNodeAddress(l),
    spec: { nodes: 3 },
    severity: 'critical',
    cites: ['inet 192.168.50.12/24 brd', 'inet 192.168.50.12/24 scope global secondary eth0'],
  },
  {
    name: 'the only address is another node’s',
    inject: (l) => labs.duplicateNodeAddress(l, 'only'),
    spec: { nodes: 3 },
    severity: 'critical',
    cites: ['inet 192.168.50.12/24 brd', 'inet 192.168.50.12/24 scope global eth0'],
  },
  {
    name: 'everything is masqueraded',
    inject: (l) => labs.overlayTrafficMasqueraded(l),
    severity: 'medium',
    cites: ['-A POSTROUTING -j MASQUERADE', '10.244.2.0/24 via 10.244.2.0 dev flannel.1'],
  },
  {
    name: 'pods are masqueraded as docker does it, host-gw',
    inject: (l) => labs.overlayTrafficMasqueraded(l, 'docker'),
    spec: { backend: 'host-gw' },
    severity: 'medium',
    cites: ['-A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE', '10.244.2.0/24 via 192.168.50.12'],
  },
  {
    name: 'SNAT to an address that is gone',
    inject: labs.snatSourceUnexpected,
    severity: 'high',
    cites: ['-j SNAT --to-source 192.168.50.77', 'inet 192.168.50.11/24'],
  },
  {
    name: 'a pod’s cable: its end on the node is down',
    inject: (l) => labs.podLinkBroken(l, 'outer-down'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['veth0af4010a@if2: <BROADCAST,MULTICAST> mtu', '"ifname":"eth0","flags":["NO-CARRIER"'],
  },
  {
    name: 'a pod’s cable: its own end is down',
    inject: (l) => labs.podLinkBroken(l, 'inner-down'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['"ifname":"eth0","flags":["BROADCAST","MULTICAST"]', 'veth0af4010a@if2: <NO-CARRIER'],
  },
  {
    name: 'a pod’s cable: plugged into nothing',
    inject: (l) => labs.podLinkBroken(l, 'unplugged'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['veth0af4010a@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP'],
  },
  {
    name: 'a pod without an address',
    inject: (l) => labs.podLinkBroken(l, 'no-address'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"]', 'veth0af4010a@if2'],
  },
  {
    name: 'a pod’s cable: its port is disabled',
    inject: (l) => labs.podLinkBroken(l, 'port-disabled'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['master cni0 state disabled'],
  },
  {
    name: 'pods’ ports are isolated',
    inject: (l) => labs.podLinkBroken(l, 'isolated'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['isolated on'],
  },
  {
    name: 'kube-proxy’s chains are empty',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'flushed'),
    spec: labs.WEB_SERVICE,
    severity: 'critical',
    cites: ['/usr/bin/kubelet', 'absent: a ClusterIP in KUBE-SERVICES', '/usr/local/bin/kube-proxy'],
  },
  {
    name: 'kube-proxy was never on the node, its peer has services',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'gone'),
    spec: labs.WEB_SERVICE,
    severity: 'critical',
    cites: ['/usr/bin/kubelet', 'absent: a ClusterIP in KUBE-SERVICES', '-A KUBE-SERVICES -d 10.96.0.1/32'],
  },
  {
    name: 'nothing leads from nat PREROUTING to services',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'prerouting'),
    spec: labs.WEB_SERVICE,
    severity: 'critical',
    cites: [
      'absent: a jump from nat PREROUTING to KUBE-SERVICES',
      ':PREROUTING ACCEPT',
      '-A KUBE-SERVICES -d 10.96.0.1/32',
    ],
  },
  {
    name: 'nothing leads from nat OUTPUT to services, legacy',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'output'),
    spec: { ...labs.WEB_SERVICE, iptables: 'legacy' },
    severity: 'high',
    cites: ['absent: a jump from nat OUTPUT to KUBE-SERVICES', ':OUTPUT ACCEPT'],
  },
  {
    name: 'nothing masquerades what services marked',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'postrouting'),
    spec: labs.WEB_SERVICE,
    severity: 'high',
    cites: ['absent: a jump from nat POSTROUTING to KUBE-POSTROUTING', ':POSTROUTING ACCEPT'],
  },
  {
    name: 'nothing leads to NodePorts',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'node-ports'),
    spec: labs.WEB_SERVICE,
    severity: 'high',
    cites: ['absent: a jump from nat KUBE-SERVICES to KUBE-NODEPORTS', ':KUBE-SERVICES -'],
  },
  {
    name: 'a node lacks one service',
    inject: (l) => labs.serviceProxyNotProgrammed(l, 'one-service'),
    spec: labs.WEB_SERVICE,
    severity: 'medium',
    cites: ['absent: a rule for 10.96.0.20 tcp 80 in KUBE-SERVICES', '-A KUBE-SERVICES -d 10.96.0.20/32'],
  },
  {
    name: 'cluster DNS has no endpoints',
    inject: labs.serviceHasNoEndpoints,
    spec: labs.NO_DNS,
    severity: 'high',
    cites: ['-d 10.96.0.10/32', 'kube-system/kube-dns:dns-tcp has no endpoints'],
  },
  {
    name: 'half of a service’s connections go to nobody',
    inject: async (l) => ({ ...(await labs.serviceEndpointDead(l)), nodes: ['node-b'] }),
    spec: labs.DEAD_ENDPOINT,
    severity: 'high',
    cites: [
      '--to-destination 10.244.2.77:80',
      'FLANNEL_SUBNET=10.244.2.1/24',
      'absent: a network namespace that has 10.244.2.77',
    ],
  },
  {
    name: 'a service sends to a port that nothing listens on',
    inject: async (l) => ({ ...(await labs.serviceEndpointDead(l)), nodes: ['node-a'] }),
    spec: labs.DEAD_ENDPOINT,
    severity: 'medium',
    cites: ['--to-destination 10.244.1.10:8088', 'absent: a tcp listener on port 8088'],
  },
  {
    name: 'no CNI configuration',
    inject: (l) => labs.cniNotReady(l, 'no-file'),
    severity: 'critical',
    cites: ['"reason":"no such file: /etc/cni/net.d/*"'],
  },
  {
    name: 'the CNI configuration has another name',
    inject: (l) => labs.cniNotReady(l, 'renamed'),
    severity: 'critical',
    cites: ['"instance":"10-flannel.conflist.bak"'],
  },
  {
    name: 'the CNI configuration was cut',
    inject: (l) => labs.cniNotReady(l, 'cut'),
    severity: 'critical',
    cites: ['"delegate": {'],
  },
  {
    name: 'a broken CNI configuration in front of flannel’s',
    inject: (l) => labs.cniNotReady(l, 'stranger-broken'),
    severity: 'critical',
    cites: ['{"name": "old", '],
  },
  {
    name: 'a CNI plugin that flannel calls is missing',
    inject: (l) => labs.cniNotReady(l, 'plugin-gone'),
    severity: 'critical',
    cites: ['"type": "flannel"', 'absent: a file bridge'],
  },
  {
    name: 'a CNI plugin cannot be run',
    inject: (l) => labs.cniNotReady(l, 'plugin-not-executable'),
    severity: 'critical',
    cites: ['-rw-r--r-- 1 root root 129', 'host-local'],
  },
  {
    name: 'a CNI plugin is empty',
    inject: (l) => labs.cniNotReady(l, 'plugin-empty'),
    severity: 'critical',
    cites: ['-rwxr-xr-x 1 root root   0', 'flannel'],
  },
  {
    name: 'containerd’s sample in front of flannel’s CNI configuration',
    inject: (l) => labs.cniConfigShadowed(l),
    severity: 'high',
    cites: ['"type": "bridge"', '"type": "flannel"', '/var/lib/cni/networks/containerd-net/10.88.0.2'],
  },
  {
    name: 'subnet.env deleted',
    inject: (l) => labs.flannelSubnetEnvMissing(l),
    severity: 'critical',
    cites: ['"reason":"no such file: /run/flannel/subnet.env"', '"type": "flannel"'],
  },
  {
    name: 'subnet.env cut',
    inject: (l) => labs.flannelSubnetEnvMissing(l, 'cut'),
    severity: 'critical',
    cites: ['absent: FLANNEL_MTU, FLANNEL_IPMASQ', '"type": "flannel"'],
  },
  {
    name: 'a node of host-gw among those of vxlan',
    inject: labs.flannelBackendMixed,
    spec: { nodes: 3 },
    severity: 'critical',
    cites: ['"Type": "host-gw"', '10.244.1.0/24 via 10.244.1.0 dev flannel.1'],
  },
  {
    name: 'two pods of a node with one address',
    inject: (l) => labs.duplicatePodAddress(l, 'node'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['"local":"10.244.1.10"', 'veth0af4010b@if2'],
  },
  {
    name: 'two pods of two nodes with one address',
    inject: (l) => labs.duplicatePodAddress(l, 'peer'),
    spec: labs.TWO_PODS,
    severity: 'high',
    cites: ['"local":"10.244.2.10"', 'FLANNEL_SUBNET=10.244.1.1/24'],
  },
  {
    name: 'a pod asks the stub resolver of its node',
    inject: labs.containerDnsLoopback,
    severity: 'high',
    cites: ['nameserver 127.0.0.53', 'absent: a listener on 127.0.0.53', 'absent: --resolv-conf'],
  },
  {
    name: 'the kubelet’s cluster DNS is no service',
    inject: labs.clusterDnsAddressWrong,
    spec: labs.WITH_DNS,
    severity: 'critical',
    cites: ['- 10.96.0.7', '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp'],
  },
  {
    name: 'the CRI of containerd is off, and the kubelet down',
    inject: (l) => labs.kubeletRuntimeMismatch(l, 'cri-disabled'),
    severity: 'critical',
    cites: ['KUBELET_KUBEADM_ARGS=', 'disabled_plugins = ["cri"]', '"reason":"no process kubelet"'],
  },
  {
    name: 'containerd does not run',
    inject: (l) => labs.kubeletRuntimeMismatch(l, 'no-containerd'),
    severity: 'high',
    cites: ['--container-runtime-endpoint=unix:///run/containerd/containerd.sock', '"reason":"no process containerd"'],
  },
  {
    name: 'a node of host-gw behind a router',
    inject: labs.hostGwAcrossRouter,
    spec: { backend: 'host-gw', nodes: 3 },
    severity: 'critical',
    cites: ['absent: a route to 10.244.2.0/24', 'absent: a route to 10.244.1.0/24'],
  },
  {
    name: 'tools missing, a critical rule is open for it',
    inject: (l) => labs.bundleIncomplete(l),
    severity: 'medium',
    cites: ['"status":"missing"'],
  },
];

describe.skipIf(!labsAvailable())('real faults on real nodes are named', () => {
  it.concurrent.each(faults)('$name', async ({ inject, spec, ...fault }) => {
    await using lab = await Lab.create(spec ?? {});
    const effect = await inject(lab);
    namesIt(await judge(lab), effect, fault);
  });
});

describe.skipIf(!labsAvailable())('what several things show has one cause', () => {
  const causes: [string, (lab: Lab) => Promise<Effect>, string][] = [
    ['flanneld did not come up after a boot', (l) => labs.flannelSubnetEnvMissing(l, 'booted'), 'critical'],
    ['a node of host-gw among those of vxlan', labs.flannelBackendMixed, 'critical'],
    ['pods of two nodes have the network of containerd’s sample', (l) => labs.cniConfigShadowed(l, 'pods'), 'high'],
  ];
  it.concurrent.each(causes)('%s', async (_name, inject, severity) => {
    await using lab = await Lab.create({ nodes: 3 });
    const effect = await inject(lab);
    const json = await judge(lab);
    const byId = new Map(json.findings.map((f) => [f.id, f]));
    const found = json.causes.map((c) => byId.get(c.finding));
    expect(found.map((f) => `${f?.severity} ${f?.rule} on ${f?.nodes[0]}`)).toEqual([
      `${severity} ${effect.rule} on ${effect.nodes[0]}`,
    ]);
  });
});

describe.skipIf(!labsAvailable())('both backends of iptables', () => {
  it.concurrent.each(['nft', 'legacy'] as const)(
    'what %s lets through the other drops; the remedy ends that',
    async (iptables) => {
      await using lab = await Lab.create({ iptables });
      const { nodes, breaks } = await labs.forwardDropsPodTraffic(lab, 'other-backend');
      const rule = 'iptables-backends-both-active';
      const json = await judge(lab);
      const cites = [':FORWARD DROP', '-A FLANNEL-FWD '];
      namesIt(json, { rule, nodes, breaks: [], keeps: [] }, { severity: 'high', cites });
      const causes = json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule);
      expect(causes).toEqual([rule]);
      const step = json.findings.find((f) => f.rule === rule)?.remediation[2];
      await lab.nodes.find((n) => n.id === nodes[0])?.sh(step?.run ?? 'false');
      for (const { outcome: _, ...probe } of breaks) expect(await lab.probe(probe)).toMatchObject({ outcome: 'ok' });
      const after = await judge(lab);
      expect(serious(after)).toEqual([]);
      expect(after.verdicts[rule]).toMatchObject({ pass: lab.nodes.length });
    },
  );
});

describe.skipIf(!labsAvailable())('two faults at once are both named, and nothing else', () => {
  type Inject = (lab: Lab) => Promise<Effect>;
  const pairs: [string, Inject, Inject][] = [
    [
      'VXLAN port, cni0 down',
      (l) => labs.vxlanParametersDisagree(l, 'port'),
      (l) => labs.bridgeDownOrAddressless(l, 'down'),
    ],
    ['no masquerade, no fdb entry', labs.egressMasqueradeMissing, (l) => labs.vxlanForwardingEntryWrong(l, 'no-fdb')],
    ['ip_forward=0, a smaller underlay', labs.ipForwardDisabled, (l) => labs.mtuDiffersAcrossNodes(l)],
    [
      'FORWARD REJECT, a stale VTEP MAC',
      (l) => labs.forwardDropsPodTraffic(l, 'reject-first'),
      (l) => labs.vxlanForwardingEntryWrong(l, 'stale-mac'),
    ],
  ];
  it.concurrent.each(pairs)('%s', async (_name, first, second) => {
    await using lab = await Lab.create({ nodes: 3 });
    const effects = [await first(lab), await second(lab)];
    const { findings, unknown } = await judge(lab);
    for (const { rule, nodes } of effects) {
      const named = new Set(findings.filter((f) => f.rule === rule).flatMap((f) => f.nodes));
      expect(nodes.filter((n) => !named.has(n))).toEqual([]);
    }
    const causes = [...effects.map((e) => e.rule), 'forward-drops-replies'];
    const others = findings.filter((f) => !causes.includes(f.rule) && !f.rule.startsWith('trace-'));
    expect(others.map((f) => `${f.severity} ${f.rule}: ${f.message}`)).toEqual([]);
    expect(unknown.filter((u) => u.kind === 'error')).toEqual([]);
  });
});

describe.skipIf(!labsAvailable())('healthy labs and look-alikes stay silent', () => {
  const healthy: [string, LabSpec, (lab: Lab) => Promise<unknown>][] = [
    ['vxlan', { nodes: 3 }, async () => {}],
    ['vxlan with kube-proxy', { ...labs.WITH_DNS, nodes: 3 }, async () => {}],
    ['vxlan on legacy iptables', { ...labs.WITH_DNS, nodes: 2, iptables: 'legacy' }, async () => {}],
    ['host-gw', { backend: 'host-gw', nodes: 3 }, async () => {}],
    ['policy DROP with accepts (S01)', {}, labs.dropPolicyWithAccepts],
    ['a broader SNAT (S09b)', {}, labs.broaderSnat],
    ['empty legacy tables', {}, labs.emptyLegacyTables],
    ['forwarding off on lo', {}, labs.loForwardingOff],
  ];
  it.concurrent.each(healthy)('%s', async (_name, spec, change) => {
    await using lab = await Lab.create(spec);
    await change(lab);
    const json = await judge(lab);
    expect(serious(json)).toEqual([]);
    expect(json.unknown.filter((u) => u.kind === 'error')).toEqual([]);
    // silence must not come from looking away; a cluster in which nobody has a kube-proxy is a question, and so is who a node without a device of
    // flannel is to the others
    const questions = [
      ...(spec.backend === 'host-gw'
        ? [
            'flannel-identity-disagrees: only subnet.env was collected of what flannel says of the node: nothing to compare it with',
          ]
        : []),
      ...(spec.services === undefined ? ['service-proxy-not-programmed: whether anything serves ClusterIPs'] : []),
    ];
    expect(json.unknown.map((u) => `${u.rule}: ${u.because}`.split(' here: ')[0])).toEqual(questions);
  });

  it('a kube-proxy without its jump is the cause of what pods cannot reach', async () => {
    await using lab = await Lab.create({
      nodes: 2,
      services: [
        { name: 'kube-system/kube-dns:dns-tcp', clusterIp: '10.96.0.10', port: 53, endpoints: ['10.244.2.10:80'] },
      ],
    });
    await labs.serviceProxyNotProgrammed(lab, 'prerouting');
    const json = await judge(lab);
    const byId = new Map(json.findings.map((f) => [f.id, f.rule]));
    expect(json.causes.map((c) => byId.get(c.finding))).toEqual(['service-proxy-not-programmed']);
    expect(json.findings.filter((f) => f.severity !== 'info').map((f) => f.nodes[0])).toContain('node-a');
  });

  it('jumps of kube-proxy that are gone: the remedies bring them back', async () => {
    await using lab = await Lab.create({ nodes: 2, ...labs.WEB_SERVICE });
    const effects = [];
    for (const how of ['prerouting', 'output', 'node-ports', 'postrouting'] as const)
      effects.push(await labs.serviceProxyNotProgrammed(lab, how));
    const found = (await judge(lab)).findings.filter((f) => f.rule === 'service-proxy-not-programmed');
    expect(found).toHaveLength(4);
    for (const f of found) await lab.node(f.nodes[0]).sh(f.remediation[0]?.run ?? 'false');
    const probes = effects.flatMap((e) => [...e.breaks, ...e.keeps]);
    expect((await lab.probeAll(probes)).map((r) => r.outcome)).toEqual(probes.map(() => 'ok'));
    expect(serious(await judge(lab))).toEqual([]);
  });

  it('a dead endpoint of cluster DNS is the cause of what pods cannot reach', async () => {
    await using lab = await Lab.create({
      services: [
        {
          name: 'kube-system/kube-dns:dns-tcp',
          clusterIp: '10.96.0.10',
          port: 53,
          endpoints: ['10.244.2.10:80', '10.244.2.77:80'],
        },
      ],
    });
    const json = await judge(lab);
    const byId = new Map(json.findings.map((f) => [f.id, f.rule]));
    expect(json.causes.map((c) => byId.get(c.finding))).toEqual(['service-endpoint-dead']);
    expect(json.findings.map((f) => f.rule)).toContain('trace-pod-to-service-and-external');
  });

  it('cluster DNS without endpoints is the cause of what pods cannot reach', async () => {
    await using lab = await Lab.create(labs.NO_DNS);
    const json = await judge(lab);
    const byId = new Map(json.findings.map((f) => [f.id, f.rule]));
    expect(new Set(json.causes.map((c) => byId.get(c.finding)))).toEqual(new Set(['service-has-no-endpoints']));
    expect(json.findings.map((f) => f.rule)).toContain('trace-pod-to-service-and-external');
  });
});
