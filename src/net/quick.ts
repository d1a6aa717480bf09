import type { Ip, Prefix } from '../core/address.ts';
import { parseIp, parsePrefix, prefixContains } from '../core/address.ts';
import type {
  Fact,
  FactKind,
  IptChain,
  IptMatch,
  IptRule,
  IptTable,
  ManyKind,
  MissingFact,
  Route,
} from '../facts/index.ts';

/** Reads facts by kind. */
export interface NetSource {
  readonly node: string;
  get<K extends NetKind>(kind: K): Fact<K> | MissingFact<K>;
}

export const NET_KINDS = [
  'addresses',
  'links',
  'routes4',
  'iptables',
  'iptablesNft',
  'iptablesLegacy',
  'legacyTables',
  'nftJson',
  'nftText',
] as const satisfies readonly Exclude<FactKind, ManyKind>[];
export type NetKind = (typeof NET_KINDS)[number];

/** A packet at one hook of the node's own namespace. */
export interface SamplePacket {
  readonly src: string;
  readonly dst: string;
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly sport?: number;
  readonly dport?: number;
  readonly ctstate: 'NEW' | 'ESTABLISHED';
  readonly iif: string;
  readonly oif: string;
}

export type RulesetFact = Fact<'iptables'> | Fact<'iptablesNft'> | Fact<'iptablesLegacy'>;

/** A line that decided. */
export interface Decider {
  readonly fact: RulesetFact | Fact<'nftText'>;
  readonly line: number;
  readonly text: string;
  readonly chain: string;
}

export interface HookVerdict {
  readonly verdict: 'accept' | 'drop' | 'unknown';
  readonly target: string;
  readonly deciders: readonly Decider[];
  readonly because: string;
  readonly evidence: readonly string[];
}

type Truth = boolean | null;

interface Packet {
  readonly src: Ip;
  readonly dst: Ip;
  readonly sample: SamplePacket;
  mark: number;
  readonly local: (ip: Ip) => boolean;
}

/** Rulesets that are live on the node, and why the list may not be whole. */
export function liveRulesets(source: NetSource): {
  readonly facts: readonly RulesetFact[];
  readonly gaps: readonly { because: string; evidence: string }[];
} {
  const facts: RulesetFact[] = [];
  const gaps: { because: string; evidence: string }[] = [];
  const main = source.get('iptables');
  const nft = source.get('iptablesNft');
  const legacy = source.get('iptablesLegacy');
  const backend = main.missing ? null : main.value.backend;
  if (!main.missing) facts.push(main);
  if (!nft.missing) facts.push(nft);
  if (!legacy.missing) facts.push(legacy);
  for (const fact of facts) {
    if (!fact.closed) gaps.push({ because: `${fact.path} was not collected whole`, evidence: fact.evidence });
    const incompatible = fact.value.markers.find((m) => m.kind === 'incompatible-table');
    if (incompatible !== undefined)
      gaps.push({ because: `iptables-save could not print table ${incompatible.table ?? ''}`, evidence: 'fw.nft' });
  }
  if (backend !== 'legacy' && legacy.missing) {
    const names = source.get('legacyTables');
    const none = names.missing
      ? names.lookedFor && names.because.startsWith('absent')
      : names.closed && names.value.tables.length === 0;
    if (!none)
      gaps.push({
        because: `legacy tables were not collected (${legacy.because})`,
        evidence: 'fw.iptables-legacy-save',
      });
  }
  if (backend !== 'nft' && nft.missing && backend !== 'unknown') {
    const json = source.get('nftJson');
    if (json.missing && !json.lookedFor)
      gaps.push({
        because: `iptables-nft tables were not collected (${nft.because})`,
        evidence: 'fw.iptables-nft-save',
      });
  }
  if (main.missing && nft.missing && legacy.missing)
    gaps.push({ because: `no ruleset was collected (${main.because})`, evidence: 'fw.iptables-save' });
  return { facts, gaps };
}

