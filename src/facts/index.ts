import type { EvidenceId } from '../core/evidence.ts';
import type {
  CniBin,
  CniConf,
  CniLeases,
  DockerContainers,
  DockerNetworkList,
  DockerNetworks,
  DockerSocket,
  DockerSocketMounts,
  K8sNodes,
  K8sServices,
  NetnsIndex,
} from './containers.ts';
import type {
  IpSets,
  IptablesVersion,
  IpvsServices,
  NftJson,
  NftTables,
  NftText,
  Ruleset,
  TableNames,
} from './firewall.ts';
import type {
  BridgePorts,
  Bridges,
  Fdb,
  Links,
  NeighbourProxies,
  Neighbours,
  NetnsIds,
  Qdiscs,
  SysfsAttributes,
  XfrmPolicies,
} from './links.ts';
import type { PolicyRules, Routes } from './routes.ts';
import type {
  Cgroup,
  EnvFile,
  JsonSettings,
  KernelCounters,
  Modules,
  ProcessArgs,
  Settings,
  Sockets,
  Sysctls,
  TextLines,
  UnitFiles,
} from './settings.ts';

export type * from './containers.ts';
export type * from './firewall.ts';
export type * from './links.ts';
export type * from './routes.ts';
export type * from './settings.ts';

/** Fact kind -> its type. Each kind is read from one or more evidence kinds: see FACT_SOURCES. */
export interface FactTypes {
  hostname: TextLines;
  uname: TextLines;
  uptime: TextLines;
  resolvConf: TextLines;
  osRelease: EnvFile;
  modules: Modules;
  cgroup: Cgroup;
  sysctl: Sysctls;
  addresses: Links;
  links: Links;
  linksJson: Links;
  netnsIds: NetnsIds;
  routes4: Routes;
  routes6: Routes;
  rules4: PolicyRules;
  rules6: PolicyRules;
  neighbours: Neighbours;
  neighbourProxies: NeighbourProxies;
  xfrmPolicies: XfrmPolicies;
  neighbourCounters: KernelCounters;
  fdb: Fdb;
  qdiscs: Qdiscs;
  bridgePorts: BridgePorts;
  bridges: Bridges;
  sysfs: SysfsAttributes;
  iptables: Ruleset;
  iptablesNft: Ruleset;
  iptablesLegacy: Ruleset;
  ip6tables: Ruleset;
  ip6tablesNft: Ruleset;
  ip6tablesLegacy: Ruleset;
  iptablesVersion: IptablesVersion;
  legacyTables: TableNames;
  legacyTables6: TableNames;
  nftJson: NftJson;
  nftText: NftText;
  ebtables: TextLines;
  ipsets: IpSets;
  ipvs: IpvsServices;
  conntrackCounters: KernelCounters;
  sockets: Sockets;
  dockerVersion: Settings;
  dockerInfo: Settings;
  dockerNetworks: DockerNetworks;
  dockerNetworkList: DockerNetworkList;
  dockerContainers: DockerContainers;
  daemonJson: JsonSettings;
  dockerUnit: UnitFiles;
  dockerDefault: EnvFile;
  dockerdArgs: ProcessArgs;
  dockerSocket: DockerSocket;
  dockerSocketMounts: DockerSocketMounts;
  containerdConfig: Settings;
  containerdArgs: ProcessArgs;
  crioArgs: ProcessArgs;
  criDockerdArgs: ProcessArgs;
  criInfo: Settings;
  kubeletArgs: ProcessArgs;
  kubeProxyArgs: ProcessArgs;
  k3sArgs: ProcessArgs;
  kubeletConfig: Settings;
  kubeadmFlags: EnvFile;
  kubeletUnit: UnitFiles;
  kubeProxyConfig: Settings;
  staticPods: TextLines;
  flannelEnv: EnvFile;
  flannelNetConf: JsonSettings;
  flanneldArgs: ProcessArgs;
  k8sNodes: K8sNodes;
  k8sServices: K8sServices;
  cniConf: CniConf;
  cniBin: CniBin;
  cniLeases: CniLeases;
  journals: TextLines;
  kernelLog: TextLines;
  netnsIndex: NetnsIndex;
  netnsAddresses: Links;
  netnsLinks: Links;
  netnsRoutes4: Routes;
  netnsRoutes6: Routes;
  netnsRules4: PolicyRules;
  netnsNeighbours: Neighbours;
  netnsSysctl: Sysctls;
  netnsSockets: Sockets;
  netnsResolvConf: TextLines;
  netnsIptablesNft: Ruleset;
  netnsIptablesLegacy: Ruleset;
  netnsLegacyTables: TableNames;
  netnsIp6tablesNft: Ruleset;
  netnsIp6tablesLegacy: Ruleset;
  netnsNftTables: NftTables;
  netnsLegacyTables6: TableNames;
}

