import type { Fact, FactKind, MissingFact, NftJson, Ruleset } from '../facts/index.ts';
import { missingReason } from './doubt.ts';
import { factOf } from './instance.ts';
import type { IptSource, SourceGap } from './rulesets.ts';
import type { Space } from './space.ts';

type RulesetKind = 'iptables' | 'iptablesNft' | 'iptablesLegacy' | 'ip6tables' | 'ip6tablesNft' | 'ip6tablesLegacy';

type InnerRuleset =
  | Fact<'netnsIptablesNft'>
  | Fact<'netnsIptablesLegacy'>
  | Fact<'netnsIp6tablesNft'>
  | Fact<'netnsIp6tablesLegacy'>;

/** Native nft tables to evaluate. */
export interface NativeNft {
  readonly fact: Fact<'nftJson'>;
  readonly text: Fact<'nftText'> | null;
  /** Base chains that an iptables-save printed are evaluated from there. */
  readonly covered: (chain: NftBase) => boolean;
}

/** What tells a base chain of iptables-nft from others in the same table. */
export type NftBase = Pick<NftJson['chains'][number], 'family' | 'table' | 'name' | 'type' | 'hook' | 'priority'>;

export interface FoundSources {
  readonly rulesets: readonly IptSource[];
  readonly gaps: readonly SourceGap[];
  readonly native: NativeNft | null;
}

const STANDARD: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  raw: { PREROUTING: -300, OUTPUT: -300 },
  mangle: { PREROUTING: -150, INPUT: -150, FORWARD: -150, OUTPUT: -150, POSTROUTING: -150 },
  nat: { PREROUTING: -100, OUTPUT: -100, INPUT: 100, POSTROUTING: 100 },
  filter: { INPUT: 0, FORWARD: 0, OUTPUT: 0 },
  security: { INPUT: 50, FORWARD: 50, OUTPUT: 50 },
};

/** iptables-save leaves out base chains that iptables itself would not have made: another name, hook or priority. */
const isStandard = (c: NftBase): boolean =>
  STANDARD[c.table]?.[c.name] === c.priority && c.name === c.hook?.toUpperCase();

/** The collector does not ask a kernel without nf_tables: no nft rules exist in any namespace of it. */
function withoutNft(space: Space): boolean {
  const { facts } = space.node;
  return (['iptables', 'iptablesNft', 'ip6tables', 'ip6tablesNft', 'nftJson', 'nftText'] as const).some((kind) => {
    const fact = facts.get(kind);
    return fact.missing && fact.lookedFor && /nf_tables is not loaded/.test(fact.because);
  });
}

/** Which rulesets of a namespace are live, and which may be and were not read. */
export function findSources(space: Space, family: 4 | 6): FoundSources {
  return space.inode === null ? hostSources(space, family) : innerSources(space, family);
}

/** A warning that iptables-nft-save prints where its two outputs go to one file. */
const warnsOfLegacy = (r: Ruleset | undefined): boolean =>
  r?.markers.some((m) => m.kind === 'legacy-tables-present') === true;

/** Base chains that iptables-save left out are read from nft. */
const isLeftOut = (text: string): boolean => /contains incompatible base-chains/.test(text);

class Finding {
  readonly rulesets: IptSource[] = [];
  readonly gaps: SourceGap[] = [];
  readonly #space: Space;
  readonly #family: 4 | 6;

  constructor(space: Space, family: 4 | 6) {
    this.#space = space;
    this.#family = family;
  }

  gap(what: string, because: string, evidence: readonly string[], rewrites = true): void {
    const key = `${this.#space.id} ip${this.#family === 6 ? '6' : ''} ${what}`;
    if (!this.gaps.some((g) => g.key === key)) this.gaps.push({ key, because, evidence, rewrites });
  }

  has(backend: 'nft' | 'legacy'): boolean {
    return this.rulesets.some((r) => r.backend === backend);
  }

  get(backend: 'nft' | 'legacy'): IptSource | undefined {
    return this.rulesets.find((r) => r.backend === backend);
  }

  take(fact: Fact<RulesetKind> | InnerRuleset, backend: 'nft' | 'legacy'): void {
    if (this.has(backend)) return;
    this.rulesets.push({ backend, fact, ruleset: fact.value });
    if (!fact.closed) this.gap(`${backend} whole`, `${fact.path} was not collected whole`, [fact.evidence]);
    for (const m of fact.value.markers)
      if (m.kind === 'other' && !isLeftOut(m.text))
        this.gap(`${backend} ${m.table ?? ''}`, `${fact.path}:${m.line}: ${m.text}`, [fact.evidence]);
  }
}

