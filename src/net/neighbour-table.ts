import { type Addr, formatAddr, parseAddr } from './addr.ts';
import { type Absence, type Cite, cite, type Reason } from './doubt.ts';
import { factOf } from './instance.ts';
import type { Space } from './space.ts';

/** What a namespace's neighbour table says of an address on a device. */
export interface NeighbourEntry {
  readonly mac: string | null;
  /** PERMANENT, REACHABLE ... */
  readonly state: string;
  readonly cite: Cite;
}

interface NeighbourTable {
  /** By device, then by address. */
  readonly entries: ReadonlyMap<string, ReadonlyMap<Addr, NeighbourEntry>>;
  /** Set: not collected, or not whole. */
  readonly gap: Reason | null;
  /** The same of IPv6, which /proc/net/arp does not show. */
  readonly gap6: Reason | null;
}

const tableOf = (space: Space): NeighbourTable => space.once('neighbours', () => readTable(space));

function readTable(space: Space): NeighbourTable {
  const { facts } = space.node;
  const host = space.inode === null ? facts.get('neighbours') : undefined;
  const fact =
    space.inode === null ? (host?.missing === false ? host : undefined) : factOf(facts, 'netnsNeighbours', space.inode);
  const entries = new Map<string, Map<Addr, NeighbourEntry>>();
  for (const e of fact?.value.entries ?? []) {
    const addr = parseAddr(e.ip);
    if (addr === null || fact === undefined) continue;
    let ofDevice = entries.get(e.dev);
    if (ofDevice === undefined) {
      ofDevice = new Map();
      entries.set(e.dev, ofDevice);
    }
    ofDevice.set(addr, { mac: e.mac ?? null, state: e.state[0] ?? '', cite: cite(fact, e) });
  }
  const evidence = [space.inode === null ? 'ip.neigh' : 'netns.neigh-json'];
  const gap =
    fact === undefined
      ? { because: `neighbours of ${space.label} were not collected`, evidence }
      : fact.closed
        ? null
        : { because: `${fact.path} was not collected whole`, evidence };
  const arp = fact?.evidence === 'proc.arp' || fact?.evidence === 'netns.proc-arp';
  return { entries, gap, gap6: arp ? { because: `${fact.path} shows no IPv6`, evidence } : gap };
}

/** Of one device: for very many addresses. */
export const neighboursOn = (space: Space, dev: string): ReadonlyMap<Addr, NeighbourEntry> | undefined =>
  tableOf(space).entries.get(dev);

export function neighbourEntry(
  space: Space,
  dev: string,
  addr: Addr,
): { entry: NeighbourEntry | undefined; gap: Reason | null } {
  const table = tableOf(space);
  const entry = table.entries.get(dev)?.get(addr);
  return { entry, gap: typeof addr === 'bigint' ? (table.gap ?? table.gap6) : table.gap };
}

/** The file that would hold the entry, as proof that it does not. */
export function noNeighbour(space: Space, dev: string, addr: Addr): Absence | null {
  const { facts } = space.node;
  const host = space.inode === null ? facts.get('neighbours') : undefined;
  const fact =
    space.inode === null ? (host?.missing === false ? host : undefined) : factOf(facts, 'netnsNeighbours', space.inode);
  if (fact === undefined || !fact.closed || neighbourEntry(space, dev, addr).gap !== null) return null;
  return {
    node: space.node.id,
    evidence: fact.evidence,
    path: fact.path,
    absent: `a neighbour ${formatAddr(addr)} on ${dev}`,
  };
}
