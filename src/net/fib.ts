import type { Fact, NextHop, Route, Routes } from '../facts/index.ts';
import { type Addr, networkOf, parseAddr, parseNet } from './addr.ts';
import { type Cite, cite } from './doubt.ts';

/** A route ready to be looked up; next hops with their addresses as values. Nodes that have the same route may share it: it knows no file. */
export interface FibRoute {
  readonly route: Route;
  readonly type: string;
  readonly length: number;
  readonly metric: number;
  readonly tos: number;
  readonly prefsrc: Addr | null;
  readonly mtu: number | null;
  readonly hops: readonly FibHop[];
}

export interface FibHop {
  readonly dev: string;
  readonly via: Addr | null;
  readonly weight: number;
  readonly dead: boolean;
  readonly linkDown: boolean;
  readonly onlink: boolean;
}

type RoutesFact = Fact<'routes4'> | Fact<'routes6'> | Fact<'netnsRoutes4'> | Fact<'netnsRoutes6'>;

/** One routing table: prefixes by length, longest first; routes of one prefix in the order of the dump. */
export class FibTable {
  readonly #byLength: Map<Addr, FibRoute[]>[] = [];
  #lengths: number[] = [];

  add(route: FibRoute, base: Addr): void {
    const { length } = route;
    let bases = this.#byLength[length];
    if (bases === undefined) {
      bases = new Map();
      this.#byLength[length] = bases;
      this.#lengths = [...this.#lengths, length].sort((a, b) => b - a);
    }
    const list = bases.get(base);
    if (list === undefined) bases.set(base, [route]);
    else list.push(route);
  }

  *routes(): Generator<FibRoute> {
    for (const bases of this.#byLength) if (bases !== undefined) for (const list of bases.values()) yield* list;
  }

  /** The routes of the longest prefix that holds the address. */
  longest(dst: Addr): readonly FibRoute[] | null {
    for (const length of this.#lengths) {
      const list = this.#byLength[length]?.get(networkOf(dst, length));
      if (list !== undefined) return list;
    }
    return null;
  }

  /** Lists of routes whose prefix holds the address, longest prefix first. */
  *matches(dst: Addr): Generator<readonly FibRoute[]> {
    for (const length of this.#lengths) {
      const list = this.#byLength[length]?.get(networkOf(dst, length));
      if (list !== undefined) yield list;
    }
  }
}

/** The tables of a dump. What cannot be read as a route is left out and named in `odd`. */
export function readTables(fact: RoutesFact): { tables: Map<string, FibTable>; odd: Cite | null } {
  const tables = new Map<string, FibTable>();
  let odd: Cite | null = null;
  const { routes } = fact.value as Routes;
  for (const route of routes) {
    const ready = readyOf(route);
    if (ready === null) {
      odd ??= cite(fact, route);
      continue;
    }
    let table = tables.get(route.table);
    if (table === undefined) {
      table = new FibTable();
      tables.set(route.table, table);
    }
    table.add(ready.fib, ready.base);
  }
  return { tables, odd };
}

interface Ready {
  readonly fib: FibRoute;
  readonly base: Addr;
}

/** Routes that nodes share are made ready once. */
const made = new WeakMap<Route, Ready | 'odd'>();

function readyOf(route: Route): Ready | null {
  let ready = made.get(route);
  if (ready === undefined) {
    ready = makeReady(route) ?? 'odd';
    made.set(route, ready);
  }
  return ready === 'odd' ? null : ready;
}

function makeReady(route: Route): Ready | null {
  const net = parseNet(route.dst, route.family);
  if (net === null || route.encap !== undefined || (route.from !== undefined && route.from !== 'default')) return null;
  const fib: FibRoute = {
    route,
    type: route.type,
    length: net.length,
    metric: route.metric < 0 ? route.metric + 2 ** 32 : route.metric,
    tos: tosOf(route.tos),
    prefsrc: route.src === undefined ? null : parseAddr(route.src),
    mtu: route.mtu ?? null,
    hops: hopsOf(route),
  };
  return { fib, base: net.base };
}

const TOS: Readonly<Record<string, number>> = { default: 0, lowdelay: 16, throughput: 8, reliability: 4, mincost: 2 };

function tosOf(text: string | undefined): number {
  if (text === undefined) return 0;
  return TOS[text] ?? Number(text);
}

function hopsOf(route: Route): FibHop[] {
  if (route.nexthops.length === 0) return [hopOf(route, route.dev, 1)];
  return route.nexthops.map((h) => hopOf(h, h.dev ?? route.dev, h.weight));
}

const hopOf = ({ via, flags }: Pick<NextHop, 'via' | 'flags'>, dev: string | undefined, weight: number): FibHop => ({
  dev: dev ?? '',
  via: via === undefined ? null : parseAddr(via),
  weight: Math.max(1, weight),
  dead: flags.includes('dead'),
  linkDown: flags.includes('linkdown'),
  onlink: flags.includes('onlink'),
});
