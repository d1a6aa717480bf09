import type { BridgeAttributes, BridgePortAttributes, Fact, LinkDevice, VxlanAttributes } from '../facts/index.ts';
import { type Addr, type Net, networkOf, parseAddr } from './addr.ts';
import { type Cite, cite, missingReason, type Reason } from './doubt.ts';
import { factOf } from './instance.ts';
import type { Space } from './space.ts';

/** One address of a device; `net` is what the kernel counts as on-link through it. */
export interface OwnAddress {
  readonly addr: Addr;
  readonly net: Net;
  readonly secondary: boolean;
  readonly scope: string;
  /** IPv6: not chosen for what begins here while there is another. */
  readonly deprecated: boolean;
  /** Not in use: see InterfaceAddress. */
  readonly dad: 'tentative' | 'dadfailed' | null;
  readonly dev: string;
  readonly cite: Cite;
}

export interface Device {
  readonly name: string;
  /** 0: not known. */
  readonly index: number;
  /** bridge, veth, vxlan, lo ...; '' when the evidence does not say. */
  readonly kind: string;
  /** `ip -d link` told of it; false: that it has no kind says nothing. */
  readonly described: boolean;
  /** null: the flags were not printed. */
  readonly up: boolean | null;
  /** Something is at the other end of its wire; without that it sends nothing (dev_deactivate). */
  readonly carrier: boolean | null;
  readonly mtu: number | null;
  readonly mac: string | null;
  readonly master: string | null;
  readonly peerIndex: number | null;
  readonly peerName: string | null;
  readonly netnsId: number | null;
  readonly netnsName: string | null;
  readonly macvlanMode: string | null;
  /** A program sees what comes in before anything else does. */
  readonly xdp: boolean;
  readonly vxlan: VxlanAttributes | null;
  readonly bridge: BridgeAttributes;
  readonly port: BridgePortAttributes;
  readonly noArp: boolean;
  readonly addresses: readonly OwnAddress[];
  readonly cite: Cite;
}

export interface DeviceTable {
  readonly list: readonly Device[];
  readonly byName: ReadonlyMap<string, Device>;
  readonly byIndex: ReadonlyMap<number, Device>;
  /** Every address of the namespace, in order of devices. */
  readonly addresses: readonly OwnAddress[];
  readonly own: ReadonlyMap<Addr, OwnAddress>;
  /** Set: the devices are not known, or not all of them. */
  readonly gap: Reason | null;
  /** Set: `ip addr` tells what there is, but nothing tells of what kind it is, or not of all (Device.described). */
  readonly kinds: Reason | null;
}

type LinkFact = Fact<'addresses'> | Fact<'links'> | Fact<'linksJson'> | Fact<'netnsAddresses'> | Fact<'netnsLinks'>;

/** The devices of a namespace: what `ip addr`, `ip -d link` and its JSON say of the same device, put together by name. */
export function readDevices(space: Space): DeviceTable {
  const { facts } = space.node;
  const sources: LinkFact[] = [];
  let gap: Reason | null = null;
  let kinds: Reason | null = null;
  if (space.inode === null) {
    const addresses = facts.get('addresses');
    if (addresses.missing) gap = missingReason('the devices are not known', addresses);
    else if (!addresses.closed)
      gap = { because: `${addresses.path} was not collected whole`, evidence: [addresses.evidence] };
    const links = facts.get('links');
    const json = facts.get('linksJson');
    if (links.missing && json.missing) kinds = missingReason('the kinds of the devices are not known', links);
    else if (!links.missing && !links.closed && (json.missing || !json.closed))
      kinds = { because: `${links.path} was not collected whole`, evidence: [links.evidence] };
    for (const fact of [addresses, links, json]) if (!fact.missing) sources.push(fact);
  } else {
    const addresses = factOf(facts, 'netnsAddresses', space.inode);
    if (addresses === undefined)
      // its label is made of its addresses
      gap = {
        because: `the addresses of netns ${space.inode} on ${space.node.id} were not collected`,
        evidence: ['netns.addr-json'],
      };
    for (const fact of [addresses, factOf(facts, 'netnsLinks', space.inode)])
      if (fact !== undefined) sources.push(fact);
  }
  const merged = new Map<string, { parts: LinkDevice[]; facts: LinkFact[] }>();
  for (const fact of sources) {
    for (const device of fact.value.devices) {
      const known = merged.get(device.name);
      if (known === undefined) merged.set(device.name, { parts: [device], facts: [fact] });
      else {
        known.parts.push(device);
        known.facts.push(fact);
      }
    }
  }
  const masters = new Set([...merged.values()].flatMap((m) => m.parts.flatMap((p) => p.master ?? [])));
  const ports = portAttributes(space);
  const list = [...merged].map(([name, m]) => deviceOf(name, m.parts, m.facts, masters.has(name), ports));
  const addresses = list.flatMap((d) => d.addresses);
  const own = new Map<Addr, OwnAddress>();
  for (const a of addresses) if (!own.has(a.addr)) own.set(a.addr, a);
  return {
    list,
    byName: new Map(list.map((d) => [d.name, d])),
    byIndex: new Map(list.filter((d) => d.index > 0).map((d) => [d.index, d])),
    addresses,
    own,
    gap,
    kinds,
  };
}

function first<K extends keyof LinkDevice>(parts: readonly LinkDevice[], key: K): NonNullable<LinkDevice[K]> | null {
  for (const part of parts) {
    const value = part[key];
    if (value !== undefined) return value as NonNullable<LinkDevice[K]>;
  }
  return null;
}

