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
    /** Since when it runs, by the node's clock, UTC: RFC 3339 with nanoseconds; absent when that was not collected. */
    readonly startedAt?: string;
    /** When it last ended; year 1: never. */
    readonly finishedAt?: string;
    /** How often its restart policy has started it again. */
    readonly restarts?: number;
    readonly pid?: number;
    readonly networkMode?: string;
    readonly sandboxKey?: string;
    readonly privileged?: boolean;
    /** What it was started from: a reference, or an id. */
    readonly image?: string;
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

/** Files of docker's unix sockets, as the collector's ls saw them; nobody connected. */
export interface DockerSocket {
  readonly sockets: readonly (Span & {
    /** Links followed. */
    readonly path: string;
    /** `srw-rw----`; a `+` behind it is an access control list. */
    readonly mode: string;
    readonly uid: number;
    readonly gid: number;
    readonly user?: string;
    readonly group?: string;
    readonly listening: boolean;
  })[];
  /** Each directory above a socket. */
  readonly directories: readonly (Span & { readonly path: string; readonly mode: string })[];
  readonly links: readonly (Span & { readonly path: string; readonly target: string })[];
  /** Neither could be looked at. */
  readonly denied: readonly (Span & { readonly path: string })[];
}

/** Mounts of running containers, of any runtime, that hold docker's socket, and the processes in there. */
export interface DockerSocketMounts {
  readonly mounts: readonly (Span & {
    readonly container: string;
    readonly pid: number;
    readonly readOnly: boolean;
    /** Where it is mounted in the container, and where the socket is by that. */
    readonly at: string;
    readonly socket: string;
    /** The node's socket. */
    readonly host: string;
    /** The file in there is the node's socket: not an older one, and nothing lies on top; absent when that was not looked at. */
    readonly same?: boolean;
  })[];
  /** Each identity once: what the kernel asks of who opens a file. */
  readonly processes: readonly (Span & {
    readonly container: string;
    readonly pid: number;
    readonly name: string;
    readonly uid: number;
    readonly gid: number;
    readonly groups: readonly number[];
    /** Effective capabilities, hexadecimal. */
    readonly caps: string;
    /** The node's own user namespace; absent when not known. */
    readonly hostUsers?: boolean;
    /** Of its security module. */
    readonly label?: string;
  })[];
  readonly selinuxEnforcing?: Span & { readonly value: boolean };
  /** The last line: how much was looked at. */
  readonly looked?: Span & { readonly containers: number; readonly unread: number };
}

export interface CniConf {
  readonly file: string;
  readonly name?: string;
  /** It has `plugins`: the form of a .conflist. */
  readonly list: boolean;
  /** Places for which a runtime refuses the whole file: it reads JSON strictly. */
  readonly refused: readonly (Span & { readonly message: string })[];
  /** Plugins without a type, in a list or alone. */
  readonly untyped: readonly Span[];
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

/** `ls -l` of the directory of CNI plugins. */
export interface CniBin {
  readonly files: readonly (Span & {
    readonly name: string;
    /** As `ls` writes it: `-` a file, `l` a link, `d` a directory. */
    readonly type: string;
    /** Anybody may execute it: root may then, and the runtime is root. */
    readonly executable: boolean;
    /** Bytes. */
    readonly size: number;
    /** Where a link leads. */
    readonly target?: string;
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
    /** The first of them, with its place. */
    readonly podCidr?: Span & { readonly value: string };
    /** Annotations `flannel.alpha.coreos.com/...`, each with its own place. */
    readonly vtepMac?: Span & { readonly value: string };
    readonly publicIp?: Span & { readonly value: string };
    /** `vxlan`, `host-gw` ...: flanneld writes it when it starts. */
    readonly backendType?: Span & { readonly value: string };
    /** `status.nodeInfo`: what the kubelet last said of itself, as `v1.31.4` and `containerd://1.7.24`. */
    readonly kubeletVersion?: Span & { readonly value: string };
    readonly runtimeVersion?: Span & { readonly value: string };
  })[];
}

/** `kubectl get services -A -o json`. */
export interface K8sServices {
  readonly services: readonly (Span & {
    /** `namespace/name`. */
    readonly name: string;
    /** Its ClusterIPs; none: headless, or ExternalName. */
    readonly addresses: readonly string[];
    readonly ports: readonly { readonly port: number; readonly proto: string }[];
  })[];
}
