import { type Family, parseIp, parseIp4, parsePrefix } from '../core/address.ts';
import type { NextHop, Route, Routes } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { arity, count, readKeyed, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { takenApartOnce } from './usual-lines.ts';

const types = /^(unicast|local|broadcast|anycast|multicast|blackhole|unreachable|prohibit|throw|nat|xresolve)$/;
/** Types that deliver to or over a device: without one the next hop was not printed. */
const delivering = /^(unicast|local|broadcast|anycast|multicast)$/;
const keys = arity(
  'via dev src from metric table proto scope tos dsfield nhid weight pref expires error realm realms mtu advmss window rtt rttvar ssthresh cwnd initcwnd initrwnd hoplimit reordering rto_min features quickack congctl ttl',
);
const tableNames = new Map([
  ['254', 'main'],
  ['255', 'local'],
  ['253', 'default'],
]);

/** CIDR form of a printed destination; null when it is no prefix of the family. */
export function destination(text: string, family: Family): string | null {
  if (text === 'default' || text === 'all') return family === 4 ? '0.0.0.0/0' : '::/0';
  const slash = text.indexOf('/');
  if (family === 4 && parseIp4(slash < 0 ? text : text.slice(0, slash)) !== null) {
    if (slash < 0) return `${text}/32`;
    if (/^\/(\d|[12]\d|3[0-2])$/.test(text.slice(slash))) return text;
  }
  if (parsePrefix(text)?.family !== family) return null;
  return slash < 0 ? `${text}/${family === 4 ? 32 : 128}` : text;
}

export function tableName(text: string | undefined): string {
  return text === undefined ? 'main' : (tableNames.get(text) ?? text);
}

/** The kernel's metric is unsigned; busybox and net-tools print it signed: -16769024 is 4278198272. */
export function metricOf(text: string | undefined): number | null {
  if (text === undefined) return 0;
  if (!/^-?\d{1,10}$/.test(text)) return null;
  const value = Number(text);
  return value < 0 ? value + 2 ** 32 : value;
}

export function leadsNowhere(route: Pick<Route, 'type' | 'dev' | 'via' | 'nexthops' | 'nhid'>): boolean {
  const known = route.dev !== undefined || route.via !== undefined || route.nexthops.length > 0;
  return delivering.test(route.type) && !known;
}

/**
 * `ip route`, with -d and table all, and busybox's. Lines `nexthop ...` and `nh_info ...` belong to the route above. A delivering route with
 * no next hop is skipped: busybox prints only the prefix of a multipath route.
 */
export function readRouteText(text: string, family: Family): Parsed<Routes> {
  const read: Route[] = [];
  const skipped: Skipped[] = [];
  let tableSeen = false;
  let open: Route | null = null;
  // a route may be one that others share: it is copied before lines are added to it
  let growing: Growing | null = null;
  const close = () => {
    growing = null;
    if (open === null) return;
    const { line: first, endLine = first } = open;
    if (leadsNowhere(open)) {
      for (let line = first; line <= endLine; line += 1) skipped.push({ line, why: 'no next hop is shown' });
    } else read.push(open);
    open = null;
  };
  for (const { line, text: raw } of filledLines(text)) {
    const usual = family === 4 ? usualRoute(raw, line) : null;
    if (usual !== null) {
      close();
      open = usual.route;
      tableSeen ||= usual.table;
      continue;
    }
    const words = wordsOf(raw);
    if (/^\s/.test(raw) && (words[0] === 'nexthop' || words[0] === 'nh_info')) {
      if (open === null) skipped.push({ line, why: 'next hop without a route' });
      else {
        const above: Route = open;
        const own: Growing = growing ?? { ...above, nexthops: [...above.nexthops], endLine: line };
        own.endLine = line;
        if (words[0] === 'nexthop') own.nexthops.push(nextHop(words.slice(1)));
        open = own;
        growing = own;
      }
      continue;
    }
    close();
    const found = routeOf(words, family, line);
    if (typeof found === 'string') skipped.push({ line, why: found });
    else {
      open = found.route;
      tableSeen ||= found.table;
    }
  }
  close();
  skipped.sort((a, b) => a.line - b.line);
  if (read.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  // `table all` prints the table of what is not in main, and there is always something in local
  return { ok: true, value: { routes: read, allTables: tableSeen || read.length === 0 }, skipped };
}

type Growing = Route & { readonly nexthops: NextHop[]; endLine: number };

/** `table`: the line names one. */
interface ReadRoute {
  readonly route: Route;
  readonly table: boolean;
}

/** An IPv4 route as nearly all are: what a thousand nodes' routes consist of is not taken apart word by word. */
const USUAL =
  /^(?:(unicast|local|broadcast) )?(default|\d[\d.]*(?:\/\d\d?)?)(?: via (\d[\d.]*))? dev (\S+)(?: table (\w+))?(?: proto (\w+))?(?: scope (\w+))?(?: src (\d[\d.]*))?(?: metric (\d{1,10}))?((?: (?:onlink|linkdown|dead))*) ?$/;

/** What routeOf says of the line; null: it is another kind of line. */
const usualRoute = takenApartOnce(readUsual, ({ route, table }, line) => ({
  route: { ...route, line, endLine: line },
  table,
}));

function readUsual(raw: string, line: number): ReadRoute | null {
  const m = USUAL.exec(raw);
  const dst = m === null ? null : destination(m[2]!, 4);
  if (m === null || dst === null) return null;
  const [, type = 'unicast', , via, dev, table, proto, scope, src, metric, flags] = m;
  if (via !== undefined && parseIp4(via) === null) return null;
  const route: Route = {
    family: 4,
    type,
    dst,
    ...(via === undefined ? undefined : { via }),
    dev: dev!,
    ...(src === undefined ? undefined : { src }),
    metric: metric === undefined ? 0 : Number(metric),
    table: tableName(table),
    ...(proto === undefined ? undefined : { proto }),
    ...(scope === undefined ? undefined : { scope }),
    flags: flags === '' ? [] : wordsOf(flags!),
    nexthops: [],
    line,
    endLine: line,
  };
  return { route, table: table !== undefined };
}

function routeOf(words: readonly string[], family: Family, line: number): ReadRoute | string {
  const typed = types.test(words[0] ?? '');
  const type = typed ? words[0]! : 'unicast';
  const dst = destination(words[typed ? 1 : 0] ?? '', family);
  if (dst === null) return `no IPv${family} route`;
  const options = plain(words.slice(typed ? 2 : 1));
  const { values, bare } = readKeyed(options.words, keys);
  const metric = metricOf(values.get('metric'));
  if (metric === null) return 'the metric is no number';
  // busybox without -4 lists both families, and `default` is of either
  const via = familyOf(values.get('via') ?? '');
  // text that was cut: iproute2 prints the device of each next hop
  if (values.has('via') && (via === null || !(values.has('dev') || values.has('nhid')))) return 'the next hop is cut';
  if (via !== null && via !== family && !options.foreign) return `no IPv${family} route`;
  const route = present({
    family,
    type,
    dst,
    from: values.get('from'),
    via: values.get('via'),
    dev: values.get('dev'),
    src: values.get('src'),
    metric,
    table: tableName(values.get('table')),
    proto: values.get('proto'),
    scope: values.get('scope'),
    tos: values.get('tos') ?? values.get('dsfield'),
    mtu: count(values.get('mtu')),
    mtuLock: options.locked.has('mtu') ? true : undefined,
    advmss: count(values.get('advmss')),
    hopLimit: count(values.get('hoplimit')),
    nhid: count(values.get('nhid')),
    encap: options.encap,
    flags: bare,
    nexthops: [],
    line,
    endLine: line,
  });
  return { route, table: values.has('table') };
}

function familyOf(text: string): Family | null {
  return text === '' ? null : parseIp4(text) !== null ? 4 : (parseIp(text)?.family ?? null);
}

function nextHop(words: readonly string[]): NextHop {
  const { values, bare } = readKeyed(plain(words).words, keys);
  const weight = count(values.get('weight')) ?? 1;
  return present({ via: values.get('via'), dev: values.get('dev'), weight, flags: bare });
}

/** Takes out what breaks `key value`: `via inet6 ADDRESS`, `mtu lock N`, and an encapsulation with its own dst, src and tos. */
function plain(words: readonly string[]) {
  const out: string[] = [];
  const locked = new Set<string>();
  let encap: string | undefined;
  let foreign = false;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    if (word === 'encap' && encap === undefined) {
      encap = words[i + 1] ?? '';
      while (i + 1 < words.length && !/^(via|dev|table|proto|scope|metric|weight)$/.test(words[i + 1]!)) i += 1;
    } else if (word === 'via' && /^inet6?$/.test(words[i + 1] ?? '') && parseIp(words[i + 2] ?? '') !== null) {
      out.push(word);
      foreign = true;
      i += 1;
    } else if (word === 'lock' && keys.has(words[i - 1] ?? '')) locked.add(words[i - 1]!);
    else out.push(word);
  }
  return { words: out, locked, encap, foreign };
}
