import { describe, expect, it } from 'vitest';
import {
  ACCEPTED_DAEMON_JSON,
  BROKEN_DAEMON_JSON,
  type BrokenDaemonJson,
  bridgeAddressNotInLease,
  bridgeDownOrAddressless,
  bridgeNetfilterOff,
  broaderSnat,
  bundleIncomplete,
  cgroupDriverMismatch,
  clusterDnsAddressWrong,
  cniConfigShadowed,
  containerNetworksOverlap,
  DEAD_ENDPOINT,
  DockerLab,
  DUPLICATE_CIDR,
  daemonJsonUnusable,
  defaultRouteMissing,
  dockerApiExposed,
  dockerCgroupDriverMismatch,
  dockerLabsAvailable,
  dockerRulesMissing,
  dockerUserIneffective,
  dropPolicyWithAccepts,
  duplicateNodeAddress,
  type Effect,
  egressMasqueradeMissing,
  emptyLegacyTables,
  flannelBackendMixed,
  flannelSubnetEnvMissing,
  forwardDropsPodTraffic,
  hostGwAcrossRouter,
  interfaceForwardingDisabled,
  ipForwardDisabled,
  Lab,
  type LabSpec,
  labsAvailable,
  loForwardingOff,
  mtuDiffersAcrossNodes,
  NO_DNS,
  overlayMtuTooLarge,
  overlayTrafficMasqueraded,
  podCidrDuplicate,
  podLinkBroken,
  podRouteMissingOrWrong,
  probePatiently,
  routedPodNetwork,
  SERVICE_ON_THE_BRIDGE,
  serviceEndpointDead,
  serviceHasNoEndpoints,
  serviceProxyNotProgrammed,
  snatSourceUnexpected,
  subnetOverlapsNodeNetwork,
  TWO_PODS,
  vxlanDeviceMissing,
  vxlanForwardingEntryWrong,
  vxlanParametersDisagree,
  WEB_SERVICE,
  WITH_DNS,
} from '../support/lab/index.ts';

/** Every fault does to real packets what it says, and nothing else that it names. */
async function holds(lab: Lab, effect: Effect): Promise<void> {
  const probes = [...effect.breaks, ...effect.keeps];
  const name = (place: string | { id: string }) => (typeof place === 'string' ? place : place.id);
  const label = (p: (typeof probes)[number]) => `${name(p.from)} -> ${name(p.to)} ${p.proto}`;
  const results = await probePatiently(lab, probes);
  // where nobody answers ARP the node says so after some seconds: whoever asks so long is told instead of left waiting
  const wanted = new Map(effect.breaks.map((p) => [p as (typeof probes)[number], p.outcome]));
  const got = (p: (typeof probes)[number], i: number) => {
    const outcome = results[i]?.outcome;
    const silent = wanted.get(p);
    return outcome === 'hostunreach' && (silent === 'lost' || silent === 'timeout') ? silent : outcome;
  };
  expect(probes.map((p, i) => `${label(p)}: ${got(p, i)}`)).toEqual([
    ...effect.breaks.map((p) => `${label(p)}: ${p.outcome}`),
    ...effect.keeps.map((p) => `${label(p)}: ok`),
  ]);
}

