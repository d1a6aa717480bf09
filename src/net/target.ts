import type { IptOption, IptRule } from '../facts/index.ts';
import { parseNet } from './addr.ts';
import {
  type Act,
  fork,
  lost,
  noted,
  type Outcome,
  type PreparedChain,
  type PreparedRule,
  ruleKey,
  ruleReason,
  type Site,
  type State,
  stepOf,
} from './chain.ts';
import { readValueMask } from './match-options.ts';
import { markAct, readConnmark, readField, readMarkOf } from './target-mark.ts';
import { masquerade, type NatRange, netmap, readNatRange, readPortRange, redirect, translate } from './target-nat.ts';
import { changed, finish, goOn } from './target-verdict.ts';

/** Targets that neither end a chain nor change what a later rule can see. */
export const SILENT = new Set([
  'LOG',
  'NFLOG',
  'ULOG',
  'AUDIT',
  'TRACE',
  'CLASSIFY',
  'CHECKSUM',
  'TCPMSS',
  'TCPOPTSTRIP',
  'SET',
  'RATEEST',
  'LED',
  'SECMARK',
  'CONNSECMARK',
  'IDLETIMER',
  'TEE',
]);

/** Targets that change the packet: when their options are not understood, the packet cannot be followed. */
export const CHANGING = new Set([
  ...['MARK', 'CONNMARK', 'TOS', 'DSCP', 'TTL', 'HL', 'HMARK', 'CT', 'ECN'],
  ...['MASQUERADE', 'REDIRECT', 'SNAT', 'DNAT', 'NETMAP', 'SAME', 'BALANCE', 'MIRROR', 'DNPT', 'SNPT'],
]);

/** The packet cannot be followed beyond the target. */
export function unfollowed(state: State, site: Site, rule: PreparedRule, what: string): Outcome {
  const why = { because: `what ${what} does to the packet is not known`, evidence: [] };
  return lost(state, ruleKey(site, rule, state.packet, 'changes'), ruleReason(site, rule, why));
}

/** Nobody knows what the target does: it may drop, accept, or let the packet go on. */
export function anything(state: State, site: Site, rule: PreparedRule, what: string): readonly Outcome[] {
  const ask = (s: State, verb: string) =>
    fork(
      s,
      ruleKey(site, rule, s.packet, verb),
      ruleReason(site, rule, { because: `whether ${what} ${verb} the packet is not known`, evidence: [] }),
    );
  const out: Outcome[] = [];
  const rewrites = site.nat ? ask(state, 'translates') : { yes: null, no: state };
  if (rewrites.yes !== null)
    out.push({ to: 'end', state: rewrites.yes, verdict: 'unknown', because: `what ${what} does is not known` });
  if (rewrites.no === null) return out;
  const drops = ask(rewrites.no, 'drops');
  if (drops.yes !== null) out.push(finish(drops.yes, site, rule, 'drop'));
  if (drops.no === null) return out;
  const accepts = ask(drops.no, 'accepts');
  if (accepts.yes !== null) out.push(finish(accepts.yes, site, rule, 'accept'));
  if (accepts.no !== null) out.push(goOn(accepts.no));
  return out;
}

/** A program or socket that is not in the evidence has the packet: it passes, or it is dropped. */
export function ifSomebody(
  state: State,
  site: Site,
  rule: PreparedRule,
  because: string,
  packet = state.packet,
): readonly Outcome[] {
  const { yes, no } = fork(
    state,
    ruleKey(site, rule, state.packet, 'passes'),
    ruleReason(site, rule, { because, evidence: [] }),
  );
  const out: Outcome[] = [];
  if (yes !== null) out.push(finish({ ...yes, packet }, site, rule, 'accept'));
  if (no !== null) out.push(finish(no, site, rule, 'drop'));
  return out;
}

function readCt(options: readonly IptOption[]): Act | 'silent' | null {
  const flags = options.map((o) => o.flag);
  if (flags.includes('--notrack') && flags.length === 1) return untrack;
  const quiet = new Set(['--helper', '--ctevents', '--expevents', '--timeout']);
  return flags.every((f) => quiet.has(f)) ? 'silent' : null;
}

/** The packet gets no connection. */
export const untrack: Act = (state, site, rule) => {
  // after tracking, the kernel keeps what the packet has
  if (site.run.tracked || state.untracked) return goOn(state);
  return goOn(noted(state, stepOf(site, rule, 'notrack'), { untracked: true }));
};

const NONE: NatRange = { addresses: null, ports: null, basePort: null, random: false };