export type FactKind = keyof FactTypes;

/** Kinds that a node has several of (one a namespace, one a file): rules get a list. */
export const MANY_KINDS = [
  'cniConf',
  'journals',
  'netnsAddresses',
  'netnsLinks',
  'netnsRoutes4',
  'netnsRoutes6',
  'netnsRules4',
  'netnsNeighbours',
  'netnsSysctl',
  'netnsSockets',
  'netnsResolvConf',
  'netnsIptablesNft',
  'netnsIptablesLegacy',
  'netnsLegacyTables',
  'netnsIp6tablesNft',
  'netnsIp6tablesLegacy',
  'netnsNftTables',
  'netnsLegacyTables6',
] as const satisfies readonly FactKind[];

export type ManyKind = (typeof MANY_KINDS)[number];

/** Where each fact comes from, best form first: text before JSON, because a cite of one line helps and a cite of a 30 kB line does not. */
export const FACT_SOURCES: { readonly [K in FactKind]: readonly [EvidenceId, ...EvidenceId[]] } = {
  hostname: ['sys.hostname'],
  uname: ['sys.uname'],
  uptime: ['sys.uptime'],
  resolvConf: ['sys.resolv-conf'],
  osRelease: ['sys.os-release'],
  modules: ['sys.modules'],
  cgroup: ['sys.cgroup'],
  sysctl: ['sys.sysctl'],
  addresses: ['ip.addr', 'ip.addr-json', 'ip.ifconfig'],
  links: ['ip.link', 'ip.link-json'],
  linksJson: ['ip.link-json'],
  netnsIds: ['ip.nsid-json'],
  routes4: ['ip.route4', 'ip.route4-json', 'proc.route'],
  routes6: ['ip.route6', 'ip.route6-json'],
  rules4: ['ip.rule4', 'ip.rule4-json'],
  rules6: ['ip.rule6', 'ip.rule6-json'],
  neighbours: ['ip.neigh', 'ip.neigh-json', 'proc.arp'],
  neighbourProxies: ['ip.neigh-proxy'],
  xfrmPolicies: ['ip.xfrm-policy'],
  neighbourCounters: ['proc.arp-cache'],
  fdb: ['bridge.fdb', 'bridge.fdb-json'],
  qdiscs: ['tc.qdisc-json'],
  bridgePorts: ['bridge.link', 'bridge.link-json'],
  bridges: ['bridge.brctl-show'],
  sysfs: ['bridge.sysfs'],
  iptables: ['fw.iptables-save'],
  iptablesNft: ['fw.iptables-nft-save'],
  iptablesLegacy: ['fw.iptables-legacy-save'],
  ip6tables: ['fw.ip6tables-save'],
  ip6tablesNft: ['fw.ip6tables-nft-save'],
  ip6tablesLegacy: ['fw.ip6tables-legacy-save'],
  iptablesVersion: ['fw.iptables-version'],
  legacyTables: ['fw.ip-tables-names'],
  legacyTables6: ['fw.ip6-tables-names'],
  nftJson: ['fw.nft-json'],
  nftText: ['fw.nft'],
  ebtables: ['fw.ebtables-save'],
  ipsets: ['fw.ipset-save'],
  ipvs: ['fw.ipvs'],
  conntrackCounters: ['ct.stat'],
  sockets: ['sock.ss-listen'],
  dockerVersion: ['docker.version'],
  dockerInfo: ['docker.info-json', 'docker.info'],
  dockerNetworks: ['docker.network-inspect'],
  dockerNetworkList: ['docker.network-ls'],
  dockerContainers: ['docker.containers'],
  daemonJson: ['docker.daemon-json'],
  dockerUnit: ['docker.unit'],
  dockerDefault: ['docker.default', 'docker.sysconfig'],
  dockerdArgs: ['docker.cmdline'],
  dockerSocket: ['docker.socket'],
  dockerSocketMounts: ['docker.socket-mounts'],
  containerdConfig: ['cri.containerd-config'],
  containerdArgs: ['cri.cmdline-containerd'],
  crioArgs: ['cri.cmdline-crio'],
  criInfo: ['cri.info'],
  criDockerdArgs: ['cri.cmdline-cri-dockerd'],
  kubeletArgs: ['kubelet.cmdline'],
  kubeProxyArgs: ['kubelet.cmdline-kube-proxy'],
  k3sArgs: ['kubelet.cmdline-k3s', 'kubelet.cmdline-rke2'],
  kubeletConfig: ['kubelet.config'],
  kubeadmFlags: ['kubelet.kubeadm-flags'],
  kubeletUnit: ['kubelet.unit'],
  kubeProxyConfig: ['kubelet.kube-proxy-config'],
  staticPods: ['kubelet.staticpods'],
  flannelEnv: ['flannel.subnet-env'],
  flannelNetConf: ['flannel.net-conf'],
  flanneldArgs: ['flannel.cmdline'],
  k8sNodes: ['k8s.nodes', 'k8s.node'],
  k8sServices: ['k8s.services'],
  cniConf: ['cni.conf'],
  cniBin: ['cni.bin'],
  cniLeases: ['cni.ipam'],
  journals: ['log.journal'],
  kernelLog: ['log.dmesg'],
  netnsIndex: ['netns.index'],
  netnsAddresses: ['netns.addr-json'],
  netnsLinks: ['netns.link-json'],
  netnsRoutes4: ['netns.route4', 'netns.route4-json'],
  netnsRoutes6: ['netns.route6-json'],
  netnsRules4: ['netns.rule4-json'],
  netnsNeighbours: ['netns.neigh-json', 'netns.proc-arp'],
  netnsSysctl: ['netns.sysctl'],
  netnsSockets: ['netns.ss-listen'],
  netnsResolvConf: ['netns.resolv-conf'],
  netnsIptablesNft: ['netns.iptables-nft-save'],
  netnsIptablesLegacy: ['netns.iptables-legacy-save'],
  netnsLegacyTables: ['netns.proc-ip-tables-names'],
  netnsIp6tablesNft: ['netns.ip6tables-nft-save'],
  netnsIp6tablesLegacy: ['netns.ip6tables-legacy-save'],
  netnsNftTables: ['netns.nft-tables'],
  netnsLegacyTables6: ['netns.proc-ip6-tables-names'],
};

