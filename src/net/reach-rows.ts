import { kept } from '../core/kept.ts';
import type { Addr } from './addr.ts';
import { formatAddr } from './addr.ts';
import type { NetCluster } from './cluster.ts';
import type { NodeFace } from './face.ts';
import { type Learned, learn, type Side } from './learn.ts';
import { alike, Outlook, type Outward } from './outlook.ts';
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

/** What nodes say of every other one: `rows.out[i * n + j]` of packets from i to j, `rows.in[i * n + j]` of packets from j that come in at i. */
export type Rows = Readonly<Record<Half, Uint16Array<ArrayBuffer>>>;

export const newRows = (nodes: number, n: number): Rows => ({
  out: new Uint16Array(nodes * n),
  in: new Uint16Array(nodes * n),
  answerOut: new Uint16Array(nodes * n),
  answerIn: new Uint16Array(nodes * n),
});

/** One trace out and one in teach what a node does; where one dies before it gets there, the next partner is tried. */
const TRIES = 4;

/** Packets that were followed last: the one that leaves a node comes in at the next. */
export class Lessons {
  readonly faces: readonly (NodeFace | null)[];
  readonly #cluster: NetCluster;
  readonly #asked: readonly (readonly [low: number, high: number])[];
  readonly #last = new Map<string, Learned>();

  constructor(cluster: NetCluster, faces: readonly (NodeFace | null)[]) {
    this.#cluster = cluster;
    this.faces = faces;
    this.#asked = rangesOf(faces);
  }

  of(from: NodeFace, to: NodeFace): Learned {
    const key = `${from.id} > ${to.id}`;
    let known = this.#last.get(key);
    if (known === undefined) {
      known = learn(this.#cluster, end(from), end(to), this.#asked);
      const [oldest] = this.#last.keys();
      if (oldest !== undefined && this.#last.size >= 2 * TRIES) this.#last.delete(oldest);
      this.#last.set(key, known);
    }
    return known;
  }
}

const end = (f: NodeFace) => ({ node: f.id, place: f.place, pod: f.pod, text: formatAddr(f.pod) });

/** Fills the row of one node, the `at`th of all and the `nth` of `rows`. */
export function fillRow(
  lessons: Lessons,
  own: Representative,
  at: number,
  rows: Rows,
  nth: number,
  statuses: Statuses,
): void {
  const { faces } = lessons;
  const face = faces[at];
  if (face === null || face === undefined) return;
  const outlook = new Outlook(own);
  const known = teach(lessons, outlook, face, at);
  const [inside, onHost] = [own.space.routing(4), own.space.node.host.routing(4)];
  const typeOf = kept((addr: Addr) => `${inside.typeOf(addr).type} ${onHost.typeOf(addr).type}`);
  const ready = (side: Side | undefined): ReadyHalf | undefined => {
    if (side === undefined) return undefined;
    const { watch, peer, peerTunnel } = side;
    const tunnel = peerTunnel === null ? null : watch.coverer(peerTunnel, typeOf);
    return { id: statuses.id(side), pod: watch.coverer(peer, typeOf), tunnel };
  };
  const [out, answerOut] = [ready(known.out), ready(known.answerOut)];
  const n = faces.length;
  const gates = (['in', 'answerIn'] as const).flatMap((half) => {
    const side = known[half];
    return side === undefined ? [] : [{ half, taught: ready(side), takes: outlook.gate(side.doors) }];
  });
  for (let j = 0; j < n; j += 1) {
    const other = faces[j];
    if (j === at || other === null || other === undefined) continue;
    const outward = outlook.towards(other);
    const remote = outward?.tunnel?.remote ?? null;
    if (likeOne(outward, known.outward)) put(rows.out, nth * n + j, out, other, remote);
    if (likeOne(outward, known.answers)) put(rows.answerOut, nth * n + j, answerOut, other, remote);
    if (gates.length === 0) continue;
    const tunnel = other.vteps.find((v) => v.port === known.port)?.local ?? null;
    for (const { half, taught, takes } of gates) if (takes(other)) put(rows[half], nth * n + j, taught, other, tunnel);
  }
}

/** One half of what a node was taught, ready to be asked about very many others. */
interface ReadyHalf {
  readonly id: number;
  readonly pod: (other: Addr) => boolean;
  /** null: there is no tunnel. */
  readonly tunnel: ((other: Addr) => boolean) | null;
}

function put(
  row: Uint16Array,
  index: number,
  taught: ReadyHalf | undefined,
  { pod }: NodeFace,
  tunnel: number | null,
): void {
  if (taught === undefined || !taught.pod(pod)) return;
  if (taught.tunnel !== null && (tunnel === null || !taught.tunnel(tunnel))) return;
  row[index] = taught.id;
}

const likeOne = (a: Outward | null, b: Outward | null): boolean => a !== null && b !== null && alike(a, b);

/** From the lowest to the highest address of pods, and of nodes. */
function rangesOf(faces: readonly (NodeFace | null)[]): readonly (readonly [number, number])[] {
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
  return [span((f) => [f.pod]), span((f) => [...f.underlay.map(([addr]) => addr), ...f.vteps.map((v) => v.local)])];
}

interface Taught extends Learned {
  /** How the tables sent the packet that taught `out`; null: nothing was taught, or it went an unusual way. */
  readonly outward: Outward | null;
  /** The same of `answerOut`. */
  readonly answers: Outward | null;
  /** Of the node's own tunnel. */
  readonly port: number | null;
}

function teach(lessons: Lessons, outlook: Outlook, face: NodeFace, at: number): Taught {
  const leaving = found(partners(lessons.faces, at, 1), (to) => lessons.of(face, to), 'out', 'answerIn');
  const coming = found(partners(lessons.faces, at, -1), (from) => lessons.of(from, face), 'in', 'answerOut');
  return {
    ...pick(leaving.learned, 'out'),
    ...pick(leaving.learned, 'answerIn'),
    ...pick(coming.learned, 'in'),
    ...pick(coming.learned, 'answerOut'),
    outward: leaving.partner === null ? null : outlook.towards(leaving.partner),
    answers: coming.partner === null ? null : outlook.towards(coming.partner),
    port: face.vteps[0]?.port ?? null,
  };
}

/** The nodes next to one, in the order in which they are tried. */
function* partners(faces: readonly (NodeFace | null)[], at: number, step: 1 | -1): Generator<NodeFace> {
  const n = faces.length;
  for (let k = 1, tried = 0; k < n && tried < TRIES; k += 1) {
    const partner = faces[(at + step * k + n) % n];
    if (partner === null || partner === undefined) continue;
    tried += 1;
    yield partner;
  }
}

/** The first lesson that teaches both halves, else the first that teaches one. */
function found(tried: Iterable<NodeFace>, lesson: (partner: NodeFace) => Learned, first: Half, second: Half) {
  let best: { learned: Learned; partner: NodeFace | null } = { learned: {}, partner: null };
  for (const partner of tried) {
    const learned = lesson(partner);
    if (learned[first] === undefined) continue;
    if (learned[second] !== undefined) return { learned, partner };
    if (best.partner === null) best = { learned, partner };
  }
  return best;
}

const pick = <K extends Half>(learned: Learned, half: K): { [P in K]?: Side } => {
  const side = learned[half];
  return side === undefined ? {} : ({ [half]: side } as { [P in K]?: Side });
};
