import { type Prefix, parseIp4, parsePrefix } from '../core/address.ts';
import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { SERVICE_KINDS } from './local-services.ts';
import { hasBit, type PodRoll } from './pod-roll.ts';
import { rulesetOf, type ServiceSet } from './service-compare.ts';
import { type Endpoint, endpointsOf, lineOf } from './service-endpoints.ts';

/** A node of one cluster whose kube-proxy has services. */
export interface Member {
  readonly node: string;
  /** By the node's own clock, in milliseconds; NaN: not known. */
  readonly at: number;
  readonly set: ServiceSet;
  readonly roll: PodRoll | null;
}

type Opened = Source<(typeof SERVICE_KINDS)[number] | 'cniLeases' | 'neighbours'>;

/** The ruleset of a node that was opened. */
export interface Rules {
  readonly node: string;
  readonly at: number;
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** An endpoint in a node's pod range that none of its pods has. */
export interface Dead {
  readonly endpoint: Endpoint;
  readonly owner: Member;
  /** Whose rules send connections there: the owner's, else (the owner's do not any more) another node's, which are old. */
  readonly rules: Rules;
  readonly line: number;
  /** Rules without it that were collected before and after: then the endpoint was not just made or ended. Empty: they are the owner's own. */
  readonly others: readonly string[];
  /** It did not just end while its node was collected. */
  readonly lasting: boolean;
}

interface Question {
  readonly because: string;
  readonly evidence: readonly string[];
}

export interface Judged {
  readonly dead: readonly Dead[];
  /** Endpoints of each node that are pods of it. */
  readonly alive: ReadonlyMap<string, number>;
  /** Nodes with endpoints that nobody shows, and why one may be there all the same. */
  readonly open: ReadonlyMap<string, Question>;
  /** Rules that were read, with their endpoints. */
  readonly read: readonly (Rules & { readonly endpoints: readonly Endpoint[] })[];
  /** Endpoints in no node's pod range, by the node whose rules have them: servers outside the cluster, and pods of nodes that are gone. */
  readonly elsewhere: ReadonlyMap<string, readonly Endpoint[]>;
}

/** Endpoints are the same on every node: those of so many nodes are read, whole. */
const MOST_READ = 3;
/** Owners of endpoints that nobody has are opened to see their own rules. */
const MOST_OWNERS = 6;
const BETWEEN = 60 * 60_000;
/** Rules of another node are newer by so much. */
const LATER = 60_000;
/** Rules and addresses of a node that were collected so near to each other belong together. */
const QUICK = 15_000;

/** Judges the endpoints of one cluster: each is asked for at the node whose pod range has it. */
export function judgeEndpoints(members: readonly Member[], open: (node: string) => Opened | undefined): Judged {
  const owners = ownersOf(members);
  const read = members
    .filter((_, i) => members.length <= MOST_READ || [0, members.length >> 1, members.length - 1].includes(i))
    .flatMap((m) => {
      const rules = owners === null ? null : rulesOf(m, open);
      return rules === null ? [] : [{ ...rules, endpoints: endpointsOf(rules.ruleset) }];
    });
  const alive = new Map<string, number>();
  const questions = new Map<string, Question>();
  const gone = new Map<string, { readonly endpoint: Endpoint; readonly owner: Member; readonly at: Rules[] }>();
  const seen = new Set<string>();
  const elsewhere = new Map<string, Endpoint[]>();
  const ask = ({ node }: Member, { address, port, service }: Endpoint, { because, evidence }: Question) => {
    const first = { because: `whether ${address}:${port} of ${service} is a pod: ${because}`, evidence };
    if (!questions.has(node)) questions.set(node, first);
  };
  for (const rules of read)
    for (const endpoint of rules.endpoints) {
      const id = `${endpoint.key} ${endpoint.address}:${endpoint.port}`;
      const known = gone.get(id);
      if (known !== undefined) known.at.push(rules);
      if (known !== undefined || seen.has(id)) continue;
      seen.add(id);
      const found = owners?.(endpoint.address);
      if (found === undefined) elsewhere.set(rules.node, [...(elsewhere.get(rules.node) ?? []), endpoint]);
      if (found == null) continue;
      const { member, roll, range } = found;
      if (hasBit(roll.live, range, endpoint.address)) alive.set(member.node, (alive.get(member.node) ?? 0) + 1);
      else if (roll.doubt !== null) ask(member, endpoint, roll.doubt);
      else gone.set(id, { endpoint, owner: member, at: [rules] });
    }
  const asked = new Set([...gone.values()].map((g) => g.owner.node).slice(0, MOST_OWNERS));
  const dead: Dead[] = [];
  const own = new Map<string, Rules | null>(read.map((r) => [r.node, r]));
  for (const { endpoint, owner, at } of gone.values()) {
    if (!asked.has(owner.node)) {
      questions.set(owner.node, {
        because: 'only some of the nodes with endpoints that no pod has were asked',
        evidence: [],
      });
      continue;
    }
    if (!own.has(owner.node)) own.set(owner.node, rulesOf(owner, open));
    const leases = open(owner.node)?.get('cniLeases');
    if (leases?.missing === false && leases.value.leases.some((l) => l.ip === endpoint.address)) {
      ask(owner, endpoint, { because: 'it is leased, and no namespace shows it', evidence: [] });
      continue;
    }
    const rules = own.get(owner.node) ?? null;
    const line = rules === null ? null : lineOf(rules.ruleset, endpoint);
    if (rules !== null && line !== null) {
      const later = at.some((r) => r.node !== owner.node && r.at > owner.at + LATER);
      const lasting = later || isLasting(endpoint, owner, open(owner.node));
      dead.push({ endpoint, owner, rules, line, others: [], lasting });
    } else if (rules !== null) dead.push(...stale(endpoint, owner, at, [...read, rules]));
  }
  return { dead, alive, open: questions, read, elsewhere };
}

/**
 * A pod that ends between the collection of rules and of addresses is gone as well. The node asks for a dead one in vain, or both were
 * collected within seconds, and nobody talked to it just then.
 */
function isLasting({ address }: Endpoint, { roll }: Member, source: Opened | undefined): boolean {
  const neighbours = source?.get('neighbours');
  const entry = neighbours?.missing === false ? neighbours.value.entries.find((e) => e.ip === address) : undefined;
  if (entry?.state.some((s) => s === 'FAILED' || s === 'INCOMPLETE') === true) return true;
  if (entry?.state.some((s) => s === 'REACHABLE' || s === 'DELAY' || s === 'PROBE') === true) return false;
  return roll !== null && roll.gap !== null && roll.gap <= QUICK;
}

/** Rules that have an endpoint which those of nodes before and after them do not have. */
function stale(endpoint: Endpoint, owner: Member, at: readonly Rules[], all: readonly Rules[]): readonly Dead[] {
  const without = all.filter((r) => r.fact.closed && lineOf(r.ruleset, endpoint) === null);
  return at.flatMap((rules): Dead[] => {
    const line = lineOf(rules.ruleset, endpoint);
    const near = without.filter((w) => Math.abs(w.at - rules.at) <= BETWEEN);
    const before = near.find((w) => w.at <= rules.at);
    const after = near.find((w) => w.at >= rules.at && w.node !== before?.node);
    if (line === null || before === undefined || after === undefined) return [];
    return [{ endpoint, owner, rules, line, others: [before.node, after.node], lasting: true }];
  });
}

function rulesOf({ node, at }: Member, open: (node: string) => Opened | undefined): Rules | null {
  const source = open(node);
  const saved = source === undefined ? null : rulesetOf(source);
  return saved === null ? null : { node, at, ...saved };
}

interface Owner {
  readonly member: Member;
  readonly roll: PodRoll;
  readonly range: Prefix;
}

/** Who has an address in its pod range; null: two nodes, undefined: nobody. */
function ownersOf(members: readonly Member[]): ((address: string) => Owner | null | undefined) | null {
  const byRange = new Map<string, Owner | null>();
  const lengths = new Set<number>();
  for (const member of members) {
    const range = member.roll === null ? null : parsePrefix(member.roll.range);
    if (member.roll === null || range === null) continue;
    lengths.add(range.length);
    const key = blockOf(Number(range.base), range.length);
    byRange.set(key, byRange.has(key) ? null : { member, roll: member.roll, range });
  }
  if (byRange.size === 0) return null;
  return (address) => {
    const ip = parseIp4(address);
    for (const length of ip === null ? [] : lengths) {
      const owner = byRange.get(blockOf(ip ?? 0, length));
      if (owner !== undefined) return owner;
    }
    return undefined;
  };
}

const blockOf = (ip: number, length: number): string => `${Math.floor(ip / 2 ** (32 - length))}/${length}`;
