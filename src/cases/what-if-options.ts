import { formatPrefix, parsePrefix } from '../core/address.ts';
import { ADDRESS_TYPES } from '../net/match-header.ts';

/** How iptables writes a value that a command gave; null: not understood. */
type Fix = (value: string) => string | null;

/** An option: what iptables-save calls it, and its values. */
export interface OptionForm {
  readonly flag: string;
  readonly values: number;
  readonly fix: Fix;
}

type Forms = Readonly<Record<string, OptionForm>>;

const same: Fix = (v) => v;
const option = (flag: string, fix: Fix = same, values = 1): OptionForm => ({ flag, values, fix });
const bare = (flag: string): OptionForm => option(flag, same, 0);

const number = (text: string, most: number): number | null => {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const value = Number(text);
  return value <= most ? value : null;
};

const port: Fix = (text) => {
  const [low, high, more] = text.split(':');
  const a = low === '' ? 0 : number(low ?? '', 65535);
  if (a === null || more !== undefined) return null;
  if (high === undefined) return low === '' ? null : String(a);
  const b = high === '' ? 65535 : number(high, 65535);
  return b === null || b < a ? null : `${a}:${b}`;
};
const portList: Fix = (text) => {
  const parts = text.split(',').map(port);
  return parts.includes(null) ? null : parts.join(',');
};
/** Lists are saved in the order of the kernel's bits. */
const listOf =
  (order: readonly string[]): Fix =>
  (text) => {
    const words = text.toUpperCase().split(',');
    return words.every((w) => order.includes(w)) ? order.filter((w) => words.includes(w)).join(',') : null;
  };
const oneOf =
  (...words: readonly string[]): Fix =>
  (text) =>
    words.includes(text.toUpperCase()) ? text.toUpperCase() : null;

const hex = (value: number) => `0x${(value >>> 0).toString(16)}`;
const MOST = 0xffffffff;
const pair = (text: string): [number, number | null] | null => {
  const [value, mask, more] = text.split('/');
  const v = number(value ?? '', MOST);
  const m = mask === undefined ? null : number(mask, MOST);
  return v === null || (mask !== undefined && m === null) || more !== undefined ? null : [v, m];
};
const mark: Fix = (text) => {
  const p = pair(text);
  return p === null ? null : p[1] === null || p[1] === MOST ? hex(p[0]) : `${hex(p[0])}/${hex(p[1])}`;
};
/** set-mark clears the mask's bits and the value's; or and and are forms of the same xor. */
const setMark =
  (mask: (value: number, mask: number | null) => readonly [number, number]): Fix =>
  (text) => {
    const p = pair(text);
    if (p === null) return null;
    const [v, m] = mask(p[0], p[1]);
    return `${hex(v)}/${hex(m)}`;
  };
const markForms = (flag: string): Forms => ({
  '--set-mark': option(
    flag,
    setMark((v, m) => [v, m === null ? MOST : (v | m) >>> 0]),
  ),
  '--set-xmark': option(
    flag,
    setMark((v, m) => [v, m ?? MOST]),
  ),
  '--or-mark': option(
    flag,
    setMark((v) => [v, v]),
  ),
  '--and-mark': option(
    flag,
    setMark((v) => [0, ~v >>> 0]),
  ),
});

/** `10.0.0.1`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`. */
export const prefix: Fix = (text) => {
  const parsed = parsePrefix(text);
  return parsed === null ? null : formatPrefix(parsed);
};
/** `10.0.0.1`, `10.0.0.1-10.0.0.9`, each with `:80` or `:80-90`. */
const target: Fix = (text) =>
  /^(\[[0-9a-f:]+\]|[0-9a-f.:]+?)?(-[0-9a-f.:]+?)?(:\d+(-\d+)?)?$/i.test(text) ? text : null;
const ports: Fix = (text) => (/^\d+(-\d+)?$/.test(text) ? text : null);

const ICMP: Readonly<Record<string, string>> = {
  any: 'any',
  'echo-reply': '0',
  pong: '0',
  'destination-unreachable': '3',
  'network-unreachable': '3/0',
  'host-unreachable': '3/1',
  'port-unreachable': '3/3',
  'fragmentation-needed': '3/4',
  redirect: '5',
  'echo-request': '8',
  ping: '8',
  'time-exceeded': '11',
};
const ICMP6: Readonly<Record<string, string>> = {
  'echo-request': '128',
  ping: '128',
  'echo-reply': '129',
  'packet-too-big': '2',
};
const icmp =
  (names: Readonly<Record<string, string>>): Fix =>
  (text) =>
    names[text] ?? (/^\d{1,3}(\/\d{1,3})?$/.test(text) ? text : null);

const STATES = ['INVALID', 'NEW', 'RELATED', 'ESTABLISHED', 'UNTRACKED'];
const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'];
const tcpFlags: Fix = (text) => {
  const upper = text.toUpperCase();
  return upper === 'ALL' ? TCP_FLAGS.join(',') : upper === 'NONE' ? 'NONE' : listOf(TCP_FLAGS)(text);
};
const TYPES = oneOf(...ADDRESS_TYPES);

const REJECTS: Readonly<Record<string, string>> = {
  'net-unreach': 'icmp-net-unreachable',
  'host-unreach': 'icmp-host-unreachable',
  'proto-unreach': 'icmp-proto-unreachable',
  'port-unreach': 'icmp-port-unreachable',
  'net-prohib': 'icmp-net-prohibited',
  'host-prohib': 'icmp-host-prohibited',
  'admin-prohib': 'icmp-admin-prohibited',
  'tcp-rst': 'tcp-reset',
};
const reject: Fix = (text) => REJECTS[text] ?? (/^(icmp6?-[a-z-]+|tcp-reset)$/.test(text) ? text : null);

