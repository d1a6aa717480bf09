import type { IptChain } from '../facts/firewall.ts';

type Chains = ReadonlyMap<string, IptChain>;

/** The chains of a table, each made when it is asked for; whoever asks for all has the text read line by line. */
export class ChainsOnDemand implements Chains {
  readonly #make: (name: string) => IptChain | undefined;
  readonly #whole: () => Chains;
  readonly #made = new Map<string, IptChain | undefined>();

  constructor(make: (name: string) => IptChain | undefined, whole: () => Chains) {
    this.#make = make;
    this.#whole = whole;
  }

  get(name: string): IptChain | undefined {
    if (!this.#made.has(name)) this.#made.set(name, this.#make(name));
    return this.#made.get(name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get size(): number {
    return this.#whole().size;
  }

  keys(): MapIterator<string> {
    return this.#whole().keys();
  }

  values(): MapIterator<IptChain> {
    return this.#whole().values();
  }

  entries(): MapIterator<[string, IptChain]> {
    return this.#whole().entries();
  }

  [Symbol.iterator](): MapIterator<[string, IptChain]> {
    return this.entries();
  }

  forEach(visit: (chain: IptChain, name: string, map: Chains) => void): void {
    for (const [name, chain] of this.entries()) visit(chain, name, this);
  }
}
