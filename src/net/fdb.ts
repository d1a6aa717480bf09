import { type Absence, type Cite, cite } from './doubt.ts';
import type { Space } from './space.ts';

/** A forwarding entry of a vxlan device. */
export interface FdbEntry {
  readonly mac: string;
  readonly dst: string | null;
  readonly port: number | null;
  readonly vni: number | null;
  readonly via: string | null;
  readonly cite: Cite;
}

/** The entries of one device. */
export interface DeviceFdb {
  readonly entries: readonly FdbEntry[];
  readonly byMac: ReadonlyMap<string, readonly FdbEntry[]>;
  /** An entry that is not there does not exist. */
  readonly closed: boolean;
  absent(mac: string): Absence | null;
}

/** The device's own entries (not a bridge's); null: not collected. */
export function fdbOf(space: Space, dev: string): DeviceFdb | null {
  return space.inode === null ? space.once(`fdb ${dev}`, () => readFdb(space, dev)) : null;
}

function readFdb(space: Space, dev: string): DeviceFdb | null {
  const fact = space.node.facts.get('fdb');
  if (fact.missing) return null;
  const entries: FdbEntry[] = [];
  const byMac = new Map<string, FdbEntry[]>();
  for (const e of fact.value.entries) {
    if (e.dev !== dev || e.master !== undefined) continue;
    const { mac, dst = null, port = null, vni = null, via = null } = e;
    const entry = { mac, dst, port, vni, via, cite: cite(fact, e) };
    entries.push(entry);
    const list = byMac.get(mac);
    if (list === undefined) byMac.set(mac, [entry]);
    else list.push(entry);
  }
  const absent = (mac: string): Absence | null =>
    fact.closed ? { node: space.node.id, evidence: fact.evidence, path: fact.path, absent: `${mac} dev ${dev}` } : null;
  return { entries, byMac, closed: fact.closed, absent };
}

/** Where the device sends what it has no entry for. */
export function floodRemotes(space: Space, dev: string): readonly FdbEntry[] | null {
  return fdbOf(space, dev)?.entries.filter((e) => e.mac === '00:00:00:00:00:00') ?? null;
}

/** The port on which the bridge has seen a hardware address; null: it has not. */
export function bridgeFdb(
  space: Space,
  bridge: string,
  mac: string,
): { port: string; local: boolean; cite: Cite } | null {
  if (space.inode !== null) return null;
  const fact = space.node.facts.get('fdb');
  if (fact.missing) return null;
  const learned = space.once(`bridge fdb ${bridge}`, () => {
    const own = fact.value.entries.filter((e) => e.master === bridge || (e.dev === bridge && !e.self));
    return new Map(own.map((e) => [e.mac, { port: e.dev, local: e.permanent, cite: cite(fact, e) }]));
  });
  return learned.get(mac) ?? null;
}
