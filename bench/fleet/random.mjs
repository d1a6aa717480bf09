// Numbers that depend on names only: any node is the same whichever range of the fleet is asked for.
import { createHash } from 'node:crypto';

/** FNV-1a of a text, 32 bits. */
export function hash32(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  // one more round: FNV alone is weak in the high bits of short texts
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

/** mulberry32: small, fast, the same in every Node. */
export function random(...names) {
  let a = hash32(names.join('\0'));
  const next = () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    below: (n) => Math.floor(next() * n),
    between: (low, high) => low + Math.floor(next() * (high - low + 1)),
    pick: (list) => list[Math.floor(next() * list.length)],
    hex: (digits) => {
      let out = '';
      while (out.length < digits)
        out += Math.floor(next() * 0x1000000)
          .toString(16)
          .padStart(6, '0');
      return out.slice(0, digits);
    },
  };
}

export const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** A locally administered unicast MAC. */
export function mac(...names) {
  const h = sha256(names.join('\0'));
  const first = ((parseInt(h.slice(0, 2), 16) & 0xfc) | 2).toString(16).padStart(2, '0');
  return [first, ...[2, 4, 6, 8, 10].map((i) => h.slice(i, i + 2))].join(':');
}

export function uuid(...names) {
  const h = sha256(names.join('\0'));
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-a${h.slice(17, 20)}-${h.slice(20, 32)}`;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** As kube-proxy names its chains: the first 16 letters of base32(sha256(text)). */
export function chainHash(text) {
  const bytes = createHash('sha256').update(text).digest();
  let out = '';
  let bits = 0;
  let value = 0;
  for (let i = 0; out.length < 16; i++) {
    value = (value << 8) | bytes[i];
    bits += 8;
    while (bits >= 5 && out.length < 16) {
      out += ALPHABET[(value >>> (bits - 5)) & 31];
      bits -= 5;
    }
    value &= (1 << bits) - 1;
  }
  return out;
}