function hostSources(space: Space, family: 4 | 6): FoundSources {
  const { facts } = space.node;
  const four = family === 4;
  const plain = facts.get(four ? 'iptables' : 'ip6tables');
  const nft = facts.get(four ? 'iptablesNft' : 'ip6tablesNft');
  const legacy = facts.get(four ? 'iptablesLegacy' : 'ip6tablesLegacy');
  const names = facts.get(four ? 'legacyTables' : 'legacyTables6');
  const found = new Finding(space, family);
  const noNft = withoutNft(space);
  if (!plain.missing) found.take(plain, plainBackend(space, plain, nft, legacy));
  if (!nft.missing) found.take(nft, 'nft');
  if (!legacy.missing) found.take(legacy, 'legacy');
  const saved = found.get('legacy');
  if (saved !== undefined && !names.missing) leftOut(found, saved, names);
  if (saved === undefined) {
    const warned = warnsOfLegacy(found.get('nft')?.ruleset);
    const none = names.missing
      ? names.lookedFor && /^absent/.test(names.because)
      : names.closed && names.value.tables.length === 0;
    if (!none || warned) {
      const listed = names.missing ? null : names.value.tables.map((t) => t.name);
      const only =
        listed !== null && !names.missing && names.closed && listed.every((t) => t === 'filter' || t === 'security');
      found.gap(
        'legacy',
        gapText('the iptables-legacy tables are not known', legacy),
        legacy.missing ? legacy.evidence : [],
        !only,
      );
    }
  }
  const json = facts.get('nftJson');
  const text = facts.get('nftText');
  if (!found.has('nft') && !noNft && json.missing) {
    const skipped = nft.missing && plain.missing;
    found.gap(
      'nft',
      gapText('the iptables-nft tables are not known', skipped ? plain : nft),
      nft.missing ? nft.evidence : [],
    );
  }
  if (noNft) return { rulesets: found.rulesets, gaps: found.gaps, native: null };
  const covered = coveredChains(found, family);
  if (json.missing) nativeWithoutJson(found, text, json, covered, family);
  else {
    if (!json.closed) found.gap('native nft', `${json.path} was not collected whole`, [json.evidence]);
    return {
      rulesets: found.rulesets,
      gaps: found.gaps,
      native: { fact: json, text: text.missing ? null : text, covered },
    };
  }
  return { rulesets: found.rulesets, gaps: found.gaps, native: null };
}

/** `iptables-save -t filter` prints one table: what else the kernel has was not read. */
function leftOut(
  found: Finding,
  { ruleset, fact }: IptSource,
  names: Fact<'legacyTables'> | Fact<'legacyTables6'>,
): void {
  for (const { name } of names.value.tables) {
    if (ruleset.tables.has(name)) continue;
    const because = `the kernel has the iptables-legacy table ${name}, which is not in ${fact.path}`;
    found.gap(`legacy ${name}`, because, [fact.evidence], name !== 'filter' && name !== 'security');
  }
}

const gapText = (what: string, fact: Fact<FactKind> | MissingFact): string =>
  fact.missing ? missingReason(what, fact).because : what;

/** The header names the backend; without one (no tables, 1.8.0 to 1.8.7) `iptables -V`, the other file or nft does. */
function plainBackend(
  space: Space,
  plain: Fact<'iptables'> | Fact<'ip6tables'>,
  nft: Fact<RulesetKind> | MissingFact,
  legacy: Fact<RulesetKind> | MissingFact,
): 'nft' | 'legacy' {
  if (plain.value.backend !== 'unknown') return plain.value.backend;
  const variant = (f: Fact<RulesetKind> | MissingFact) => f.missing && /is this variant/.test(f.because);
  if (variant(nft)) return 'nft';
  if (variant(legacy)) return 'legacy';
  const version = space.node.facts.get('iptablesVersion');
  if (!version.missing && version.value.backend !== 'unknown') return version.value.backend;
  // tables of iptables-nft are among those of nft
  const json = space.node.facts.get('nftJson');
  const shown = [...plain.value.tables.keys()];
  if (!json.missing && json.closed && shown.length > 0) {
    const family = plain.kind === 'iptables' ? 'ip' : 'ip6';
    return json.value.tables.some((t) => t.family === family && shown.includes(t.name)) ? 'nft' : 'legacy';
  }
  return !nft.missing && legacy.missing ? 'legacy' : 'nft';
}

