import type { IptRule } from '../facts/firewall.ts';
import { readCounters, skipSpace } from './iptables-lines.ts';
import { readRule } from './iptables-rule.ts';

/** The rules of a chain as lines of a file; each is tokenised when it is asked for, and kept. */
export class RuleLines {
  readonly #raw: readonly string[];
  readonly #lineOf: (index: number) => number;
  readonly #rules: (IptRule | undefined)[] = [];
  #texts: readonly string[] | undefined;
  #all: readonly IptRule[] | undefined;

  /** `lineOf`: the line of the rule with an index. */
  constructor(raw: readonly string[], lineOf: (index: number) => number) {
    this.#raw = raw;
    this.#lineOf = lineOf;
  }

  get length(): number {
    return this.#raw.length;
  }

  rules(): readonly IptRule[] {
    this.#all ??= this.#raw.map((_, index) => this.rule(index));
    return this.#all;
  }

  rule(index: number): IptRule {
    let rule = this.#rules[index];
    if (rule === undefined) {
      const { text, counters } = split(this.#raw[index] as string);
      rule = readRule(text, this.#lineOf(index), counters?.packets, counters?.bytes);
      this.#rules[index] = rule;
    }
    return rule;
  }

  /** The rules as they stand, from `-A` on: without counters. */
  texts(): readonly string[] {
    this.#texts ??= this.#raw.map((raw) => split(raw).text);
    return this.#texts;
  }
}

function split(raw: string) {
  const stop = raw.endsWith('\r') ? raw.length - 1 : raw.length;
  const at = skipSpace(raw, 0, stop);
  const counters = readCounters(raw, at, stop);
  return { text: raw.slice(counters === null ? at : skipSpace(raw, counters.end, stop), stop), counters };
}
