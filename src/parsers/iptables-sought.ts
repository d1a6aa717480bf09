import type { IptChain, IptRule, IptTable, Ruleset } from '../facts/firewall.ts';
import { ChainsOnDemand } from './iptables-chains.ts';
import { readDeclaration, readHeader, readMarker, wordEnd } from './iptables-lines.ts';
import { RuleLines } from './iptables-rule-lines.ts';
import { LineIndex } from './line-index.ts';

/** Declarations, and the rules of one chain that follow each other, as iptables-save writes them. */
const DECLARATION = /:[^ \t\n]+ (?:-|[A-Z]+) \[\d+:\d+\]\n/gy;
const RUN = /(?:\[\d+:\d+\] )?-A ([^ \t\n]+) [^\n]*\n(?:(?:\[\d+:\d+\] )?-A \1 [^\n]*\n)*/gy;

/** Matches that follow each other, from one place of the text on. */
class Tiles {
  readonly texts: readonly string[];
  readonly end: number;
  readonly #from: number;
  #starts: number[] | undefined;

  constructor(text: string, pattern: RegExp, from: number) {
    this.texts = text.slice(from).match(pattern) ?? [];
    let end = from;
    for (let i = 0; i < this.texts.length; i += 1) end += (this.texts[i] as string).length;
    this.end = end;
    this.#from = from;
  }

  startOf(index: number): number {
    if (this.#starts === undefined) {
      this.#starts = [];
      let at = this.#from;
      for (let i = 0; i < this.texts.length; i += 1) {
        this.#starts.push(at);
        at += (this.texts[i] as string).length;
      }
    }
    return this.#starts[index] as number;
  }
}

/** Index of each name; null: one is there twice. */
function byName({ texts }: Tiles, nameOf: (text: string) => string): ReadonlyMap<string, number> | null {
  const found = new Map<string, number>();
  for (let i = 0; i < texts.length; i += 1) found.set(nameOf(texts[i] as string), i);
  return found.size === texts.length ? found : null;
}

const declared = (text: string): string => text.slice(1, text.indexOf(' '));

function chainOf(run: string): string {
  const at = run.indexOf('-A ') + 3;
  return run.slice(at, run.indexOf(' ', at));
}

/**
 * The ruleset of a plain text, by native searches instead of line by line: for the few chains that a packet passes. null: something in it
 * is out of the ordinary. `whole`: reads it line by line, for whoever wants all chains.
 */
export function seekRuleset(
  text: string,
  usual: Ruleset['backend'],
  whole: () => ReadonlyMap<string, IptTable>,
): Ruleset | null {
  if (!text.endsWith('\n') || text.includes('\r')) return null;
  const tables = new Map<string, IptTable>();
  const backends = new Set<'nft' | 'legacy'>();
  let version: string | undefined;
  const place = new Places(text);
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    const code = text.charCodeAt(at);
    if (code === 35) {
      const comment = text.slice(at, end);
      const header = readHeader(comment);
      if (header === null && readMarker(comment, 0) !== null) return null;
      if (header?.backend != null) backends.add(header.backend);
      version ??= header?.version;
    } else if (code === 42) {
      const name = text.slice(at + 1, wordEnd(text, at + 1, end));
      const found = tables.has(name) ? null : seekTable(place, name, at, end + 1, whole);
      if (found === null) return null;
      tables.set(name, found.table);
      at = found.end;
      continue;
    } else if (end > at) return null;
    at = end + 1;
  }
  if (tables.size === 0) return null;
  const backend = backends.size === 0 ? usual : backends.size === 1 ? [...backends][0]! : 'unknown';
  return { backend, tables, markers: [], ...(version === undefined ? {} : { version }) };
}

