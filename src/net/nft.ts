import type { NftJson, NftText } from '../facts/index.ts';
import type { PreparedChain, PreparedRule } from './chain.ts';
import { type Cite, cite } from './doubt.ts';
import type { NftSet } from './nft-match.ts';
import { type NftScope, readSegments } from './nft-rule.ts';
import type { BaseChain, SourceGap } from './rulesets.ts';
import type { NativeNft } from './rulesets-found.ts';
import type { Space } from './space.ts';
import type { Hook } from './step.ts';

type Chain = NftJson['chains'][number];
type Rule = NftJson['rules'][number];

const HOOKS: ReadonlySet<string> = new Set(['prerouting', 'input', 'forward', 'output', 'postrouting']);
const TYPES: ReadonlySet<string> = new Set(['filter', 'nat', 'route']);

/** Lines of the text form by handle: nft prints the JSON as one line. */
class TextIndex {
  readonly #rules = new Map<string, NftText['rules'][number]>();
  readonly #chains = new Map<string, NftText['chains'][number]>();
  readonly #tables = new Map<string, NftText['tables'][number]>();

  constructor(text: NftText | null) {
    for (const r of text?.rules ?? [])
      if (r.handle !== undefined) this.#rules.set(`${r.family} ${r.table} ${r.chain} ${r.handle}`, r);
    for (const t of text?.tables ?? []) this.#tables.set(`${t.family} ${t.name}`, t);
    for (const c of text?.chains ?? []) this.#chains.set(`${c.family} ${c.table} ${c.name}`, c);
  }

  rule(r: Rule): NftText['rules'][number] | undefined {
    return this.#rules.get(`${r.family} ${r.table} ${r.chain} ${r.handle}`);
  }

  /** Whether the table's chains are called; null: neither form tells. */
  sleeps({ family, name, dormant }: NftJson['tables'][number]): boolean | null {
    const told = this.#tables.get(`${family} ${name}`);
    return dormant === undefined ? false : (dormant ?? (told === undefined ? null : told.dormant === true));
  }

  chain(c: Chain): NftText['chains'][number] | undefined {
    return this.#chains.get(`${c.family} ${c.table} ${c.name}`);
  }
}

/** A chain of an nft table, read on first use. */
class NftPrepared implements PreparedChain {
  readonly name: string;
  readonly size: number;
  readonly #rules: readonly Rule[];
  readonly #scope: NftScope;
  readonly #text: TextIndex;
  readonly #prepared = new Map<number, PreparedRule | null>();
  readonly quicks: readonly null[];

  constructor(name: string, rules: readonly Rule[], scope: NftScope, text: TextIndex) {
    this.name = name;
    this.size = rules.length;
    this.quicks = rules.map(() => null);
    this.#rules = rules;
    this.#scope = scope;
    this.#text = text;
  }

  rule(index: number): PreparedRule | null {
    let prepared = this.#prepared.get(index);
    if (prepared === undefined) {
      prepared = this.#prepare(this.#rules[index] as Rule);
      this.#prepared.set(index, prepared);
    }
    return prepared;
  }

  #prepare(rule: Rule): PreparedRule | null {
    const segments = readSegments(rule.expr, this.#scope);
    if (segments.length === 0) return null;
    const text = this.#text.rule(rule);
    return {
      chain: this.name,
      line: text?.line ?? 1,
      ...(text?.endLine === undefined ? {} : { endLine: text.endLine }),
      text: text?.text ?? JSON.stringify(rule.expr).slice(0, 200),
      handle: rule.handle,
      segments,
    };
  }
}

interface Table {
  readonly chains: Map<string, NftPrepared>;
  readonly scope: NftScope;
}

/** The base chains of native nft tables that see packets of the family. */
export function readNftChains(space: Space, family: 4 | 6, native: NativeNft): readonly BaseChain[] {
  return space.once(`nft chains ${family}`, () => build(family, native));
}