/** nft base chains that iptables-save printed: those of all tables but the ones that it could not read. */
function coveredChains(found: Finding, family: 4 | 6): NativeNft['covered'] {
  const source = found.get('nft');
  if (source === undefined) return () => false;
  const word = family === 4 ? 'ip' : 'ip6';
  const { tables, markers } = source.ruleset;
  const unreadable = new Set(markers.filter((m) => m.kind === 'incompatible-table').map((m) => m.table ?? ''));
  // a table that was not printed because the text was cut is not covered either
  return (c) => c.family === word && tables.has(c.table) && !unreadable.has(c.table) && isStandard(c);
}

function nativeWithoutJson(
  found: Finding,
  text: Fact<'nftText'> | MissingFact,
  json: MissingFact,
  covered: NativeNft['covered'],
  family: 4 | 6,
): void {
  if (json.lookedFor && text.missing && text.lookedFor) return;
  if (text.missing || !text.closed) {
    found.gap('native nft', gapText('the native nft tables are not known', json), json.evidence);
    return;
  }
  const families = family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  for (const chain of text.value.chains) {
    const table = `${chain.family} ${chain.table}`;
    if (chain.hook === undefined || !families.includes(chain.family) || covered(chain)) continue;
    const because = `the rules of nft table ${table} (${text.path}:${chain.line}) were collected only as text`;
    found.gap(`nft ${table} ${chain.hook}`, because, json.evidence, chain.type !== 'filter');
    const gap = found.gaps.at(-1)!;
    found.gaps[found.gaps.length - 1] = { ...gap, hooks: new Set([chain.hook]) };
  }
}

/**
 * A namespace of a container or pod. `nft list tables` says whether there is anything but iptables-nft's tables, whose rules are not
 * collected; without it an iptables-nft-save that shows no table it cannot read is taken as all there is.
 */
function innerSources(space: Space, family: 4 | 6): FoundSources {
  const { facts } = space.node;
  const found = new Finding(space, family);
  const four = family === 4;
  const nft = four ? factOf(facts, 'netnsIptablesNft', space.inode) : factOf(facts, 'netnsIp6tablesNft', space.inode);
  const legacy = four
    ? factOf(facts, 'netnsIptablesLegacy', space.inode)
    : factOf(facts, 'netnsIp6tablesLegacy', space.inode);
  const listed = factOf(facts, 'netnsNftTables', space.inode);
  const noNft = withoutNft(space);
  if (nft !== undefined) found.take(nft, 'nft');
  if (legacy !== undefined) found.take(legacy, 'legacy');
  const name = four ? 'ip' : 'ip6';
  const own = (t: { family: string; name: string }) => t.family === name && Object.hasOwn(STANDARD, t.name);
  const none = listed?.closed === true && !listed.value.tables.some(own);
  if (nft === undefined && !noNft && !none)
    found.gap('nft', `the ${four ? 'iptables' : 'ip6tables'}-nft tables of ${space.label} were not collected`, [
      four ? 'netns.iptables-nft-save' : 'netns.ip6tables-nft-save',
    ]);
  if (legacy === undefined) {
    const names = four ? facts.get('legacyTables') : facts.get('legacyTables6');
    const inside = four
      ? factOf(facts, 'netnsLegacyTables', space.inode)
      : factOf(facts, 'netnsLegacyTables6', space.inode);
    const unloaded = names.missing && names.lookedFor && /^absent/.test(names.because);
    const empty = inside?.closed === true && inside.value.tables.length === 0 && !warnsOfLegacy(nft?.value);
    if (!unloaded && !empty)
      found.gap('legacy', `the ${four ? 'iptables' : 'ip6tables'}-legacy tables of ${space.label} were not collected`, [
        four ? 'netns.iptables-legacy-save' : 'netns.ip6tables-legacy-save',
      ]);
  }
  for (const m of nft?.value.markers ?? [])
    if (m.kind === 'incompatible-table' || isLeftOut(m.text))
      found.gap(`nft ${m.table ?? ''}`, `${nft!.path}:${m.line}: ${m.text.replace(/^# /, '')}`, [
        nft?.evidence ?? 'netns.iptables-nft-save',
      ]);
  for (const t of listed?.value.tables ?? []) {
    const native = (t.family === name && !own(t)) || t.family === 'inet' || t.family === 'netdev';
    if (native)
      found.gap(
        `nft ${t.family} ${t.name}`,
        `the rules of nft table ${t.family} ${t.name} of ${space.label} are not collected`,
        [],
      );
  }
  return { rulesets: found.rulesets, gaps: found.gaps, native: null };
}
