import { lazyCluster, type NetCluster } from './cluster.ts';
import { UNREAD } from './face.ts';
import { buildNode, type NetFacts } from './model.ts';
import { DIGEST_VERSION, type NetDigest, netDigest } from './owners.ts';

/** The nodes of a case, as rules open them. */
export interface FleetNodes {
  readonly ids: readonly string[];
  source(node: string): NetFacts | undefined;
  /** A digest that was kept, or anything else. */
  owners(node: string): unknown;
}

const fleets = new WeakMap<FleetNodes, Map<string, NetCluster>>();
const NONE: ReadonlySet<string> = new Set();

/**
 * A cluster over nodes that are opened when a packet passes them; the same one for every rule that asks with the same nodes. No packet meets
 * those of `elsewhere`.
 */
export function fleetOf(nodes: FleetNodes, elsewhere = NONE): NetCluster {
  const known = fleets.get(nodes) ?? new Map<string, NetCluster>();
  fleets.set(nodes, known);
  const key = JSON.stringify([...elsewhere]);
  const fleet = known.get(key) ?? makeFleet(nodes, elsewhere);
  known.set(key, fleet);
  return fleet;
}

function makeFleet(nodes: FleetNodes, elsewhere: ReadonlySet<string>): NetCluster {
  const ids = nodes.ids.filter((id) => !elsewhere.has(id));
  const digests = ids.map((id) => ({ id, digest: digestOf(nodes, id) }));
  return lazyCluster(digests, (id) => {
    const source = nodes.source(id);
    return source === undefined ? undefined : buildNode(source);
  });
}

function digestOf(nodes: FleetNodes, id: string): NetDigest {
  const kept = nodes.owners(id) as NetDigest | null | undefined;
  if (kept?.version === DIGEST_VERSION) return kept;
  const source = nodes.source(id);
  return source === undefined
    ? { version: DIGEST_VERSION, spaces: [], face: { because: UNREAD }, gap: null }
    : netDigest(source);
}
