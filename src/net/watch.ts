import type { Addr, Net } from './addr.ts';
import type { Packet } from './packet.ts';

/** What a test looks at beside device names, ports, marks and states, which all packets of a kind share. */
export type Looks =
  /** Nothing else. */
  | { readonly at: 'nothing' }
  /** Whether an address is inside a network. */
  | { readonly at: 'src' | 'dst'; readonly net: Net }
  /** What the local table says of the addresses. */
  | { readonly at: 'types' };

const NOTHING: Looks = { at: 'nothing' };
const KNOWN = new WeakMap<object, Looks>();

/** Says what a test looks at; a test of which nothing is said may look at anything. */
export function looking<T extends object>(test: T, looks: Looks = NOTHING): T {
  KNOWN.set(test, looks);
  return test;
}

export const looksOf = (test: object): Looks | undefined => KNOWN.get(test);

/**
 * For which other addresses the rules would have done the same: the interval around each address that no test told apart. Only IPv4
 * addresses have one; any other stands for itself alone.
 */
export class Watch {
  readonly #spans = new Map<Addr, [low: number, high: number]>();
  /** A test asked for the type of this address. */
  readonly #typed = new Set<Addr>();

  /** A test looked at a packet. */
  tested(test: object, packet: Packet): void {
    const looks = looksOf(test);
    if (looks === undefined) {
      this.fix(packet.src);
      this.fix(packet.dst);
    } else if (looks.at === 'types') {
      this.#typed.add(packet.src);
      this.#typed.add(packet.dst);
    } else if (looks.at !== 'nothing') this.see(looks.at === 'src' ? packet.src : packet.dst, looks.net);
  }

  /** Only this very address is known to behave so. */
  fix(addr: Addr): void {
    if (typeof addr === 'number') this.#spans.set(addr, [addr, addr]);
  }

  /** The address was compared with a network. */
  see(addr: Addr, net: Net): void {
    if (typeof addr !== 'number' || typeof net.base !== 'number') return;
    const last = (net.base | (net.length === 0 ? 0xffffffff : 0xffffffff >>> net.length)) >>> 0;
    this.compare(addr, net.base, net.length === 32 ? net.base : last);
  }

  /** The address was compared with an interval. */
  compare(addr: number, low: number, high: number): void {
    let span = this.#spans.get(addr);
    if (span === undefined) {
      span = [0, 0xffffffff];
      this.#spans.set(addr, span);
    }
    if (addr >= low && addr <= high) {
      if (low > span[0]) span[0] = low;
      if (high < span[1]) span[1] = high;
    } else if (addr < low) {
      if (low - 1 < span[1]) span[1] = low - 1;
    } else if (high + 1 > span[0]) span[0] = high + 1;
  }

  /** Would another address in the place of one that was watched have gone the same way? `typeOf`: its type in the namespace. */
  covers(addr: Addr, other: Addr, sameType: (a: Addr, b: Addr) => boolean): boolean {
    if (addr === other) return true;
    if (typeof addr !== 'number' || typeof other !== 'number') return false;
    const span = this.#spans.get(addr);
    if (span !== undefined && (other < span[0] || other > span[1])) return false;
    return !this.#typed.has(addr) || sameType(addr, other);
  }
}