/** Base chains of native nft tables at a hook, which iptables-save does not print. */
function nativeChains(source: NetSource, hook: string): { readonly because: string; readonly drop: Decider | null }[] {
  const json = source.get('nftJson');
  if (json.missing)
    return json.lookedFor ? [] : [{ because: `nftables rules were not collected (${json.because})`, drop: null }];
  const iptables = /^(filter|nat|mangle|raw|security)$/;
  return json.value.chains
    .filter(
      (c) =>
        c.hook === hook &&
        !((c.family === 'ip' || c.family === 'ip6') && iptables.test(c.table)) &&
        (c.family === 'ip' || c.family === 'inet'),
    )
    .filter(
      (c) =>
        c.policy === 'drop' ||
        json.value.rules.some((r) => r.family === c.family && r.table === c.table && r.chain === c.name),
    )
    .map((c) => ({
      because: `nft table ${c.family} ${c.table} chain ${c.name} also sees the packet and is not evaluated yet`,
      drop: null,
    }));
}

/** FORWARD of every live ruleset: a drop anywhere is final, an accept ends only its own ruleset. */
export function forwardVerdict(source: NetSource, sample: SamplePacket): HookVerdict {
  const packet = makePacket(source, sample);
  const { facts, gaps } = liveRulesets(source);
  if (packet === null) return open('the packet has no readable addresses', []);
  const accepts: Decider[] = [];
  const reasons: string[] = gaps.map((g) => g.because);
  const evidence: string[] = gaps.map((g) => g.evidence);
  for (const fact of facts) {
    for (const name of ['raw', 'mangle', 'filter', 'security']) {
      const table = fact.value.tables.get(name);
      if (table === undefined) continue;
      for (const hook of name === 'raw'
        ? ['PREROUTING']
        : name === 'mangle'
          ? ['PREROUTING', 'FORWARD']
          : ['FORWARD']) {
        const result = walk(fact, table, hook, packet);
        if (result.verdict === 'drop') return result;
        if (result.verdict === 'unknown') {
          reasons.push(result.because);
          evidence.push(...result.evidence);
        } else if (name === 'filter') accepts.push(...result.deciders);
      }
    }
  }
  for (const n of nativeChains(source, 'forward')) {
    reasons.push(n.because);
    evidence.push('fw.nft-json');
  }
  if (reasons.length > 0) return open(reasons.join('; '), evidence);
  return { verdict: 'accept', target: 'ACCEPT', deciders: accepts, because: '', evidence: [] };
}

/** What nat POSTROUTING does to the first packet of a connection: `accept` with target none means no translation. */
export function egressNat(source: NetSource, sample: SamplePacket): HookVerdict {
  const packet = makePacket(source, sample);
  const { facts, gaps } = liveRulesets(source);
  if (packet === null) return open('the packet has no readable addresses', []);
  const seen: Decider[] = [];
  const reasons: string[] = gaps.map((g) => g.because);
  const evidence: string[] = gaps.map((g) => g.evidence);
  for (const fact of facts) {
    const table = fact.value.tables.get('nat');
    if (table === undefined) continue;
    const result = walk(fact, table, 'POSTROUTING', packet);
    if (result.target === 'MASQUERADE' || result.target === 'SNAT' || result.target === 'NETMAP') return result;
    if (result.verdict === 'unknown') {
      reasons.push(result.because);
      evidence.push(...result.evidence);
    } else seen.push(...result.deciders);
  }
  for (const n of nativeChains(source, 'postrouting')) {
    reasons.push(n.because);
    evidence.push('fw.nft-json');
  }
  if (reasons.length > 0) return open(reasons.join('; '), evidence);
  return { verdict: 'accept', target: 'none', deciders: seen, because: '', evidence: [] };
}

function open(because: string, evidence: readonly string[]): HookVerdict {
  return { verdict: 'unknown', target: '', deciders: [], because, evidence: [...new Set(evidence)] };
}

function makePacket(source: NetSource, sample: SamplePacket): Packet | null {
  const src = parseIp(sample.src);
  const dst = parseIp(sample.dst);
  if (src === null || dst === null) return null;
  const addresses = source.get('addresses');
  const own = new Set(
    addresses.missing ? [] : addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address)),
  );
  return {
    src,
    dst,
    sample,
    mark: 0,
    local: (ip) => own.has(ip === src ? sample.src : sample.dst) || (ip.family === 4 && ip.value >> 24n === 127n),
  };
}

