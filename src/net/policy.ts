import type { Fact, PolicyRule, PolicyRules } from '../facts/index.ts';
import { type Addr, contains, type Net, parseNet } from './addr.ts';
import { type Cite, cite, missingReason, type Reason, type Truth } from './doubt.ts';
import { factOf } from './instance.ts';
import { type Packet, portIn, protocolNumber } from './packet.ts';
import type { Space } from './space.ts';

/** What a route lookup is asked with. */
export interface RouteKey {
  readonly dst: Addr;
  /** null: not chosen yet. */
  readonly src: Addr | null;
  /** Input device; `lo` for what the namespace itself sends. */
  readonly iif: string;
  /** Set: only routes through this device. */
  readonly oif: string | null;
  readonly mark: number;
  readonly tos: number;
  readonly proto: number;
  readonly sport: Packet['sport'];
  readonly dport: Packet['dport'];
}

/** For an address of which nothing more is asked: what the namespace itself would send there. */
export const keyTo = (dst: Addr): RouteKey => ({
  dst,
  src: null,
  iif: 'lo',
  oif: null,
  mark: 0,
  tos: 0,
  proto: 0,
  sport: null,
  dport: null,
});

const USUAL: Readonly<Record<string, number>> = { local: 0, main: 32766, default: 32767 };

/** A policy rule ready to be compared. */
export interface Rule {
  readonly rule: PolicyRule;
  readonly from: Net | null;
  readonly to: Net | null;
  readonly cite: Cite;
  readonly usual: boolean;
  /** An address in it could not be read. */
  readonly odd: boolean;
}

/** The policy rules of a namespace, by preference. */
export interface Policy {
  readonly rules: readonly Rule[];
  /** Set: not collected, or not whole. */
  readonly gap: Reason | null;
}

function isUsual(rule: PolicyRule): boolean {
  const { pref, table, action, not, from, to, iif, oif, fwmark, unknown, suppressPrefixLength, suppressIfgroup } = rule;
  const bare =
    !not &&
    (from === undefined || from === 'all') &&
    to === undefined &&
    iif === undefined &&
    oif === undefined &&
    fwmark === undefined &&
    (unknown?.length ?? 0) === 0 &&
    suppressPrefixLength === undefined &&
    suppressIfgroup === undefined;
  return bare && action === 'lookup' && table !== undefined && USUAL[table] === pref;
}

/** Does the rule apply to a lookup? */
export function selects(r: Rule, key: RouteKey): Truth {
  const { rule } = r;
  let unknown = r.odd;
  const miss = (test: boolean | null) => {
    if (test === null) unknown = true;
    return test === false;
  };
  const no = rule.not ? 1 : 0;
  const yes = rule.not ? 0 : 1;
  if (r.to !== null && miss(contains(r.to, key.dst))) return no;
  if (r.from !== null && miss(key.src === null ? r.from.length === 0 : contains(r.from, key.src))) return no;
  if (rule.iif !== undefined && miss(rule.iif === key.iif)) return no;
  if (rule.oif !== undefined && miss(rule.oif === key.oif)) return no;
  if (rule.fwmark !== undefined && miss((key.mark & (rule.fwmask ?? 0xffffffff)) >>> 0 === rule.fwmark >>> 0))
    return no;
  if (rule.tos !== undefined && miss(tosNumber(rule.tos) === key.tos)) return no;
  if (rule.ipproto !== undefined && miss(sameProtocol(rule.ipproto, key.proto))) return no;
  if (rule.sport !== undefined && miss(inPorts(rule.sport, key.sport))) return no;
  if (rule.dport !== undefined && miss(inPorts(rule.dport, key.dport))) return no;
  if (rule.l3mdev === true && miss(false)) return no;
  // a process is not known: what the kernel or root sends has uid 0
  if (rule.uidrange !== undefined && miss(key.iif !== 'lo' ? false : /^0-/.test(rule.uidrange) ? true : null))
    return no;
  if ((rule.unknown?.length ?? 0) > 0) unknown = true;
  return unknown ? null : yes;
}

const tosNumber = (text: string): number => TOS_WORDS[text] ?? Number(text);
const TOS_WORDS: Readonly<Record<string, number>> = { lowdelay: 16, throughput: 8, reliability: 4 };

function sameProtocol(text: string, proto: number): boolean | null {
  const number = protocolNumber(text);
  return number === null ? null : number === proto;
}

function inPorts(text: string, port: Packet['sport']): boolean | null {
  const m = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (m === null) return null;
  const inside = portIn(port, Number(m[1]), Number(m[2] ?? m[1]));
  return inside === null ? null : inside === 1;
}

export function readPolicy(space: Space, family: 4 | 6): Policy {
  const { facts } = space.node;
  const { inode } = space;
  if (inode === null) {
    const found = family === 4 ? facts.get('rules4') : facts.get('rules6');
    if (found.missing) return { rules: [], gap: missingReason(`policy rules of ${space.label} are not known`, found) };
    return policyOf(found, family);
  }
  // the collector takes IPv4 rules of a namespace only: whoever adds rules to a pod does it for both
  const fact = factOf(facts, 'netnsRules4', inode);
  if (fact === undefined) {
    const because = `policy rules of ${space.label} were not collected`;
    return { rules: [], gap: { because, evidence: ['netns.rule4-json'] } };
  }
  if (family === 4) return policyOf(fact, family);
  const because = `IPv6 policy rules of ${space.label} are not collected`;
  return { rules: [], gap: fact.value.rules.some((r) => !isUsual(r)) ? { because, evidence: [] } : null };
}

function policyOf(fact: Fact<'rules4'> | Fact<'rules6'> | Fact<'netnsRules4'>, family: 4 | 6): Policy {
  const gap = fact.closed ? null : { because: `${fact.path} was not collected whole`, evidence: [fact.evidence] };
  const rules = (fact.value as PolicyRules).rules.map((rule): Rule => {
    const net = (text: string | undefined) => (text === undefined || text === 'all' ? null : parseNet(text, family));
    const [from, to] = [net(rule.from), net(rule.to)];
    const unread = (text: string | undefined, read: Net | null) =>
      text !== undefined && text !== 'all' && read === null;
    const odd = unread(rule.from, from) || unread(rule.to, to);
    return { rule, from, to, cite: cite(fact, rule), usual: isUsual(rule), odd };
  });
  return { rules: rules.sort((a, b) => a.rule.pref - b.rule.pref), gap };
}