/** 31 bits, as the kernel keeps it. */
const probability: Fix = (text) => {
  const p = Number(text);
  return /^[\d.]+$/.test(text) && p >= 0 && p <= 1 ? (Math.round(p * 0x80000000) / 0x80000000).toFixed(11) : null;
};

const portForms: Forms = {
  '--sport': option('--sport', port),
  '--source-port': option('--sport', port),
  '--dport': option('--dport', port),
  '--destination-port': option('--dport', port),
};
const plainForms = (...flags: readonly string[]): Forms => Object.fromEntries(flags.map((f) => [f, option(f)]));

/** Matches that what-if understands, with their options under every name that iptables takes. */
export const MATCHES: Readonly<Record<string, Forms>> = {
  tcp: { ...portForms, '--syn': bare('--syn'), '--tcp-flags': option('--tcp-flags', tcpFlags, 2) },
  udp: portForms,
  sctp: portForms,
  icmp: { '--icmp-type': option('--icmp-type', icmp(ICMP)) },
  'ipv6-icmp': { '--icmpv6-type': option('--icmpv6-type', icmp(ICMP6)) },
  multiport: {
    '--dports': option('--dports', portList),
    '--destination-ports': option('--dports', portList),
    '--sports': option('--sports', portList),
    '--source-ports': option('--sports', portList),
    '--ports': option('--ports', portList),
  },
  conntrack: {
    '--ctstate': option('--ctstate', listOf([...STATES, 'SNAT', 'DNAT'])),
    '--ctstatus': option('--ctstatus', listOf(['NONE', 'EXPECTED', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED'])),
    '--ctorigsrc': option('--ctorigsrc', prefix),
    '--ctorigdst': option('--ctorigdst', prefix),
    '--ctreplsrc': option('--ctreplsrc', prefix),
    '--ctrepldst': option('--ctrepldst', prefix),
    '--ctorigdstport': option('--ctorigdstport', port),
    '--ctorigsrcport': option('--ctorigsrcport', port),
    '--ctdir': option('--ctdir', oneOf('ORIGINAL', 'REPLY')),
  },
  state: { '--state': option('--state', listOf(STATES)) },
  addrtype: {
    '--src-type': option('--src-type', TYPES),
    '--dst-type': option('--dst-type', TYPES),
    '--limit-iface-in': bare('--limit-iface-in'),
    '--limit-iface-out': bare('--limit-iface-out'),
  },
  mark: { '--mark': option('--mark', mark) },
  connmark: { '--mark': option('--mark', mark) },
  set: { '--match-set': option('--match-set', same, 2) },
  comment: plainForms('--comment'),
  physdev: {
    ...plainForms('--physdev-in', '--physdev-out'),
    '--physdev-is-in': bare('--physdev-is-in'),
    '--physdev-is-out': bare('--physdev-is-out'),
    '--physdev-is-bridged': bare('--physdev-is-bridged'),
  },
  statistic: { ...plainForms('--mode', '--every', '--packet'), '--probability': option('--probability', probability) },
  iprange: plainForms('--src-range', '--dst-range'),
  limit: plainForms('--limit', '--limit-burst'),
  mac: { '--mac-source': option('--mac-source', (v) => v.toUpperCase()) },
  length: { '--length': option('--length', port) },
  ttl: plainForms('--ttl-eq', '--ttl-lt', '--ttl-gt'),
};

const random: Forms = { '--random': bare('--random'), '--random-fully': bare('--random-fully') };

/** Targets that what-if understands. */
export const TARGETS: Readonly<Record<string, Forms>> = {
  ACCEPT: {},
  DROP: {},
  RETURN: {},
  REJECT: { '--reject-with': option('--reject-with', reject) },
  MASQUERADE: { ...random, '--to-ports': option('--to-ports', ports) },
  SNAT: {
    ...random,
    '--persistent': bare('--persistent'),
    '--to-source': option('--to-source', target),
    '--to': option('--to-source', target),
  },
  DNAT: {
    ...random,
    '--persistent': bare('--persistent'),
    '--to-destination': option('--to-destination', target),
    '--to': option('--to-destination', target),
  },
  REDIRECT: { ...random, '--to-ports': option('--to-ports', ports), '--to-port': option('--to-ports', ports) },
  NETMAP: { '--to': option('--to', prefix) },
  MARK: markForms('--set-xmark'),
  CONNMARK: {
    ...markForms('--set-xmark'),
    '--save-mark': bare('--save-mark'),
    '--restore-mark': bare('--restore-mark'),
    ...plainForms('--nfmask', '--ctmask'),
  },
  NOTRACK: {},
  CT: { '--notrack': bare('--notrack'), ...plainForms('--zone', '--helper') },
  LOG: plainForms('--log-prefix', '--log-level'),
  NFLOG: plainForms('--nflog-prefix', '--nflog-group'),
  TCPMSS: { '--set-mss': option('--set-mss'), '--clamp-mss-to-pmtu': bare('--clamp-mss-to-pmtu') },
  NFQUEUE: { ...plainForms('--queue-num', '--queue-balance'), '--queue-bypass': bare('--queue-bypass') },
};

const PROTOCOLS: Readonly<Record<string, string>> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '132': 'sctp',
  '58': 'ipv6-icmp',
  icmpv6: 'ipv6-icmp',
};

/** `-p`; `all` is ''. */
export const protocol: Fix = (text) => {
  const name = PROTOCOLS[text.toLowerCase()] ?? text.toLowerCase();
  if (name === 'all' || name === '0') return '';
  return /^(tcp|udp|icmp|sctp|ipv6-icmp|gre|esp|ah|\d{1,3})$/.test(name) ? name : null;
};
