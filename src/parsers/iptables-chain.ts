import type { IptChain, IptRule } from '../facts/firewall.ts';
import { readCounters, skipSpace } from './iptables-lines.ts';
import { readRule } from './iptables-rule.ts';

/** Rules on lines that follow each other. */
export interface Run {
  readonly text: string;
  readonly offset: number;
  readonly line: number;
  readonly count: number;
}

/** Holds where its rules stand: runs of lines, as [offset, line, count] triples, the first without an array: most chains have one. The text is shared. */
export class IndexedChain implements IptChain {
  readonly name: string;
  policy: string | null;
  line: number;
  packets?: number;
  bytes?: number;
  ruleCount = 0;
  declared: boolean;
  readonly #text: string;
  #offset = 0;
  #line = 0;
  #count = 0;
  #more: number[] | null = null;
  #lastLine = 0;
  #rules: readonly IptRule[] | null = null;

  constructor(text: string, name: string, policy: string | null, line: number, declared: boolean) {
    this.#text = text;
    this.name = name;
    this.policy = policy;
    this.line = line;
    this.declared = declared;
  }

  add(offset: number, line: number): void {
    if (this.#count === 0) {
      this.#offset = offset;
      this.#line = line;
      this.#count = 1;
    } else if (this.#lastLine + 1 !== line) {
      this.#more ??= [];
      this.#more.push(offset, line, 1);
    } else if (this.#more === null) this.#count += 1;
    else this.#more[this.#more.length - 1]! += 1;
    this.#lastLine = line;
    this.ruleCount += 1;
  }

  /** Its rules stand there, without having been added one by one. */
  place({ offset, line, count }: Omit<Run, 'text'>): void {
    this.#offset = offset;
    this.#line = line;
    this.#count = count;
    this.#lastLine = line + count - 1;
    this.ruleCount = count;
  }

  /** Where its rules stand, when they follow each other; null: they do not, or there are none. */
  get run(): Run | null {
    if (this.#more !== null || this.#count === 0) return null;
    return { text: this.#text, offset: this.#offset, line: this.#line, count: this.#count };
  }

  /** Its rules stand in more than one place. */
  get scattered(): boolean {
    return this.#more !== null;
  }

  rules(): readonly IptRule[] {
    if (this.#rules === null) {
      const { run } = this;
      this.#rules = run === null ? this.#runs() : tokenise(run);
    }
    return this.#rules;
  }

  rule(index: number): IptRule {
    return this.rules()[index] as IptRule;
  }

  shared(): readonly IptRule[] {
    return this.rules();
  }

  #runs(): readonly IptRule[] {
    const runs = [this.#offset, this.#line, this.#count].concat(this.#more ?? []);
    const rules: IptRule[] = [];
    for (let i = 0; i < runs.length; i += 3)
      rules.push(...tokenise({ text: this.#text, offset: runs[i]!, line: runs[i + 1]!, count: runs[i + 2]! }));
    return rules;
  }
}

export function tokenise({ text, offset, line, count }: Run): IptRule[] {
  const rules: IptRule[] = [];
  let pos = offset;
  for (let n = 0; n < count; n += 1) {
    let stop = text.indexOf('\n', pos);
    if (stop < 0) stop = text.length;
    let at = skipSpace(text, pos, stop);
    pos = stop + 1;
    const counters = readCounters(text, at, stop);
    if (counters !== null) at = skipSpace(text, counters.end, stop);
    const rule = text.slice(at, text.charCodeAt(stop - 1) === 13 ? stop - 1 : stop);
    rules.push(readRule(rule, line + n, counters?.packets, counters?.bytes));
  }
  return rules;
}
