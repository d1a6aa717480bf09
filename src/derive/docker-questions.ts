import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { type DockerDaemonKinds, firewallBackend } from './docker-daemon.ts';
import type { DockerRules, DockerTable } from './docker-rules.ts';

/** What keeps an absence from being a fact, and what would tell. */
export interface Question {
  readonly because: string;
  readonly evidence: readonly string[];
}

/** The node's rulesets of iptables, as src/net found them. */
interface Found {
  readonly rulesets: readonly { readonly fact: Fact<FactKind>; readonly ruleset: Ruleset }[];
  readonly gaps: readonly (Question & { readonly key: string })[];
}

/** Why Docker's rules may be there although nothing shows them. */
export function openQuestions(
  source: Source<DockerDaemonKinds | 'nftJson' | 'nftText' | 'legacyTables'>,
  table: DockerTable,
  { looked, unread }: Pick<DockerRules, 'looked' | 'unread'>,
  { rulesets, gaps }: Found,
  format: string,
): Question[] {
  const nftJson = source.get('nftJson');
  const nftText = source.get('nftText');
  const legacyTables = source.get('legacyTables');
  const backend = firewallBackend(source);
  const nftRead = (!nftJson.missing && nftJson.closed) || (!nftText.missing && nftText.closed);
  const noNft = nftJson.missing && nftJson.lookedFor && nftText.missing && nftText.lookedFor;
  const open: Question[] = [];
  if ((backend !== 'iptables' || unread) && !nftRead && !noNft) {
    const why = nftJson.missing ? nftJson.because : 'not collected whole';
    open.push({ because: `the nft tables are not known: fw.nft-json ${why}`, evidence: ['fw.nft-json'] });
  }
  for (const fact of looked)
    if (!fact.closed) open.push({ because: `${fact.path} was not collected whole`, evidence: [fact.evidence] });
  if (looked.length === 0) open.push({ because: 'no ruleset was collected', evidence: ['fw.iptables-save'] });
  if (backend === 'nftables') return open;
  // of legacy tables the kernel says which it has
  const named = legacyTables.missing || !legacyTables.closed ? [] : legacyTables.value.tables.map((t) => t.name);
  for (const { key, because, evidence } of gaps) {
    const asked = evidence.includes('fw.nft-json') || (evidence.includes('fw.iptables-nft-save') && nftRead);
    const legacy = evidence.includes('fw.iptables-legacy-save') && named.length > 0 && !named.includes(table);
    const other = / legacy (\w+)$/.exec(key)?.[1] ?? table;
    if (!asked && !legacy && (other === table || other === 'whole')) open.push({ because, evidence });
  }
  const blank = rulesets.find((r) => r.ruleset.tables.size === 0);
  if (format === 'loose-files' && blank !== undefined) {
    const because = `${blank.fact.path} is empty, which a command that failed leaves too`;
    open.push({ because, evidence: [blank.fact.evidence] });
  }
  return open;
}
