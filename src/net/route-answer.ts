import { type Addr, parseAddr } from './addr.ts';
import type { Cite, Reason } from './doubt.ts';
import type { FibHop, FibRoute } from './fib.ts';
import type { RouteKey } from './policy.ts';

export type RouteType = 'unicast' | 'local' | 'broadcast' | 'multicast' | 'blackhole' | 'unreachable' | 'prohibit';

/** One answer of a lookup. `share` < 1: one of several next hops. `reason` set: not known, and then the rest is void. */
export interface RouteAnswer {
  /** `none`: no route. */
  readonly type: RouteType | 'none' | 'unknown';
  readonly dev: string;
  readonly via: Addr | null;
  readonly prefsrc: Addr | null;
  readonly mtu: number | null;
  /** TTL of what is sent. */
  readonly hopLimit: number | null;
  readonly share: number;
  readonly table: string;
  /** The policy rule (when it is not one of the three usual ones) and the route. */
  readonly cites: readonly Cite[];
  readonly text: string;
  readonly reason: Reason | null;
}

/** Of the routes of one prefix the one that the kernel takes, with the next hops that count: TOS, then metric, then order [V21, V40]. */
export function bestRoute(
  list: readonly FibRoute[],
  key: RouteKey,
  ignoreDown: (dev: string) => boolean,
): { route: FibRoute; hops: readonly FibHop[] } | null {
  let best: { route: FibRoute; hops: readonly FibHop[] } | null = null;
  for (const route of list) {
    if (route.tos !== 0 && route.tos !== key.tos) continue;
    if (
      best !== null &&
      (best.route.tos !== 0
        ? route.tos === 0 || route.metric >= best.route.metric
        : route.tos === 0 && route.metric >= best.route.metric)
    )
      continue;
    if (route.type === 'unicast' || route.type === 'local') {
      const hops = route.hops.filter(
        (h) => !h.dead && !(h.linkDown && ignoreDown(h.dev)) && (key.oif === null || h.dev === key.oif),
      );
      if (hops.length === 0) continue;
      best = { route, hops };
    } else best = { route, hops: route.hops };
  }
  return best;
}

/** The answers of a chosen route; `cites`: where it stands. */
export function answersOf(
  route: FibRoute,
  hops: readonly FibHop[],
  table: string,
  cites: readonly Cite[],
): readonly RouteAnswer[] {
  const text = `${route.type === 'unicast' ? '' : `${route.type} `}${route.route.dst}`;
  const base = {
    prefsrc: route.prefsrc,
    mtu: route.mtu,
    hopLimit: route.route.hopLimit ?? null,
    table,
    cites,
    reason: null,
  };
  if (route.type !== 'unicast') {
    const type = route.type === 'anycast' ? 'local' : (route.type as RouteType);
    return [
      {
        ...base,
        type,
        dev: hops[0]?.dev ?? '',
        via: null,
        share: 1,
        text: `${text}${hops[0]?.dev ? ` dev ${hops[0].dev}` : ''}`,
      },
    ];
  }
  const total = hops.reduce((sum, h) => sum + h.weight, 0);
  return hops.map((h) => ({
    ...base,
    type: 'unicast' as const,
    dev: h.dev,
    via: h.via,
    share: h.weight / total,
    text: `${text}${h.via === null ? '' : ` via ${routeWord(route, h)}`} dev ${h.dev}`,
  }));
}

const routeWord = (route: FibRoute, hop: FibHop): string => {
  const said =
    route.route.nexthops.find((n) => n.dev === hop.dev && parseAddr(n.via ?? '') === hop.via)?.via ?? route.route.via;
  return `${said ?? ''}${hop.onlink ? ' onlink' : ''}`;
};