const faults: [string, (lab: Lab) => Promise<Effect>, LabSpec?][] = [
  ['ip-forward-disabled', ipForwardDisabled],
  ['interface-forwarding-disabled: flannel.1', (lab) => interfaceForwardingDisabled(lab, 'flannel.1')],
  ['interface-forwarding-disabled: cni0', (lab) => interfaceForwardingDisabled(lab, 'cni0')],
  ['forward-drops: policy', (lab) => forwardDropsPodTraffic(lab, 'policy')],
  ['forward-drops: reject first', (lab) => forwardDropsPodTraffic(lab, 'reject-first')],
  ['forward-drops: legacy beside nft', (lab) => forwardDropsPodTraffic(lab, 'other-backend')],
  ['forward-drops: nft beside legacy', (lab) => forwardDropsPodTraffic(lab, 'other-backend'), { iptables: 'legacy' }],
  ['forward-drops: an nft table', (lab) => forwardDropsPodTraffic(lab, 'nft-table')],
  ['egress-masquerade-missing', egressMasqueradeMissing],
  ['egress-masquerade-missing: host-gw', egressMasqueradeMissing, { backend: 'host-gw' }],
  ['subnet-overlaps-node-network', subnetOverlapsNodeNetwork],
  ['pod-cidr-duplicate', podCidrDuplicate, DUPLICATE_CIDR],
  ['bridge-address-not-in-lease', bridgeAddressNotInLease],
  ['vxlan-parameters-disagree: port', (lab) => vxlanParametersDisagree(lab, 'port')],
  ['vxlan-parameters-disagree: VNI', (lab) => vxlanParametersDisagree(lab, 'vni')],
  ['vxlan-forwarding-entry-wrong: no fdb', (lab) => vxlanForwardingEntryWrong(lab, 'no-fdb')],
  ['vxlan-forwarding-entry-wrong: no neighbour', (lab) => vxlanForwardingEntryWrong(lab, 'no-neighbour')],
  ['vxlan-forwarding-entry-wrong: stale MAC', (lab) => vxlanForwardingEntryWrong(lab, 'stale-mac')],
  ['vxlan-forwarding-entry-wrong: dead underlay', (lab) => vxlanForwardingEntryWrong(lab, 'dead-underlay')],
  ['vxlan-forwarding-entry-wrong: peer changed', (lab) => vxlanForwardingEntryWrong(lab, 'peer-mac-changed')],
  ['overlay-mtu-too-large: NICs', (lab) => overlayMtuTooLarge(lab)],
  ['overlay-mtu-too-large: a route', (lab) => overlayMtuTooLarge(lab, 'route')],
  ['overlay-mtu-too-large: fragments get through', (lab) => overlayMtuTooLarge(lab, 'fragments-pass')],
  ['mtu-differs-across-nodes: underlay', (lab) => mtuDiffersAcrossNodes(lab)],
  ['mtu-differs-across-nodes: overlay', (lab) => mtuDiffersAcrossNodes(lab, 'overlay')],
  ['vxlan-device-missing: deleted', (lab) => vxlanDeviceMissing(lab, 'deleted')],
  ['vxlan-device-missing: down', (lab) => vxlanDeviceMissing(lab, 'down')],
  ['vxlan-device-missing: the device below is down', (lab) => vxlanDeviceMissing(lab, 'below-down')],
  ['vxlan-device-missing: the device below is unplugged', (lab) => vxlanDeviceMissing(lab, 'below-unplugged')],
  [
    'bridge-down-or-addressless: down',
    (lab) => bridgeDownOrAddressless(lab, 'down'),
    { nodes: [{ pods: [10, 11] }, {}] },
  ],
  [
    'bridge-down-or-addressless: no address',
    (lab) => bridgeDownOrAddressless(lab, 'no-address'),
    { nodes: [{ pods: [10, 11] }, {}] },
  ],
  ['bridge-down-or-addressless: address moved', (lab) => bridgeDownOrAddressless(lab, 'address-moved')],
  ['pod-route-missing-or-wrong: none', podRouteMissingOrWrong, { nodes: 3 }],
  ['pod-route-missing-or-wrong: none, host-gw', podRouteMissingOrWrong, { backend: 'host-gw' }],
  ['pod-route-missing-or-wrong: blackhole', (lab) => podRouteMissingOrWrong(lab, 'blackhole')],
  ['pod-route-missing-or-wrong: next hop', (lab) => podRouteMissingOrWrong(lab, 'next-hop'), { backend: 'host-gw' }],
  ['pod-route-missing-or-wrong: detour', (lab) => podRouteMissingOrWrong(lab, 'detour'), { nodes: 3 }],
  ['cgroup-driver-mismatch: file', (lab) => cgroupDriverMismatch(lab, 'config')],
  ['cgroup-driver-mismatch: flag', (lab) => cgroupDriverMismatch(lab, 'flag')],
  ['bridge-netfilter-off', bridgeNetfilterOff, SERVICE_ON_THE_BRIDGE],
  ['bundle-incomplete', bundleIncomplete],
  ['flannel-subnet-env-missing: flanneld did not come up', (lab) => flannelSubnetEnvMissing(lab, 'booted')],
  ['cni-config-shadowed: pods have its network', (lab) => cniConfigShadowed(lab, 'pods')],
  ['flannel-backend-mixed', flannelBackendMixed, { nodes: 3 }],
  ['pod-route-missing-or-wrong: host-gw behind a router', hostGwAcrossRouter, { backend: 'host-gw', nodes: 3 }],
  ['default-route-missing', defaultRouteMissing],
  ['duplicate-node-address: beside its own', (lab) => duplicateNodeAddress(lab), { nodes: 3 }],
  ['duplicate-node-address: in its place', (lab) => duplicateNodeAddress(lab, 'only'), { nodes: 3 }],
  ['overlay-traffic-masqueraded: all', (lab) => overlayTrafficMasqueraded(lab)],
  ['overlay-traffic-masqueraded: as docker', (lab) => overlayTrafficMasqueraded(lab, 'docker')],
  ['snat-source-unexpected', snatSourceUnexpected],
  ['cluster-dns-address-wrong', clusterDnsAddressWrong, WITH_DNS],
  ['pod-link-broken: down on the node', (lab) => podLinkBroken(lab, 'outer-down'), TWO_PODS],
  ['pod-link-broken: down in the pod', (lab) => podLinkBroken(lab, 'inner-down'), TWO_PODS],
  ['pod-link-broken: unplugged', (lab) => podLinkBroken(lab, 'unplugged'), TWO_PODS],
  ['pod-link-broken: no address', (lab) => podLinkBroken(lab, 'no-address'), TWO_PODS],
  ['pod-link-broken: disabled port', (lab) => podLinkBroken(lab, 'port-disabled'), TWO_PODS],
  ['pod-link-broken: isolated ports', (lab) => podLinkBroken(lab, 'isolated'), TWO_PODS],
  ['service-endpoint-dead', serviceEndpointDead, DEAD_ENDPOINT],
  ['service-has-no-endpoints', serviceHasNoEndpoints, NO_DNS],
  ...(['flushed', 'gone', 'prerouting', 'output', 'postrouting', 'node-ports', 'one-service'] as const).map(
    (how): [string, (lab: Lab) => Promise<Effect>, LabSpec] => [
      `service-proxy-not-programmed: ${how}`,
      (lab) => serviceProxyNotProgrammed(lab, how),
      WEB_SERVICE,
    ],
  ),
];

