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

type Interval = readonly [low: number, high: number];

/** The addresses that no test told apart from one: an interval without the parts in `out`. */
interface Alike {
  low: number;
  high: number;
  readonly out: Interval[];
  sorted: boolean;
}

/**
 * For which other addresses the rules would have done the same: those that no test told apart. Only IPv4 addresses have any; every other
 * one stands for itself alone.
 */
export class Watch {
  readonly #alike = new Map<Addr, Alike>();
  /** A test asked for the type of this address. */
  readonly #typed = new Set<Addr>();
  readonly #asked: readonly Interval[];

  /** `asked`: the intervals of addresses that `covers` will be asked about; what is told apart elsewhere does not matter. */
  constructor(asked: readonly Interval[] = [[0, 0xffffffff]]) {
    this.#asked = asked;
  }

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
    if (typeof addr === 'number') this.#alike.set(addr, { low: addr, high: addr, out: [], sorted: true });
  }

  /** The address was compared with a network. */
  see(addr: Addr, net: Net): void {
    if (typeof addr !== 'number' || typeof net.base !== 'number') return;
    const last = (net.base | (net.length === 0 ? 0xffffffff : 0xffffffff >>> net.length)) >>> 0;
    this.compare(addr, net.base, net.length === 32 ? net.base : last);
  }

  /** The address was compared with an interval. */
  compare(addr: number, low: number, high: number): void {
    if (addr < low || addr > high) {
      if (!this.#asked.some(([from, to]) => low <= to && high >= from)) return;
      const alike = this.#of(addr);
      const last = alike.out.at(-1);
      if (last !== undefined && last[0] === low && last[1] === high) return;
      alike.out.push([low, high]);
      alike.sorted = false;
      return;
    }
    const alike = this.#of(addr);
    if (low > alike.low) alike.low = low;
    if (high < alike.high) alike.high = high;
  }

  #of(addr: number): Alike {
    let alike = this.#alike.get(addr);
    if (alike === undefined) {
      alike = { low: 0, high: 0xffffffff, out: [], sorted: true };
      this.#alike.set(addr, alike);
    }
    return alike;
  }

  /**
   * Would another address in the place of this one, which was watched, have gone the same way? For very many others. `typeOf`: what the
   * namespaces take an address for.
   */
  coverer(addr: Addr, typeOf: (addr: Addr) => string): (other: Addr) => boolean {
    const alike = typeof addr === 'number' ? this.#alike.get(addr) : undefined;
    const type = this.#typed.has(addr) ? typeOf(addr) : null;
    return (other) => {
      if (addr === other) return true;
      if (typeof addr !== 'number' || typeof other !== 'number') return false;
      if (alike !== undefined && (other < alike.low || other > alike.high || within(alike, other))) return false;
      return type === null || typeOf(other) === type;
    };
  }
}

function within(alike: Alike, addr: number): boolean {
  if (!alike.sorted) {
    const sorted = [...alike.out].sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    alike.out.length = 0;
    for (const next of sorted) {
      const last = alike.out.at(-1);
      if (last !== undefined && next[0] <= last[1])
        alike.out[alike.out.length - 1] = [last[0], Math.max(last[1], next[1])];
      else alike.out.push(next);
    }
    alike.sorted = true;
  }
  let [low, high] = [0, alike.out.length - 1];
  while (low <= high) {
    const mid = (low + high) >> 1;
    const [from, to] = alike.out[mid] as Interval;
    if (addr < from) high = mid - 1;
    else if (addr > to) low = mid + 1;
    else return true;
  }
  return false;
}
