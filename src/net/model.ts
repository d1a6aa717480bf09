import type { Fact, FactKind, ManyKind, MissingFact } from '../facts/index.ts';
import { Space } from './space.ts';

/** One node's evidence, read lazily. The engine's NodeFacts is one; a rule's `source` is one of fewer kinds. */
export interface NetFacts<K extends FactKind = FactKind> {
  readonly node: string;
  get<F extends K>(kind: F): Fact<F> | MissingFact<F>;
  all<F extends K & ManyKind>(kind: F): readonly Fact<F>[];
  /** One of `all`, without reading the others; a source that cannot do so leaves it out. */
  at?<F extends K & ManyKind>(kind: F, instance: string): Fact<F> | undefined;
  /** Instances of `all`, and those of files that turn out to be unreadable. */
  instances?(kind: K & ManyKind): readonly string[];
}

/** What askForward, askInput, askEgress and routeTo read: a rule that asks them declares these kinds among its needs and wants. */
export const HOOK_KINDS = [
  'addresses',
  'links',
  'linksJson',
  'routes4',
  'rules4',
  'sysctl',
  'iptables',
  'iptablesNft',
  'iptablesLegacy',
  'legacyTables',
  'iptablesVersion',
  'nftJson',
  'nftText',
  'ipsets',
  'modules',
] as const satisfies readonly FactKind[];
type HookKind = (typeof HOOK_KINDS)[number];
/** The same for a rule that needs addresses and routes. */
export const HOOK_WANTS = HOOK_KINDS.filter((k) => k !== 'addresses' && k !== 'routes4');
/** Every form in which rulesets are collected: without one of them there is nothing to ask. */
export const RULESET_KINDS = ['iptables', 'iptablesNft', 'iptablesLegacy', 'nftJson'] as const;

/** A node of the case: its own namespace and one for every container or pod whose namespace was collected. */
export interface NetNode {
  readonly id: string;
  readonly facts: NetFacts;
  readonly host: Space;
  /** The host first. */
  readonly spaces: readonly Space[];
  /** By the inode in `netns/<inode>/`. */
  space(inode: string): Space | undefined;
}

/** What a restricted source does not hold. */
export function undeclared<K extends FactKind>(node: string, kind: K): MissingFact<K> {
  return {
    missing: true,
    kind,
    node,
    evidence: ['collector.log'],
    because: `${kind} was not asked for`,
    lookedFor: false,
  };
}

/** A source of a few kinds as one of all: what a rule did not declare is missing. */
function onlyOf<K extends FactKind>(source: NetFacts<K>, kinds: readonly K[]): NetFacts {
  const declared: ReadonlySet<FactKind> = new Set(kinds);
  const holds = <F extends FactKind>(kind: F): kind is F & K => declared.has(kind);
  return {
    node: source.node,
    get: (kind) => (holds(kind) ? source.get(kind) : undeclared(source.node, kind)),
    all: (kind) => (holds(kind) ? source.all(kind) : []),
    ...(source.at === undefined
      ? {}
      : { at: (kind, instance) => (holds(kind) ? source.at?.(kind, instance) : undefined) }),
    ...(source.instances === undefined
      ? {}
      : { instances: (kind) => (holds(kind) ? (source.instances?.(kind) ?? []) : []) }),
  };
}

/**
 * The model of one node over its facts. Nothing is read before it is asked for. A source that holds a few `kinds` only, as that of a rule
 * which declared them, is enough for what askForward and its like read.
 */
export function buildNode(source: NetFacts): NetNode;
export function buildNode<K extends FactKind>(source: NetFacts<K>, kinds: readonly K[]): NetNode;
export function buildNode<K extends FactKind>(source: NetFacts | NetFacts<K>, kinds?: readonly K[]): NetNode {
  const facts = kinds === undefined ? source : onlyOf(source, kinds);
  let spaces: readonly Space[] | undefined;
  const node: NetNode = {
    id: source.node,
    facts,
    get host() {
      return node.spaces[0] as Space;
    },
    get spaces() {
      spaces ??= [new Space(node, null), ...instances(facts).map((inode) => new Space(node, inode))];
      return spaces;
    },
    space: (inode) => node.spaces.find((s) => s.inode === inode),
  };
  return node;
}

const OF_RULES = new WeakMap<object, NetNode>();

/** The node as rules ask single hooks of it: what HOOK_KINDS tell, read once for all rules. */
export function hookNode(source: NetFacts<HookKind>): NetNode {
  let node = OF_RULES.get(source);
  if (node === undefined) {
    node = buildNode(source, HOOK_KINDS);
    OF_RULES.set(source, node);
  }
  return node;
}

/** Inodes of collected namespaces that are not the host's own: a bundle may list the host's as well. */
function instances(facts: NetFacts): string[] {
  const found = new Set<string>();
  for (const kind of ['netnsAddresses', 'netnsLinks', 'netnsRoutes4'] as const)
    for (const name of facts.instances?.(kind) ?? facts.all(kind).flatMap((f) => f.instance ?? [])) found.add(name);
  return [...found];
}
