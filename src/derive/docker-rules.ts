import type { Span } from '../core/span.ts';
import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { type Reached, reachedInIptables, reachedInNft, reachedInNftText } from './reachable.ts';

export type DockerTable = 'nat' | 'filter';

/** A ruleset of iptables that is live. */
interface Saved {
  readonly backend: 'nft' | 'legacy';
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** Where Docker's rules of a table are, or would be. */
export interface DockerRules {
  /** Jumps to Docker's chains that packets can come to. */
  readonly reached: readonly Reached[];
  /** The base chain that dockerd makes where it uses nft itself, when it has rules. */
  readonly native: Told | null;
  /** Chains of Docker in the table, jumped to or not. */
  chains(): readonly Told[];
  /** The built-in chain that has to lead to them, wherever the table is. */
  readonly bases: readonly Told[];
  /** Files that would show Docker's rules if there were any. */
  readonly looked: readonly Fact<FactKind>[];
  /** iptables-save could not read the table, and nft was not asked. */
  readonly unread: boolean;
}

/** What of Docker's leads packets on: by table, from where and to which chains. DOCKER-INGRESS is swarm's own. */
const BASE = { nat: 'PREROUTING', filter: 'FORWARD' } as const;
const CHAIN = { nat: /^DOCKER$/, filter: /^DOCKER(-USER|-FORWARD|-ISOLATION(-STAGE-1)?)?$/ } as const;
/** Chains that only Docker makes, as a trace of it. */
const TRACES = [
  'DOCKER',
  'DOCKER-USER',
  'DOCKER-FORWARD',
  'DOCKER-CT',
  'DOCKER-BRIDGE',
  'DOCKER-INTERNAL',
  'DOCKER-INGRESS',
  'DOCKER-ISOLATION',
  'DOCKER-ISOLATION-STAGE-1',
  'DOCKER-ISOLATION-STAGE-2',
];

type NftSource = Source<'nftJson' | 'nftText'>;

/** Docker's rules, in whichever ruleset they are. `backend` null: it may have written them with iptables or with nft. */
export function dockerRules(
  source: NftSource,
  rulesets: readonly Saved[],
  table: DockerTable,
  backend: 'iptables' | 'nftables' | null,
): DockerRules {
  const own = backend === 'iptables' ? { native: null, looked: [] } : dockerBridges(source, table);
  const none = { reached: [], chains: () => [], bases: [], looked: [], unread: false };
  const written = backend === 'nftables' ? none : ofIptables(source, rulesets, table);
  return { ...written, native: own.native, looked: [...new Set([...written.looked, ...own.looked])] };
}

function ofIptables(source: NftSource, rulesets: readonly Saved[], table: DockerTable): Omit<DockerRules, 'native'> {
  const reached: Reached[] = [];
  const bases: Told[] = [];
  const looked: Fact<FactKind>[] = [];
  for (const { fact, ruleset } of rulesets) {
    looked.push(fact);
    const found = ruleset.tables.get(table);
    if (found === undefined) continue;
    reached.push(...reachedInIptables(fact, found, BASE[table], CHAIN[table]));
    const base = found.chains.get(BASE[table]);
    if (base !== undefined) bases.push({ fact, span: { line: base.line } });
  }
  const refused = rulesets.some((r) =>
    r.ruleset.markers.some((m) => m.kind === 'incompatible-table' && m.table === table),
  );
  // of a table that is whole nobody asks
  const saved = () =>
    rulesets.flatMap(({ fact, ruleset }): readonly Told[] =>
      TRACES.flatMap((name) => {
        const chain = ruleset.tables.get(table)?.chains.get(name);
        return chain?.policy === null ? [{ fact, span: { line: chain.line } }] : [];
      }),
    );
  const done = { reached, chains: saved, bases, looked };
  // the tables of iptables-nft are nft tables: what was not printed by the one (iptables-save -t nat) is read from the other
  const json = source.get('nftJson');
  const text = source.get('nftText');
  const lines = text.missing ? null : text;
  const own = (t: { family: string; table: string }) => t.family === 'ip' && t.table === table;
  const printed = rulesets.some((r) => r.backend === 'nft' && r.ruleset.tables.has(table));
  const listedByNft = !json.missing ? json.value.chains.some(own) : lines?.value.chains.some(own) === true;
  if (rulesets.some((r) => r.backend === 'nft') && !refused && (printed || !listedByNft))
    return { ...done, unread: false };
  if (!json.missing) {
    looked.push(json);
    reached.push(...reachedInNft(json, lines, table, BASE[table], CHAIN[table]));
  } else if (lines !== null) {
    looked.push(lines);
    reached.push(...reachedInNftText(lines, table, BASE[table], CHAIN[table]));
  }
  const listed: Told[] = [];
  for (const c of lines?.value.chains ?? []) {
    if (lines === null || c.family !== 'ip' || c.table !== table) continue;
    if (c.name === BASE[table]) bases.push({ fact: lines, span: { line: c.hookLine ?? c.line } });
    else if (TRACES.includes(c.name)) listed.push({ fact: lines, span: { line: c.line } });
  }
  const chains = () => [...saved(), ...listed];
  return { ...done, chains, unread: refused && json.missing && lines === null };
}

/** Since Docker 29: table docker-bridges. */
function dockerBridges(source: NftSource, table: DockerTable): Pick<DockerRules, 'native' | 'looked'> {
  const json = source.get('nftJson');
  const text = source.get('nftText');
  const type = table === 'nat' ? 'nat' : 'filter';
  const hook = table === 'nat' ? 'prerouting' : 'forward';
  type Chain = { family: string; table: string; name: string; type?: string; hook?: string };
  const own = (c: Chain) => c.family === 'ip' && c.table === 'docker-bridges' && c.type === type && c.hook === hook;
  const filled = (rules: readonly { family: string; table: string; chain: string }[], c: Chain) =>
    rules.some((r) => r.family === c.family && r.table === c.table && r.chain === c.name);
  const shown = text.missing ? undefined : text.value.chains.find(own);
  const at: Span = { line: shown?.hookLine ?? shown?.line ?? 1 };
  if (!json.missing) {
    const found = json.value.chains.find((c) => own(c) && filled(json.value.rules, c));
    const fact = text.missing || shown === undefined ? json : text;
    return { native: found === undefined ? null : { fact, span: at }, looked: [json] };
  }
  if (text.missing) return { native: null, looked: [] };
  const there = shown !== undefined && filled(text.value.rules, shown);
  return { native: there ? { fact: text, span: at } : null, looked: [text] };
}

/** Packets come to what is left in one ruleset, and nothing leads to Docker's chains in that of the `iptables` which dockerd calls. */
export function idleChains({
  reached,
  native,
  chains,
}: DockerRules): { readonly because: string; readonly evidence: readonly string[] } | null {
  const [from] = reached;
  if (from === undefined || native !== null) return null;
  const idle = chains().find(
    ({ fact }) => fact.evidence === 'fw.iptables-save' && !reached.some((r) => r.fact === fact),
  );
  if (idle === undefined) return null;
  const { path, evidence } = idle.fact;
  const because = `they come to those in ${from.fact.path}, but nothing leads to its chains in ${path}, which iptables writes to now`;
  return { because, evidence: [evidence] };
}

/** What there has to be and is not, and what it means for packets. */
export function missingOf(
  table: DockerTable,
  backend: 'iptables' | 'nftables' | null,
  partly: string,
): { line: string; says: string } {
  const base = table === 'nat' ? 'nat PREROUTING' : 'FORWARD';
  const gone = `packets in ${base} no longer come to its rules`;
  if (backend === 'nftables') return { line: `rules in the ${table} chain of nft table docker-bridges`, says: gone };
  const jump = `a jump from ${base} to ${table === 'nat' || partly !== '' ? 'DOCKER' : 'Docker’s chains'} that packets`;
  if (partly !== '') return { line: `${jump} to${partly} come to`, says: `${gone} when they leave by${partly}` };
  return { line: `${jump} come to`, says: gone };
}

/** Does FORWARD hold the jump to Docker's rules for what leaves by this bridge, whether or not packets come to it? */
export function isWritten(rulesets: readonly Saved[], bridge: string): boolean {
  return rulesets.some(({ ruleset }) => {
    const texts = ruleset.tables.get('filter')?.chains.get('FORWARD')?.texts() ?? [];
    return texts.some((t) => t === '-A FORWARD -j DOCKER-FORWARD' || t === `-A FORWARD -o ${bridge} -j DOCKER`);
  });
}
