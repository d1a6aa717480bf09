import type { Span } from '../core/span.ts';

export interface DockerNetworks {
  readonly networks: readonly (Span & {
    readonly id: string;
    readonly name: string;
    readonly driver: string;
    readonly scope: string;
    readonly internal: boolean;
    /** Bridge device: option com.docker.network.bridge.name, docker0 for `bridge`, else br-<12 of id>; absent for other drivers. */
    readonly bridge?: string;
    readonly ipam: readonly (Span & {
      readonly subnet: string;
      readonly gateway?: string;
      readonly ipRange?: string;
    })[];
    readonly options: Readonly<Record<string, string>>;
    readonly containers: readonly {
      readonly id: string;
      readonly name: string;
      readonly ipv4?: string;
      readonly ipv6?: string;
      readonly mac?: string;
    }[];
  })[];
}

export interface DockerNetworkList {
  readonly networks: readonly (Span & {
    readonly id: string;
    readonly name: string;
    readonly driver: string;
    readonly scope?: string;
  })[];
}

export interface DockerContainers {
  readonly containers: readonly (Span & {
    readonly id: string;
    readonly name: string;
    readonly state: string;
    readonly pid?: number;
    readonly networkMode?: string;
    readonly sandboxKey?: string;
    readonly privileged?: boolean;
    readonly networks: readonly {
      readonly name: string;
      readonly ip?: string;
      readonly prefixLength?: number;
      readonly gateway?: string;
      readonly mac?: string;
      readonly ipv6?: string;
    }[];
    readonly ports: readonly {
      readonly containerPort: number;
      readonly proto: string;
      readonly hostIp?: string;
      readonly hostPort?: number;
    }[];
    readonly labels: Readonly<Record<string, string>>;
  })[];
}

export interface CniConf {
  readonly file: string;
  readonly name?: string;
  readonly plugins: readonly (Span & {
    readonly type: string;
    readonly bridge?: string;
    readonly isGateway?: boolean;
    readonly ipMasq?: boolean;
    readonly hairpinMode?: boolean;
    readonly mtu?: number;
    readonly subnets: readonly string[];
    /** The flannel meta plugin's `delegate`, or the plugin's own keys, flattened to text. */
    readonly settings: Readonly<Record<string, string | number | boolean>>;
  })[];
}

/** host-local IPAM state: one file a lease. */
export interface CniLeases {
  readonly leases: readonly (Span & { readonly network: string; readonly ip: string; readonly owner: string })[];
}

/** netns/index.txt. */
export interface NetnsIndex {
  readonly namespaces: readonly (Span & {
    readonly inode: string;
    readonly pid?: number;
    readonly comm?: string;
    readonly cgroup?: string;
    readonly pin?: string;
  })[];
}

/** `kubectl get nodes -o json`, or of one node: what flannel writes there of itself (its leases, with the Kubernetes API as their store). */
export interface K8sNodes {
  readonly nodes: readonly (Span & {
    readonly name: string;
    readonly podCidrs: readonly string[];
    /** Annotations `flannel.alpha.coreos.com/...`, each with its own place. */
    readonly vtepMac?: Span & { readonly value: string };
    readonly publicIp?: Span & { readonly value: string };
  })[];
}