/** One fact of one node, with the file it was read from. */
export interface Fact<K extends FactKind> {
  readonly missing: false;
  readonly kind: K;
  readonly node: string;
  readonly evidence: EvidenceId;
  readonly path: string;
  /** What `*` of the evidence path matched: namespace inode, file name. */
  readonly instance?: string;
  /** True only for evidence of status `ok` in an intact bundle: the absence of a line is then a fact. */
  readonly closed: boolean;
  /**
   * Why it is not closed. `end`: the text was cut off (size, time, an error), what is before that is whole. `lines`: any may be missing, for one
   * was not understood, or the list is but a part (src/engine/part.ts).
   */
  readonly lacks?: 'end' | 'lines';
  readonly value: FactTypes[K];
}

/** Why a fact is not there, and which evidence would give it. */
export interface MissingFact<K extends FactKind = FactKind> {
  readonly missing: true;
  readonly kind: K;
  readonly node: string;
  readonly evidence: readonly [EvidenceId, ...EvidenceId[]];
  /** As "skipped: dockerd does not run", "absent", "not collected", "could not be read: ...". */
  readonly because: string;
  /** The collector looked and the thing is not there: file `absent`, tool `missing` or guard `skipped`. Not the same as never collected. */
  readonly lookedFor: boolean;
}

/** What a rule sees of a kind: one fact, or all instances of it. */
export type FactsOf<K extends FactKind> = K extends ManyKind ? readonly Fact<K>[] : Fact<K>;
/** The same, when it may be missing; a list kind is then an empty list. */
export type MaybeFactsOf<K extends FactKind> = K extends ManyKind ? readonly Fact<K>[] : Fact<K> | MissingFact<K>;

export function isManyKind(kind: FactKind): kind is ManyKind {
  return (MANY_KINDS as readonly FactKind[]).includes(kind);
}
