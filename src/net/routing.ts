import type { Fact, PolicyRule, PolicyRules } from '../facts/index.ts';
import { type Addr, contains, isLinkLocal, isLoopback, isMulticast, type Net, parseAddr, parseNet } from './addr.ts';
import type { OwnAddress } from './devices.ts';
import { type Cite, cite, missingReason, type Reason, type Truth } from './doubt.ts';
import { type FibHop, type FibRoute, FibTable, readTables } from './fib.ts';
import { type Packet, portIn, protocolNumber } from './packet.ts';
import type { Space } from './space.ts';

/** What a route lookup is asked with. */
export interface RouteKey {
  readonly dst: Addr;
  /** null: not chosen yet. */
  readonly src: Addr | null;
  /** Input device; `lo` for what the namespace itself sends. */
  readonly iif: string;
  /** Set: only routes through this device. */
  readonly oif: string | null;
  readonly mark: number;
  readonly tos: number;
  readonly proto: number;
  readonly sport: Packet['sport'];
  readonly dport: Packet['dport'];
}

export type RouteType = 'unicast' | 'local' | 'broadcast' | 'multicast' | 'blackhole' | 'unreachable' | 'prohibit';

/** One answer of a lookup. `share` < 1: one of several next hops. `reason` set: not known, and then the rest is void. */
export interface RouteAnswer {
  /** `none`: no route. */
  readonly type: RouteType | 'none' | 'unknown';
  readonly dev: string;
  readonly via: Addr | null;
  readonly prefsrc: Addr | null;
  readonly mtu: number | null;
  readonly share: number;
  readonly table: string;
  /** The policy rule (when it is not one of the three usual ones) and the route. */
  readonly cites: readonly Cite[];
  readonly text: string;
  readonly reason: Reason | null;
}

const NOTHING = { dev: '', via: null, prefsrc: null, mtu: null, share: 1, table: '', cites: [], reason: null } as const;
const LIMITED_BROADCAST = 0xffffffff;
const USUAL: Readonly<Record<string, number>> = { local: 0, main: 32766, default: 32767 };

interface Rule {
  readonly rule: PolicyRule;
  readonly from: Net | null;
  readonly to: Net | null;
  readonly cite: Cite;
  readonly usual: boolean;
}

/** Routing of one namespace and family: policy rules, tables, source addresses. */
export class Routing {
  readonly space: Space;
  readonly family: 4 | 6;
  #tables: ReadonlyMap<string, FibTable> | undefined;
  #rules: readonly Rule[] | undefined;
  #gap: Reason | null = null;
  #rulesGap: Reason | null = null;
  #localMade = false;

  constructor(space: Space, family: 4 | 6) {
    this.space = space;
    this.family = family;
  }

  /** Set: routes are missing or not all known. */
  get gap(): Reason | null {
    this.#load();
    return this.#gap;
  }

  #load(): ReadonlyMap<string, FibTable> {
    if (this.#tables !== undefined) return this.#tables;
    const fact = this.#routesFact();
    let tables = new Map<string, FibTable>();
    if (fact === null)
      this.#gap = { because: `routes of ${this.space.label} were not collected`, evidence: [this.#id('route')] };
    else {
      const read = readTables(fact);
      tables = read.tables;
      if (read.odd !== null)
        this.#gap = {
          because: `${fact.path}:${read.odd.line} has a route of a kind that is not followed`,
          evidence: [fact.evidence],
        };
      else if (!fact.closed) this.#gap = { because: `${fact.path} was not collected whole`, evidence: [fact.evidence] };
      else if (!fact.value.allTables && this.#customTables())
        this.#gap = { because: `${fact.path} shows the main table only`, evidence: [this.#id('route')] };
    }
    if (!tables.has('local')) {
      tables.set('local', localTable(this.space.devices.addresses, this.family));
      this.#localMade = true;
    }
    this.#tables = tables;
    return tables;
  }

