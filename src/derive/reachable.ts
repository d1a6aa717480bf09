import type { Fact, FactKind, IptTable, NftJson, NftText } from '../facts/index.ts';

/** A jump that packets can come to. */
export interface Reached {
  /** The chain it leads to. */
  readonly target: string;
  /** The device that packets must leave by; null: any, or more than one. */
  readonly out: string | null;
  readonly fact: Fact<FactKind>;
  readonly line: number;
}

/** A rule, as far as it says where packets go. */
interface Turn {
  /** null: packets go nowhere else by it. */
  readonly target: string | null;
  readonly goto: boolean;
  /** It is for every packet. */
  readonly always: boolean;
}

interface Chain {
  readonly turns: readonly Turn[];
  place(index: number): Omit<Reached, 'target'>;
}

type Chains = (name: string) => Chain | undefined;

/** Verdicts that no packet comes back from. */
const ENDS = /^(ACCEPT|DROP|REJECT|QUEUE|NFQUEUE|DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP)$/;

/** kube-proxy's chains of single services and their backends. */
const OF_SERVICES = /^KUBE-(?:SVC|SVL|EXT|XLB|FW|SEP)-/;

/**
 * Every jump to a `wanted` chain that packets of the built-in chain can come to, by whatever chains lie between. What stands behind a rule
 * that ends every packet is not reached.
 */
function reached(chains: Chains, from: string, wanted: RegExp): readonly Reached[] {
  const found: Reached[] = [];
  const ended = new Map<string, boolean>();
  // true: no packet comes back out of the chain
  const walk = (name: string): boolean => {
    const known = ended.get(name);
    if (known !== undefined) return known;
    ended.set(name, false);
    const chain = chains(name);
    const ends = chain !== undefined && through(chain);
    ended.set(name, ends);
    return ends;
  };
  const through = (chain: Chain): boolean => {
    for (const [index, { target, goto, always }] of chain.turns.entries()) {
      if (target === null) continue;
      if (ENDS.test(target)) {
        if (always) return true;
        continue;
      }
      if (target === 'RETURN') {
        if (always) return false;
        continue;
      }
      if (wanted.test(target)) found.push({ target, ...chain.place(index) });
      // they lead to each other only
      else if (!always && OF_SERVICES.test(target)) continue;
      const ends = walk(target);
      if (always && (goto || ends)) return ends;
    }
    return false;
  };
  walk(from);
  return found;
}

/** A jump to a service's chain: no packet comes to other chains by it. */
const NOWHERE: Turn = { target: null, goto: false, always: false };
/** Nodes of one cluster share the rules of a long chain: each array is read once. */
const turns = new WeakMap<readonly string[], readonly Turn[]>();

/** Only texts are looked at: a table may have 20,000 rules. */
function turnsOf(texts: readonly string[]): readonly Turn[] {
  let known = turns.get(texts);
  if (known === undefined) {
    known = texts.map((text) => {
      // most rules of a large table are these: they need not be taken apart
      if (text.includes(' -j KUBE-S') && text.includes(' -d ') && OF_SERVICES.test(lastWord(text))) return NOWHERE;
      const plain = text.includes('"') ? text.replace(/"(?:[^"\\]|\\.)*"/g, '""') : text;
      const m = /^-A \S+(.*?) -([jg]) (\S+)/.exec(plain);
      return {
        target: m?.[3] ?? null,
        goto: m?.[2] === 'g',
        always: m !== null && /^(?: -m comment --comment \S+)?$/.test(m[1] ?? ''),
      };
    });
    turns.set(texts, known);
  }
  return known;
}

const lastWord = (text: string) => text.slice(text.lastIndexOf(' ') + 1);

export function reachedInIptables(
  fact: Fact<FactKind>,
  table: IptTable,
  from: string,
  wanted: RegExp,
): readonly Reached[] {
  const chains: Chains = (name) => {
    const chain = table.chains.get(name);
    if (chain === undefined) return undefined;
    return {
      turns: turnsOf(chain.texts()),
      place(index) {
        const { line, outDevice } = chain.rule(index);
        const named = outDevice !== undefined && !outDevice.negated && !outDevice.value.endsWith('+');
        return { fact, line, out: named ? outDevice.value : null };
      },
    };
  };
  return reached(chains, from, wanted);
}

