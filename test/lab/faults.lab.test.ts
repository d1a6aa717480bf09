import { describe, expect, it } from 'vitest';
import {
  ACCEPTED_DAEMON_JSON,
  BROKEN_DAEMON_JSON,
  type BrokenDaemonJson,
  bridgeAddressNotInLease,
  broaderSnat,
  bundleIncomplete,
  cgroupDriverMismatch,
  containerNetworksOverlap,
  DockerLab,
  DUPLICATE_CIDR,
  daemonJsonUnusable,
  dockerApiExposed,
  dockerCgroupDriverMismatch,
  dockerLabsAvailable,
  dropPolicyWithAccepts,
  type Effect,
  egressMasqueradeMissing,
  emptyLegacyTables,
  forwardDropsPodTraffic,
  interfaceForwardingDisabled,
  ipForwardDisabled,
  Lab,
  type LabSpec,
  labsAvailable,
  loForwardingOff,
  podCidrDuplicate,
  podRouteMissingOrWrong,
  probePatiently,
  routedPodNetwork,
  subnetOverlapsNodeNetwork,
  vxlanForwardingEntryWrong,
  vxlanParametersDisagree,
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
  ['pod-route-missing-or-wrong: none', podRouteMissingOrWrong, { nodes: 3 }],
  ['pod-route-missing-or-wrong: none, host-gw', podRouteMissingOrWrong, { backend: 'host-gw' }],
  ['pod-route-missing-or-wrong: blackhole', (lab) => podRouteMissingOrWrong(lab, 'blackhole')],
  ['pod-route-missing-or-wrong: next hop', (lab) => podRouteMissingOrWrong(lab, 'next-hop'), { backend: 'host-gw' }],
  ['pod-route-missing-or-wrong: detour', (lab) => podRouteMissingOrWrong(lab, 'detour'), { nodes: 3 }],
  ['cgroup-driver-mismatch: file', (lab) => cgroupDriverMismatch(lab, 'config')],
  ['cgroup-driver-mismatch: flag', (lab) => cgroupDriverMismatch(lab, 'flag')],
  ['bundle-incomplete', bundleIncomplete],
];

describe.skipIf(!labsAvailable())('faults break what they say', () => {
  it.concurrent.each(faults)('%s', async (_name, inject, spec) => {
    await using lab = await Lab.create(spec ?? {});
    await holds(lab, await inject(lab));
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