  #id(what: 'route' | 'rule'): string {
    const six = this.family === 6;
    if (this.space.inode === null) return `ip.${what}${this.family}`;
    return what === 'route' ? (six ? 'netns.route6-json' : 'netns.route4') : 'netns.rule4-json';
  }

  #routesFact() {
    const { facts } = this.space.node;
    const { inode } = this.space;
    if (inode === null) {
      const fact = this.family === 4 ? facts.get('routes4') : facts.get('routes6');
      return fact.missing ? null : fact;
    }
    const list: readonly (Fact<'netnsRoutes4'> | Fact<'netnsRoutes6'>)[] =
      this.family === 4 ? facts.all('netnsRoutes4') : facts.all('netnsRoutes6');
    return list.find((f) => f.instance === inode) ?? null;
  }

  #customTables(): boolean {
    return this.#policy().some((r) => !r.usual);
  }

  #policy(): readonly Rule[] {
    if (this.#rules !== undefined) return this.#rules;
    const { facts } = this.space.node;
    const { inode } = this.space;
    let fact: Fact<'rules4'> | Fact<'rules6'> | Fact<'netnsRules4'> | undefined;
    if (inode === null) {
      const found = this.family === 4 ? facts.get('rules4') : facts.get('rules6');
      if (found.missing) this.#rulesGap = missingReason(`policy rules of ${this.space.label} are not known`, found);
      else fact = found;
    } else {
      // the collector takes IPv4 rules of a namespace only: whoever adds rules to a pod does it for both
      fact = facts.all('netnsRules4').find((f) => f.instance === inode);
      if (fact === undefined)
        this.#rulesGap = {
          because: `policy rules of ${this.space.label} were not collected`,
          evidence: ['netns.rule4-json'],
        };
      else if (this.family === 6) {
        if (fact.value.rules.some((r) => !isUsual(r)))
          this.#rulesGap = { because: `IPv6 policy rules of ${this.space.label} are not collected`, evidence: [] };
        fact = undefined;
      }
    }
    if (fact === undefined) this.#rules = [];
    else {
      const from = fact;
      if (!from.closed) this.#rulesGap = { because: `${from.path} was not collected whole`, evidence: [from.evidence] };
      this.#rules = (from.value as PolicyRules).rules
        .map((rule): Rule => {
          const net = (text: string | undefined) =>
            text === undefined || text === 'all' ? null : parseNet(text, this.family);
          return { rule, from: net(rule.from), to: net(rule.to), cite: cite(from, rule), usual: isUsual(rule) };
        })
        .sort((a, b) => a.rule.pref - b.rule.pref);
    }
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
    const rules = this.#policy();
    const known: readonly Rule[] = rules.length > 0 || this.#rulesGap === null ? rules : [];
    // the local table is asked first whatever else there is, unless somebody moved its rule
    const usualFirst = known.length === 0 || known[0]?.rule.table === 'local';
    if (usualFirst) {
      const own = this.#inTable(tables.get('local'), 'local', key, null);
      if (own !== null && own[0]?.type !== 'none') return own;
    }
    if (this.#rulesGap !== null) return [this.#unknown(this.#rulesGap)];
    if (known.length === 0) return this.#usualWalk(tables, key);
    const walked = this.#walk(tables, known, key);
    return walked;
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
      const hit = selects(r, key, this.family);
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
    rule: PolicyRule | null,
  ): readonly RouteAnswer[] | null {
    if (table === undefined) {
      // a table that a rule names and the dump does not show is empty
      return null;
    }
    const ignoreDown = this.#ignoresLinkDown(key);
    for (const list of table.matches(key.dst)) {
      const chosen = this.#best(list, key, ignoreDown);
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
      if (route.type === 'throw') return null;
      return this.#answers(route, hops, name);
    }
    // a dump that is not whole may lack the very route; the local table is rebuilt from addresses
    if (this.#gap !== null && name !== 'local') return [this.#unknown(this.#gap)];
    return null;
  }

  #best(
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

  #answers(route: FibRoute, hops: readonly FibHop[], table: string): readonly RouteAnswer[] {
    const text = `${route.type === 'unicast' ? '' : `${route.type} `}${route.route.dst}`;
    const base = {
      prefsrc: route.prefsrc,
      mtu: route.mtu,
      table,
      cites: this.#localMade && table === 'local' ? [] : [route.cite],
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

  #ignoresLinkDown(_key: RouteKey): (dev: string) => boolean {
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
    for (const list of this.#load().get('local')?.matches(addr) ?? []) {
      const route = list.find((r) => dev === undefined || r.hops[0]?.dev === dev);
      if (route !== undefined)
        return { type: route.type as RouteType, reason: null, cites: this.#localMade ? [] : [route.cite] };
      // the device decides against the longest prefix, not for a shorter one
      break;
    }
    if (this.#localMade && gap !== null) return { type: null, reason: gap, cites: [] };
    if (this.#gap !== null && this.#gap.because.includes('whole')) return { type: null, reason: this.#gap, cites: [] };
    if (this.family === 6) {
      const [answer] = this.lookup({ ...plainKey(addr), iif: 'lo' });
      if (answer?.type === 'unknown') return { type: null, reason: answer.reason, cites: [] };
      if (answer?.type === 'none') return { type: 'unreachable', reason: null, cites: [] };
    }
    return { type: 'unicast', reason: null, cites: [] };
  }

  /**
   * inet_select_addr(dev, next hop): what MASQUERADE and senders without a preferred source take [V52]. `addr` null without a reason:
   * there is none.
   */
  sourceAddress(
    oif: string,
    nexthop: Addr | null,
  ): { addr: Addr | null; cites: readonly Cite[]; reason: Reason | null } {
    const { devices } = this.space;
    const fits = (a: OwnAddress) => typeof a.addr === typeof (this.family === 4 ? 0 : 0n) && !a.secondary;
    const usable = (a: OwnAddress) =>
      fits(a) && (this.family === 6 || (a.scope !== 'host' && a.scope !== 'link') || a.scope === 'link');
    const device = this.space.device(oif);
    const pick = (list: readonly OwnAddress[]) => {
      const good = list.filter((a) => usable(a) && (this.family === 4 ? a.scope !== 'host' : !isLinkLocal(a.addr)));
      return (nexthop === null ? undefined : good.find((a) => contains(a.net, nexthop))) ?? good[0];
    };
    if (devices.gap !== null && device === undefined) return { addr: null, cites: [], reason: devices.gap };
    const own = pick(device?.addresses ?? []);
    if (own !== undefined) return { addr: own.addr, cites: [own.cite], reason: null };
    for (const other of devices.list) {
      if (other.name === oif || other.up === false) continue;
      const found = other.addresses.find(
        (a) => usable(a) && a.scope === 'global' && !isLoopback(a.addr) && !isLinkLocal(a.addr),
      );
      if (found !== undefined) return { addr: found.addr, cites: [found.cite], reason: null };
    }
    return { addr: null, cites: [], reason: devices.gap };
  }

  /** Is the packet's source one that the namespace would answer through `iif`? `mark`: the lookup uses the packet's mark. */
  reversePath(
    packet: Packet,
    iif: string,
    how: { readonly loose: boolean; readonly mark: boolean },
  ): { passes: Truth; cites: readonly Cite[]; reason: Reason | null } {
    const answers = this.lookup({
      dst: packet.src,
      src: packet.dst,
      iif: 'lo',
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
    return this.#policy().some((r) => !r.usual);
  }
}

const routeWord = (route: FibRoute, hop: FibHop): string => {
  const said =
    route.route.nexthops.find((n) => n.dev === hop.dev && parseAddr(n.via ?? '') === hop.via)?.via ?? route.route.via;
  return `${said ?? ''}${hop.onlink ? ' onlink' : ''}`;
};

const plainKey = (dst: Addr): RouteKey => ({
  dst,
  src: null,
  iif: 'lo',
  oif: null,
  mark: 0,
  tos: 0,
  proto: 0,
  sport: null,
  dport: null,
});

function isUsual(rule: PolicyRule): boolean {
  const { pref, table, action, not, from, to, iif, oif, fwmark, unknown, suppressPrefixLength, suppressIfgroup } = rule;
  const bare =
    !not &&
    (from === undefined || from === 'all') &&
    to === undefined &&
    iif === undefined &&
    oif === undefined &&
    fwmark === undefined &&
    (unknown?.length ?? 0) === 0 &&
    suppressPrefixLength === undefined &&
    suppressIfgroup === undefined;
  return bare && action === 'lookup' && table !== undefined && USUAL[table] === pref;
}

function selects(r: Rule, key: RouteKey, family: 4 | 6): Truth {
  const { rule } = r;
  let unknown = false;
  const miss = (test: boolean | null) => {
    if (test === null) unknown = true;
    return test === false;
  };
  const no = rule.not ? 1 : 0;
  const yes = rule.not ? 0 : 1;
  if (r.to !== null && miss(contains(r.to, key.dst))) return no;
  if (r.from !== null && miss(key.src === null ? r.from.length === 0 : contains(r.from, key.src))) return no;
  if (rule.iif !== undefined && miss(rule.iif === key.iif)) return no;
  if (rule.oif !== undefined && miss(rule.oif === key.oif)) return no;
  if (rule.fwmark !== undefined && miss((key.mark & (rule.fwmask ?? 0xffffffff)) >>> 0 === rule.fwmark >>> 0))
    return no;
  if (rule.tos !== undefined && miss(tosNumber(rule.tos) === key.tos)) return no;
  if (rule.ipproto !== undefined && miss(sameProtocol(rule.ipproto, key.proto))) return no;
  if (rule.sport !== undefined && miss(inPorts(rule.sport, key.sport))) return no;
  if (rule.dport !== undefined && miss(inPorts(rule.dport, key.dport))) return no;
  if (rule.l3mdev === true && miss(false)) return no;
  // a process is not known: what the kernel or root sends has uid 0
  if (rule.uidrange !== undefined && miss(key.iif !== 'lo' ? false : /^0-/.test(rule.uidrange) ? true : null))
    return no;
  if ((rule.unknown?.length ?? 0) > 0) unknown = true;
  void family;
  return unknown ? null : yes;
}

const tosNumber = (text: string): number => TOS_WORDS[text] ?? Number(text);
const TOS_WORDS: Readonly<Record<string, number>> = { lowdelay: 16, throughput: 8, reliability: 4 };

function sameProtocol(text: string, proto: number): boolean | null {
  const number = protocolNumber(text);
  return number === null ? null : number === proto;
}

function inPorts(text: string, port: Packet['sport']): boolean | null {
  const m = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (m === null) return null;
  const inside = portIn(port, Number(m[1]), Number(m[2] ?? m[1]));
  return inside === null ? null : inside === 1;
}

/** The local table as the kernel keeps it for these addresses, where the dump does not show it. */
function localTable(addresses: readonly OwnAddress[], family: 4 | 6): FibTable {
  const table = new FibTable();
  const add = (type: string, addr: Addr, length: number, a: OwnAddress) => {
    const route = {
      line: a.cite.line,
      family,
      type,
      dst: '',
      metric: 0,
      table: 'local',
      flags: [],
      nexthops: [],
    };
    table.add(
      {
        route,
        type,
        length,
        metric: 0,
        tos: 0,
        prefsrc: null,
        mtu: null,
        hops: [{ dev: a.dev, via: null, weight: 1, dead: false, linkDown: false, onlink: false }],
        cite: a.cite,
      },
      addr,
    );
  };
  const bits = family === 4 ? 32 : 128;
  for (const a of addresses) {
    if ((typeof a.addr === 'number') !== (family === 4)) continue;
    add('local', a.addr, bits, a);
    if (typeof a.addr === 'number' && isLoopback(a.addr)) add('local', a.net.base, a.net.length, a);
    else if (typeof a.net.base === 'number' && a.net.length < 31)
      add('broadcast', (a.net.base | (0xffffffff >>> a.net.length)) >>> 0, 32, a);
  }
  return table;
}