function build(family: 4 | 6, native: NativeNft): readonly BaseChain[] {
  const { fact, text: textFact, covered } = native;
  const text = new TextIndex(textFact?.value ?? null);
  const families = family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  const tables = readTables(fact.value, text);
  const asleep = fact.value.tables.filter((t) => text.sleeps(t) !== false);
  const dormant = new Set(asleep.map((t) => `${t.family} ${t.name}`));
  const out: BaseChain[] = [];
  for (const chain of fact.value.chains) {
    const table = `${chain.family} ${chain.table}`;
    if (chain.hook === undefined || !HOOKS.has(chain.hook) || !families.includes(chain.family)) continue;
    if (covered(chain) || dormant.has(table) || chain.type === undefined || !TYPES.has(chain.type)) continue;
    const prepared = tables.get(table)?.chains.get(chain.name);
    if (prepared === undefined) continue;
    out.push(baseChain(chain, prepared, native, text));
  }
  return out;
}

/** Tables of which neither form tells whether their chains are called. */
export function unclearTables({ fact, text: textFact }: NativeNft): readonly SourceGap[] {
  const text = new TextIndex(textFact?.value ?? null);
  return fact.value.tables
    .filter((t) => text.sleeps(t) === null)
    .map(({ family, name }) => {
      const chains = fact.value.chains.filter((c) => c.family === family && c.table === name);
      const because = `whether nft table ${family} ${name} is dormant is not known: ${fact.path} has its flag unreadable (nft 1.0.6)`;
      const hooks = new Set(chains.flatMap((c) => c.hook ?? []));
      return { key: `nft ${family} ${name} dormant`, because, evidence: ['fw.nft'], rewrites: true, hooks };
    });
}

function baseChain(chain: Chain, prepared: NftPrepared, native: NativeNft, text: TextIndex): BaseChain {
  const { fact, text: textFact } = native;
  const policy =
    chain.policy === 'drop' ? 'drop' : chain.policy === 'accept' || chain.policy === undefined ? 'accept' : null;
  const policyText = `type ${chain.type} hook ${chain.hook} priority ${chain.priority ?? 0}; policy ${chain.policy ?? 'accept'};`;
  const found = text.chain(chain);
  const policyCite = (): Cite =>
    textFact === null || found === undefined
      ? cite(fact, { line: 1 })
      : cite(textFact, { line: found.hookLine ?? found.line });
  return {
    hook: chain.hook as Hook,
    type: chain.type as BaseChain['type'],
    priority: chain.priority ?? 0,
    name: `nft ${chain.family} ${chain.table} ${chain.name}`,
    owner: `nft table ${chain.family} ${chain.table}`,
    chain: prepared,
    policy,
    policyText,
    policyCite,
    cite: (rule) =>
      textFact === null || rule.text.startsWith('[')
        ? cite(fact, { line: 1 })
        : cite(textFact, { line: rule.line, endLine: rule.endLine }, rule.text),
    tells: chain.type === 'filter' && (chain.hook === 'input' || chain.hook === 'forward' || chain.hook === 'output'),
    empty: prepared.size === 0 && policy === 'accept',
  };
}

function readTables(json: NftJson, text: TextIndex): Map<string, Table> {
  const rules = new Map<string, Rule[]>();
  for (const rule of json.rules) {
    const key = `${rule.family} ${rule.table} ${rule.chain}`;
    const list = rules.get(key);
    if (list === undefined) rules.set(key, [rule]);
    else list.push(rule);
  }
  const sets = new Map<string, NftSet>(json.sets.map((s) => [`${s.family} ${s.table} ${s.name}`, s]));
  const tables = new Map<string, Table>();
  for (const chain of json.chains) {
    const key = `${chain.family} ${chain.table}`;
    let table = tables.get(key);
    if (table === undefined) {
      const chains = new Map<string, NftPrepared>();
      table = { chains, scope: { chain: (name) => chains.get(name), set: (name) => sets.get(`${key} ${name}`) } };
      tables.set(key, table);
    }
    table.chains.set(
      chain.name,
      new NftPrepared(chain.name, rules.get(`${key} ${chain.name}`) ?? [], table.scope, text),
    );
  }
  return tables;
}
