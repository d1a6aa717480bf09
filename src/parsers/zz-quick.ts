import type { LinkDevice, InterfaceAddress, Links, Routes, Route, PolicyRules, Neighbours, Fdb, Bridges, Sysctls, Sockets, SysfsAttributes, Modules, TextLines } from '../facts/index.ts';
import { defineParser, type Skipped } from '../facts/parser.ts';
import { parseIp } from '../core/address.ts';

type Mut<T> = { -readonly [K in keyof T]: T[K] };
const num = (t: string | undefined) => (t !== undefined && /^\d+$/.test(t) ? Number(t) : undefined);

function links(text: string) {
  const devices: (Mut<LinkDevice> & { addresses: InterfaceAddress[] })[] = [];
  const skipped: Skipped[] = [];
  let dev: (Mut<LinkDevice> & { addresses: InterfaceAddress[] }) | undefined;
  text.split('\n').forEach((raw, i) => {
    const line = i + 1;
    const head = /^(\d+): ([^\s:@]+)(?:@(\S+?))?:\s*<([^>]*)>(.*)$/.exec(raw);
    if (head) {
      const rest = (head[5] ?? '').trim().split(/\s+/);
      const get = (k: string) => { const at = rest.indexOf(k); return at < 0 ? undefined : rest[at + 1]; };
      const peer = head[3];
      const pif = peer === undefined ? null : /^if(\d+)$/.exec(peer);
      dev = { ifindex: Number(head[1]), name: head[2] as string, flags: (head[4] ?? '').split(',').filter((x) => x !== ''), addresses: [], line, endLine: line };
      if (pif) dev.peerIfindex = Number(pif[1]); else if (peer !== undefined && peer !== 'NONE') dev.peerName = peer;
      const mtu = num(get('mtu')); if (mtu !== undefined) dev.mtu = mtu;
      const st = get('state'); if (st) dev.state = st;
      const ms = get('master'); if (ms) dev.master = ms;
      devices.push(dev); return;
    }
    if (raw.trim() === '') return;
    if (!dev) { skipped.push({ line, why: 'before any device' }); return; }
    dev.endLine = line;
    const t = raw.trim(); const w = t.split(/\s+/); const get = (k: string) => { const at = w.indexOf(k); return at < 0 ? undefined : w[at + 1]; };
    if (t.startsWith('link/')) {
      if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(w[1] ?? '')) dev.mac = w[1] as string;
      const id = num(get('link-netnsid')); if (id !== undefined) dev.linkNetnsId = id;
      const nn = get('link-netns'); if (nn) dev.linkNetnsName = nn;
    } else if (w[0] === 'inet' || w[0] === 'inet6') {
      const [address, plen] = (w[1] ?? '').split('/');
      const a: Mut<InterfaceAddress> = { family: w[0] === 'inet' ? 4 : 6, address: address ?? '', prefixLength: plen === undefined ? (w[0] === 'inet' ? 32 : 128) : Number(plen), scope: get('scope') ?? 'global', secondary: w.includes('secondary'), line };
      dev.addresses.push(a);
    } else if (w[0] === 'vxlan') {
      dev.kind = 'vxlan';
      const v: Record<string, unknown> = { vni: Number(get('id') ?? 0), dstPort: Number(get('dstport') ?? 8472), learning: !w.includes('nolearning'), external: w.includes('external'), gbp: w.includes('gbp') };
      for (const k of ['local', 'dev', 'remote', 'group', 'df']) { const x = get(k); if (x !== undefined) v[k] = x; }
      dev.vxlan = v as never;
    } else if (w[0] === 'bridge') { dev.kind = 'bridge'; dev.bridge = { ...(get('vlan_filtering') ? { vlanFiltering: get('vlan_filtering') === '1' } : {}), ...(get('nf_call_iptables') ? { nfCallIptables: get('nf_call_iptables') === '1' } : {}) }; }
    else if (w[0] === 'bridge_slave') { dev.port = { ...(get('state') ? { state: get('state') as string } : {}), ...(get('hairpin') ? { hairpin: get('hairpin') === 'on' } : {}), ...(get('isolated') ? { isolated: get('isolated') === 'on' } : {}) }; }
    else if (['veth', 'macvlan', 'ipvlan', 'vlan', 'bond', 'dummy', 'tun', 'wireguard'].includes(w[0] ?? '')) dev.kind = w[0] as string;
  });
  return { ok: true as const, value: { devices } as Links, skipped };
}

