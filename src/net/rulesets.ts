import type { IptChain, IptRule, IptTable, Ruleset } from '../facts/index.ts';
import type { PreparedChain, PreparedRule, Quick } from './chain.ts';
import { type AnyFact, type Cite, cite, type Reason } from './doubt.ts';
import { readQuick, readTests } from './match.ts';
import { readNftChains, unclearTables } from './nft.ts';
import { findSources, type NativeNft } from './rulesets-found.ts';
import type { Space } from './space.ts';
import type { Hook } from './step.ts';
import { readTarget } from './target.ts';

/** One iptables ruleset that is live in the namespace. */
export interface IptSource {
  readonly backend: 'nft' | 'legacy';
  readonly fact: AnyFact;
  readonly ruleset: Ruleset;
}

/** Rules that may be there and were not read. */
export interface SourceGap extends Reason {
  readonly key: string;
  /** May rewrite packets; false: it can only drop. */
  readonly rewrites: boolean;
  /** Where they are, when that is known. */
  readonly hooks?: ReadonlySet<string>;
}

/** A chain that the kernel calls at a hook. */
export interface BaseChain {
  readonly hook: Hook;
  readonly type: 'filter' | 'nat' | 'route';
  readonly priority: number;
  /** `filter/FORWARD`, `nft inet fw input`. */
  readonly name: string;
  /** What was registered, for questions about the order: `iptables-legacy`, `nft table ip nat`. */
  readonly owner: string;
  readonly chain: PreparedChain;
  /** What happens to packets that no rule ends; null: not known. */
  readonly policy: 'accept' | 'drop' | null;
  readonly policyText: string;
  policyCite(): Cite;
  cite(rule: PreparedRule): Cite;
  /** Accepting is worth a step. */
  readonly tells: boolean;
  /** It has no rules and accepts. */
  readonly empty: boolean;
}

/** Everything that hooks into the packets of one family in one namespace. */
export interface RuleSources {
  readonly family: 4 | 6;
  readonly rulesets: readonly IptSource[];
  readonly gaps: readonly SourceGap[];
  /** In the order in which the kernel calls them, as far as that is known: by priority. */
  chains(hook: Hook): readonly BaseChain[];
}

const PRIORITIES: Readonly<Record<string, Partial<Record<Hook, number>>>> = {
  raw: { prerouting: -300, output: -300 },
  mangle: { prerouting: -150, input: -150, forward: -150, output: -150, postrouting: -150 },
  nat: { prerouting: -100, output: -100, input: 100, postrouting: 100 },
  filter: { input: 0, forward: 0, output: 0 },
  security: { input: 50, forward: 50, output: 50 },
};

/** The rule sources of a namespace, and what of them is not known. */
export function readRuleSources(space: Space, family: 4 | 6): RuleSources {
  const { rulesets, gaps, native } = findSources(space, family);
  const byHook = new Map<Hook, readonly BaseChain[]>();
  return {
    family,
    rulesets,
    gaps: native === null ? gaps : [...gaps, ...unclearTables(native)],
    chains(hook) {
      let chains = byHook.get(hook);
      if (chains === undefined) {
        const all = rulesets.flatMap((source) => iptablesChains(source, family, hook, native));
        if (native !== null) all.push(...readNftChains(space, family, native).filter((c) => c.hook === hook));
        chains = all.filter((c) => !c.empty || c.tells).sort((a, b) => a.priority - b.priority);
        byHook.set(hook, chains);
      }
      return chains;
    },
  };
}

function iptablesChains(source: IptSource, family: 4 | 6, hook: Hook, native: NativeNft | null): BaseChain[] {
  const out: BaseChain[] = [];
  const word = family === 4 ? 'ip' : 'ip6';
  const dormant = (table: string): boolean =>
    source.backend === 'nft' &&
    native?.fact.value.tables.some((t) => t.dormant === true && t.family === word && t.name === table) === true;
  for (const [table, priorities] of Object.entries(PRIORITIES)) {
    const priority = priorities[hook];
    const found = source.ruleset.tables.get(table);
    const chain = found?.chains.get(hook.toUpperCase());
    if (priority === undefined || found === undefined || chain === undefined || dormant(table)) continue;
    const policy = chain.policy === 'ACCEPT' ? 'accept' : chain.policy === 'DROP' ? 'drop' : null;
    const policyText = `:${chain.name} ${chain.policy ?? '-'}`;
    const { fact } = source;
    out.push({
      hook,
      type: table === 'nat' ? 'nat' : table === 'mangle' && hook === 'output' ? 'route' : 'filter',
      priority,
      name: `${table}/${chain.name}`,
      owner: `iptables-${source.backend}`,
      chain: preparedChain(found, chain.name, family) as PreparedChain,
      policy,
      policyText,
      policyCite: () => cite(fact, { line: chain.line }, policyText),
      cite: (rule) => cite(fact, { line: rule.line }, rule.text),
      tells: table === 'filter',
      empty: chain.ruleCount === 0 && policy === 'accept',
    });
  }
  return out;
}

/** Prepared chains of a table: nodes with the same text share both. */
const PREPARED = new WeakMap<IptTable, Map<string, PreparedChain>>();

/** Chains that nodes share have their plain selectors read once. */
const QUICKS = new WeakMap<readonly string[], readonly (Quick | null)[]>();

function quicksOf(texts: readonly string[], family: 4 | 6): readonly (Quick | null)[] {
  let quicks = QUICKS.get(texts);
  if (quicks === undefined) {
    quicks = texts.map((text) => readQuick(text, family));
    QUICKS.set(texts, quicks);
  }
  return quicks;
}

/** Most rules of a long chain are missed by their plain selectors: a rule is prepared when a packet gets past those. */
class IptPrepared implements PreparedChain {
  readonly name: string;
  readonly #table: IptTable;
  readonly #chain: IptChain;
  readonly #family: 4 | 6;
  #quicks: readonly (Quick | null)[] | undefined;
  readonly #rules: (PreparedRule | null)[] = [];

  constructor(table: IptTable, chain: IptChain, family: 4 | 6) {
    this.name = chain.name;
    this.#table = table;
    this.#chain = chain;
    this.#family = family;
  }

  get quicks(): readonly (Quick | null)[] {
    this.#quicks ??= quicksOf(this.#chain.texts(), this.#family);
    return this.#quicks;
  }

  rule(index: number): PreparedRule | null {
    let prepared = this.#rules[index];
    if (prepared === undefined) {
      prepared = this.#prepare(this.#chain.rule(index));
      this.#rules[index] = prepared;
    }
    return prepared;
  }

  #prepare(rule: IptRule): PreparedRule | null {
    const family = this.#family;
    const act = readTarget(rule, family, (name) => preparedChain(this.#table, name, family));
    // a rule that only counts decides nothing
    if (act === null) return null;
    const { chain, line, text } = rule;
    return { chain, line, text, segments: [{ tests: readTests(rule, family), act }] };
  }
}

function preparedChain(table: IptTable, name: string, family: 4 | 6): PreparedChain | null {
  let chains = PREPARED.get(table);
  if (chains === undefined) {
    chains = new Map();
    PREPARED.set(table, chains);
  }
  let prepared = chains.get(name);
  if (prepared === undefined) {
    const chain = table.chains.get(name);
    if (chain === undefined) return null;
    prepared = new IptPrepared(table, chain, family);
    chains.set(name, prepared);
  }
  return prepared;
}
