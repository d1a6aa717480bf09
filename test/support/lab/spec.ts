export type Backend = 'vxlan' | 'host-gw' | 'none';
export type IptablesBackend = 'nft' | 'legacy';

/** A directory of the host in place of one of the node, where a file system in memory would not do. */
export interface Bind {
  readonly from: string;
  readonly to: string;
}

/** A service as kube-proxy (iptables mode) would write it. */
export interface ServiceSpec {
  /** `namespace/name:port-name`. */
  readonly name: string;
  readonly clusterIp: string;
  readonly port: number;
  readonly proto?: 'tcp' | 'udp';
  readonly nodePort?: number;
  /** `ip:port`; none makes the REJECT of a service without endpoints. */
  readonly endpoints: readonly string[];
}

export interface NodeSpec {
  readonly name?: string;
  /** Underlay address; default 192.168.50.11, .12 ... */
  readonly address?: string;
  /** Pod subnet, a /24; default 10.244.1.0/24, 10.244.2.0/24 ... */
  readonly podSubnet?: string;
  /** Address of flannel.1; default by the node's place in the list. */
  readonly vtepMac?: string;
  /** Last octets of the pods' addresses; default [10]: one pod, `pod-1`. */
  readonly pods?: readonly number[];
  /** What `iptables` means on the node; default the lab's. */
  readonly iptables?: IptablesBackend;
  /** Is the node the control plane, with the static pods' manifests? Default: the first node. */
  readonly controlPlane?: boolean;
  /** Files beside or instead of the usual ones; null leaves one out. */
  readonly files?: Readonly<Record<string, string | null>>;
  /** Shell lines at the end of the node's set-up. */
  readonly setup?: string;
  /** Directories of the host that the node uses as its own. */
  readonly binds?: readonly Bind[];
}

export interface LabSpec {
  readonly backend?: Backend;
  /** How many plain nodes, or each of them; default 2. */
  readonly nodes?: number | readonly NodeSpec[];
  readonly iptables?: IptablesBackend;
  /** flannel's chains FLANNEL-POSTRTG and FLANNEL-FWD (default true). */
  readonly flannelRules?: boolean;
  /** kube-proxy's chains with these services; default: none. `[]` writes the base chains with `default/kubernetes`. */
  readonly services?: readonly ServiceSpec[] | null;
  /** Underlay, a /24, and where the outside host is in it. */
  readonly underlay?: string;
  readonly outside?: string;
  /** Makes the outside host a node of its own, which can be collected (Lab.outsideNode). */
  readonly outsideNode?: boolean;
  readonly clusterCidr?: string;
  readonly serviceCidr?: string;
  /** kubelet, containerd and flanneld processes and their files (default true). */
  readonly processes?: boolean;
  readonly cgroupDriver?: 'systemd' | 'cgroupfs';
}

/** A lab's spec with every default filled in. */
export interface LabPlan {
  readonly backend: Backend;
  readonly flannelRules: boolean;
  readonly services: readonly ServiceSpec[] | null;
  readonly underlayLength: number;
  readonly outside: string;
  readonly outsideNode: boolean;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly processes: boolean;
  readonly cgroupDriver: 'systemd' | 'cgroupfs';
  readonly podMtu: number;
  readonly nodes: readonly NodePlan[];
}

export interface NodePlan {
  readonly name: string;
  readonly address: string;
  readonly iptables: IptablesBackend;
  readonly controlPlane: boolean;
  /** First three octets of the pod subnet. */
  readonly podPrefix: string;
  readonly podSubnet: string;
  readonly gateway: string;
  readonly vtepMac: string;
  readonly machineId: string;
  readonly pods: readonly PodPlan[];
  readonly files: Readonly<Record<string, string | null>>;
  readonly setup: string;
  readonly binds: readonly Bind[];
}

export interface PodPlan {
  readonly name: string;
  readonly ip: string;
  /** The bridge port on the node. */
  readonly port: string;
  /** Name of the namespace as a CNI plugin pins it in /run/netns. */
  readonly netns: string;
  readonly mac: string;
}

const hex = (ip: string) =>
  ip
    .split('.')
    .map((octet) => Number(octet).toString(16).padStart(2, '0'))
    .join('');

/** The names a pod gets from its node's prefix and its last octet; deterministic, so that labs compare. */
export function podPlan(podPrefix: string, host: number, index: number): PodPlan {
  const ip = `${podPrefix}.${host}`;
  const id = hex(ip);
  return {
    name: `pod-${index + 1}`,
    ip,
    port: `veth${id}`,
    netns: `cni-${id}-0000-4000-8000-${id}cafe`,
    mac: `0a:58:${id.match(/../g)!.join(':')}`,
  };
}

export function nodePlan(spec: NodeSpec, index: number, lab: LabSpec): NodePlan {
  const podSubnet = spec.podSubnet ?? `10.244.${index + 1}.0/24`;
  const podPrefix = podSubnet.split('.').slice(0, 3).join('.');
  const underlay = (lab.underlay ?? '192.168.50.0/24').split('.').slice(0, 3).join('.');
  const serial = (index + 1).toString(16).padStart(2, '0');
  return {
    name: spec.name ?? `node-${String.fromCharCode(97 + index)}`,
    address: spec.address ?? `${underlay}.${11 + index}`,
    iptables: spec.iptables ?? lab.iptables ?? 'nft',
    controlPlane: spec.controlPlane ?? index === 0,
    podPrefix,
    podSubnet,
    gateway: `${podPrefix}.1`,
    vtepMac: spec.vtepMac ?? `0e:00:00:00:00:${serial}`,
    machineId: `${serial.repeat(4)}5ca1ab1e4000800000${serial.repeat(3)}`,
    pods: (spec.pods ?? [10]).map((host, i) => podPlan(podPrefix, host, i)),
    files: spec.files ?? {},
    setup: spec.setup ?? '',
    binds: spec.binds ?? [],
  };
}

export function labPlan(spec: LabSpec): LabPlan {
  const specs = typeof spec.nodes === 'object' ? spec.nodes : Array.from({ length: spec.nodes ?? 2 }, () => ({}));
  const backend = spec.backend ?? 'vxlan';
  const underlay = (spec.underlay ?? '192.168.50.0/24').split('.').slice(0, 3).join('.');
  return {
    backend,
    flannelRules: spec.flannelRules ?? true,
    services: spec.services ?? null,
    underlayLength: Number((spec.underlay ?? '192.168.50.0/24').split('/')[1]),
    outside: spec.outside ?? `${underlay}.100`,
    outsideNode: spec.outsideNode ?? false,
    clusterCidr: spec.clusterCidr ?? '10.244.0.0/16',
    serviceCidr: spec.serviceCidr ?? '10.96.0.0/12',
    processes: spec.processes ?? true,
    cgroupDriver: spec.cgroupDriver ?? 'systemd',
    podMtu: backend === 'vxlan' ? 1450 : 1500,
    nodes: specs.map((node, i) => nodePlan(node, i, spec)),
  };
}
