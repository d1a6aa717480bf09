import ipaddr from 'ipaddr.js';

export type Family = 4 | 6;

/** An IP address as a number line position: 32 bits for family 4, 128 for family 6. */
export interface Ip {
  readonly family: Family;
  readonly value: bigint;
}

/** A prefix; `base` has its host bits cleared. */
export interface Prefix {
  readonly family: Family;
  readonly base: bigint;
  readonly length: number;
}

/** Dotted-quad to an unsigned 32-bit number; null unless it is exactly four decimal octets. */
export function parseIp4(text: string): number | null {
  if (text.length > 15) return null;
  let value = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c >= 48 && c <= 57) {
      octet = octet * 10 + c - 48;
      digits += 1;
      if (digits > 3) return null;
    } else if (c === 46 && digits > 0 && octet <= 255) {
      value = value * 256 + octet;
      octet = 0;
      digits = 0;
      dots += 1;
    } else return null;
  }
  return dots === 3 && digits > 0 && octet <= 255 ? value * 256 + octet : null;
}

export function formatIp4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** IPv4 or IPv6 text (no zone, no prefix); null when it is neither. */
export function parseIp(text: string): Ip | null {
  const four = parseIp4(text);
  if (four !== null) return { family: 4, value: BigInt(four) };
  if (!text.includes(':') || text.length > 45 || text.includes('%')) return null;
  const plain = plainIp6(text);
  if (plain !== null) return { family: 6, value: plain };
  if (!ipaddr.IPv6.isValid(text)) return null;
  let value = 0n;
  for (const byte of ipaddr.IPv6.parse(text).toByteArray()) value = (value << 8n) | BigInt(byte);
  return { family: 6, value };
}

/** The usual spelling: groups of hexadecimal digits, `::` at most once. null: any other, right or wrong. */
function plainIp6(text: string): bigint | null {
  const [head = '', tail, more] = text.split('::');
  if (more !== undefined) return null;
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = 8 - left.length - right.length;
  if (tail === undefined ? zeros !== 0 : zeros < 1) return null;
  const words = [0, 0, 0, 0];
  for (const [i, group] of [...left, ...new Array<string>(zeros).fill('0'), ...right].entries()) {
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return null;
    words[i >> 1] = (words[i >> 1] as number) * 65_536 + Number.parseInt(group, 16);
  }
  return words.reduce((value, word) => (value << 32n) | BigInt(word), 0n);
}

export function formatIp(ip: Ip): string {
  if (ip.family === 4) return formatIp4(Number(ip.value));
  const bytes: number[] = [];
  for (let shift = 120n; shift >= 0n; shift -= 8n) bytes.push(Number((ip.value >> shift) & 255n));
  return ipaddr.fromByteArray(bytes).toString();
}

const bits = (family: Family) => (family === 4 ? 32 : 128);

function clearHostBits(value: bigint, family: Family, length: number): bigint {
  const host = BigInt(bits(family) - length);
  return (value >> host) << host;
}

/** `10.0.0.1/24` -> 10.0.0.0/24; a bare address is a /32 or /128; `default` needs the family said by the caller. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf('/');
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === null) return null;
  let length = bits(ip.family);
  if (slash >= 0) {
    const tail = text.slice(slash + 1);
    const mask = ip.family === 4 ? parseIp4(tail) : null;
    if (mask !== null) {
      // iptables also prints dotted masks; a mask with holes is no prefix
      const ones = (mask >>> 0).toString(2).padStart(32, '0');
      if (!/^1*0*$/.test(ones)) return null;
      length = ones.indexOf('0') < 0 ? 32 : ones.indexOf('0');
    } else {
      if (!/^\d{1,3}$/.test(tail)) return null;
      length = Number(tail);
      if (length > bits(ip.family)) return null;
    }
  }
  return { family: ip.family, base: clearHostBits(ip.value, ip.family, length), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp({ family: prefix.family, value: prefix.base })}/${prefix.length}`;
}

export function prefixContains(prefix: Prefix, ip: Ip): boolean {
  return prefix.family === ip.family && clearHostBits(ip.value, ip.family, prefix.length) === prefix.base;
}

/** True when `outer` holds every address of `inner` (equal prefixes included). */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return (
    outer.family === inner.family &&
    outer.length <= inner.length &&
    clearHostBits(inner.base, inner.family, outer.length) === outer.base
  );
}

/** Two prefixes share an address exactly when one contains the other. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixCovers(a, b) || prefixCovers(b, a);
}

export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.length === b.length && a.base === b.base;
}

/** The n-th address of a prefix (0 = its base); null when the prefix is too small. */
export function addressAt(prefix: Prefix, offset: number): Ip | null {
  if (BigInt(offset) >= 1n << BigInt(bits(prefix.family) - prefix.length)) return null;
  return { family: prefix.family, value: prefix.base + BigInt(offset) };
}

const notGlobal = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
  '::/127',
  'fc00::/7',
  'fe80::/10',
  'ff00::/8',
].map((text) => parsePrefix(text) as Prefix);

/** Publicly routable: outside RFC 1918, RFC 6598, link-local, loopback, multicast and ULA space. */
export function isGlobal(ip: Ip): boolean {
  return !notGlobal.some((prefix) => prefixContains(prefix, ip));
}

const notOneHosts = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'ff00::/8'].map(
  (text) => parsePrefix(text) as Prefix,
);

/** An address that one host can be reached by: not unspecified, loopback, a group or a broadcast. */
export function isUnicast(text: string): boolean {
  const ip = parseIp(text);
  return ip !== null && !notOneHosts.some((prefix) => prefixContains(prefix, ip));
}

/** Is it an address of either family? */
export const isIp = (text: string): boolean => parseIp4(text) !== null || parseIp(text) !== null;

/** Lower-case colon form of a MAC; null when the text is not six octets. */
export function parseMac(text: string): string | null {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text)) return text;
  return /^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text) ? text.toLowerCase().replaceAll('-', ':') : null;
}