function readNat(name: string, options: readonly IptOption[]): Act | null {
  const flags = new Set(options.map((o) => o.flag));
  const random = flags.has('--random') || flags.has('--random-fully');
  const own: Readonly<Record<string, string>> = {
    MASQUERADE: '--to-ports',
    REDIRECT: '--to-ports',
    SNAT: '--to-source',
    DNAT: '--to-destination',
    NETMAP: '--to',
  };
  const values = options.filter((o) => o.flag === own[name]).flatMap((o) => o.values);
  const extra = options.filter((o) => o.flag !== own[name]);
  if (values.length > 1 || !extra.every((o) => /^--(random|random-fully|persistent)$/.test(o.flag))) return null;
  const value = values[0];
  if (name === 'NETMAP') {
    const net = value === undefined ? null : parseNet(value, value.includes(':') ? 6 : 4);
    return net === null ? null : (state, site, rule) => netmap(state, site, rule, net.base, net.length);
  }
  if (name === 'MASQUERADE' || name === 'REDIRECT') {
    const ports = value === undefined ? NONE : readPortRange(value);
    if (ports === null) return null;
    const to = { ...NONE, ...ports, random };
    return name === 'MASQUERADE'
      ? (state, site, rule) => masquerade(state, site, rule, to)
      : (state, site, rule) => redirect(state, site, rule, to);
  }
  const to = value === undefined ? null : readNatRange(value, random);
  if (to === null) return null;
  const kind = name === 'SNAT' ? 'snat' : 'dnat';
  return (state, site, rule) => translate(state, site, rule, kind, to);
}

function readQueue(options: readonly IptOption[]): Act {
  const number = options.find((o) => o.flag === '--queue-num' || o.flag === '--queue-balance')?.values[0] ?? '0';
  const because = options.some((o) => o.flag === '--queue-bypass')
    ? `whether a program that reads queue ${number} lets the packet pass is not known`
    : `whether a program reads queue ${number} and lets the packet pass is not known`;
  return (state, site, rule) => ifSomebody(state, site, rule, because);
}

function readTproxy(options: readonly IptOption[]): Act {
  const v = readValueMask(options.find((o) => o.flag === '--tproxy-mark')?.values[0] ?? '0/0') ?? [0, 0];
  const because = 'whether a local socket takes the packet is not known';
  return (state, site, rule) => {
    const { packet } = state;
    return ifSomebody(state, site, rule, because, { ...packet, mark: ((packet.mark & ~v[1]) ^ v[0]) >>> 0 });
  };
}

/** What a rule does when it matches; null: nothing that matters here. */
export function readTarget(rule: IptRule, family: 4 | 6, chainOf: (name: string) => PreparedChain | null): Act | null {
  const { target } = rule;
  if (target === undefined) return null;
  const { name, options } = target;
  switch (name) {
    case 'ACCEPT':
      return (state, site, prepared) => finish(state, site, prepared, 'accept');
    case 'DROP':
      return (state, site, prepared) => finish(state, site, prepared, 'drop');
    case 'RETURN':
      return (state) => ({ to: 'return', state });
    case 'QUEUE':
      return readQueue([]);
  }
  const chain = chainOf(name);
  if (chain !== null) {
    const to = target.kind;
    return (state) => ({ to, state, chain });
  }
  if (target.kind === 'goto') return (state, site, prepared) => anything(state, site, prepared, `chain ${name}`);
  if (SILENT.has(name)) return null;
  const act = readExtension(name, options, family);
  if (act === 'silent') return null;
  if (act !== null) return act;
  return CHANGING.has(name)
    ? (state, site, prepared) => unfollowed(state, site, prepared, `target ${name}`)
    : (state, site, prepared) => anything(state, site, prepared, `target ${name}`);
}

function readExtension(name: string, options: readonly IptOption[], family: 4 | 6): Act | 'silent' | null {
  switch (name) {
    case 'REJECT': {
      const type = options.find((o) => o.flag === '--reject-with')?.values[0];
      const how = type ?? (family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable');
      return (state, site, rule) => finish(state, site, rule, 'reject', how);
    }
    case 'NFQUEUE':
      return readQueue(options);
    case 'TPROXY':
      return readTproxy(options);
    case 'NOTRACK':
      return untrack;
    case 'CT':
      return readCt(options);
    case 'CONNMARK':
      return readConnmark(options);
    case 'MARK': {
      const to = readMarkOf(options);
      return to === null ? null : markAct(to);
    }
    case 'TOS':
    case 'DSCP':
    case 'TTL':
    case 'HL': {
      const to = readField(name, options);
      return to === null
        ? null
        : (state, site, rule) => goOn(changed(state, site, rule, name.toLowerCase(), to(state.packet)));
    }
    case 'MASQUERADE':
    case 'REDIRECT':
    case 'SNAT':
    case 'DNAT':
    case 'NETMAP':
      return readNat(name, options);
    default:
      return null;
  }
}
