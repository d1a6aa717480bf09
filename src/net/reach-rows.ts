import type { Addr } from './addr.ts';
import { formatAddr } from './addr.ts';
import type { NetCluster } from './cluster.ts';
import { type Learned, learn, type Side } from './learn.ts';
import { alike, type NodeFace, Outlook, type Outward } from './outlook.ts';
import type { Representative } from './representative.ts';

/** The four halves of a pair that nodes answer for: the request leaves and comes in, the answer leaves and comes in. */
export const HALVES = ['out', 'in', 'answerOut', 'answerIn'] as const;
export type Half = (typeof HALVES)[number];

/** Words for statuses; 0: only a trace of the pair tells, 1: it passes. */
export class Statuses {
  readonly keys: string[] = ['?', 'pass'];
  readonly #ids = new Map<string, number>();

  id({ status }: Side): number {
    if (status.kind === 'pass') return 1;
    const key = `${status.kind} ${status.key}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.keys.length;
      this.keys.push(key);
      this.#ids.set(key, id);
    }
    return id;
  }
}

/** What a node says of every other one: `rows.out[i * n + j]` of packets from i to j, `rows.in[i * n + j]` of packets from j that come in at i. */
export type Rows = Readonly<Record<Half, Uint16Array>>;

export const newRows = (n: number): Rows => ({
  out: new Uint16Array(n * n),
  in: new Uint16Array(n * n),
  answerOut: new Uint16Array(n * n),
  answerIn: new Uint16Array(n * n),
});

/** One trace out and one in teach what a node does; where one dies before it gets there, the next partner is tried. */
const TRIES = 4;

/** Fills the rows of one node. `open` gives the pods of other nodes, to be traced with. */
export function fillRow(
  cluster: NetCluster,
  own: Representative,
  faces: readonly (NodeFace | null)[],
  at: number,
  rows: Rows,
  statuses: Statuses,
): void {
  const face = faces[at];
  if (face === null || face === undefined) return;
  const outlook = new Outlook(own);
  const known = teach(cluster, outlook, face, faces, at);
  const typeOf = kept((addr: Addr) => {
    const types = [own.space, own.space.node.host].map((space) => space.routing(4).typeOf(addr).type);
    return types.join(' ');
  });
  const sameType = (a: Addr, b: Addr) => typeOf(a) === typeOf(b);
  const n = faces.length;
  for (let j = 0; j < n; j += 1) {
    const other = faces[j];
    if (j === at || other === null || other === undefined) continue;
    const outward = known.outward === null ? null : outlook.towards(other);
    if (outward !== null && known.outward !== null && alike(outward, known.outward)) {
      const remote = outward.tunnel?.remote ?? null;
      put(rows.out, at * n + j, known.out, other, remote);
      put(rows.answerOut, at * n + j, known.answerOut, other, remote);
    }
    for (const half of ['in', 'answerIn'] as const) {
      const side = known[half];
      if (side === undefined) continue;
      const tunnel = other.vteps.find((v) => v.port === known.port)?.local ?? null;
      if (outlook.takes(other, side.doors)) put(rows[half], at * n + j, side, other, tunnel);
    }
  }

  function put(row: Uint16Array, index: number, side: Side | undefined, other: NodeFace, tunnel: number | null): void {
    if (side === undefined || !side.watch.covers(side.peer, other.pod, sameType)) return;
    if (side.peerTunnel !== null && (tunnel === null || !side.watch.covers(side.peerTunnel, tunnel, sameType))) return;
    row[index] = statuses.id(side);
  }
}

/** Asks once for each address. */
function kept<V>(of: (addr: Addr) => V): (addr: Addr) => V {
  const known = new Map<Addr, V>();
  return (addr) => {
    let value = known.get(addr);
    if (value === undefined) {
      value = of(addr);
      known.set(addr, value);
    }
    return value;
  };
}

const ranges = new WeakMap<readonly (NodeFace | null)[], readonly (readonly [number, number])[]>();

/** From the lowest to the highest address of pods, and of nodes. */
function rangesOf(faces: readonly (NodeFace | null)[]): readonly (readonly [number, number])[] {
  const known = ranges.get(faces);
  if (known !== undefined) return known;
  const span = (of: (f: NodeFace) => readonly number[]): readonly [number, number] => {
    let [low, high] = [0xffffffff, 0];
    for (const f of faces) {
      for (const addr of f === null ? [] : of(f)) {
        if (addr < low) low = addr;
        if (addr > high) high = addr;
      }
    }
    return [low, high];
  };
  const found = [
    span((f) => [f.pod]),
    span((f) => [...f.underlay.map(([addr]) => addr), ...f.vteps.map((v) => v.local)]),
  ];
  ranges.set(faces, found);
  return found;
}

interface Taught extends Learned {
  /** How the tables sent the packet that taught `out`; null: nothing was taught, or it went an unusual way. */
  readonly outward: Outward | null;
  /** Of the node's own tunnel. */
  readonly port: number | null;
}

function teach(
  cluster: NetCluster,
  outlook: Outlook,
  face: NodeFace,
  faces: readonly (NodeFace | null)[],
  at: number,
): Taught {
  const n = faces.length;
  const end = (f: NodeFace) => ({ node: f.id, place: f.place, pod: f.pod, text: formatAddr(f.pod) });
  const asked = rangesOf(faces);
  let leaving: Learned = {};
  let outward: Outward | null = null;
  let coming: Learned = {};
  for (let k = 1, tried = 0; k < n && tried < TRIES; k += 1) {
    const partner = faces[(at + k) % n];
    if (partner === null || partner === undefined) continue;
    tried += 1;
    if (outward === null || leaving.out === undefined || leaving.answerIn === undefined) {
      const found = learn(cluster, end(face), end(partner), asked);
      if (found.out !== undefined && (leaving.out === undefined || found.answerIn !== undefined)) {
        leaving = found;
        outward = outlook.towards(partner);
      }
    }
    if (coming.in === undefined || coming.answerOut === undefined) {
      const found = learn(cluster, end(partner), end(face), asked);
      if (found.in !== undefined && (coming.in === undefined || found.answerOut !== undefined)) coming = found;
    }
    if (leaving.answerIn !== undefined && coming.answerOut !== undefined) break;
  }
  return {
    ...(leaving.out === undefined ? {} : { out: leaving.out }),
    ...(leaving.answerIn === undefined ? {} : { answerIn: leaving.answerIn }),
    ...(coming.in === undefined ? {} : { in: coming.in }),
    ...(coming.answerOut === undefined ? {} : { answerOut: coming.answerOut }),
    outward,
    port: face.vteps[0]?.port ?? null,
  };
}
