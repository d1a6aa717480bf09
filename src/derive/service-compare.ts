import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import { type ClusterTies, clusterTies, ownTies } from './cluster.ts';
import type { Source } from './devices.ts';
import { SERVICE_KINDS } from './local-services.ts';
import { perSource } from './per-source.ts';
import { apiServers, hasServices, type ServiceKey, type ServiceSum, serviceKeys, serviceSum } from './service-keys.ts';

type SavedKind = (typeof SERVICE_KINDS)[number];

/** The services of a node in a few bytes. */
export interface ServiceSet extends ServiceSum {
  /** Addresses of the API servers: one cluster's. */
  readonly api: string;
  /** Rules of KUBE-NODEPORTS. */
  readonly nodePorts: number;
}

/** The services of the node, whole; null: there are none in iptables, or they tell no cluster. */
export const serviceSet = perSource((source: Source<SavedKind>): ServiceSet | null => {
  const saved = rulesetOf(source);
  const nat = saved?.ruleset.tables.get('nat');
  const api = apiServers(nat);
  if (saved === null || api === null || !saved.fact.closed) return null;
  return { ...serviceSum(saved.ruleset), api, nodePorts: nat?.chains.get('KUBE-NODEPORTS')?.ruleCount ?? 0 };
});

export interface Served {
  readonly node: string;
  /** By the node's own clock, in milliseconds; NaN: not known. */
  readonly at: number;
  readonly set: ServiceSet;
}

type Opened = Source<SavedKind | 'flannelEnv' | 'links' | 'fdb' | 'routes4' | 'addresses'>;

export interface Line {
  readonly fact: Fact<FactKind>;
  readonly line: number;
}

/** Services that a node lacks. */
export interface Lack {
  readonly node: string;
  readonly peers: readonly string[];
  /** Peers that were collected before and after it have them: they were not made or deleted meanwhile. */
  readonly surrounded: boolean;
  readonly fact: Fact<FactKind>;
  readonly services: readonly { readonly key: string; readonly name: string }[];
  /** The first of them, as a peer has it. */
  readonly shown: Line | null;
  /** KUBE-NODEPORTS is empty here: its line, how many rules the peer's has, and their chain. */
  readonly nodePorts: { readonly own: Line; readonly there: number; readonly peer: Line } | null;
}

export interface Compared {
  readonly lacks: readonly Lack[];
  /** Nodes with another set of services than most that were not opened. */
  readonly left: readonly string[];
}

/** Opening a node reads its ruleset again: so few are compared of each cluster. */
const MOST = 4;
const MINUTE = 60_000;
/** A peer's services say something of a node that was collected so near to it ... */
const NEAR = 2 * MINUTE;
/** ... and two peers' of one between them. */
const BETWEEN = 60 * MINUTE;

/** Nodes whose services are not those of most nodes of their cluster, beside peers that were collected near them. */
export function compareServices(served: readonly Served[], open: (node: string) => Opened | undefined): Compared {
  const lacks: Lack[] = [];
  const left: string[] = [];
  for (const members of Map.groupBy(served, (s) => s.set.api).values()) {
    const sets = [...Map.groupBy(members, ({ set }) => `${set.sum} ${set.nodePorts > 0}`).values()];
    if (sets.length < 2) continue;
    const usual = sets.reduce((a, b) => (weight(b) > weight(a) ? b : a));
    const odd = members.filter((m) => !usual.includes(m)).sort((a, b) => a.set.count - b.set.count);
    const asked = odd.filter((m) => peersOf(m, usual) !== null);
    for (const m of asked.slice(0, MOST)) lacks.push(...lackOf(m, peersOf(m, usual) ?? [], open));
    left.push(...asked.slice(MOST).map((m) => m.node));
  }
  return { lacks, left };
}

/** What most nodes have; of as many nodes, what is more. */
const weight = (set: readonly Served[]): number =>
  set.length * 1e9 + (set[0]?.set.count ?? 0) + (set[0]?.set.nodePorts ?? 0);

