import { formatIp4, parseIp4, parsePrefix } from '../core/address.ts';
import type { Route, Routes } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { metricOf } from './routes-text.ts';

const procHead = /^\s*Iface\s+Destination\s+Gateway\s/;
const routeHead = /^\s*Destination\s+Gateway\s+Genmask\s+Flags\s+Metric\s/;

export function isMainTable(text: string): boolean {
  const head = text.slice(0, 4096).split('\n', 4);
  return head.some((line) => procHead.test(line) || routeHead.test(line));
}

/** `/proc/net/route` and `route -n`: the main table only, of a multipath route the first hop. Their titles need no place. */
export function readMainTable(text: string): Parsed<Routes> {
  const routes: Route[] = [];
  const skipped: Skipped[] = [];
  let row = readProcRow;
  for (const { line, text: raw } of filledLines(text)) {
    if (procHead.test(raw)) row = readProcRow;
    else if (routeHead.test(raw)) row = readRouteRow;
    else if (!/^Kernel IP routing table\s*$/.test(raw)) {
      const route = row(wordsOf(raw), line);
      if (typeof route === 'string') skipped.push({ line, why: route });
      else routes.push(route);
    }
  }
  if (routes.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  return { ok: true, value: { routes, allTables: false }, skipped };
}

interface Row {
  readonly dst: string | null;
  readonly mask: string | null;
  readonly gateway: string | null;
  readonly dev: string;
  readonly metric: number | null;
  readonly viaGateway: boolean;
  readonly reject: boolean;
}

/** Addresses are hexadecimal words of a little-endian CPU; its MTU column is made from advmss and says nothing. */
function readProcRow(words: readonly string[], line: number): Route | string {
  const flags = /^[0-9A-Fa-f]{4}$/.test(words[3] ?? '') ? Number.parseInt(words[3]!, 16) : null;
  if (flags === null || words.length < 8) return 'no row of /proc/net/route';
  return routeOf(
    {
      dst: hexIp(words[1]),
      mask: hexIp(words[7]),
      gateway: hexIp(words[2]),
      dev: words[0]!,
      metric: metricOf(words[6]),
      viaGateway: (flags & 2) !== 0,
      reject: (flags & 0x200) !== 0,
    },
    line,
  );
}

function hexIp(text = ''): string | null {
  if (!/^[0-9A-Fa-f]{8}$/.test(text)) return null;
  const value = Number.parseInt(text, 16);
  return formatIp4(((value & 255) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24));
}

function readRouteRow(words: readonly string[], line: number): Route | string {
  if (words.length < 8) return 'no row of route -n';
  const flags = words[3]!;
  const dotted = (word: string) => (parseIp4(word) === null ? null : word);
  return routeOf(
    {
      dst: words[0] === 'default' ? '0.0.0.0' : dotted(words[0]!),
      mask: dotted(words[2]!),
      gateway: dotted(words[1]!),
      dev: words[7]!,
      metric: metricOf(words[4]),
      viaGateway: flags.includes('G'),
      reject: flags.includes('!'),
    },
    line,
  );
}

/** Rejecting routes are listed as `unreachable`: here `prohibit` looks the same. A route on device `*` that rejects nothing is a blackhole (or, rarer, a `throw`). */
function routeOf(row: Row, line: number): Route | string {
  const prefix = row.dst === null || row.mask === null ? null : parsePrefix(`${row.dst}/${row.mask}`);
  if (prefix === null) return 'no IPv4 route';
  if (row.metric === null) return 'the metric is no number';
  const type = row.reject ? 'unreachable' : row.dev === '*' ? 'blackhole' : 'unicast';
  const unicast = type === 'unicast';
  if (unicast && row.viaGateway && (row.gateway === null || row.gateway === '0.0.0.0'))
    return 'the gateway, of another family, is not shown';
  return present({
    family: 4 as const,
    type,
    dst: `${formatIp4(Number(prefix.base))}/${prefix.length}`,
    via: unicast && row.viaGateway ? (row.gateway ?? undefined) : undefined,
    dev: unicast ? row.dev : undefined,
    metric: row.metric,
    table: 'main',
    flags: [],
    nexthops: [],
    line,
  });
}
