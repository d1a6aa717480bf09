import { isUnicast } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind, LinkDevice } from '../facts/index.ts';
import type { HostDevice, Source } from './devices.ts';
import { isFlannel, isUp } from './devices.ts';
import { announcedLeases } from './k8s-leases.ts';
import { flag } from './settings.ts';

/** What tunnelsOf reads: a rule that asks it declares these kinds. */
export const TUNNEL_KINDS = [
  'links',
  'addresses',
  'fdb',
  'routes4',
  'routes6',
  'k8sNodes',
  'flanneldArgs',
] as const satisfies readonly FactKind[];
type TunnelSource = Source<(typeof TUNNEL_KINDS)[number]>;

/** Where something was read. */
export interface At {
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

/** The device that a tunnel's own packets are meant to leave by. */
export interface Lower extends HostDevice {
  /** `sure`: the tunnel names the device; else it was found by an address or a flag. */
  readonly sure: boolean;
  readonly because: readonly At[];
}

/** An overlay device that is up, and what it wraps packets in. */
export interface Tunnel extends HostDevice {
  readonly make: 'vxlan' | 'ipip' | 'wireguard' | 'udp';
  /** Of the outer packets. */
  readonly family: 4 | 6;
  /** Bytes that it adds to an IP packet. */
  readonly overhead: number;
  /** More that it may add, because of what family its ends are is not told. */
  readonly perhaps: number;
  /** A route leaves by it, or a bridge has it as a port; null: routes were not collected whole. */
  readonly used: boolean | null;
  readonly lower: Lower | null;
  /** Of no lower device: why there is none. */
  readonly why: string;
  /** Other ends, by underlay address. */
  readonly remotes: readonly (At & { readonly address: string })[];
}

/** Outer IP, UDP, VXLAN and the inner Ethernet header; one IP header; WireGuard's own 32 beside IP and UDP; flannel's UDP. */
const OVERHEAD = {
  vxlan: { 4: 50, 6: 70 },
  ipip: { 4: 20, 6: 40 },
  wireguard: { 4: 60, 6: 80 },
  udp: { 4: 28, 6: 48 },
} as const;

/** Flannel's and other makers' tunnels that are up. `passed`: those that say nothing by their MTU, each with the reason. */
export function tunnelsOf(source: TunnelSource): {
  readonly tunnels: readonly Tunnel[];
  readonly passed: readonly (HostDevice & { readonly because: string })[];
} {
  const tunnels: Tunnel[] = [];
  const passed: (HostDevice & { because: string })[] = [];
  const fact = [source.get('links'), source.get('addresses')].find((f) => !f.missing);
  if (fact === undefined || fact.missing) return { tunnels, passed };
  for (const device of fact.value.devices) {
    const make = makeOf(device);
    if (make === null && !TOLD.test(device.name)) continue;
    if (make === null || device.vxlan?.external === true)
      // Cilium, Weave, Open vSwitch: the device keeps a large MTU on purpose, routes and ports have the small one
      passed.push({ device, fact, because: `${device.name} is told by its maker how to wrap each packet` });
    else if (!isUp(device)) passed.push({ device, fact, because: `${device.name} is down` });
    else tunnels.push(tunnelOf(source, { device, fact }, make));
  }
  return { tunnels, passed };
}

/** Other makers' overlays without their details, or of another kind. */
const TOLD = /^(cilium_(vxlan|geneve)|vxlan-6784|vxlan_sys_\d+|genev_sys_\d+)$/;

function makeOf({ name, kind }: LinkDevice): Tunnel['make'] | null {
  if (kind === 'vxlan' || (kind === undefined && /^(flannel(-v6)?\.\d+|vxlan(-v6)?\.calico)$/.test(name)))
    return 'vxlan';
  if (kind === 'ipip' || (kind === undefined && /^(flannel\.ipip|tunl0)$/.test(name))) return 'ipip';
  // anybody's wg0 is no overlay of containers
  if (/^flannel-wg(-v6)?$/.test(name)) return 'wireguard';
  return /^flannel\d+$/.test(name) && (kind === undefined || kind === 'tun') ? 'udp' : null;
}

function tunnelOf(source: TunnelSource, host: HostDevice, make: Tunnel['make']): Tunnel {
  const { device } = host;
  const remotes = remotesOf(source, device, make);
  const ends = [device.vxlan?.local, device.vxlan?.remote, device.vxlan?.group, remotes[0]?.address];
  const outer = ends.find((e) => e !== undefined) ?? (/-v6/.test(device.name) ? '::' : '');
  const family = outer.includes(':') ? 6 : 4;
  return {
    ...host,
    make,
    family,
    overhead: OVERHEAD[make][family],
    perhaps: make === 'wireguard' && family === 4 && remotes.length === 0 ? OVERHEAD[make][6] - OVERHEAD[make][4] : 0,
    used: isUsed(source, device),
    remotes,
    ...lowerOf(source, device),
  };
}

function isUsed(source: TunnelSource, device: LinkDevice): boolean | null {
  if (device.master !== undefined) return true;
  const leaves = (fact: Fact<'routes4' | 'routes6'>) =>
    fact.value.routes.some(
      (r) => r.type === 'unicast' && !/^fe80:/.test(r.dst) && [r, ...r.nexthops].some((h) => h.dev === device.name),
    );
  for (const kind of ['routes4', 'routes6'] as const) {
    const fact = source.get(kind);
    if (!fact.missing && leaves(fact)) return true;
  }
  const asked = source.get(/-v6/.test(device.name) ? 'routes6' : 'routes4');
  return asked.missing || !asked.closed ? null : false;
}

/** What the forwarding table, the device or (ipip: the next hop is the other node itself) the routes say; else what flannel announces. */
function remotesOf(source: TunnelSource, device: LinkDevice, make: Tunnel['make']): Tunnel['remotes'] {
  const found = new Map<string, At & { address: string }>();
  const add = (address: string, at: At) => {
    // a group's members are not told
    if (!found.has(address) && isUnicast(address)) found.set(address, { address, ...at });
  };
  if (make === 'vxlan') {
    // without its details it may be one whose maker tells it how to wrap (Weave's has an MTU of 65535)
    if (device.vxlan === undefined && !/^flannel[.-]|\.calico$/.test(device.name)) return [];
    const fdb = source.get('fdb');
    if (!fdb.missing)
      for (const e of fdb.value.entries)
        if (e.dev === device.name && e.dst !== undefined) add(e.dst, { fact: fdb, span: e });
  } else if (make === 'ipip') {
    const routes = source.get('routes4');
    if (!routes.missing)
      for (const r of routes.value.routes)
        if (r.dev === device.name && r.via !== undefined) add(r.via, { fact: routes, span: r });
  } else {
    const own = ownAddresses(source);
    for (const { underlay } of announcedLeases(source))
      if (underlay !== null && !own.has(underlay.value)) {
        const fact = source.get('k8sNodes');
        if (!fact.missing) add(underlay.value, { fact, span: underlay.span });
      }
  }
  return [...found.values()];
}

const ownAddresses = (source: Source<'addresses'>): ReadonlySet<string> => {
  const fact = source.get('addresses');
  return new Set(fact.missing ? [] : fact.value.devices.flatMap((d) => d.addresses.map((a) => a.address)));
};

/** A device of the host by its name, with the details of `ip link` where there are some. */
export function deviceNamed(source: Source<'links' | 'addresses'>, name: string): HostDevice | undefined {
  for (const fact of [source.get('links'), source.get('addresses')]) {
    const device = fact.missing ? undefined : fact.value.devices.find((d) => d.name === name);
    if (device !== undefined && !fact.missing) return { device, fact };
  }
  return undefined;
}

function lowerOf(source: TunnelSource, device: LinkDevice): Pick<Tunnel, 'lower' | 'why'> {
  const name = device.vxlan?.dev ?? (device.kind === 'ipip' ? device.peerName : undefined);
  if (name !== undefined) {
    const found = deviceNamed(source, name);
    if (found === undefined) return { lower: null, why: `its lower device ${name} is not listed` };
    return { lower: { ...found, sure: true, because: [] }, why: '' };
  }
  const said = source.get('flanneldArgs');
  const iface = said.missing || !/^flannel/.test(device.name) ? undefined : flag(said.value, 'iface');
  const announced = announcedLeases(source).map((l) => l.underlay);
  const own = ownAddresses(source);
  const k8s = source.get('k8sNodes');
  // a tunnel's own word comes first
  const hints: { readonly text: string; readonly because: readonly At[] }[] = [];
  if (device.vxlan?.local !== undefined) hints.push({ text: device.vxlan.local, because: [] });
  else if (/^flannel/.test(device.name)) {
    if (iface !== undefined && !said.missing) hints.push({ text: iface.value, because: [{ fact: said, span: iface }] });
    for (const a of announced)
      if (a !== null && own.has(a.value) && !k8s.missing)
        hints.push({ text: a.value, because: [{ fact: k8s, span: a.span }] });
  }
  for (const { text, because } of hints) {
    const found = deviceNamed(source, text) ?? holderOf(source, text);
    if (found === undefined) continue;
    if (/^lo$|^dummy|^kube-ipvs0$/.test(found.device.name) || found.device.kind === 'dummy')
      return { lower: null, why: `its address ${text} is on ${found.device.name}, which no packet leaves by` };
    return { lower: { ...found, sure: false, because }, why: '' };
  }
  return { lower: null, why: 'nothing collected names its lower device or an address that one of the node’s has' };
}

function holderOf(source: Source<'links' | 'addresses'>, address: string): HostDevice | undefined {
  const fact = source.get('addresses');
  const holder = fact.missing
    ? undefined
    : fact.value.devices.find((d) => d.addresses.some((a) => a.address === address));
  return holder === undefined ? undefined : deviceNamed(source, holder.name);
}

/**
 * Of several tunnels of one maker (flanneld leaves the old device behind when the VNI changes) those that packets take; null: which ones is
 * not known.
 */
export function inUse(tunnels: readonly Tunnel[]): ReadonlyMap<Tunnel, boolean | null> {
  const several = tunnels.filter((t) => isFlannel(t.device.name) && t.make === 'vxlan');
  return new Map(
    tunnels.map((t) => {
      const rivals = several.filter((o) => o !== t && family(o) === family(t));
      if (!several.includes(t) || rivals.length === 0) return [t, true];
      return [t, t.used === false && rivals.every((r) => r.used === false) ? null : t.used];
    }),
  );
}

const family = (t: Tunnel) => t.device.name.replace(/\d+$/, '#');