type Step = { readonly kind: 'verdict'; readonly value: HookVerdict } | { readonly kind: 'return' };

function walk(fact: RulesetFact, table: IptTable, hook: string, packet: Packet): HookVerdict {
  const chain = table.chains.get(hook);
  if (chain === undefined) return { verdict: 'accept', target: 'none', deciders: [], because: '', evidence: [] };
  packet.mark = 0;
  const step = walkChain(fact, table, chain, packet, 0);
  if (step.kind === 'verdict') return step.value;
  const policy = { fact, line: chain.line, text: `:${chain.name} ${chain.policy ?? '-'}`, chain: chain.name };
  return {
    verdict: chain.policy === 'DROP' ? 'drop' : 'accept',
    target: chain.policy ?? 'none',
    deciders: [policy],
    because: `policy ${chain.policy}`,
    evidence: [],
  };
}

function walkChain(fact: RulesetFact, table: IptTable, chain: IptChain, packet: Packet, depth: number): Step {
  const stop = (because: string): Step => ({ kind: 'verdict', value: open(because, [fact.evidence]) });
  if (depth > 32) return stop(`chain ${chain.name} calls itself`);
  for (const rule of chain.rules()) {
    const truth = matches(rule, packet);
    if (truth === false) continue;
    const action = rule.target?.name;
    if (action === undefined) continue;
    const at: Decider = { fact, line: rule.line, text: rule.text, chain: chain.name };
    const effect = act(fact, table, rule, action, at, packet, depth, truth);
    if (effect === null) continue;
    if (truth === null) {
      // whether it matches is not known: harmless only when the packet would go on all the same
      return stop(`whether "${rule.text}" (line ${rule.line}) matches is not known`);
    }
    return effect;
  }
  return { kind: 'return' };
}

const NON_TERMINAL = new Set([
  'LOG',
  'NFLOG',
  'ULOG',
  'TCPMSS',
  'TTL',
  'TOS',
  'DSCP',
  'CLASSIFY',
  'CHECKSUM',
  'AUDIT',
  'TRACE',
  'SET',
  'CONNMARK',
  'CONNSECMARK',
  'SECMARK',
  'RATEEST',
]);

/** null: the packet goes on with the next rule. */
function act(
  fact: RulesetFact,
  table: IptTable,
  rule: IptRule,
  action: string,
  at: Decider,
  packet: Packet,
  depth: number,
  truth: Truth,
): Step | null {
  const end = (verdict: 'accept' | 'drop'): Step => ({
    kind: 'verdict',
    value: { verdict, target: action, deciders: [at], because: rule.text, evidence: [] },
  });
  switch (action) {
    case 'ACCEPT':
      return end('accept');
    case 'DROP':
    case 'REJECT':
      return end('drop');
    case 'RETURN':
      return { kind: 'return' };
    case 'MASQUERADE':
    case 'SNAT':
    case 'NETMAP':
      return end('accept');
    case 'MARK': {
      if (truth === null)
        return {
          kind: 'verdict',
          value: open(`whether line ${rule.line} sets the mark is not known`, [fact.evidence]),
        };
      const option = rule.target?.options.find((o) => o.flag === '--set-xmark' || o.flag === '--set-mark');
      const [value, mask] = (option?.values[0] ?? '').split('/');
      if (option === undefined || value === undefined)
        return { kind: 'verdict', value: open(`MARK in line ${rule.line} is not understood`, [fact.evidence]) };
      packet.mark = ((packet.mark & ~Number(mask ?? 0xffffffff)) ^ Number(value)) >>> 0;
      return null;
    }
    default:
  }
  if (NON_TERMINAL.has(action)) return null;
  const next = table.chains.get(action);
  if (next === undefined)
    return { kind: 'verdict', value: open(`target ${action} in line ${rule.line} is not understood`, [fact.evidence]) };
  const step = walkChain(fact, table, next, packet, depth + 1);
  if (step.kind === 'verdict') return step;
  return rule.target?.kind === 'goto' ? { kind: 'return' } : null;
}

