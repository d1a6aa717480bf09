import type { IptChain, IptRule } from '../facts/firewall.ts';
import { IndexedChain } from './iptables-chain.ts';
import type { Same } from './iptables-likeness.ts';
import type { Declaration } from './iptables-lines.ts';

interface Change {
  declared: (Declaration & { readonly line: number }) | null;
  rules: { readonly offset: number; readonly line: number; count: number } | null;
}

/** How one table of a text differs from the model's. Lines count from 1. */
export class Patch {
  readonly model: ReadonlyMap<string, IndexedChain>;
  readonly changes = new Map<string, Change>();
  readonly #same: readonly Same[];
  /** Chains whose declaration is not where the model has it. */
  readonly #dropped = new Set<string>();

  constructor(model: ReadonlyMap<string, IndexedChain>, same: readonly Same[]) {
    this.model = model;
    this.#same = same;
  }

  declare(said: Declaration, line: number): boolean {
    const change = this.#change(said.name);
    if (change.declared !== null) return false;
    change.declared = { ...said, line };
    return true;
  }

  rule(chain: string, offset: number, line: number): boolean {
    const change = this.#change(chain);
    if (change.rules === null) change.rules = { offset, line, count: 1 };
    else if (change.rules.line + change.rules.count === line) change.rules.count += 1;
    else return false;
    return true;
  }

  drop(chain: string): void {
    this.#dropped.add(chain);
  }

  #change(chain: string): Change {
    let change = this.changes.get(chain);
    if (change === undefined) {
      change = { declared: null, rules: null };
      this.changes.set(chain, change);
    }
    return change;
  }

  /** Where a line of the model stands in the text; null: it does not. */
  lineOf(line: number): number | null {
    const below = this.belowOf(line);
    return below === null ? null : line + below;
  }

  belowOf(line: number): number | null {
    let [low, high] = [0, this.#same.length];
    while (low < high) {
      const mid = (low + high) >> 1;
      if ((this.#same[mid] as Same).from <= line - 1) low = mid + 1;
      else high = mid;
    }
    const same = this.#same[low - 1];
    return same === undefined || line - 1 >= same.to ? null : same.below;
  }

  /** No chain is declared twice, or has rules in two places, or rules and no declaration: what reading without a model would make of that is not told here. */
  isWhole(): boolean {
    for (const [name, { declared, rules }] of this.changes) {
      const known = this.model.get(name);
      const run = known?.run ?? null;
      const kept = known !== undefined && this.belowOf(known.line) !== null;
      const rulesKept = run !== null && this.belowOf(run.line) !== null;
      if (kept === (declared !== null) || (rulesKept && rules !== null)) return false;
    }
    for (const name of this.#dropped) {
      const run = this.model.get(name)?.run ?? null;
      if (this.changes.get(name)?.declared == null && run !== null && this.belowOf(run.line) !== null) return false;
    }
    return true;
  }
}

/** The rules of a chain of the model, so many lines further down. */
class ToldChain implements IptChain {
  readonly name: string;
  readonly policy: string | null;
  readonly line: number;
  readonly packets?: number;
  readonly bytes?: number;
  readonly ruleCount: number;
  readonly #model: IndexedChain;
  readonly #below: number;
  #rules: readonly IptRule[] | undefined;

  constructor(said: Declaration, line: number, model: IndexedChain, below: number) {
    this.name = said.name;
    this.policy = said.policy;
    this.line = line;
    if (said.packets !== undefined) this.packets = said.packets;
    if (said.bytes !== undefined) this.bytes = said.bytes;
    this.ruleCount = model.ruleCount;
    this.#model = model;
    this.#below = below;
  }

  rules(): readonly IptRule[] {
    this.#rules ??= this.#below === 0 ? this.shared() : this.shared().map((_, index) => this.rule(index));
    return this.#rules;
  }

  rule(index: number): IptRule {
    const rule = this.#model.rule(index);
    return this.#below === 0 ? rule : { ...rule, line: rule.line + this.#below };
  }

  texts(): readonly string[] {
    return this.#model.texts();
  }

  shared(): readonly IptRule[] {
    return this.#model.shared();
  }
}

/** A chain of the text that a patch tells. */
export function toldChain(text: string, patch: Patch, name: string): IptChain | undefined {
  const known = patch.model.get(name);
  const change = patch.changes.get(name);
  const below = known === undefined ? null : patch.belowOf(known.line);
  const said = change?.declared ?? (below === null ? undefined : known);
  if (said === undefined) return undefined;
  const line = change?.declared?.line ?? (known?.line ?? 0) + (below ?? 0);
  const run = known?.run ?? null;
  const runBelow = run === null ? null : patch.belowOf(run.line);
  if (known !== undefined && runBelow !== null) return new ToldChain(said, line, known, runBelow);
  const chain = new IndexedChain(text, name, said.policy, line, true);
  if (said.packets !== undefined) chain.packets = said.packets;
  if (said.bytes !== undefined) chain.bytes = said.bytes;
  if (change?.rules) chain.place(change.rules);
  return chain;
}
