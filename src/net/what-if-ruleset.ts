import type { FactKind, IptChain, IptRule, IptTable, Ruleset } from '../facts/index.ts';
import type { Draft, RulesetAct, RulesetEdit } from './what-if-changes.ts';
import { ChangeError } from './what-if-changes.ts';

const BUILT_IN: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

type RulesetKind = Extract<
  FactKind,
  'iptables' | 'iptablesNft' | 'iptablesLegacy' | 'ip6tables' | 'ip6tablesNft' | 'ip6tablesLegacy'
>;

const KINDS: Readonly<Record<4 | 6, Readonly<Record<'plain' | 'nft' | 'legacy', RulesetKind>>>> = {
  4: { plain: 'iptables', nft: 'iptablesNft', legacy: 'iptablesLegacy' },
  6: { plain: 'ip6tables', nft: 'ip6tablesNft', legacy: 'ip6tablesLegacy' },
};

/** `iptables` and its kin. The same ruleset may be in the evidence twice, as iptables-save and as iptables-nft-save: both change. */
export function changeRuleset(draft: Draft, edit: RulesetEdit): void {
  const kinds = KINDS[edit.family];
  const plain = draft.read(kinds.plain);
  const backend =
    edit.backend === 'plain' ? (plain?.value.backend ?? backendByVersion(draft, edit.family)) : edit.backend;
  const changed: RulesetKind[] = [];
  if (plain !== null && (edit.backend === 'plain' || plain.value.backend === backend)) changed.push(kinds.plain);
  if (backend !== 'unknown' && draft.read(kinds[backend]) !== null) changed.push(kinds[backend]);
  if (changed.length === 0) draft.need(edit.backend === 'plain' ? kinds.plain : kinds[edit.backend], 'the rules');
  for (const kind of changed) {
    const fact = draft.need(kind, 'the rules');
    draft.write(kind, edited(draft, fact.value, edit));
  }
  const names = draft.read(edit.family === 4 ? 'legacyTables' : 'legacyTables6');
  if (backend === 'legacy' && names !== null && !names.value.tables.some((t) => t.name === edit.table))
    draft.write(edit.family === 4 ? 'legacyTables' : 'legacyTables6', {
      tables: [...names.value.tables, { name: edit.table, line: draft.mark }],
    });
}

function backendByVersion(draft: Draft, family: 4 | 6): 'nft' | 'legacy' | 'unknown' {
  return family === 4 ? (draft.read('iptablesVersion')?.value.backend ?? 'unknown') : 'unknown';
}

function edited(draft: Draft, ruleset: Ruleset, { table: name, act }: RulesetEdit): Ruleset {
  const builtIn = BUILT_IN[name];
  if (builtIn === undefined) throw new ChangeError(`there is no table ${name}`);
  const known = ruleset.tables.get(name);
  const chains = new Map<string, IptChain>(known?.chains);
  // a table's own chains are there from the moment that it is used
  for (const chain of builtIn) if (!chains.has(chain)) chains.set(chain, chainOf(chain, 'ACCEPT', draft.mark, []));
  actOn(draft, chains, act, name);
  const table: IptTable = {
    ...known,
    name,
    line: known?.line ?? draft.mark,
    chains,
    commitLine: known?.commitLine ?? draft.mark,
  };
  return { ...ruleset, tables: new Map([...ruleset.tables, [name, table]]) };
}

