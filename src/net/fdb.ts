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

/** The device's own entries (not a bridge's); null: not collected. `closed`: an entry that is not there does not exist. */
export function fdbOf(
  space: Space,
  dev: string,
): { entries: readonly FdbEntry[]; closed: boolean; absent: (mac: string) => Absence | null } | null {
  if (space.inode !== null) return null;
  const fact = space.node.facts.get('fdb');
  if (fact.missing) return null;
  const key = `fdb ${dev}`;
  let entries = space.memo.get(key) as readonly FdbEntry[] | undefined;
  if (entries === undefined) {
    entries = fact.value.entries
      .filter((e) => e.dev === dev && e.master === undefined)
      .map((e) => ({
        mac: e.mac,
        dst: e.dst ?? null,
        port: e.port ?? null,
        vni: e.vni ?? null,
        via: e.via ?? null,
        cite: cite(fact, e),
      }));
    space.memo.set(key, entries);
  }
  const absent = (mac: string): Absence | null =>
    fact.closed ? { node: space.node.id, evidence: fact.evidence, path: fact.path, absent: `${mac} dev ${dev}` } : null;
  return { entries, closed: fact.closed, absent };
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
  const key = `bridge fdb ${bridge}`;
  let map = space.memo.get(key) as ReadonlyMap<string, { port: string; local: boolean; cite: Cite }> | undefined;
  if (map === undefined) {
    map = new Map(
      fact.value.entries
        .filter((e) => e.master === bridge || (e.dev === bridge && !e.self))
        .map((e) => [e.mac, { port: e.dev, local: e.permanent, cite: cite(fact, e) }]),
    );
    space.memo.set(key, map);
  }
  return map.get(mac) ?? null;
}
