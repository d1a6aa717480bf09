import {
  type Act,
  type Outcome,
  type PreparedChain,
  type PreparedRule,
  type Segment,
  type Site,
  type State,
  type Test,
  unknown,
} from './chain.ts';
import { FEW_PASS, isPlenty } from './match-state.ts';
import { readExpr } from './nft-expr.ts';
import { readLookup } from './nft-lookup.ts';
import { type NftTable, readMatchStatement } from './nft-match.ts';
import { readNatStatement } from './nft-nat.ts';
import { BREAK, entries, get, readValue } from './nft-value.ts';
import { type Packet, TCP } from './packet.ts';
import { anything, CHANGING, ifSomebody, SILENT, unfollowed, untrack } from './target.ts';
import { connmarkAct } from './target-mark.ts';
import { changed, finish, goOn } from './target-verdict.ts';

/** A table with its chains. */
export interface NftScope extends NftTable {
  readonly chain: (name: string) => PreparedChain | undefined;
}

/** Statements that neither end a chain nor change what a later rule can see. */
const QUIET = new Set([
  'counter',
  'log',
  'dup',
  'flow',
  'last',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'map',
  'reset',
]);

const unknownTest =
  (because: string): Test =>
  (_, look) =>
    unknown(look, because);

/** Below every limit there is room at rest; `over` is what is beyond. */
function limitTest(body: unknown): Test | null {
  if (typeof body !== 'object' || body === null) return unknownTest('a named nft limit is not evaluated');
  return get(body, 'inv') === true ? () => 0 : null;
}

/** A limit of packets that containers at work go beyond. */
function isTight(body: unknown): boolean {
  const rate = get(body, 'rate');
  if (typeof rate !== 'number' || get(body, 'inv') === true || get(body, 'rate_unit') !== undefined) return false;
  return !isPlenty(rate, String(get(body, 'per') ?? 'second'));
}

/** Statements that let the packet pass or not, beside comparisons. */
function readTest(name: string, body: unknown, table: NftTable): Test | null | undefined {
  switch (name) {
    case 'match':
      return readMatchStatement(body, table);
    case 'limit':
      return limitTest(body);
    case 'quota':
    case 'ct count':
    case 'connlimit':
    case 'meter':
      return unknownTest(`nft ${name} depends on state that is not in the evidence`);
    case 'set': {
      const inner = get(body, 'stmt');
      const [kind, limit] = Array.isArray(inner) && inner.length === 1 ? (entries(inner[0])[0] ?? []) : [];
      if (inner === undefined || kind === 'counter') return null;
      return kind === 'limit' ? limitTest(limit) : unknownTest('the statement of an nft set is not evaluated');
    }
    case 'xt':
      if (get(body, 'type') === 'target') return undefined;
      return get(body, 'name') === 'comment'
        ? null
        : unknownTest(`nft does not print the options of xt match ${String(get(body, 'name') ?? '')}`);
    default:
      return undefined;
  }
}

function readVerdict(name: string, body: unknown, scope: NftScope): Act | null {
  switch (name) {
    case 'accept':
    case 'drop':
      return (state, site, rule) => finish(state, site, rule, name);
    case 'continue':
      return (state) => ({ to: 'skip', state });
    case 'return':
      return (state) => ({ to: 'return', state });
    case 'jump':
    case 'goto': {
      const target = String(get(body, 'target') ?? '');
      return (state, site, rule) => {
        const chain = scope.chain(target);
        return chain === undefined ? anything(state, site, rule, `nft chain ${target}`) : { to: name, state, chain };
      };
    }
    case 'queue':
      return (state, site, rule) =>
        ifSomebody(
          state,
          site,
          rule,
          `whether a program that reads queue ${JSON.stringify(get(body, 'num') ?? 0)} lets the packet pass is not known`,
        );
    default:
      return null;
  }
}

function readVmap(body: unknown, scope: NftScope): Act {
  const lookup = readLookup(body, scope);
  return (state, site, rule) => {
    const found = lookup(state, site, rule);
    if (found === null) return unfollowed(state, site, rule, 'an nft verdict map');
    return found.flatMap((f): readonly Outcome[] => {
      if (f.item === undefined) return [{ to: 'skip', state: f.state }];
      const [name = '', verdict] = entries(f.item)[0] ?? [];
      const outcome = (readVerdict(name, verdict, scope) ?? unclear('an nft verdict'))(f.state, site, rule);
      return Array.isArray(outcome) ? (outcome as readonly Outcome[]) : [outcome as Outcome];
    });
  };
}

const unclear =
  (what: string): Act =>
  (state, site, rule) =>
    unfollowed(state, site, rule, what);

function readReject(body: unknown): Act {
  const [type, code] = [get(body, 'type'), get(body, 'expr')];
  return (state, site, rule) =>
    concernsReject(state.packet, type)
      ? finish(state, site, rule, 'reject', rejectWord(state.packet, type, code))
      : { to: 'skip', state };
}

/** nft does not print the `meta l4proto tcp` and `meta nfproto` that these need and that it adds by itself. */
function concernsReject(p: Packet, type: unknown): boolean {
  if (type === 'tcp reset') return p.proto === TCP;
  if (type === 'icmp') return typeof p.dst === 'number';
  return type !== 'icmpv6' || typeof p.dst === 'bigint';
}