function actOn(draft: Draft, chains: Map<string, IptChain>, act: RulesetAct, table: string): void {
  const where = `${table} on ${draft.node}`;
  const chainNamed = (name: string): IptChain => {
    const chain = chains.get(name);
    if (chain === undefined) throw new ChangeError(`there is no chain ${name} in ${where}`);
    return chain;
  };
  const put = (chain: IptChain, rules: readonly IptRule[]) =>
    chains.set(chain.name, chainOf(chain.name, chain.policy, chain.line, rules));
  if (act.op === 'flush') {
    for (const chain of act.chain === null ? [...chains.values()] : [chainNamed(act.chain)]) put(chain, []);
    return;
  }
  if (act.op === 'delete-chain') {
    deleteChains(chains, act.chain === null ? null : chainNamed(act.chain), where);
    return;
  }
  if (act.op === 'new-chain') {
    if (chains.has(act.chain)) throw new ChangeError(`there is a chain ${act.chain} in ${where} already`);
    chains.set(act.chain, chainOf(act.chain, null, draft.mark, []));
    return;
  }
  const chain = chainNamed(act.chain);
  if (act.op === 'policy') {
    if (chain.policy === null) throw new ChangeError(`${chain.name} is no built-in chain: it has no policy`);
    chains.set(chain.name, chainOf(chain.name, act.policy, draft.mark, chain.rules()));
    return;
  }
  const rules = [...chain.rules()];
  if ((act.op === 'delete-at' || act.op === 'replace') && (act.at < 1 || act.at > rules.length))
    throw new ChangeError(`${chain.name} in ${where} has ${rules.length} rules, no rule ${act.at}`);
  if (act.op === 'delete-at') rules.splice(act.at - 1, 1);
  else {
    const made = act.rules.map((rule, i) => ({ ...rule, line: draft.mark - i }));
    if (act.op !== 'delete') for (const rule of made) checkTarget(rule, chains, where);
    if (act.op === 'append') rules.push(...made);
    else if (act.op === 'replace') rules.splice(act.at - 1, 1, ...made);
    else if (act.op === 'insert') {
      if (act.at < 1 || act.at > rules.length + 1)
        throw new ChangeError(
          `${chain.name} in ${where} has ${rules.length} rules: nothing can be inserted as rule ${act.at}`,
        );
      // iptables inserts one after the other at the same place: the last one ends up first
      for (const rule of made) rules.splice(act.at - 1, 0, rule);
    } else {
      for (const rule of made) {
        const at = rules.findIndex((r) => ruleKey(r) === ruleKey(rule));
        if (at < 0) throw new ChangeError(`there is no rule "${rule.text}" in ${where}`);
        rules.splice(at, 1);
      }
    }
  }
  put(chain, rules);
}

function deleteChains(chains: Map<string, IptChain>, one: IptChain | null, where: string): void {
  const used = new Set([...chains.values()].flatMap((c) => c.rules().flatMap((r) => r.target?.name ?? [])));
  for (const chain of one === null ? [...chains.values()] : [one]) {
    if (chain.policy !== null) {
      if (one !== null) throw new ChangeError(`${chain.name} is a built-in chain of ${where}: it cannot be deleted`);
      continue;
    }
    if (chain.ruleCount > 0 || used.has(chain.name))
      throw new ChangeError(
        `chain ${chain.name} of ${where} is not empty or is jumped to: iptables would not delete it`,
      );
    chains.delete(chain.name);
  }
}

const EXTENSIONS = new Set(
  'ACCEPT DROP RETURN REJECT MASQUERADE SNAT DNAT REDIRECT NETMAP MARK CONNMARK CT NOTRACK LOG NFLOG TCPMSS NFQUEUE'.split(
    ' ',
  ),
);

function checkTarget(rule: IptRule, chains: ReadonlyMap<string, IptChain>, where: string): void {
  const { target } = rule;
  if (target === undefined || chains.has(target.name)) return;
  if (target.kind === 'goto' || !EXTENSIONS.has(target.name))
    throw new ChangeError(`there is no chain ${target.name} in ${where} to jump to`);
}

function chainOf(name: string, policy: string | null, line: number, rules: readonly IptRule[]): IptChain {
  return {
    name,
    policy,
    line,
    ruleCount: rules.length,
    rules: () => rules,
    rule: (i) => rules[i] as IptRule,
    texts: () => rules.map((r) => r.text),
    shared: () => rules,
  };
}

/** What makes two rules the same to `iptables -D`: everything but counters. */
function ruleKey(rule: IptRule): string {
  const { source, destination, inDevice, outDevice, protocol, fragment, target, unplaced } = rule;
  const options = (list: readonly { flag: string; negated: boolean; values: readonly string[] }[]) =>
    list.map((o) => [o.flag, o.negated, o.values]);
  const side = (v: { negated: boolean; value: unknown } | undefined) => (v === undefined ? null : [v.negated, v.value]);
  return JSON.stringify([
    [source, destination, inDevice, outDevice, protocol, fragment].map(side),
    rule.matches.map((m) => [m.name, options(m.options)]),
    target === undefined ? null : [target.kind, target.name, options(target.options)],
    unplaced ?? null,
  ]);
}
