import type { CniLeases } from '../facts/containers.ts';
import type { IptablesVersion, NftTables, TableNames } from '../facts/firewall.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { TextLines } from '../facts/settings.ts';
import { filledLines } from './line-index.ts';

function readLines(text: string): Parsed<TextLines> {
  return { ok: true, value: { lines: filledLines(text) }, skipped: [] };
}

/** /proc/net/ip_tables_names: one word a line. */
function readTableNames(text: string): Parsed<TableNames> {
  const tables: TableNames['tables'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const name = raw.trim();
    if (/^[\w-]{1,32}$/.test(name)) tables.push({ line, name });
    else skipped.push({ line, why: 'no table name' });
  }
  if (tables.length === 0 && skipped.length > 0) return { ok: false, why: 'no table name' };
  return { ok: true, value: { tables }, skipped };
}

/** `nft list tables`: `table inet fw`. */
function readNftTables(text: string): Parsed<NftTables> {
  const tables: NftTables['tables'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^table (ip|ip6|inet|arp|bridge|netdev) (\S+)(?: # handle \d+)?\s*$/.exec(raw);
    if (m === null) skipped.push({ line, why: 'no table' });
    else tables.push({ line, family: m[1] as string, name: m[2] as string });
  }
  if (tables.length === 0 && skipped.length > 0) return { ok: false, why: 'no list of nft tables' };
  return { ok: true, value: { tables }, skipped };
}

/** `iptables -V`, `ip6tables -V` and the path behind `iptables`. Before 1.8 there is no word in brackets and only the legacy backend. */
function readVersion(text: string): Parsed<IptablesVersion> {
  let version: IptablesVersion | null = null;
  let path: IptablesVersion['backend'] = 'unknown';
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^\s*(ip6?tables\S*) v?(\d+)\.(\d+)(\S*)(?:\s+\((\S+)\))?/.exec(raw);
    if (m !== null) {
      if (version !== null || m[1]!.startsWith('ip6')) continue;
      const old = Number(m[2]) < 1 || (Number(m[2]) === 1 && Number(m[3]) < 8);
      const backend = m[5] === 'nf_tables' ? 'nft' : m[5] === 'legacy' || old ? 'legacy' : 'unknown';
      version = { backend, version: `${m[2]}.${m[3]}${m[4]}`, line };
    } else if (/^\s*\//.test(raw)) {
      if (/nft-multi/.test(raw)) path = 'nft';
      else if (/legacy-multi|xtables-multi/.test(raw)) path = 'legacy';
    } else skipped.push({ line, why: 'no version and no path of iptables' });
  }
  if (version === null) return { ok: false, why: 'no version of iptables' };
  return { ok: true, value: version.backend === 'unknown' ? { ...version, backend: path } : version, skipped };
}

/** `grep -rsH ''` over /var/lib/cni/networks: first line of a lease is the container, the second (since CNI 0.8) its interface. */
function readLeases(text: string): Parsed<CniLeases> {
  const leases: CniLeases['leases'][number][] = [];
  const skipped: Skipped[] = [];
  let last = '';
  for (const { line, text: raw } of filledLines(text)) {
    // file names of IPv6 leases have colons, owners and interfaces have none
    const colon = raw.lastIndexOf(':');
    const path = raw.slice(0, Math.max(0, colon));
    const [ip = '', network = ''] = path.split('/').slice(-2).reverse();
    if (/^last_reserved_ip|^lock$/.test(ip)) continue;
    if (network === '' || !/^[0-9a-fA-F:.]{2,45}$/.test(ip) || !/[.:]/.test(ip))
      skipped.push({ line, why: 'no file of a lease' });
    else if (path === last && leases.length > 0)
      leases[leases.length - 1] = { ...leases[leases.length - 1]!, endLine: line };
    else leases.push({ line, network, ip, owner: raw.slice(colon + 1).trim() });
    last = path;
  }
  if (leases.length === 0 && skipped.length > 0) return { ok: false, why: 'no file of a lease' };
  return { ok: true, value: { leases }, skipped };
}

export const parsers = [
  defineParser({ fact: 'journals', evidence: ['log.journal'], version: 1, parse: readLines }),
  defineParser({ fact: 'kernelLog', evidence: ['log.dmesg'], version: 1, parse: readLines }),
  defineParser({ fact: 'staticPods', evidence: ['kubelet.staticpods'], version: 1, parse: readLines }),
  defineParser({ fact: 'legacyTables', evidence: ['fw.ip-tables-names'], version: 1, parse: readTableNames }),
  defineParser({
    fact: 'netnsLegacyTables',
    evidence: ['netns.proc-ip-tables-names'],
    version: 1,
    parse: readTableNames,
  }),
  defineParser({ fact: 'legacyTables6', evidence: ['fw.ip6-tables-names'], version: 1, parse: readTableNames }),
  defineParser({
    fact: 'netnsLegacyTables6',
    evidence: ['netns.proc-ip6-tables-names'],
    version: 1,
    parse: readTableNames,
  }),
  defineParser({ fact: 'netnsNftTables', evidence: ['netns.nft-tables'], version: 1, parse: readNftTables }),
  defineParser({ fact: 'iptablesVersion', evidence: ['fw.iptables-version'], version: 1, parse: readVersion }),
  defineParser({ fact: 'ebtables', evidence: ['fw.ebtables-save'], version: 1, parse: readLines }),
  defineParser({ fact: 'cniLeases', evidence: ['cni.ipam'], version: 1, parse: readLeases }),
];
