import type { Backend, IptablesBackend, Protocol, ServiceSpec } from '../lab/index.ts';

/** A container port that dockerd publishes on the node. */
export interface Published {
  readonly proto: 'tcp' | 'udp';
  readonly hostPort: number;
  /** Index of the container on its bridge. */
  readonly container: number;
  readonly port: number;
  /** Host address; null: every one. */
  readonly hostIp: string | null;
}

/** A bridge with containers as Docker's bridge driver makes it. */
export interface BridgePart {
  readonly name: string;
  /** First three octets; the bridge has .1, a /16 as Docker's default pools or a /24. */
  readonly prefix: string;
  readonly length: 16 | 24;
  /** Last octets of the containers. */
  readonly containers: readonly number[];
  readonly published: readonly Published[];
  readonly icc: boolean;
  readonly internal: boolean;
  readonly masquerade: boolean;
}

export interface NodePart {
  readonly name: string;
  /** 0 for node-a: its addresses follow from it. */
  readonly index: number;
  readonly pods: readonly number[];
  readonly iptables: IptablesBackend;
  readonly bridges: readonly BridgePart[];
  /** Last octets of pods with a macvlan on eth0 instead of a veth. */
  readonly macvlans?: readonly number[];
  /** Real docker-proxy processes for the published ports. */
  readonly proxies: boolean;
  /** Is the node's bundle in the case? */
  readonly collected: boolean;
}

/** One change of the lab, which can be left out without the others losing their meaning. */
export interface Step {
  /** `node-a`, `node-a/pod-1`, `outside`. */
  readonly at: string;
  /** What kind of thing it is, for people. */
  readonly what: string;
  readonly sh: string;
}

export interface PlannedProbe {
  /** A place of the lab. */
  readonly from: string;
  /** An address. */
  readonly to: string;
  readonly proto: Protocol;
  readonly port?: number;
  readonly size?: number;
  readonly df?: boolean;
  /** How often: more than once where rules balance. */
  readonly tries?: number;
}

/** A lab in full: what is built, what is changed, what is asked. A plan is JSON. */
export interface Plan {
  readonly seed: number;
  readonly backend: Backend;
  readonly nodes: readonly NodePart[];
  readonly services: readonly ServiceSpec[] | null;
  /** Services of IPv6 where there are some. */
  readonly services6?: readonly ServiceSpec[];
  /** A second network between the nodes, 192.168.60.0/24 on eth1. */
  readonly twoNetworks: boolean;
  /** IPv6 beside IPv4. */
  readonly ipv6: boolean;
  /** Is the outside host a node of the case? */
  readonly outsideCollected: boolean;
  /** Collected before the probes, when neighbours are not resolved yet, or after. */
  readonly collectFirst: boolean;
  readonly steps: readonly Step[];
  readonly probes: readonly PlannedProbe[];
}

export const UNDERLAY = '192.168.50';
export const OUTSIDE_IP = '192.168.50.100';
export const CLUSTER = '10.244.0.0/16';

export const nodeIp = (node: Pick<NodePart, 'index'>): string => `192.168.50.${11 + node.index}`;
export const secondIp = (node: Pick<NodePart, 'index'>): string => `192.168.60.${11 + node.index}`;
export const podPrefix = (node: Pick<NodePart, 'index'>): string => `10.244.${node.index + 1}`;
export const podIp = (node: Pick<NodePart, 'index'>, host: number): string => `${podPrefix(node)}.${host}`;
export const containerIp = (bridge: BridgePart, at: number): string => `${bridge.prefix}.${bridge.containers[at]}`;
export const bridgeSubnet = (bridge: BridgePart): string =>
  bridge.length === 16 ? `${bridge.prefix.split('.').slice(0, 2).join('.')}.0.0/16` : `${bridge.prefix}.0/24`;

/** A place where packets start or end, with its first address. */
export interface PlannedPlace {
  readonly id: string;
  readonly ip: string;
  readonly kind: 'pod' | 'container' | 'macvlan' | 'node' | 'outside';
  readonly node: string | null;
}

export function placesOf(plan: Pick<Plan, 'nodes' | 'backend'>): PlannedPlace[] {
  return [
    { id: 'outside', ip: OUTSIDE_IP, kind: 'outside', node: null },
    ...plan.nodes.flatMap((node): PlannedPlace[] => [
      { id: node.name, ip: nodeIp(node), kind: 'node', node: node.name },
      ...(plan.backend === 'none'
        ? []
        : node.pods.map(
            (host, i): PlannedPlace => ({
              id: `${node.name}/pod-${i + 1}`,
              ip: podIp(node, host),
              kind: 'pod',
              node: node.name,
            }),
          )),
      ...(node.macvlans ?? []).map(
        (host, i): PlannedPlace => ({
          id: `${node.name}/macvlan-${i + 1}`,
          ip: `${UNDERLAY}.${host}`,
          kind: 'macvlan',
          node: node.name,
        }),
      ),
      ...node.bridges.flatMap((bridge) =>
        bridge.containers.map(
          (_host, i): PlannedPlace => ({
            id: `${node.name}/${bridge.name}-${i + 1}`,
            ip: containerIp(bridge, i),
            kind: 'container',
            node: node.name,
          }),
        ),
      ),
    ]),
  ];
}
