import { type Addr, parseAddr, parseNet } from './addr.ts';
import type { Act, Outcome, PreparedRule, Site, State } from './chain.ts';
import { type Lookup, readLookup } from './nft-lookup.ts';
import type { NftTable } from './nft-match.ts';
import { get } from './nft-value.ts';
import { unfollowed } from './target.ts';
import { masquerade, type NatRange, netmap, redirect, translate } from './target-nat.ts';

type Target = Pick<NatRange, 'addresses' | 'ports'> & {
  readonly net?: { readonly base: Addr; readonly length: number };
};

function readAddresses(json: unknown): NatRange['addresses'] | undefined {
  if (json === undefined) return null;
  const range = get(json, 'range');
  const [low, high] = Array.isArray(range) ? range : [json, json];
  const [a, b] = [typeof low === 'string' ? parseAddr(low) : null, typeof high === 'string' ? parseAddr(high) : null];
  return a === null || b === null || typeof a !== typeof b || b < a ? undefined : [a, b];
}

function readPorts(json: unknown): NatRange['ports'] | undefined {
  if (json === undefined) return null;
  const range = get(json, 'range');
  const [low, high] = Array.isArray(range) ? range : [json, json];
  return Number.isInteger(low) && Number.isInteger(high) && low <= high && low >= 0 && high <= 0xffff
    ? [low, high]
    : undefined;
}

/** An address, a range, a prefix or address and port of a map; null: not understood. */
function readTarget(json: unknown, ports: NatRange['ports'], mapsNet: boolean): Target | null {
  const prefix = get(json, 'prefix');
  if (prefix !== undefined) {
    const net = parseNet(`${String(get(prefix, 'addr'))}/${String(get(prefix, 'len'))}`);
    if (net === null) return null;
    if (mapsNet) return { addresses: null, ports, net };
    // nft writes a range that is a prefix as one
    const hosts = (1n << BigInt((typeof net.base === 'number' ? 32 : 128) - net.length)) - 1n;
    const high = BigInt(net.base) + hosts;
    return { addresses: [net.base, typeof net.base === 'number' ? Number(high) : high], ports };
  }
  const concat = get(json, 'concat');
  const [address, port] = Array.isArray(concat) ? concat : [json, undefined];
  const addresses = readAddresses(address);
  const own = Array.isArray(concat) ? readPorts(port) : ports;
  return addresses === undefined || own === undefined ? null : { addresses, ports: own };
}

function flagsOf(body: unknown): readonly unknown[] {
  const flags = get(body, 'flags');
  return Array.isArray(flags) ? flags : [flags];
}

/** `snat`, `dnat`, `masquerade`, `redirect` of nft. */
export function readNatStatement(name: string, body: unknown, table: NftTable): Act {
  const what = `nft ${name}`;
  const ports = readPorts(get(body, 'port'));
  const fail: Act = (state, site, rule) => unfollowed(state, site, rule, what);
  if (ports === undefined) return fail;
  const flags = flagsOf(body);
  const base = { basePort: null, random: flags.includes('random') || flags.includes('fully-random') };
  const mapsNet = flags.includes('netmap');
  if (name === 'masquerade') return (s, site, rule) => masquerade(s, site, rule, { addresses: null, ports, ...base });
  if (name === 'redirect') return (s, site, rule) => redirect(s, site, rule, { addresses: null, ports, ...base });
  const kind = name === 'snat' ? 'snat' : 'dnat';
  const family = get(body, 'family');
  const address = get(body, 'addr');
  const map = get(address, 'map');
  const lookup: Lookup | null = map === undefined ? null : readLookup(map, table);
  const fixed = map === undefined ? readTarget(address, ports, mapsNet) : null;
  if (lookup === null && fixed === null) return fail;
  const to = (state: State, site: Site, rule: PreparedRule, target: Target | null): readonly Outcome[] => {
    if (target === null) return [unfollowed(state, site, rule, what)];
    if (target.net !== undefined) return netmap(state, site, rule, target.net.base, target.net.length);
    return translate(state, site, rule, kind, { ...base, addresses: target.addresses, ports: target.ports });
  };
  return (state, site, rule) => {
    // in an inet table, the statement is only for packets of its own family
    if (family !== undefined && (family === 'ip') !== (typeof state.packet.dst === 'number'))
      return { to: 'next', state };
    if (lookup === null) return to(state, site, rule, fixed);
    const found = lookup(state, site, rule);
    if (found === null) return unfollowed(state, site, rule, what);
    return found.flatMap((f): readonly Outcome[] =>
      f.item === undefined
        ? [{ to: 'skip', state: f.state }]
        : to(f.state, site, rule, readTarget(f.item, ports, mapsNet)),
    );
  };
}