function seekTable(
  place: Places,
  name: string,
  at: number,
  from: number,
  whole: () => ReadonlyMap<string, IptTable>,
): { readonly table: IptTable; readonly end: number } | null {
  const { text } = place;
  const declarations = new Tiles(text, DECLARATION, from);
  const runs = new Tiles(text, RUN, declarations.end);
  const names = byName(declarations, declared);
  const chains = byName(runs, chainOf);
  if (names === null || chains === null || !text.startsWith('COMMIT\n', runs.end)) return null;
  const table: IptTable = {
    name,
    get line() {
      return place.lineOf(at);
    },
    get commitLine() {
      return place.lineOf(runs.end);
    },
    chains: new ChainsOnDemand(
      (chain) => {
        const index = names.get(chain);
        const run = chains.get(chain);
        if (index === undefined && run === undefined) return undefined;
        return new SoughtChain(
          place,
          chain,
          index === undefined ? null : declarations.startOf(index),
          run === undefined ? null : { text: runs.texts[run] as string, at: runs.startOf(run) },
        );
      },
      () => whole().get(name)?.chains ?? new Map<string, IptChain>(),
    ),
  };
  return { table, end: runs.end + 'COMMIT\n'.length };
}

/** A text whose lines are counted when the first is asked for. */
class Places {
  readonly text: string;
  #lines: LineIndex | undefined;

  constructor(text: string) {
    this.text = text;
  }

  lineOf(at: number): number {
    this.#lines ??= new LineIndex(this.text);
    return this.#lines.lineAt(at);
  }
}

/** Rules of one chain, as text, and where that stands. */
interface PlacedRun {
  readonly text: string;
  readonly at: number;
}

const NONE = new RuleLines([], (index) => index);
/** Long chains of the rulesets before, by their name: nodes of one cluster have the same services. */
const before = new Map<string, { readonly text: string; readonly lines: RuleLines }>();
const LONG = 8 * 1024;
/** What nobody's cluster has is not worth the memory. */
const TOO_LONG = 4 * 1024 * 1024;
const KEPT = 8;

/** Rules whose lines count from 0, so that nodes can share them. */
function linesOf(name: string, text: string): RuleLines {
  const known = before.get(name);
  if (known?.text === text) return known.lines;
  const worthKeeping = text.length >= LONG && text.length <= TOO_LONG;
  // a copy: a part of the text would keep all of it
  const own = worthKeeping ? Buffer.from(text).toString() : text;
  const lines = new RuleLines(own.slice(0, -1).split('\n'), (index) => index);
  if (!worthKeeping) return lines;
  const [oldest] = before.keys();
  if (before.size >= KEPT && oldest !== undefined) before.delete(oldest);
  before.delete(name);
  before.set(name, { text: own, lines });
  return lines;
}

class SoughtChain implements IptChain {
  readonly name: string;
  readonly policy: string | null;
  readonly packets?: number;
  readonly bytes?: number;
  readonly #place: Places;
  readonly #at: number;
  readonly #run: PlacedRun | null;
  #lines: RuleLines | undefined;
  #rules: readonly IptRule[] | undefined;

  /** `at`: where it is declared. */
  constructor(place: Places, name: string, at: number | null, run: PlacedRun | null) {
    this.name = name;
    this.#place = place;
    this.#run = run;
    this.#at = at ?? run?.at ?? 0;
    const said = at === null ? null : readDeclaration(place.text, at, place.text.indexOf('\n', at));
    this.policy = said?.policy ?? null;
    if (said?.packets !== undefined) this.packets = said.packets;
    if (said?.bytes !== undefined) this.bytes = said.bytes;
  }

  get line(): number {
    return this.#place.lineOf(this.#at);
  }

  get ruleCount(): number {
    return this.#read().length;
  }

  rules(): readonly IptRule[] {
    this.#rules ??= this.shared().map((_, index) => this.rule(index));
    return this.#rules;
  }

  rule(index: number): IptRule {
    const rule = this.#read().rule(index);
    return { ...rule, line: this.#place.lineOf(this.#run?.at ?? 0) + index };
  }

  texts(): readonly string[] {
    return this.#read().texts();
  }

  shared(): readonly IptRule[] {
    return this.#read().rules();
  }

  #read(): RuleLines {
    this.#lines ??= this.#run === null ? NONE : linesOf(this.name, this.#run.text);
    return this.#lines;
  }
}
