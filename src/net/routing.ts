import { type Addr, isMulticast } from './addr.ts';
import { type Cite, cite, type Reason, type Truth } from './doubt.ts';
import type { FibHop, FibRoute, FibTable } from './fib.ts';
import type { Packet } from './packet.ts';
import { keyTo, type Policy, type RouteKey, type Rule, readPolicy, selects } from './policy.ts';
import { answersOf, bestRoute, type RouteAnswer, type RouteType } from './route-answer.ts';
import { evidenceOf, type LoadedTables, loadTables } from './route-tables.ts';
import { type SourceAddress, selectSource } from './source-address.ts';
import type { Space } from './space.ts';

export type { RouteKey } from './policy.ts';
export type { RouteAnswer, RouteType } from './route-answer.ts';

const NOTHING = {
  dev: '',
  via: null,
  prefsrc: null,
  mtu: null,
  hopLimit: null,
  share: 1,
  table: '',
  cites: [],
  reason: null,
} as const;
const LIMITED_BROADCAST = 0xffffffff;
const USUAL_TABLES = ['local', 'main', 'default'] as const;

/** A route that the destination alone chose, with its only next hop. */
export interface PlainHop {
  readonly route: FibRoute;
  readonly hop: FibHop;
  readonly table: string;
}

/** Routing of one namespace and family: policy rules, tables, source addresses. */
export class Routing {
  readonly space: Space;
  readonly family: 4 | 6;
  #known: LoadedTables | undefined;
  #rules: Policy | undefined;
  #plain: boolean | undefined;

  constructor(space: Space, family: 4 | 6) {
    this.space = space;
    this.family = family;
  }

