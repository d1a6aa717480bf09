import { parseIp4, prefixContains } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { DeviceKinds, Source } from './devices.ts';
import { containerBridges, isFlannel, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { announcedLeases } from './k8s-leases.ts';

/** A line of a bundle's file, as rules cite it. */
export interface PlaceOf extends Span {
  readonly kind: 'lines';
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
  readonly endLine: number;
}

/** A pod subnet that a node says is its own, or that flannel announces of a node. */
export interface Claim {
  readonly first: number;
  /** null: as long as those of the other nodes. */
  readonly length: number | null;
  readonly at: PlaceOf;
}

/** What other nodes have to know of a node to route its pods to it. */
export interface PeerInfo {
  readonly node: string;
  readonly collectedAt: string | null;
  /** The same for two bundles of one machine. */
  readonly machine: string | null;
  readonly claim: Claim | null;
  /** Addresses that can be a next hop to it. */
  readonly underlay: readonly number[];
  /** No address of it is unknown. */
  readonly whole: boolean;
  /** Its devices are known, and none is flannel's: it takes nothing out of a tunnel. */
  readonly endless: boolean;
  readonly announced: readonly (Claim & { readonly name: string; readonly underlay: number | null })[];
}

/** A pod subnet of a cluster, and whose it is. */
export interface PodPeer {
  /** null: known by what flannel announced of it only. */
  readonly node: string | null;
  readonly name: string;
  readonly machine: string | null;
  readonly first: number;
  readonly length: number | null;
  readonly underlay: ReadonlySet<number>;
  readonly whole: boolean;
  readonly endless: boolean;
  /** When it was seen to be there, in ms; null: at no known time. */
  readonly times: readonly (number | null)[];
  /** Another node claims it as well: whose it is, is another rule's question. */
  readonly disputed: boolean;
  readonly at: PlaceOf;
}

type PodPlaceKinds = DeviceKinds | 'routes4' | 'flannelEnv' | 'k8sNodes';

export const placeOf = (
  fact: Pick<Fact<FactKind>, 'node' | 'evidence' | 'path'>,
  { line, endLine, col, length }: Span,
): PlaceOf => ({
  kind: 'lines',
  node: fact.node,
  evidence: fact.evidence,
  path: fact.path,
  line,
  endLine: endLine ?? line,
  ...(col === undefined ? {} : { col, length }),
});

/** The subnet that flannel leased to a node, by which addresses other nodes reach it, and what it knows of the leases of others. */
export function podPlaces(
  source: Source<PodPlaceKinds>,
): Pick<PeerInfo, 'claim' | 'underlay' | 'whole' | 'endless' | 'announced'> {
  const lease = flannelLease(source);
  const addresses = source.get('addresses');
  const bridges = containerBridges(source);
  const devices = addresses.missing ? [] : addresses.value.devices;
  let claim: Claim | null = null;
  if (lease?.subnet != null) {
    const { prefix, line } = lease.subnet;
    claim = { first: Number(prefix.base), length: prefix.length, at: placeOf(lease.fact, { line }) };
  } else if (!addresses.missing) {
    // without subnet.env: the tunnel device has the subnet's first address, the bridge has its length
    const own = devices
      .filter((d) => isFlannel(d.name))
      .flatMap((d) => d.addresses)
      .find((a) => a.family === 4 && a.prefixLength === 32);
    const first = own === undefined ? null : parseIp4(own.address);
    const prefix = bridges.flatMap((b) => b.prefixes).find((p) => Number(p.prefix.base) === first)?.prefix;
    if (own !== undefined && first !== null)
      claim = { first, length: prefix?.length ?? null, at: placeOf(addresses, own) };
  }
  const network = lease?.network?.prefix ?? null;
  const inside = new Set(bridges.map((b) => b.name));
  const local = devices.flatMap((d) => d.vxlan?.local ?? []);
  const outer = new Set(uplinks(source).map((u) => u.dev));
  const own = [...devices]
    .sort((a, b) => Number(outer.has(b.name)) - Number(outer.has(a.name)))
    .filter((d) => !inside.has(d.name) && !isFlannel(d.name))
    .flatMap((d) => d.addresses)
    .filter((a) => a.family === 4 && a.scope !== 'host');
  const underlay = [...local, ...own.map((a) => a.address)]
    .map(parseIp4)
    .filter((ip) => ip !== null)
    .filter((ip) => network === null || !prefixContains(network, { family: 4, value: BigInt(ip) }));
  const announced = announcedLeases(source).flatMap(({ name, vtep, length, underlay: said }) => {
    const first = parseIp4(vtep);
    // a node that flannel announced nothing of is not its: virtual, or not joined yet
    if (first === null || said === null) return [];
    return [{ name, first, length, underlay: parseIp4(said.value), at: placeOf(said.fact, said.span) }];
  });
  const whole = !addresses.missing && addresses.closed;
  const endless = whole && !devices.some((d) => isFlannel(d.name) || /^flannel\d+$/.test(d.name));
  return { claim, underlay: [...new Set(underlay)], whole, endless, announced };
}

export const timeOf = (collectedAt: string | null): number | null =>
  collectedAt === null ? null : Date.parse(collectedAt);

/** The pod subnets of one cluster by their first address. A bundle knows its node better than what was announced of it. */
export function podPeers(members: readonly PeerInfo[]): Map<number, PodPeer> {
  const peers = new Map<number, PodPeer>();
  for (const m of members) {
    const { claim, node, machine, underlay, whole, endless } = m;
    if (claim === null) continue;
    const known = peers.get(claim.first);
    const same = known !== undefined && machine !== null && known.machine === machine;
    const time = timeOf(m.collectedAt);
    peers.set(claim.first, {
      node,
      name: node,
      machine,
      first: claim.first,
      length: claim.length ?? known?.length ?? null,
      underlay: new Set([...underlay, ...(known?.underlay ?? [])]),
      whole: whole && known?.whole !== false,
      endless: endless && known?.endless !== false,
      times: [...(known?.times ?? []), time],
      disputed: known !== undefined && (known.disputed || !same),
      at: claim.at,
    });
  }
  for (const m of members)
    for (const a of m.announced) {
      const known = peers.get(a.first);
      const time = timeOf(m.collectedAt);
      const underlay = a.underlay === null ? [] : [a.underlay];
      if (known === undefined)
        peers.set(a.first, {
          node: null,
          name: a.name,
          machine: null,
          first: a.first,
          length: a.length,
          underlay: new Set(underlay),
          whole: a.underlay !== null,
          endless: false,
          times: [time],
          disputed: false,
          at: a.at,
        });
      else
        peers.set(a.first, {
          ...known,
          length: known.length ?? a.length,
          underlay: new Set([...known.underlay, ...underlay]),
          times: [...known.times, time],
        });
    }
  return peers;
}

const DAY_MS = 86_400_000;
/** Clocks of nodes differ, and a bundle takes its time. */
const SLACK_MS = 600_000;

/** Somebody saw it close to `now`: an hour is no time in which a cluster changes by itself. */
export const isNear = (now: number | null, times: Iterable<number | null>): boolean =>
  now !== null && [...times].some((t) => t !== null && Math.abs(t - now) <= 6 * SLACK_MS);

/** Is what was seen at one of `times` so at `now`? A lease that was seen only later may be newer; one of days ago may be gone. null: no time is known. */
export function heldAt(now: number | null, times: Iterable<number | null>): boolean | null {
  let untimed = now === null;
  if (now !== null)
    for (const t of times) {
      if (t === null) untimed = true;
      else if (t >= now - DAY_MS && t <= now + SLACK_MS) return true;
    }
  return untimed ? null : false;
}
