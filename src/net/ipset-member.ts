import { type Addr, contains, parseAddr, parseNet } from './addr.ts';
import { type Truth, truth } from './doubt.ts';
import { hasPorts, ICMP, ICMP6, type Packet, portIn, protocolNumber } from './packet.ts';

/** One dimension of a member of an ipset. */
export type Part =
  | { readonly kind: 'net'; readonly base: Addr; readonly length: number }
  | { readonly kind: 'range'; readonly low: Addr; readonly high: Addr }
  | { readonly kind: 'port'; readonly proto: number | null; readonly low: number; readonly high: number }
  | { readonly kind: 'icmp'; readonly proto: number; readonly type: number; readonly code: number }
  | { readonly kind: 'device'; readonly name: string; readonly port: boolean }
  | { readonly kind: 'mac'; readonly mac: string }
  | { readonly kind: 'mark'; readonly mark: number };

export interface Member {
  readonly parts: readonly Part[];
  readonly nomatch: boolean;
}

function readPort(text: string): Part | null {
  const m = /^(?:([a-z0-9-]+):)?(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (m !== null) {
    const proto = m[1] === undefined ? null : protocolNumber(m[1]);
    if (m[1] !== undefined && proto === null) return null;
    return { kind: 'port', proto, low: Number(m[2]), high: Number(m[3] ?? m[2]) };
  }
  const icmp = /^(icmp|icmpv6|ipv6-icmp):(\d{1,3})\/(\d{1,3})$/.exec(text);
  const named = /^(icmp|icmpv6|ipv6-icmp):(echo-request|echo-reply|ping|pong)$/.exec(text);
  if (icmp !== null)
    return { kind: 'icmp', proto: icmp[1] === 'icmp' ? ICMP : ICMP6, type: Number(icmp[2]), code: Number(icmp[3]) };
  if (named === null) return null;
  const request = named[2] === 'echo-request' || named[2] === 'ping';
  return named[1] === 'icmp'
    ? { kind: 'icmp', proto: ICMP, type: request ? 8 : 0, code: 0 }
    : { kind: 'icmp', proto: ICMP6, type: request ? 128 : 129, code: 0 };
}

function readPart(text: string, kind: string): Part | null {
  if (kind === 'ip' || kind === 'net') {
    const net = parseNet(text, text.includes(':') ? 6 : 4);
    if (net !== null) return { kind: 'net', ...net };
    const [low, high] = text.split('-').map(parseAddr);
    if (low === null || low === undefined || high === null || high === undefined) return null;
    return typeof low === typeof high ? { kind: 'range', low, high } : null;
  }
  if (kind === 'port') return readPort(text);
  if (kind === 'mac') return { kind: 'mac', mac: text.toLowerCase() };
  if (kind === 'mark' && /^(0x[0-9a-f]+|\d+)$/i.test(text)) return { kind: 'mark', mark: Number(text) };
  if (kind === 'iface') {
    const port = text.startsWith('physdev:');
    return { kind: 'device', name: port ? text.slice(8) : text, port };
  }
  return null;
}

/** `10.0.0.1,tcp:80` by the kinds of its dimensions; null: not understood. */
export function readMember(text: string, kinds: readonly string[], nomatch: boolean): Member | null {
  const words = text.split(',');
  // ip,mac sets may hold an address alone: any sender
  if (words.length !== kinds.length) return null;
  const parts: Part[] = [];
  for (const [i, word] of words.entries()) {
    const part = readPart(word, kinds[i]!);
    if (part === null) return null;
    parts.push(part);
  }
  return { parts, nomatch };
}

function comparePart(part: Part, dir: string, p: Packet): Truth {
  const address = dir === 'src' ? p.src : p.dst;
  switch (part.kind) {
    case 'net':
      return truth(contains(part, address));
    case 'range':
      return truth(typeof part.low === typeof address && address >= part.low && address <= part.high);
    case 'port':
      if (part.proto !== null && part.proto !== p.proto) return 0;
      if (!hasPorts(p.proto)) return truth(part.proto !== null && part.low === 0);
      return portIn(dir === 'src' ? p.sport : p.dport, part.low, part.high);
    case 'icmp':
      if (p.proto !== part.proto) return 0;
      return p.icmp === null ? null : truth(p.icmp.type === part.type && p.icmp.code === part.code);
    case 'device':
      if (part.port) return truth((dir === 'src' ? p.physIn : p.physOut) === part.name);
      return truth((dir === 'src' ? p.iif : p.oif) === part.name);
    case 'mac':
      if (dir !== 'src' || p.srcMac === null) return null;
      return truth(p.srcMac.toLowerCase() === part.mac);
    case 'mark':
      return truth(p.mark === part.mark);
  }
}

/** Does the member hold the packet? A part that is false makes it false whatever else is not known. */
export function compareMember(member: Member, dirs: readonly string[], p: Packet): Truth {
  let all: Truth = 1;
  for (const [i, part] of member.parts.entries()) {
    const t = comparePart(part, dirs[i]!, p);
    if (t === 0) return 0;
    if (t === null) all = null;
  }
  return all;
}