function deviceOf(
  name: string,
  parts: readonly LinkDevice[],
  facts: readonly LinkFact[],
  isMaster: boolean,
  ports: Ports,
): Device {
  const flags = parts.find((p) => p.flags.length > 0)?.flags ?? [];
  const vxlan = first(parts, 'vxlan');
  const stated = first(parts, 'kind');
  const loop = flags.includes('LOOPBACK') || name === 'lo';
  // `ip addr` without -d prints no kind: a device that others name as master is a bridge (or a bond, which -d would tell)
  const kind = stated ?? (vxlan !== null ? 'vxlan' : loop ? 'lo' : isMaster ? 'bridge' : '');
  const withAddresses = parts.findIndex((p) => p.addresses.length > 0);
  const fact = facts[Math.max(withAddresses, 0)] as LinkFact;
  const addresses: OwnAddress[] = [];
  for (const a of parts[Math.max(withAddresses, 0)]?.addresses ?? []) {
    const addr = parseAddr(a.address);
    if (addr === null) continue;
    const onLink = a.peer === undefined ? addr : (parseAddr(a.peer) ?? addr);
    addresses.push({
      addr,
      net: { base: networkOf(onLink, a.prefixLength), length: a.prefixLength },
      secondary: a.secondary,
      scope: a.scope,
      deprecated: a.deprecated === true,
      dad: a.dad ?? null,
      dev: name,
      cite: cite(fact, a),
    });
  }
  return {
    name,
    index: parts.find((p) => p.ifindex > 0)?.ifindex ?? 0,
    kind,
    described: facts.some((f, i) => describes(f, parts[i])),
    up: flags.length === 0 ? null : flags.includes('UP'),
    // NO-CARRIER follows by up to a second (linkwatch), LOWER_UP at once
    carrier: flags.length === 0 ? null : flags.includes('LOWER_UP') || !flags.includes('NO-CARRIER'),
    mtu: first(parts, 'mtu'),
    mac: first(parts, 'mac'),
    master: first(parts, 'master'),
    peerIndex: first(parts, 'peerIfindex'),
    peerName: first(parts, 'peerName'),
    netnsId: first(parts, 'linkNetnsId'),
    netnsName: first(parts, 'linkNetnsName'),
    macvlanMode: first(parts, 'macvlanMode'),
    xdp: parts.some((p) => p.xdp === true),
    vxlan,
    bridge: { ...ports.bridge.get(name), ...first(parts, 'bridge') },
    port: { ...ports.port.get(name), ...first(parts, 'port') },
    noArp: flags.includes('NOARP') || flags.includes('POINTOPOINT') || loop,
    addresses,
    cite: cite(facts[0] as LinkFact, parts[0] as LinkDevice),
  };
}

/** Of a list that was cut off the last device may lack its details. */
const describes = (fact: LinkFact, part: LinkDevice | undefined): boolean =>
  fact.kind !== 'addresses' && (fact.closed || fact.value.devices.at(-1) !== part);

interface Ports {
  readonly port: Map<string, BridgePortAttributes>;
  readonly bridge: Map<string, BridgeAttributes>;
}

const STATES = ['disabled', 'listening', 'learning', 'forwarding', 'blocking'];

/** `bridge -d link` and sysfs: for hosts whose `ip link` was collected without -d. */
function portAttributes(space: Space): Ports {
  const port = new Map<string, BridgePortAttributes>();
  const bridge = new Map<string, BridgeAttributes>();
  if (space.inode !== null) return { port, bridge };
  const sysfs = space.node.facts.get('sysfs');
  if (!sysfs.missing) {
    for (const { dev, attr, value } of sysfs.value.entries) {
      const said = portAttribute(attr, value);
      if (said !== null) port.set(dev, { ...port.get(dev), ...said });
      const ofBridge = bridgeAttribute(attr, value);
      if (ofBridge !== null) bridge.set(dev, { ...bridge.get(dev), ...ofBridge });
    }
  }
  const links = space.node.facts.get('bridgePorts');
  if (!links.missing) {
    for (const { name, state, hairpin, isolated } of links.value.ports) {
      const said = { state, hairpin, isolated };
      const known = Object.fromEntries(Object.entries(said).filter(([, v]) => v !== undefined));
      port.set(name, { ...port.get(name), ...known });
    }
  }
  return { port, bridge };
}

function portAttribute(attr: string, value: string): BridgePortAttributes | null {
  if (attr === 'brport/state') return { state: STATES[Number(value)] ?? value };
  if (attr === 'brport/hairpin_mode') return { hairpin: value === '1' };
  return attr === 'brport/isolated' ? { isolated: value === '1' } : null;
}

function bridgeAttribute(attr: string, value: string): BridgeAttributes | null {
  if (attr === 'bridge/nf_call_iptables') return { nfCallIptables: value === '1' };
  if (attr === 'bridge/nf_call_ip6tables') return { nfCallIp6tables: value === '1' };
  return attr === 'bridge/vlan_filtering' ? { vlanFiltering: value === '1' } : null;
}

/** Why nothing leaves or comes by the device: `eth0 is down`, `eth0 has no carrier`; null: nothing stands in the way. */
export function whyDown({ name, up, carrier }: Device): string | null {
  if (up === false) return `${name} is down`;
  return carrier === false ? `${name} has no carrier: nothing is at the other end of its wire, or that is down` : null;
}