/** As iptables writes it: icmp-port-unreachable, tcp-reset ... */
function rejectWord(p: Packet, type: unknown, code: unknown): string {
  if (type === 'tcp reset') return 'tcp-reset';
  const six = type === 'icmpv6' || typeof p.dst === 'bigint';
  const word = typeof code === 'string' ? code : 'port-unreachable';
  const plain = word === 'no-route' && !six ? 'net-unreachable' : word;
  return `${six ? 'icmp6' : 'icmp'}-${plain}`;
}

/** The number that a statement sets, in this state; null: not known. */
function readOperand(json: unknown): (state: State, site: Site) => number | typeof BREAK | null {
  if (typeof json === 'number') return () => json;
  const expr = readExpr(json);
  return (state, site) => {
    const v = expr.chance === undefined ? expr.read(state.packet, site.run) : null;
    return v === BREAK ? BREAK : typeof v === 'number' ? v : null;
  };
}

function setting(json: unknown, put: (p: Packet, n: number) => Packet | null, what: string): Act {
  const operand = readOperand(json);
  return (state: State, site: Site, rule: PreparedRule) => {
    const n = operand(state, site);
    if (n === BREAK) return { to: 'skip', state };
    const packet = n === null ? null : put(state.packet, n);
    if (packet === null) return unfollowed(state, site, rule, what);
    return goOn(changed(state, site, rule, 'mark', packet));
  };
}

const restoreMark = connmarkAct((_, ct) => ({ mark: ct }));

/** Without a connection there is no mark to read, and the kernel leaves the rule. */
const markByConnection: Act = (state, site, rule) => {
  const { ct } = state.packet;
  const none = ct === null ? !site.run.tracked : ct.state === 'INVALID' || ct.state === 'UNTRACKED';
  return none ? { to: 'skip', state } : restoreMark(state, site, rule);
};

function readMangle(body: unknown): Act | null {
  const value = get(body, 'value');
  const key = get(body, 'key');
  const [kind = '', field] = entries(key)[0] ?? [];
  const name = String(get(field, 'key') ?? get(field, 'field') ?? '');
  if (kind === 'tcp option') return null;
  if (kind === 'meta') {
    if (['priority', 'nftrace', 'secmark'].includes(name)) return null;
    if (name !== 'mark') return unclear(`nft meta ${name} set`);
    if (get(get(value, 'ct'), 'key') === 'mark') return markByConnection;
    return setting(value, (p, n) => ({ ...p, mark: n >>> 0 }), 'nft meta mark set');
  }
  if (kind === 'ct') {
    if (['helper', 'label', 'event', 'timeout', 'expectation', 'secmark'].includes(name)) return null;
    if (name !== 'mark') return unclear(`nft ct ${name} set`);
    const operand = readOperand(value);
    return (state, site, rule) => {
      const n = operand(state, site);
      if (n === BREAK) return { to: 'skip', state };
      return n === null
        ? unfollowed(state, site, rule, 'nft ct mark set')
        : connmarkAct(() => ({ ct: n >>> 0 }))(state, site, rule);
    };
  }
  if (kind === 'payload' && (name === 'ttl' || name === 'hoplimit'))
    return setting(value, (p, n) => ({ ...p, ttl: n, ttlGap: null }), 'nft ttl set');
  const dscp = kind === 'payload' && name === 'dscp' ? readValue(value, 'dscp') : null;
  if (typeof dscp === 'number') return setting(dscp, (p, n) => ({ ...p, tos: (p.tos & 3) | (n << 2) }), 'nft dscp set');
  return unclear(`nft ${kind} ${name} set`);
}

function readXtTarget(body: unknown): Act | null {
  const name = String(get(body, 'name') ?? '');
  if (SILENT.has(name)) return null;
  if (name === 'REJECT') return (state, site, rule) => finish(state, site, rule, 'reject', 'icmp-port-unreachable');
  return CHANGING.has(name)
    ? unclear(`xt target ${name}`)
    : (s, site, rule) => anything(s, site, rule, `xt target ${name}`);
}

function readStatement(name: string, body: unknown, scope: NftScope): Act | null {
  const verdict = readVerdict(name, body, scope);
  if (verdict !== null) return verdict;
  switch (name) {
    case 'vmap':
      return readVmap(body, scope);
    case 'reject':
      return readReject(body);
    case 'mangle':
      return readMangle(body);
    case 'notrack':
      return untrack;
    case 'snat':
    case 'dnat':
    case 'masquerade':
    case 'redirect':
      return readNatStatement(name, body, scope);
    case 'tproxy':
      return (s, site, rule) => ifSomebody(s, site, rule, 'whether a local socket takes the packet is not known');
    case 'xt':
      return readXtTarget(body);
    default:
      return (s, site, rule) => anything(s, site, rule, `nft ${name === '' ? 'statement' : name.slice(0, 20)}`);
  }
}

/** The statements of a rule as tests and acts, in their order. */
export function readSegments(expr: readonly unknown[], scope: NftScope): readonly Segment[] {
  const segments: Segment[] = [];
  const passes = expr.some((json) => /^(accept|return)$/.test(entries(json)[0]?.[0] ?? ''));
  let tests: Test[] = [];
  for (const json of expr) {
    const [name = '', body] = entries(json)[0] ?? [];
    if (QUIET.has(name)) continue;
    const test = passes && name === 'limit' && isTight(body) ? unknownTest(FEW_PASS) : readTest(name, body, scope);
    if (test !== undefined) {
      if (test !== null) tests.push(test);
      continue;
    }
    const act = readStatement(name, body, scope);
    if (act === null) continue;
    segments.push({ tests, act });
    tests = [];
  }
  return segments;
}