  #load(): ReadonlyMap<string, FibTable> {
    this.#known ??= loadTables(this.space, this.family, () => this.customRules);
    return this.#known.tables;
  }

  get #gap(): Reason | null {
    this.#load();
    return this.#known?.gap ?? null;
  }

  get #localMade(): boolean {
    this.#load();
    return this.#known?.localMade === true;
  }

  #id(what: 'route' | 'rule'): string {
    return evidenceOf(this.space, this.family, what);
  }

  /** Next hops of the main table's routes to somewhere particular: not those of default routes. */
  get gateways(): readonly Addr[] {
    const found: Addr[] = [];
    for (const route of this.#load().get('main')?.routes() ?? [])
      if (route.length > 0) for (const hop of route.hops) if (hop.via !== null) found.push(hop.via);
    return found;
  }

  /** Length of a prefix that is one address. */
  get #whole(): number {
    return this.family === 4 ? 32 : 128;
  }

  #policy(): Policy {
    this.#rules ??= readPolicy(this.space, this.family);
    return this.#rules;
  }

  /**
   * The kernel's answers: one, or one for each next hop of an ECMP route, or one `unknown`. A lookup that does not depend on what is
   * missing is answered.
   */
  lookup(key: RouteKey): readonly RouteAnswer[] {
    if (this.family === 4 && key.dst === LIMITED_BROADCAST)
      return [{ ...NOTHING, type: 'broadcast', text: 'limited broadcast' }];
    const tables = this.#load();
    const { rules: known, gap: unread } = this.#policy();
    // the local table is asked first whatever else there is, unless somebody moved its rule
    const usualFirst = known.length === 0 || known[0]?.rule.table === 'local';
    if (usualFirst) {
      const own = this.#inTable(tables.get('local'), 'local', key, null);
      if (own !== null && own[0]?.type !== 'none') return own;
    }
    if (unread !== null) return [this.#unknown(unread)];
    if (known.length === 0) return this.#usualWalk(tables, key);
    return this.#walk(tables, known, key);
  }

  /**
   * What `lookup` answers, where the address alone decides it: the usual policy rules, all routes known, one unicast route with one next
   * hop. null: only `lookup` tells. For very many addresses.
   */
  plainHop(dst: Addr): PlainHop | null {
    const tables = this.#load();
    this.#plain ??= this.#gap === null && isPlain(this.#policy());
    if (!this.#plain || dst === LIMITED_BROADCAST) return null;
    for (const table of USUAL_TABLES) {
      const list = tables.get(table)?.longest(dst) ?? null;
      if (list === null) continue;
      const [route] = list;
      const [hop] = route?.hops ?? [];
      if (list.length !== 1 || route === undefined || hop === undefined || route.hops.length !== 1) return null;
      return route.type === 'unicast' && route.tos === 0 && !hop.dead && !hop.linkDown ? { route, hop, table } : null;
    }
    return null;
  }

  /** What the main table alone would answer, whatever policy rules say; empty: it has no route. */
  inMain(key: RouteKey): readonly RouteAnswer[] {
    return this.#inTable(this.#load().get('main'), 'main', key, null) ?? [];
  }

  #usualWalk(tables: ReadonlyMap<string, FibTable>, key: RouteKey): readonly RouteAnswer[] {
    for (const name of ['main', 'default']) {
      const found = this.#inTable(tables.get(name), name, key, null);
      if (found !== null) return found;
    }
    return [this.#none()];
  }

  #walk(tables: ReadonlyMap<string, FibTable>, rules: readonly Rule[], key: RouteKey): readonly RouteAnswer[] {
    let skipTo = -1;
    for (const r of rules) {
      const { rule } = r;
      if (rule.pref < skipTo) continue;
      const hit = selects(r, key);
      if (hit === 0) continue;
      if (hit === null)
        return [
          this.#unknown({
            because: `whether the policy rule ${rule.pref} (${r.cite.fact.path}:${rule.line}) applies is not known`,
            evidence: [r.cite.fact.evidence],
          }),
        ];
      const cites = r.usual ? [] : [r.cite];
      switch (rule.action) {
        case 'lookup': {
          const found = this.#inTable(tables.get(rule.table ?? ''), rule.table ?? '', key, rule);
          if (found !== null)
            return cites.length === 0 ? found : found.map((a) => ({ ...a, cites: [...cites, ...a.cites] }));
          break;
        }
        case 'blackhole':
        case 'unreachable':
        case 'prohibit':
          return [{ ...NOTHING, type: rule.action, cites, text: `rule ${rule.pref}: ${rule.action}` }];
        case 'goto':
          skipTo = rule.goto ?? -1;
          break;
        case 'nop':
          break;
        default:
          return [
            this.#unknown({
              because: `the policy rule ${rule.pref} is of a kind that is not followed`,
              evidence: [r.cite.fact.evidence],
            }),
          ];
      }
    }
    return [this.#none()];
  }

  #none(): RouteAnswer {
    if (this.#gap !== null) return this.#unknown(this.#gap);
    return { ...NOTHING, type: 'none', text: 'no route' };
  }

  #unknown(reason: Reason): RouteAnswer {
    return { ...NOTHING, type: 'unknown', text: reason.because, reason };
  }

  /** null: this table has no answer, the next rule is asked. */
  #inTable(
    table: FibTable | undefined,
    name: string,
    key: RouteKey,
    rule: Rule['rule'] | null,
  ): readonly RouteAnswer[] | null {
    if (table === undefined) {
      // a table that a rule names and a whole dump does not show is empty
      return this.#gap !== null && name !== 'local' ? [this.#unknown(this.#gap)] : null;
    }
    const ignoreDown = this.#ignoresLinkDown();
    for (const list of table.matches(key.dst)) {
      const chosen = bestRoute(list, key, ignoreDown);
      if (chosen === null) continue;
      const { route, hops } = chosen;
      if (rule?.suppressIfgroup !== undefined)
        return [
          this.#unknown({
            because: `suppress_ifgroup of policy rule ${rule.pref} is not followed`,
            evidence: [this.#id('rule')],
          }),
        ];
      if (rule?.suppressPrefixLength !== undefined && route.length <= rule.suppressPrefixLength) return null;
      if (this.#gap !== null && this.#known?.mayLack(name) === true && route.length < this.#whole)
        return [this.#unknown(this.#gap)];
      if (route.type === 'throw') return null;
      return answersOf(route, hops, name, this.#citesOf(route, name));
    }
    // a dump that is not whole may lack the very route; the local table is rebuilt from addresses
    if (this.#gap !== null && name !== 'local') return [this.#unknown(this.#gap)];
    return null;
  }

  /** Where a route of a table stands; nowhere, when the table was made of the addresses. */
  #citesOf({ route }: FibRoute, table: string): readonly Cite[] {
    const fact = this.#known?.fact ?? null;
    return fact === null || (this.#localMade && table === 'local') ? [] : [cite(fact, route)];
  }

  #ignoresLinkDown(): (dev: string) => boolean {
    return (dev) =>
      this.space.sysctl(`net/ipv4/conf/${dev}/ignore_routes_with_linkdown`).value === 1 ||
      this.space.sysctl('net/ipv4/conf/all/ignore_routes_with_linkdown').value === 1;
  }

  /**
   * FIB type of an address, as `addrtype` and `fib daddr type` ask for it: the local table only (IPv4). `dev`: only addresses of that
   * device count. null: not known.
   */
  typeOf(
    addr: Addr,
    dev?: string,
  ): { type: RouteType | 'throw' | null; reason: Reason | null; cites: readonly Cite[] } {
    if (this.family === 4) {
      if (addr === LIMITED_BROADCAST || (typeof addr === 'number' && addr >>> 24 === 0))
        return { type: 'broadcast', reason: null, cites: [] };
    }
    if (isMulticast(addr)) return { type: 'multicast', reason: null, cites: [] };
    const { gap } = this.space.devices;
    // the device decides against the longest prefix, not for a shorter one
    const route = this.#load()
      .get('local')
      ?.longest(addr)
      ?.find((r) => dev === undefined || r.hops[0]?.dev === dev);
    if (route !== undefined)
      return { type: route.type as RouteType, reason: null, cites: this.#citesOf(route, 'local') };
    if (this.#localMade && gap !== null) return { type: null, reason: gap, cites: [] };
    if (this.#gap?.because.includes('whole') === true) return { type: null, reason: this.#gap, cites: [] };
    if (this.family === 6) {
      const [answer] = this.lookup(keyTo(addr));
      if (answer?.type === 'unknown') return { type: null, reason: answer.reason, cites: [] };
      if (answer?.type === 'none') return { type: 'unreachable', reason: null, cites: [] };
    }
    return { type: 'unicast', reason: null, cites: [] };
  }

  /** What MASQUERADE and senders without a preferred source take for a device and next hop. */
  sourceAddress(oif: string, dst: Addr, nexthop: Addr, onLink = false): SourceAddress {
    return selectSource(this.space, oif, dst, nexthop, onLink);
  }

  /**
   * Is the packet's source one that the namespace would answer through `iif`? `mark`: the lookup uses the packet's mark. `oif`: where a packet that
   * is forwarded goes on; policy rules see the answer come in by that (__fib_validate_source), by `lo` where it is delivered.
   */
  reversePath(
    packet: Packet,
    iif: string,
    how: { readonly loose: boolean; readonly mark: boolean; readonly oif?: string | null },
  ): { passes: Truth; cites: readonly Cite[]; reason: Reason | null } {
    const answers = this.lookup({
      dst: packet.src,
      src: packet.dst,
      iif: how.oif ?? 'lo',
      oif: null,
      mark: how.mark ? packet.mark : 0,
      tos: packet.tos,
      proto: packet.proto,
      sport: null,
      dport: null,
    });
    const [first] = answers;
    if (first === undefined || first.type === 'unknown')
      return { passes: null, cites: [], reason: first?.reason ?? null };
    const cites = answers.flatMap((a) => a.cites);
    if (first.type !== 'unicast') return { passes: 0, cites, reason: null };
    if (how.loose) return { passes: 1, cites, reason: null };
    return { passes: answers.some((a) => a.dev === iif) ? 1 : 0, cites, reason: null };
  }

  /** Policy rules other than the three usual ones: the kernel then checks sources in full. */
  get customRules(): boolean {
    return this.#policy().rules.some((r) => !r.usual);
  }
}

/** The three rules that every namespace is made with, and nothing else. */
const isPlain = ({ rules, gap }: Policy): boolean =>
  gap === null &&
  (rules.length === 0 ||
    (rules.length === USUAL_TABLES.length && rules.every((r, i) => r.usual && r.rule.table === USUAL_TABLES[i])));
