import {
  bridgeSubnet,
  CLUSTER,
  containerIp,
  type NodePart,
  nodeIp,
  OUTSIDE_IP,
  type Plan,
  podIp,
  podPrefix,
  secondIp,
} from './plan.ts';
import type { Random } from './random.ts';

export type PlanBase = Pick<Plan, 'backend' | 'nodes' | 'services' | 'twoNetworks'>;

/** What rules and routes of one node can be about. */
export interface Ground {
  readonly node: NodePart;
  readonly base: PlanBase;
  readonly devices: readonly string[];
  /** Devices that lead to containers or pods. */
  readonly bridges: readonly string[];
  /** Bridge ports of pods and containers. */
  readonly ports: readonly string[];
  readonly addresses: readonly string[];
  readonly own: readonly string[];
  readonly subnets: readonly string[];
  readonly serviceIps: readonly string[];
}

const hex = (ip: string): string =>
  ip
    .split('.')
    .map((o) => Number(o).toString(16).padStart(2, '0'))
    .join('');
export const podPort = (node: NodePart, host: number): string => `veth${hex(podIp(node, host))}`;
export const podMac = (node: NodePart, host: number): string =>
  `0a:58:${hex(podIp(node, host)).match(/../g)!.join(':')}`;

export function groundOf(base: PlanBase, node: NodePart): Ground {
  const cluster = base.backend !== 'none';
  const bridges = [...(cluster ? ['cni0'] : []), ...node.bridges.map((b) => b.name)];
  const own = [
    nodeIp(node),
    ...(cluster ? [`${podPrefix(node)}.1`] : []),
    ...(base.backend === 'vxlan' ? [`${podPrefix(node)}.0`] : []),
    ...node.bridges.map((b) => `${b.prefix}.1`),
    ...(base.twoNetworks ? [secondIp(node)] : []),
  ];
  const pods = cluster ? base.nodes.flatMap((n) => n.pods.map((host) => podIp(n, host))) : [];
  const containers = node.bridges.flatMap((b) => b.containers.map((_h, i) => containerIp(b, i)));
  return {
    node,
    base,
    devices: [
      'eth0',
      ...(base.twoNetworks ? ['eth1'] : []),
      ...bridges,
      ...(base.backend === 'vxlan' ? ['flannel.1'] : []),
      'lo',
    ],
    bridges,
    ports: [
      ...(cluster ? node.pods.map((host) => podPort(node, host)) : []),
      ...node.bridges.flatMap((b) => b.containers.map((_h, i) => `v${b.name.slice(-6)}${i}`)),
    ],
    addresses: [...pods, ...containers, ...base.nodes.map(nodeIp), OUTSIDE_IP],
    own,
    subnets: [
      '192.168.50.0/24',
      ...(cluster ? [CLUSTER, ...base.nodes.map((n) => `${podPrefix(n)}.0/24`)] : []),
      ...node.bridges.map(bridgeSubnet),
    ],
    serviceIps: (base.services ?? []).map((s) => s.clusterIp),
  };
}

/** A source or destination of a rule: one address, a subnet, now and then an odd mask. */
export function someAddress(r: Random, g: Ground): string {
  switch (r.weighted({ host: 5, subnet: 4, half: 1, own: 1, service: 1, other: 1 })) {
    case 'host':
      return `${r.pick(g.addresses)}/32`;
    case 'subnet':
      return r.pick(g.subnets);
    case 'half':
      return `${r.pick(g.addresses).split('.').slice(0, 3).join('.')}.${r.pick(['0/28', '0/29', '8/29', '0/25', '96/27'])}`;
    case 'own':
      return `${r.pick(g.own)}/32`;
    case 'service':
      return g.serviceIps.length > 0 ? `${r.pick(g.serviceIps)}/32` : r.pick(g.subnets);
    case 'other':
      return r.pick([
        '10.0.0.0/8',
        '172.16.0.0/12',
        '203.0.113.0/24',
        '127.0.0.0/8',
        '224.0.0.0/4',
        '192.168.0.0/16',
        '0.0.0.0/0',
      ]);
  }
}

export const TCP_PORTS = [80, 81, 8080, 30080, 30081, 9001, 9002, 22] as const;
export const UDP_PORTS = [53, 30053, 9053, 8472] as const;