function both(a: Truth, b: Truth): Truth {
  return a === false || b === false ? false : a === null || b === null ? null : true;
}

const not = (t: Truth, negated: boolean): Truth => (t === null ? null : negated ? !t : t);

function matches(rule: IptRule, packet: Packet): Truth {
  const { sample } = packet;
  let truth: Truth = rule.unplaced === undefined ? true : null;
  const within = (text: string, ip: Ip): Truth => {
    const prefix: Prefix | null = parsePrefix(text);
    return prefix === null ? null : prefixContains(prefix, ip);
  };
  const device = (pattern: string, name: string) =>
    pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
  if (rule.source) truth = both(truth, not(within(rule.source.value, packet.src), rule.source.negated));
  if (rule.destination) truth = both(truth, not(within(rule.destination.value, packet.dst), rule.destination.negated));
  if (rule.inDevice) truth = both(truth, not(device(rule.inDevice.value, sample.iif), rule.inDevice.negated));
  if (rule.outDevice) truth = both(truth, not(device(rule.outDevice.value, sample.oif), rule.outDevice.negated));
  if (rule.protocol) truth = both(truth, not(protocol(rule.protocol.value, sample.proto), rule.protocol.negated));
  if (rule.fragment) truth = both(truth, not(false, rule.fragment.negated));
  for (const m of rule.matches) {
    if (truth === false) return false;
    truth = both(truth, match(m, packet));
  }
  return truth;
}

function protocol(text: string, proto: string): Truth {
  const numbers: Record<string, string> = { '6': 'tcp', '17': 'udp', '1': 'icmp', '0': 'all' };
  const name = numbers[text] ?? text;
  return name === 'all' || name === proto;
}

function ports(text: string, port: number | undefined): Truth {
  if (port === undefined) return false;
  return text.split(',').some((part) => {
    const [low, high] = part.split(':');
    return port >= Number(low || 0) && port <= Number(high === undefined ? low : high || 65535);
  });
}

function match(m: IptMatch, packet: Packet): Truth {
  const { sample } = packet;
  if (m.name === 'comment') return true;
  let truth: Truth = true;
  for (const o of m.options) {
    const value = o.values[0] ?? '';
    let one: Truth = null;
    if (o.flag === '--dport' || o.flag === '--dports' || o.flag === '--destination-ports')
      one = ports(value, sample.dport);
    else if (o.flag === '--sport' || o.flag === '--sports') one = ports(value, sample.sport);
    else if (o.flag === '--ctstate' || o.flag === '--state')
      one = value.split(',').includes(sample.ctstate) ? true : /SNAT|DNAT/.test(value) ? null : false;
    else if (o.flag === '--mark') {
      const [v, mask] = value.split('/');
      one = (packet.mark & Number(mask ?? 0xffffffff)) >>> 0 === Number(v) >>> 0;
    } else if (o.flag === '--dst-type' && value === 'LOCAL') one = packet.local(packet.dst);
    else if (o.flag === '--src-type' && value === 'LOCAL') one = packet.local(packet.src);
    else if (o.flag === '--physdev-is-bridged') one = false;
    truth = both(truth, not(one, o.negated));
  }
  return m.options.length === 0 && !['tcp', 'udp', 'icmp'].includes(m.name) ? null : truth;
}

/** The route of the main table for a destination: longest prefix, lowest metric, first listed; null when policy rules may decide otherwise. */
export function mainRoute(routes: readonly Route[], dst: string): Route | null {
  const ip = parseIp(dst);
  if (ip === null) return null;
  let best: Route | null = null;
  let bestLength = -1;
  for (const r of routes) {
    if (r.table !== 'main' || r.flags.includes('dead')) continue;
    const prefix = parsePrefix(r.dst);
    if (prefix === null || !prefixContains(prefix, ip)) continue;
    if (prefix.length > bestLength || (prefix.length === bestLength && best !== null && r.metric < best.metric)) {
      best = r;
      bestLength = prefix.length;
    }
  }
  return best;
}
