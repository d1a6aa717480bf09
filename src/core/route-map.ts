import { formatIp4 } from './address.ts';

/** The address that the prefix of the route begins with: flannel's own next hop over vxlan. */
export const OWN_BASE = '=';

/** The next hop stands in the run: each of its routes has its own, as over host-gw. */
export const OF_RUN = '+';

/** How a node sends packets for some addresses; plain JSON without lines, so that many routes share one. */
export interface RouteWay {
  readonly type:
    | 'unicast'
    | 'local'
    | 'broadcast'
    | 'multicast'
    | 'blackhole'
    | 'unreachable'
    | 'prohibit'
    | 'none'
    | 'unknown';
  /** Several of an ECMP route. `via` as a number; OWN_BASE as the prefix begins. */
  readonly hops: readonly (readonly [dev: string, via: number | typeof OWN_BASE | typeof OF_RUN | null])[];
  /** Of the route; null: exactly the stretch, or no route decided. */
  readonly dst: string | null;
  /** Length of the route's prefix; a policy rule that decides without a route counts as one for the very address. */
  readonly length: number;
  /** Line of the policy rule, when it is not one of the three usual ones. */
  readonly rule?: number;
  readonly because?: string;
  readonly evidence?: readonly string[];
}

/** `count` stretches of `size` addresses, one after the other, that go one way. `line`: of the first one's route; each next route has the next line. */
type Run = readonly [first: number, size: number, count: number, way: number, line: number, via?: number];

/** Where a node sends each address of a prefix, by all its policy rules and tables: a healthy node of a thousand is three runs. */
export interface RouteMap {
  readonly ways: readonly RouteWay[];
  readonly runs: readonly Run[];
  /** What is in no run. */
  readonly rest: { readonly way: number; readonly line: number };
}

/** A part of a prefix that goes one way. */
export interface RoutePiece {
  readonly first: number;
  readonly last: number;
  readonly way: RouteWay;
  /** First address of the stretch that it is a part of. */
  readonly base: number;
  /** The prefix of the route; null: it is the whole stretch, or no route decided. */
  readonly dst: string | null;
  readonly length: number;
  /** 0: none. */
  readonly line: number;
}

/** The prefix of the route that takes a piece; '' where no route decides. */
export const prefixOf = ({ dst, base, length }: RoutePiece): string => dst ?? `${formatIp4(base)}/${length}`;

/** The parts of `first` to `last`, in order. */
export function piecesOver({ ways, runs, rest }: RouteMap, first: number, last: number): RoutePiece[] {
  const pieces: RoutePiece[] = [];
  const left = (from: number, to: number) => {
    const way = ways[rest.way];
    if (way !== undefined && from <= to)
      pieces.push({ first: from, last: to, base: from, way, dst: way.dst, length: way.length, line: rest.line });
  };
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const [start, size, count] = runs[middle] as Run;
    if (start + size * count > first) high = middle;
    else low = middle + 1;
  }
  let at = first;
  for (; at <= last; low += 1) {
    const run = runs[low];
    if (run === undefined || run[0] > last) break;
    const [start, size, count, index, line, via] = run;
    const said = ways[index] as RouteWay;
    const way = via === undefined ? said : { ...said, hops: said.hops.map(([dev]) => [dev, via] as const) };
    left(at, start - 1);
    for (let k = Math.max(0, Math.floor((at - start) / size)); k < count && start + k * size <= last; k += 1) {
      const base = start + k * size;
      pieces.push({
        first: Math.max(base, first),
        last: Math.min(base + size - 1, last),
        base,
        way,
        dst: way.dst,
        length: way.length,
        line: line === 0 ? 0 : line + k,
      });
    }
    at = start + size * count;
  }
  left(at, last);
  return pieces;
}

/** How many routes to something narrower than `length` lead to a next hop. */
export function routedStretches({ ways, runs }: RouteMap, length: number): number {
  let exact = 0;
  // a route that a narrower one cuts up is one
  const cut = new Set<string>();
  for (const [, , count, index] of runs) {
    const { type, hops, dst, length: own } = ways[index] as RouteWay;
    if (type !== 'unicast' || own <= length || hops.every(([, via]) => via === null)) continue;
    if (dst === null) exact += count;
    else cut.add(dst);
  }
  return exact + cut.size;
}
