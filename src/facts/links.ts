import type { Span } from '../core/span.ts';

/** One address of a device, as `ip addr` lists it. Order matters: the first of a subnet is primary. */
export interface InterfaceAddress extends Span {
  readonly family: 4 | 6;
  readonly address: string;
  readonly prefixLength: number;
  readonly scope: string;
  readonly secondary: boolean;
  readonly label?: string;
  readonly peer?: string;
  /** IPv6, past its preferred lifetime: not chosen as a source while there is another. */
  readonly deprecated?: boolean;
  /** Duplicate address detection of IPv6 has not ended, or found somebody else: the kernel does not use the address. */
  readonly dad?: 'tentative' | 'dadfailed';
}

export interface VxlanAttributes {
  readonly vni: number;
  readonly dstPort: number;
  /** The output does not print the port: dstPort is the kernel's default then. */
  readonly dstPortAssumed?: boolean;
  readonly local?: string;
  /** Lower device. */
  readonly dev?: string;
  readonly remote?: string;
  readonly group?: string;
  readonly learning: boolean;
  readonly external: boolean;
  /** l2miss or l3miss: a process is told what is missing and writes it when it is needed (flannel before 0.9). */
  readonly misses?: boolean;
  readonly gbp: boolean;
  readonly srcPort?: readonly [number, number];
  /** 'unset' | 'set' | 'inherit' when the output says it. */
  readonly df?: string;
  /** 'inherit' or a number, when one is set. */
  readonly ttl?: string;
}

export interface BridgeAttributes {
  readonly stp?: boolean;
  readonly vlanFiltering?: boolean;
  readonly nfCallIptables?: boolean;
  readonly nfCallIp6tables?: boolean;
  readonly bridgeId?: string;
}

export interface BridgePortAttributes {
  /** 'forwarding', 'blocking', 'disabled' ... */
  readonly state?: string;
  readonly hairpin?: boolean;
  readonly isolated?: boolean;
  readonly learning?: boolean;
  readonly flood?: boolean;
}

/** A device with what `ip addr` or `ip -d link` says of it. Fields that the output form does not print are absent. */
export interface LinkDevice extends Span {
  /** 0: the form (ifconfig) does not print it. */
  readonly ifindex: number;
  readonly name: string;
  /** `eth0@if7`: 7. Only meaningful in the peer's namespace. */
  readonly peerIfindex?: number;
  /** `a@b`: the lower or peer device's name in this namespace (busybox prints it wrongly for veth). */
  readonly peerName?: string;
  readonly linkNetnsId?: number;
  readonly linkNetnsName?: string;
  readonly flags: readonly string[];
  readonly mtu?: number;
  /** Operational state: UP, DOWN, UNKNOWN ... */
  readonly state?: string;
  readonly master?: string;
  readonly mac?: string;
  /** bridge, veth, vxlan, macvlan, ipvlan, vlan, bond, dummy, tun, wireguard ... ; absent without `-d`. */
  readonly kind?: string;
  readonly vxlan?: VxlanAttributes;
  readonly bridge?: BridgeAttributes;
  readonly port?: BridgePortAttributes;
  readonly vlanId?: number;
  readonly macvlanMode?: string;
  /** An XDP program is attached. */
  readonly xdp?: boolean;
  readonly addresses: readonly InterfaceAddress[];
}

/** `ip addr` (addresses) or `ip -d -s link` (details). `line..endLine` of a device spans its whole block. */
export interface Links {
  readonly devices: readonly LinkDevice[];
}

/** `ip -j netns list-id`: how this namespace numbers its peers. */
export interface NetnsIds {
  readonly ids: readonly (Span & { readonly nsid: number; readonly name?: string })[];
}

/** `tc qdisc`: what shapes, loses or hands packets to programs. */
export interface Qdiscs {
  readonly entries: readonly (Span & { readonly dev: string; readonly kind: string })[];
}

export interface Neighbours {
  readonly entries: readonly (Span & {
    readonly ip: string;
    readonly dev: string;
    readonly mac?: string;
    /** REACHABLE, STALE, PERMANENT, NOARP, FAILED, INCOMPLETE ... ; upper case. */
    readonly state: readonly string[];
  })[];
}

/** `ip xfrm policy`: which packets IPsec protects, lets pass or blocks. */
export interface XfrmPolicies {
  readonly policies: readonly XfrmPolicy[];
}

export interface XfrmPolicy extends Span {
  /** `socket`: of one socket, which it set for itself. */
  readonly direction: 'in' | 'fwd' | 'out' | 'socket';
  readonly action: 'allow' | 'block';
  /** Networks; `10.9.0.0/16`, `::/0`. */
  readonly src: string;
  readonly dst: string;
  readonly proto?: string;
  readonly sport?: number;
  readonly dport?: number;
  /** Of ICMP. */
  readonly type?: number;
  readonly code?: number;
  /** The lowest number decides. */
  readonly priority: number;
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Only for packets through the xfrm interface of this number. */
  readonly ifId?: number;
  /** How many transformations (ESP, AH ...) a packet needs that it lets pass. */
  readonly templates: number;
  /** Conditions that are not understood, as they stand there. */
  readonly unknown?: readonly string[];
}

/** `ip neigh show proxy`: addresses for which the node answers questions in place of others. */
export interface NeighbourProxies {
  readonly entries: readonly (Span & {
    readonly ip: string;
    /** Absent: on every device. */
    readonly dev?: string;
  })[];
}

export interface Fdb {
  readonly entries: readonly (Span & {
    readonly mac: string;
    readonly dev: string;
    /** vxlan remote. */
    readonly dst?: string;
    readonly port?: number;
    readonly vni?: number;
    readonly via?: string;
    readonly vlan?: number;
    readonly master?: string;
    /** `self`: the device's own table (vxlan), not the bridge's. */
    readonly self: boolean;
    readonly permanent: boolean;
    readonly state?: string;
  })[];
}

/** `bridge -d link`: one entry a bridge port. */
export interface BridgePorts {
  readonly ports: readonly (Span &
    BridgePortAttributes & { readonly name: string; readonly ifindex?: number; readonly master?: string })[];
}

/** `brctl show`. */
export interface Bridges {
  readonly bridges: readonly (Span & {
    readonly name: string;
    /** `8000.000000000000`: never had a port. */
    readonly id: string;
    readonly stp: boolean;
    readonly ports: readonly string[];
  })[];
}

/** `grep -sH '' /sys/class/net/...`: attr is the path below the device, as `bridge/nf_call_iptables` or `mtu`. */
export interface SysfsAttributes {
  readonly entries: readonly (Span & { readonly dev: string; readonly attr: string; readonly value: string })[];
}