/** The nearest that were collected before and after, else one that is very near; null: none says anything. */
function peersOf(own: Served, usual: readonly Served[]): readonly Served[] | null {
  if (Number.isNaN(own.at)) return null;
  const near = usual.filter((u) => Math.abs(u.at - own.at) <= BETWEEN).sort((a, b) => a.at - b.at);
  const before = near.findLast((u) => u.at <= own.at);
  const after = near.find((u) => u.at >= own.at && u !== before);
  if (before !== undefined && after !== undefined) return [before, after];
  const one = before ?? after;
  return one !== undefined && Math.abs(one.at - own.at) <= NEAR ? [one] : null;
}

function lackOf(own: Served, peers: readonly Served[], open: (node: string) => Opened | undefined): readonly Lack[] {
  const source = open(own.node);
  const mine = source === undefined ? null : rulesetOf(source);
  if (source === undefined || mine === null || !mine.fact.closed) return [];
  const theirs = peers.flatMap((p) => {
    const other = open(p.node);
    const saved = other === undefined ? null : rulesetOf(other);
    return other === undefined || saved === null || !isPeer(source, other) ? [] : [saved];
  });
  const [first, ...others] = theirs;
  if (first === undefined || theirs.length < peers.length) return [];
  const known = new Set(serviceKeys(mine.ruleset).map((s) => s.key));
  const common = others.map((o) => new Set(serviceKeys(o.ruleset).map((s) => s.key)));
  const missing = serviceKeys(first.ruleset).filter((s) => !known.has(s.key) && common.every((c) => c.has(s.key)));
  const [shown] = missing;
  const nodePorts = own.set.nodePorts === 0 && peers.every((p) => p.set.nodePorts > 0) ? portsOf(mine, first) : null;
  if (shown === undefined && nodePorts === null) return [];
  const at = (s: ServiceKey, { fact }: Saved): Line => ({ fact, line: s.chain.rule(s.index).line });
  return [
    {
      node: own.node,
      peers: peers.map((p) => p.node),
      surrounded: peers.length > 1,
      fact: mine.fact,
      services: missing.map(({ key, name }) => ({ key, name })),
      shown: shown === undefined ? null : at(shown, first),
      nodePorts,
    },
  ];
}

interface Saved {
  readonly fact: Fact<SavedKind>;
  readonly ruleset: Ruleset;
}

/** The ruleset with the services. */
export function rulesetOf(source: Source<SavedKind>): Saved | null {
  for (const kind of SERVICE_KINDS) {
    const fact = source.get(kind);
    if (!fact.missing && hasServices(fact.value)) return { fact, ruleset: fact.value };
  }
  return null;
}

/** Where a service with a NodePort there has backends here, too: without any it has none in nat. */
function portsOf(mine: Saved, peer: Saved): Lack['nodePorts'] {
  const chain = ({ ruleset }: Saved) => ruleset.tables.get('nat')?.chains.get('KUBE-NODEPORTS');
  const [own, theirs] = [chain(mine), chain(peer)];
  if (own === undefined || theirs === undefined || own.ruleCount > 0) return null;
  const backed = new Set(serviceKeys(mine.ruleset).flatMap((s) => (s.backed ? [s.name] : [])));
  const shown = theirs.rules().find((r) => r.comment !== undefined && backed.has(r.comment));
  if (shown === undefined) return null;
  return {
    own: { fact: mine.fact, line: own.line },
    there: theirs.ruleCount,
    peer: { fact: peer.fact, line: shown.line },
  };
}

/** Not where flannel's tables say that they are of different clusters. */
function isPeer(source: Opened, other: Opened): boolean {
  const { ties } = clusterTies(source);
  const theirs = ownTies(other);
  return ties === null || theirs.length === 0 || isTied(ties, theirs);
}

export const isTied = (ties: ClusterTies['ties'], theirs: readonly string[]): boolean =>
  theirs.some((tie) => ties?.includes(tie) === true);
