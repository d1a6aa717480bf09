import type { Fact, FactKind, IptTable, MissingFact, NftJson, Ruleset } from '../facts/index.ts';

/** Which program writes there: both are called iptables. */
export type Backend = 'nft' | 'legacy';

/** A ruleset of iptables that is live. */
export interface Side {
  readonly backend: Backend;
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** The line by which a ruleset first decides something at a hook: a rule, or a policy. */
export interface Deciding {
  readonly hook: string;
  readonly line: number;
  readonly text: string;
}

const HOOKS = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

/** They change nothing of a packet, nor where it goes. */
const IDLE = /^(RETURN|LOG|NFLOG|ULOG|TRACE|AUDIT)$/;

/** A rule's target; comments may hold anything. */
function targetOf(text: string): string | null {
  const plain = text.includes('"') ? text.replace(/"(?:[^"\\]|\\.)*"/g, '""') : text;
  return / -[jg] (\S+)/.exec(plain)?.[1] ?? null;
}

/**
 * Where a ruleset decides: by a policy that drops, or by a rule that a built-in chain holds or leads to. Not by a chain that nobody jumps
 * to (KUBE-KUBELET-CANARY), nor by one whose rules only count.
 */
export function decidingHooks({ tables }: Ruleset): ReadonlyMap<string, Deciding> {
  const found = new Map<string, Deciding>();
  for (const table of tables.values()) {
    const known = new Map<string, boolean>();
    for (const hook of HOOKS) {
      const chain = found.has(hook) ? undefined : table.chains.get(hook);
      if (chain === undefined) continue;
      if (chain.policy !== null && chain.policy !== 'ACCEPT')
        found.set(hook, { hook, line: chain.line, text: `:${hook} ${chain.policy}` });
      const index = chain.texts().findIndex((text) => isDeciding(table, text, known));
      if (index < 0 || found.has(hook)) continue;
      const { line, text } = chain.rule(index);
      found.set(hook, { hook, line, text });
    }
  }
  return found;
}

function isDeciding(table: IptTable, text: string, known: Map<string, boolean>): boolean {
  const target = targetOf(text);
  if (target === null || IDLE.test(target)) return false;
  const chain = table.chains.get(target);
  // a verdict, or a mark, or a module's target
  if (chain === undefined) return true;
  const before = known.get(target);
  if (before !== undefined) return before;
  known.set(target, false);
  const decides = chain.texts().some((t) => isDeciding(table, t, known));
  known.set(target, decides);
  return decides;
}

/** Does `nft list ruleset` show rules in tables that iptables-nft makes? */
export const nftHasIptables = (json: Fact<'nftJson'> | MissingFact<'nftJson'>): boolean =>
  !json.missing && json.value.rules.some(isOfIptables);

const isOfIptables = ({ family, table, chain }: NftJson['rules'][number]): boolean =>
  family === 'ip' && /^(raw|mangle|nat|filter|security)$/.test(table) && HOOKS.includes(chain);

/** A packet whose destination both sides have a rule for. */
export interface Contested {
  /** `9001/tcp`, `10.96.0.1:443`. */
  readonly name: string;
  readonly proto: 'tcp' | 'udp';
  readonly port: number;
  /** null: any address of the node. */
  readonly address: string | null;
}

const PUBLISHES = / -p (tcp|udp) .*--dport (\d+)(?: .*)? -j DNAT --to-destination (\S+)/;
const SERVES = / -d ([\d.]+)\/32 -p (tcp|udp) .*--dport (\d+) -j KUBE-SVC-/;
const MOST = 4;

/** Ports and services that nat of both sides gives another destination, as far as that can be told by single rules. */
export function contested(sides: readonly Side[]): readonly Contested[] {
  const [one, other] = sides.map((side) => destinations(side.ruleset));
  if (one === undefined || other === undefined) return [];
  const both = [...one].filter(
    ([key, { to }]) => other.get(key) !== undefined && (to === '' || other.get(key)?.to !== to),
  );
  return both.slice(0, MOST).map(([, { to: _, ...asked }]) => asked);
}

/** `to`: '' where it is chosen among several. */
function destinations({ tables }: Ruleset): Map<string, Contested & { readonly to: string }> {
  const found = new Map<string, Contested & { readonly to: string }>();
  let services = 0;
  for (const [name, chain] of tables.get('nat')?.chains ?? []) {
    if (/^KUBE-(?!SERVICES$)/.test(name)) continue;
    for (const text of chain.texts()) {
      const service = name === 'KUBE-SERVICES' && services < MOST ? SERVES.exec(text) : null;
      const [, proto, port, to] = (service === null ? PUBLISHES.exec(text) : null) ?? [];
      if (service !== null) {
        services += 1;
        const [, address = '', own, at] = service;
        const key = `${address}:${at}`;
        found.set(`${key} ${own}`, { name: key, proto: own as 'tcp' | 'udp', port: Number(at), address, to: '' });
      } else if (proto !== undefined) {
        const address = / -d ([\d.]+)\/32 /.exec(text)?.[1] ?? null;
        const key = `${port}/${proto}`;
        if (!found.has(key))
          found.set(key, { name: key, proto: proto as 'tcp' | 'udp', port: Number(port), address, to: to ?? '' });
      }
    }
  }
  return found;
}

/** Take a ruleset out of the way: its policies first, so that nothing is cut off meanwhile. */
export function emptied({ backend, ruleset }: Side): {
  readonly run: string;
  readonly verify: string;
  readonly undo: string;
} {
  const program = `iptables-${backend}`;
  const saved = `/root/${program}.rules`;
  const policies = [...ruleset.tables].flatMap(([table, { chains }]) =>
    [...chains.values()].flatMap((c) =>
      c.policy === null || c.policy === 'ACCEPT' ? [] : [`${program} -t ${table} -P ${c.name} ACCEPT`],
    ),
  );
  const tables = [...ruleset.tables.keys()].filter((t) => /^[a-z]+$/.test(t));
  const flush = tables.flatMap((t) => [`${program} -t ${t} -F`, `${program} -t ${t} -X`]);
  return {
    run: [`${program}-save > ${saved}`, ...policies, ...flush].join(' && '),
    verify: `${program}-save | grep -c -e '^-A'   # 0`,
    undo: `${program}-restore < ${saved}`,
  };
}