describe.skipIf(!labsAvailable())('faults break what they say', () => {
  it.concurrent.each(faults)('%s', async (_name, inject, spec) => {
    await using lab = await Lab.create(spec ?? {});
    await holds(lab, await inject(lab));
  });

  it('a flannel.1 made as small as it has to be tells pods so, where large packets got lost', async () => {
    await using lab = await Lab.create();
    const { breaks } = await overlayMtuTooLarge(lab);
    for (const node of lab.nodes) await node.sh('ip link set flannel.1 mtu 1350');
    const told = await lab.probeAll(breaks);
    expect(told.map((r) => r.outcome)).toEqual(breaks.map(() => 'emsgsize'));
  });

  it('a dead endpoint takes its share of new connections', async () => {
    await using lab = await Lab.create(DEAD_ENDPOINT);
    const asked = Array.from({ length: 24 }, () => ({
      from: lab.node(0).pod(),
      to: '10.96.0.20',
      proto: 'tcp' as const,
    }));
    const outcomes = new Set((await lab.probeAll(asked)).map((r) => (r.outcome === 'ok' ? 'ok' : 'lost')));
    expect([...outcomes].sort()).toEqual(['lost', 'ok']);
  });

  it('the kernel says why', async () => {
    await using lab = await Lab.create();
    const effect = await vxlanParametersDisagree(lab, 'vni');
    const { result, reasons } = await lab.dropReasons(() => lab.probe(effect.breaks[0]!));
    expect(result.outcome).toBe('lost');
    // tracing is best effort: a kernel that cannot be traced gives none
    if (reasons.length > 0) expect(reasons).toContain('VXLAN_VNI_NOT_FOUND@vxlan_rcv');
  });
});