function cidr(text: string, family: 4 | 6): string { if (text === 'default') return family === 4 ? '0.0.0.0/0' : '::/0'; if (text.includes('/')) return text; return family === 4 ? `${text}/32` : `${text}/128`; }

function routes(family: 4 | 6) {
  return (text: string) => {
    const list: Mut<Route>[] = []; const skipped: Skipped[] = [];
    text.split('\n').forEach((raw, i) => {
      const line = i + 1; const t = raw.trim(); if (t === '') return;
      const w = t.split(/\s+/);
      if (/^nexthop/.test(t)) { const last = list.at(-1); if (!last) { skipped.push({ line, why: 'nexthop without route' }); return; } const get = (k: string) => { const at = w.indexOf(k); return at < 0 ? undefined : w[at + 1]; }; const via = get('via'); const dv = get('dev'); (last.nexthops as unknown[]).push({ ...(via ? { via } : {}), ...(dv ? { dev: dv } : {}), weight: Number(get('weight') ?? 1), flags: w.filter((x) => ['onlink', 'dead', 'linkdown'].includes(x)) }); last.endLine = line; return; }
      const types = ['unicast', 'local', 'broadcast', 'multicast', 'anycast', 'blackhole', 'unreachable', 'prohibit', 'throw', 'nat'];
      let at = 0; let type = 'unicast'; if (types.includes(w[0] ?? '')) { type = w[0] as string; at = 1; }
      const dst = w[at]; if (dst === undefined || (dst !== 'default' && parseIp(dst.split('/')[0] ?? '') === null)) { skipped.push({ line, why: 'not a route' }); return; }
      const r: Mut<Route> = { family, type, dst: cidr(dst, family), metric: 0, table: 'main', flags: [], nexthops: [], line, endLine: line };
      const rest = w.slice(at + 1);
      for (let j = 0; j < rest.length; j += 1) { const k = rest[j] as string; const v = rest[j + 1];
        if (k === 'via') { r.via = v === 'inet6' || v === 'inet' ? (rest[j + 2] as string) : (v as string); j += v === 'inet6' || v === 'inet' ? 2 : 1; }
        else if (k === 'dev') { r.dev = v as string; j += 1; } else if (k === 'src') { r.src = v as string; j += 1; } else if (k === 'metric') { r.metric = Number(v); j += 1; } else if (k === 'table') { r.table = v as string; j += 1; } else if (k === 'proto') { r.proto = v as string; j += 1; } else if (k === 'scope') { r.scope = v as string; j += 1; } else if (k === 'mtu') { if (v === 'lock') { r.mtuLock = true; r.mtu = Number(rest[j + 2]); j += 2; } else { r.mtu = Number(v); j += 1; } } else if (['onlink', 'dead', 'linkdown', 'pervasive'].includes(k)) (r.flags as string[]).push(k); }
      list.push(r);
    });
    return { ok: true as const, value: { routes: list, allTables: true } as Routes, skipped };
  };
}
const rules4 = (text: string) => { const rules: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { const m = /^(\d+):\s+(not )?from (\S+)(.*)$/.exec(raw); if (raw.trim() === '') return; if (!m) { skipped.push({ line: i + 1, why: 'not a rule' }); return; } const w = (m[4] ?? '').trim().split(/\s+/); const get = (k: string) => { const at = w.indexOf(k); return at < 0 ? undefined : w[at + 1]; }; const fw = get('fwmark')?.split('/'); rules.push({ pref: Number(m[1]), not: m[2] !== undefined, ...(m[3] === 'all' ? {} : { from: m[3] }), ...(get('to') ? { to: get('to') } : {}), ...(get('iif') ? { iif: get('iif') } : {}), ...(get('oif') ? { oif: get('oif') } : {}), ...(fw ? { fwmark: Number(fw[0]), ...(fw[1] ? { fwmask: Number(fw[1]) } : {}) } : {}), action: w.includes('lookup') ? 'lookup' : 'unknown', ...(get('lookup') ? { table: get('lookup') } : {}), ...(get('suppress_prefixlength') ? { suppressPrefixLength: Number(get('suppress_prefixlength')) } : {}), line: i + 1 }); }); return { ok: true as const, value: { rules } as unknown as PolicyRules, skipped }; };
const neigh = (text: string) => { const entries: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { const w = raw.trim().split(/\s+/); if (raw.trim() === '') return; const get = (k: string) => { const at = w.indexOf(k); return at < 0 ? undefined : w[at + 1]; }; if (w[1] !== 'dev') { skipped.push({ line: i + 1, why: 'not a neighbour' }); return; } entries.push({ ip: w[0], dev: w[2], ...(get('lladdr') ? { mac: get('lladdr') } : {}), state: w.filter((x) => /^[A-Z]+$/.test(x)), line: i + 1 }); }); return { ok: true as const, value: { entries } as unknown as Neighbours, skipped }; };
const fdb = (text: string) => { const entries: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { const w = raw.trim().split(/\s+/); if (raw.trim() === '') return; const get = (k: string) => { const at = w.indexOf(k); return at < 0 ? undefined : w[at + 1]; }; if (get('dev') === undefined) { skipped.push({ line: i + 1, why: 'not an fdb entry' }); return; } entries.push({ mac: w[0], dev: get('dev'), ...(get('dst') ? { dst: get('dst') } : {}), ...(get('master') ? { master: get('master') } : {}), self: w.includes('self'), permanent: w.includes('permanent'), line: i + 1 }); }); return { ok: true as const, value: { entries } as unknown as Fdb, skipped }; };
const brctl = (text: string) => { const bridges: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { if (raw.trim() === '' || /^bridge name/.test(raw)) return; const w = raw.trim().split(/\s+/); const last = bridges.at(-1) as { ports: string[]; endLine: number } | undefined; if (/^\s/.test(raw)) { if (last) { last.ports.push(w[0] as string); last.endLine = i + 1; } else skipped.push({ line: i + 1, why: 'port without bridge' }); return; } bridges.push({ name: w[0], id: w[1] ?? '', stp: w[2] === 'yes', ports: w[3] ? [w[3]] : [], line: i + 1, endLine: i + 1 }); }); return { ok: true as const, value: { bridges } as unknown as Bridges, skipped }; };
const sysctl = (text: string) => { const values: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { if (raw.trim() === '') return; const m = /^([^:=\s]+?):(.*)$/.exec(raw); if (!m) { skipped.push({ line: i + 1, why: 'not a sysctl' }); return; } values.push({ key: m[1], value: (m[2] ?? '').trim(), line: i + 1 }); }); return { ok: true as const, value: { values } as unknown as Sysctls, skipped }; };
const sockets = (text: string) => { const listeners: unknown[] = []; const skipped: Skipped[] = []; text.split('\n').forEach((raw, i) => { if (raw.trim() === '') return; const w = raw.trim().split(/\s+/); const local = w[4] ?? ''; const at = local.lastIndexOf(':'); if ((w[0] !== 'tcp' && w[0] !== 'udp') || at < 0) { skipped.push({ line: i + 1, why: 'not a socket' }); return; } let address = local.slice(0, at); let d: string | undefined; const pct = address.indexOf('%'); if (pct >= 0) { d = address.slice(pct + 1).replace(/\]$/, ''); address = address.slice(0, pct); } address = address.replace(/^\[|\]$/g, ''); if (address === '*') address = '::'; listeners.push({ proto: w[0], family: address.includes(':') ? 6 : 4, address, port: Number(local.slice(at + 1)), ...(d ? { dev: d } : {}), processes: [...raw.matchAll(/\("([^"]+)",pid=(\d+)/g)].map((m) => ({ name: m[1], pid: Number(m[2]) })), line: i + 1 }); }); return { ok: true as const, value: { listeners } as unknown as Sockets, skipped }; };

export const parsers = [
  defineParser({ fact: 'addresses', evidence: ['ip.addr'], version: 0, parse: links }),
  defineParser({ fact: 'links', evidence: ['ip.link'], version: 0, parse: links }),
  defineParser({ fact: 'routes4', evidence: ['ip.route4'], version: 0, parse: routes(4) }),
  defineParser({ fact: 'rules4', evidence: ['ip.rule4'], version: 0, parse: rules4 }),
  defineParser({ fact: 'neighbours', evidence: ['ip.neigh'], version: 0, parse: neigh }),
  defineParser({ fact: 'fdb', evidence: ['bridge.fdb'], version: 0, parse: fdb }),
  defineParser({ fact: 'bridges', evidence: ['bridge.brctl-show'], version: 0, parse: brctl }),
  defineParser({ fact: 'sysctl', evidence: ['sys.sysctl'], version: 0, parse: sysctl }),
  defineParser({ fact: 'sockets', evidence: ['sock.ss-listen'], version: 0, parse: sockets }),
];
export type Unused = [SysfsAttributes, Modules, TextLines];
