import type { Family } from '../core/address.ts';
import type { NextHop, Route, Routes } from '../facts/index.ts';
import type { Parsed } from '../facts/parser.ts';
import { type JsonRecord, type JsonValue, readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { destination, leadsNowhere, metricOf, tableName } from './routes-text.ts';

/** `ip -j route`. It does not tell `mtu lock`; its empty list says nothing about which tables were asked for. */
export function readRouteJson(text: string, family: Family): Parsed<Routes> {
  const read = readRecords(text);
  if (typeof read === 'string') return { ok: false, why: read };
  const skipped = [...read.skipped];
  const routes: Route[] = [];
  for (const record of read.records) {
    const route = routeOf(record, family);
    if (typeof route === 'string') skipRecord(skipped, record, route);
    else routes.push(route);
  }
  if (routes.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  const allTables = routes.length === 0 || read.records.some((r) => r.fields.has('table'));
  return { ok: true, value: { routes, allTables }, skipped };
}

function routeOf(record: JsonRecord, family: Family): Route | string {
  const dst = destination(record.text('dst') ?? '', family);
  if (dst === null) return `no IPv${family} route`;
  const metric = metricOf(scalar(record.fields.get('metric')));
  if (metric === null) return 'the metric is no number';
  const metrics = record.records('metrics')[0];
  const route: Route = present({
    family,
    type: record.text('type') ?? 'unicast',
    dst,
    from: record.text('from'),
    via: gateway(record),
    dev: record.text('dev'),
    src: record.text('prefsrc'),
    metric,
    table: tableName(scalar(record.fields.get('table'))),
    proto: scalar(record.fields.get('protocol')),
    scope: scalar(record.fields.get('scope')),
    tos: ownTos(record),
    mtu: metrics?.number('mtu'),
    advmss: metrics?.number('advmss'),
    hopLimit: metrics?.number('hoplimit'),
    nhid: record.number('nhid'),
    encap: record.text('encap'),
    flags: record.texts('flags'),
    nexthops: record.records('nexthops').map(nextHop),
    ...record.span,
  });
  return leadsNowhere(route) ? 'no next hop is shown' : route;
}

function nextHop(record: JsonRecord): NextHop {
  const weight = record.number('weight') ?? 1;
  return present({ via: gateway(record), dev: record.text('dev'), weight, flags: record.texts('flags') });
}

/** `gateway`, or `via` for a gateway of the other family. */
const gateway = (record: JsonRecord) => record.text('gateway') ?? record.record('via')?.text('host');

/** Names are texts, what has no name is a number in some versions. */
function scalar(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

/** A `tos` after `encap` is the tunnel's. */
function ownTos(record: JsonRecord): string | undefined {
  const names = [...record.fields.keys()];
  const encap = names.indexOf('encap');
  return encap >= 0 && names.indexOf('tos') > encap ? undefined : record.text('tos');
}