describe.skipIf(!labsAvailable())('look-alikes break nothing', () => {
  it.each([
    ['policy DROP behind flannel', dropPolicyWithAccepts],
    ['a broader SNAT', broaderSnat],
    ['a routed pod network', routedPodNetwork],
    ['legacy tables without a rule', emptyLegacyTables],
    ['forwarding off on lo', loForwardingOff],
  ] as const)('%s', async (_name, inject) => {
    await using lab = await Lab.create();
    await holds(lab, await inject(lab));
  });
});

describe.skipIf(!dockerLabsAvailable())('docker faults', () => {
  it.each(['pod-network', 'service-network'] as const)('container-networks-overlap: %s', async (what) => {
    await using docker = await DockerLab.create({ cluster: { nodes: 2 } });
    await holds(docker.lab, await containerNetworksOverlap(docker, what));
  });

  it.each(['filter', 'filter-accept', 'nat', 'ruleset'] as const)('docker-rules-missing: %s', async (how) => {
    await using docker = await DockerLab.create({ daemonJson: { 'live-restore': true } });
    const effect = await dockerRulesMissing(docker, how);
    await holds(docker.lab, effect);
    const client = async () =>
      (await docker.probe({ from: 'outside', to: docker.node, proto: 'tcp', port: 9001 })).seenSource;
    // docker-proxy takes what no rule translates, and the server sees the bridge
    if (how === 'nat' || how === 'ruleset') expect(await client()).toBe('172.17.0.1');
    await docker.restartDaemon();
    await holds(docker.lab, { ...effect, breaks: [], keeps: [...effect.breaks, ...effect.keeps] });
    expect(await client()).toBe('10.3.20.99');
  });

  it('docker-user-ineffective: what it kept out comes in', async () => {
    await using docker = await DockerLab.create({ daemonJson: { 'live-restore': true } });
    await holds(docker.lab, await dockerUserIneffective(docker));
  });

  it('docker-api-exposed and cgroup-driver-mismatch', async () => {
    await using docker = await DockerLab.create();
    await holds(docker.lab, await dockerApiExposed(docker, '127.0.0.1'));
    await holds(docker.lab, await dockerApiExposed(docker, '0.0.0.0'));
    await dockerCgroupDriverMismatch(docker);
    expect(await docker.docker('info')).toContain('Cgroup Driver: cgroupfs');
    expect(await docker.node.sh('cat /proc/[0-9]*/comm')).toContain('kubelet\n');
  });

  it('daemon-json-unusable: dockerd refuses each of them', async () => {
    await using docker = await DockerLab.create();
    await daemonJsonUnusable(docker, 'trailing-comma', 'running');
    expect(await docker.docker('version')).toContain('Server');
    const accepted: string[] = [];
    for (const how of Object.keys(BROKEN_DAEMON_JSON) as BrokenDaemonJson[]) {
      const { refused } = await daemonJsonUnusable(docker, how, 'down');
      if (!refused) accepted.push(how);
    }
    expect(accepted).toEqual([]);
  });

  it('and starts with these, which only look broken', async () => {
    await using docker = await DockerLab.create();
    for (const [how, json] of Object.entries(ACCEPTED_DAEMON_JSON)) {
      await docker.stopDaemon();
      docker.node.write('/etc/docker/daemon.json', json);
      expect(await docker.tryDaemon(), how).toBe(true);
    }
  });
});