/** A rule of nft with its place. */
interface Way extends Turn {
  readonly place: () => Omit<Reached, 'target'>;
}

function chainOf<R>(rules: readonly R[] | undefined, way: (rule: R) => Way): Chain | undefined {
  const turns = rules?.map(way);
  return turns && { turns, place: (index) => (turns[index] as Way).place() };
}

type Expr = Readonly<Record<string, unknown>>;

/** The same in an nft table of family ip; lines are those of `nft list ruleset` where that was collected. */
export function reachedInNft(
  json: Fact<'nftJson'>,
  text: Fact<'nftText'> | null,
  table: string,
  from: string,
  wanted: RegExp,
): readonly Reached[] {
  const rules = Map.groupBy(
    json.value.rules.filter((r) => r.family === 'ip' && r.table === table),
    (r) => r.chain,
  );
  return reached((name) => chainOf(rules.get(name), (rule) => nftWay(json, text, rule)), from, wanted);
}

function nftWay(json: Fact<'nftJson'>, text: Fact<'nftText'> | null, rule: NftJson['rules'][number]): Way {
  const exprs = rule.expr.filter((e): e is Expr => typeof e === 'object' && e !== null);
  const last = exprs.at(-1) ?? {};
  const jump = (last['jump'] ?? last['goto']) as { target?: unknown } | undefined;
  const verdict = Object.keys(last)[0] ?? '';
  const target = typeof jump?.target === 'string' ? jump.target : verdict.toUpperCase();
  const tests = exprs.slice(0, -1).filter((e) => !('counter' in e) && !('comment' in e));
  return {
    target: jump !== undefined || ENDS.test(target) || target === 'RETURN' ? target : null,
    goto: 'goto' in last,
    always: tests.length === 0,
    place: () => {
      const same = (r: NftText['rules'][number]) =>
        r.handle === rule.handle && r.family === 'ip' && r.table === rule.table && r.chain === rule.chain;
      const shown = text?.value.rules.find(same);
      const at = text === null || shown === undefined ? { fact: json, line: 1 } : { fact: text, line: shown.line };
      return { ...at, out: tests.map(leavesBy).find((dev) => dev !== null) ?? null };
    },
  };
}

function leavesBy(test: Expr): string | null {
  const match = test['match'] as { op?: unknown; left?: { meta?: { key?: unknown } }; right?: unknown } | undefined;
  if (match?.left?.meta?.key !== 'oifname' || match.op !== '==') return null;
  return typeof match.right === 'string' && !match.right.endsWith('*') ? match.right : null;
}

/** The same where nothing but `nft list ruleset` was collected. */
export function reachedInNftText(
  text: Fact<'nftText'>,
  table: string,
  from: string,
  wanted: RegExp,
): readonly Reached[] {
  const rules = Map.groupBy(
    text.value.rules.filter((r) => r.family === 'ip' && r.table === table),
    (r) => r.chain,
  );
  return reached((name) => chainOf(rules.get(name), (rule) => textWay(text, rule)), from, wanted);
}

function textWay(fact: Fact<'nftText'>, { text, line }: NftText['rules'][number]): Way {
  const plain = text
    .replace(/ *# handle \d+$/, '')
    .replace(/"(?:[^"\\]|\\.)*"/g, (q) => (/^"[\w.:-]*"$/.test(q) ? q : '""'))
    .replace(/ comment \S+$/, '');
  const m = /^(.*?)(?:(jump|goto) (\S+)|(accept|drop|reject|return|masquerade|dnat|snat)\b.*)$/.exec(plain);
  const out = /\boifname "?([\w.:-]+)"?/.exec(plain)?.[1] ?? null;
  return {
    target: m === null ? null : (m[3] ?? m[4]?.toUpperCase() ?? null),
    goto: m?.[2] === 'goto',
    always: m !== null && /^(?:counter(?: packets \d+ bytes \d+)? *)?$/.test(m[1] ?? ''),
    place: () => ({ fact, line, out }),
  };
}
