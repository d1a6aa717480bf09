import { formatIp, formatIp4, parseIp, parseIp4 } from '../core/address.ts';

/** An address as a plain value that compares with `===`: IPv4 a number (fast), IPv6 a bigint. */
export type Addr = number | bigint;

/** A prefix ready to be compared: the bits below `length` of `base` are zero. */
export interface Net {
  readonly base: Addr;
  readonly length: number;
}

export function parseAddr(text: string): Addr | null {
  const four = parseIp4(text);
  if (four !== null) return four;
  const ip = parseIp(text);
  return ip === null ? null : ip.value;
}

export function formatAddr(addr: Addr): string {
  return typeof addr === 'number' ? formatIp4(addr) : formatIp({ family: 6, value: addr });
}

export const familyOf = (addr: Addr): 4 | 6 => (typeof addr === 'number' ? 4 : 6);

/** 4 -> 0xffffff00 for 24; shifts by 32 are no-ops in JavaScript, hence the case of 0. */
const mask4 = (length: number): number => (length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0);

export function networkOf(addr: Addr, length: number): Addr {
  if (typeof addr === 'number') return (addr & mask4(length)) >>> 0;
  const host = BigInt(128 - length);
  return (addr >> host) << host;
}

export function contains(net: Net, addr: Addr): boolean {
  return typeof net.base === typeof addr && networkOf(addr, net.length) === net.base;
}

/** `10.0.0.1/24`, `10.0.0.1`, `default` (of family 4) to a network; null when it is none or its mask has holes. */
export function parseNet(text: string, family: 4 | 6 = 4): Net | null {
  if (text === 'default') return { base: family === 4 ? 0 : 0n, length: 0 };
  const slash = text.indexOf('/');
  const addr = parseAddr(slash < 0 ? text : text.slice(0, slash));
  if (addr === null) return null;
  const bits = typeof addr === 'number' ? 32 : 128;
  let length = bits;
  if (slash >= 0) {
    const tail = text.slice(slash + 1);
    const dotted = typeof addr === 'number' ? parseIp4(tail) : null;
    if (dotted !== null) {
      length = Math.clz32(~dotted >>> 0);
      if (mask4(length) !== dotted) return null;
    } else if (/^\d{1,3}$/.test(tail) && Number(tail) <= bits) length = Number(tail);
    else return null;
  }
  return { base: networkOf(addr, length), length };
}

const LOOPBACK: Net = { base: 0x7f000000, length: 8 };
const MULTICAST: Net = { base: 0xe0000000, length: 4 };
const MULTICAST6: Net = { base: 0xff00n << 112n, length: 8 };

export const isLoopback = (addr: Addr): boolean => (typeof addr === 'number' ? contains(LOOPBACK, addr) : addr === 1n);
export const isMulticast = (addr: Addr): boolean => contains(typeof addr === 'number' ? MULTICAST : MULTICAST6, addr);
/** fe80::/10 and 169.254/16. */
export const isLinkLocal = (addr: Addr): boolean =>
  typeof addr === 'number' ? addr >>> 16 === 0xa9fe : addr >> 118n === 0x3fan;
