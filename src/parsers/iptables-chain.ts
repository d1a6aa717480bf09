import type { IptChain, IptRule } from '../facts/firewall.ts';
import { RuleLines } from './iptables-rule-lines.ts';

/** Rules on lines that follow each other. */
export interface Run {
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
  #lines: RuleLines | null = null;

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
  place({ offset, line, count }: Run): void {
    this.#offset = offset;
    this.#line = line;
    this.#count = count;
    this.#lastLine = line + count - 1;
    this.ruleCount = count;
  }

  /** Where its rules stand, when they follow each other; null: they do not, or there are none. */
  get run(): Run | null {
    if (this.#more !== null || this.#count === 0) return null;
    return { offset: this.#offset, line: this.#line, count: this.#count };
  }

  /** Its rules stand in more than one place. */
  get scattered(): boolean {
    return this.#more !== null;
  }

  rules(): readonly IptRule[] {
    return this.#read().rules();
  }

  rule(index: number): IptRule {
    return this.#read().rule(index);
  }

  texts(): readonly string[] {
    return this.#read().texts();
  }

  shared(): readonly IptRule[] {
    return this.rules();
  }

  #read(): RuleLines {
    if (this.#lines !== null) return this.#lines;
    const runs = this.#count === 0 ? [] : [this.#offset, this.#line, this.#count].concat(this.#more ?? []);
    const raw: string[] = [];
    const numbers: number[] = [];
    for (let i = 0; i < runs.length; i += 3) {
      let pos = runs[i] as number;
      for (let n = 0; n < runs[i + 2]!; n += 1) {
        let stop = this.#text.indexOf('\n', pos);
        if (stop < 0) stop = this.#text.length;
        raw.push(this.#text.slice(pos, stop));
        numbers.push(runs[i + 1]! + n);
        pos = stop + 1;
      }
    }
    this.#lines = new RuleLines(raw, (index) => numbers[index] as number);
    return this.#lines;
  }
}
