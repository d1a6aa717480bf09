import { parseIp, parseMac } from '../core/address.ts';
import type { BridgePortAttributes, PolicyRule, Route } from '../facts/index.ts';
import type { Edit, FdbEdit, LinkEdit, NeighbourEdit, RouteEdit } from '../net/what-if.ts';
import { readRouteText } from '../parsers/routes-text.ts';
import { readRuleText } from '../parsers/rules-text.ts';
import { refuse } from './what-if-words.ts';

type Reader = (words: readonly string[], verb: string, text: string, family: 4 | 6 | null) => Edit;

const OBJECTS: readonly (readonly [name: string, reader: Reader])[] = [
  ['route', readRoute],
  ['rule', readPolicy],
  ['link', readLink],
  ['address', readAddress],
  ['neighbour', readNeighbour],
  ['neighbor', readNeighbour],
];

/** `ip [-4|-6] OBJECT VERB ...`; objects and verbs may be shortened, as iproute2 lets one. */
export function readIp(words: readonly string[], text: string): Edit {
  let at = 1;
  let family: 4 | 6 | null = null;
  for (; words[at]?.startsWith('-'); at += 1) {
    if (words[at] === '-4') family = 4;
    else if (words[at] === '-6') family = 6;
    else refuse(text, `ip ${words[at]} is not known; changes are made in the node's own namespace`);
  }
  const object = words[at] ?? '';
  const found = object === '' ? undefined : OBJECTS.find(([name]) => name.startsWith(object));
  const verb = words[at + 1];
  if (found === undefined || verb === undefined) refuse(text, 'of ip, route, rule, link set, addr and neigh are known');
  return found[1](words.slice(at + 2), verb, text, family);
}

/** The verb that a word shortens. */
function verbOf<V extends string>(word: string, verbs: readonly V[], text: string): V {
  const verb =
    verbs.find((v) => v.startsWith(word)) ?? (/^delete$/.test(word) ? verbs.find((v) => v === 'del') : undefined);
  if (verb === undefined) refuse(text, `"${word}" is none of ${verbs.join(', ')}`);
  return verb;
}

const ROUTE_WORDS = new Set(
  'via dev src metric preference table proto protocol scope tos dsfield mtu advmss onlink weight nexthop lock pref'.split(
    ' ',
  ),
);
const TYPES = /^(unicast|local|broadcast|blackhole|unreachable|prohibit|throw)$/;

function readRoute(words: readonly string[], verb: string, text: string, wanted: 4 | 6 | null): Edit {
  const op = verbOf(verb, ['add', 'append', 'change', 'del', 'prepend', 'replace'] as const, text);
  const spec = words
    .map((w) => (w === 'preference' ? 'metric' : w === 'protocol' ? 'proto' : w))
    .filter((w) => w !== 'to');
  const typed = TYPES.test(spec[0] ?? '') ? 1 : 0;
  const dst = spec[typed];
  const family = wanted ?? (spec.some((w) => parseIp(w.split('/')[0] ?? '')?.family === 6) ? 6 : 4);
  for (const word of spec.slice(typed + 1))
    if (/^[a-z]+$/.test(word) && !ROUTE_WORDS.has(word) && !isValue(spec, word)) refuse(text, `"${word}" is not known`);
  const hop = spec.indexOf('nexthop');
  const hops =
    hop < 0
      ? []
      : spec
          .slice(hop)
          .join(' ')
          .split(/(?=\bnexthop )/);
  const lines = [(hop < 0 ? spec : spec.slice(0, hop)).join(' '), ...hops.map((h) => `\t${h.trim()}`)];
  if (dst === undefined) refuse(text, 'it names no destination');
  // a destination alone is enough to delete by, and the device of a next hop follows from its address
  const [first = ''] = lines;
  const bare = !/ dev /.test(first) && (/ via /.test(first) || op === 'del');
  const read = readRouteText(lines.join('\n') + (bare ? ' dev ?' : ''), family);
  const parsed = read.ok && read.skipped.length === 0 ? read.value.routes[0] : undefined;
  if (parsed === undefined) refuse(text, `it is no route of IPv${family}`);
  const { dev, ...rest } = parsed;
  const route: Route = dev === undefined || dev === '?' ? rest : parsed;
  const gateway = route.via !== undefined || route.nexthops.some((n) => n.via !== undefined);
  const unsaid: Partial<Route> = {
    ...(route.scope === undefined ? { scope: gateway || route.type !== 'unicast' ? 'global' : 'link' } : {}),
    ...(route.proto === undefined ? { proto: 'boot' } : {}),
  };
  const metric = family === 6 && !spec.includes('metric') && op !== 'del' ? 1024 : route.metric;
  return {
    kind: 'route',
    op,
    route: { ...route, ...unsaid, metric },
    named: namedOf(spec, typed === 1),
  } satisfies RouteEdit;
}

/** A word behind one that takes a value is that value: `dev lock`. */
const isValue = (words: readonly string[], word: string): boolean => {
  const before = words[words.indexOf(word) - 1] ?? '';
  return ROUTE_WORDS.has(before) && !/^(onlink|lock|nexthop)$/.test(before);
};

function namedOf(spec: readonly string[], typed: boolean): readonly (keyof Route)[] {
  const keys = (['via', 'dev', 'src', 'metric', 'proto', 'scope', 'tos'] as const).filter((k) => spec.includes(k));
  return [...keys, ...(typed ? (['type'] as const) : []), ...(spec.includes('nexthop') ? (['nexthops'] as const) : [])];
}

function readPolicy(words: readonly string[], verb: string, text: string, wanted: 4 | 6 | null): Edit {
  const op = verbOf(verb, ['add', 'del'] as const, text);
  const family = wanted ?? (words.some((w) => parseIp(w.split('/')[0] ?? '')?.family === 6) ? 6 : 4);
  let pref: number | null = null;
  const rest: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as string;
    if (/^(pref|preference|priority|order)$/.test(word)) {
      pref = /^\d+$/.test(words[i + 1] ?? '') ? Number(words[i + 1]) : refuse(text, `${word} needs a number`);
      i += 1;
    } else rest.push(word);
  }
  const action = rest.some((w) => /^(table|lookup|blackhole|unreachable|prohibit|goto|nop)$/.test(w));
  // what names no table looks into main, as iproute2 has it
  const line = `${pref ?? 0}: ${rest.join(' ')}${action || op === 'del' ? '' : ' lookup main'}`;
  const read = readRuleText(line);
  const rule = read.ok ? read.value.rules[0] : undefined;
  if (rule === undefined || rule.unknown !== undefined)
    refuse(text, `"${rule?.unknown?.join(' ') ?? rest.join(' ')}" is not known`);
  const keys = (Object.keys(rule) as (keyof PolicyRule)[]).filter(
    (k) => !['line', 'pref', 'not', 'action'].includes(k) || (k === 'action' && action) || (k === 'not' && rule.not),
  );
  const named = pref === null ? keys : [...keys, 'pref' as const];
  if (named.length === 0) refuse(text, 'it names nothing');
  return { kind: 'policy', op, family, rule, named };
}

const onOff = (word: string | undefined, text: string): boolean =>
  word === 'on' ? true : word === 'off' ? false : refuse(text, `"${word ?? ''}" is neither on nor off`);

function readLink(words: readonly string[], verb: string, text: string): Edit {
  verbOf(verb, ['set'] as const, text);
  let at = words[0] === 'dev' ? 1 : 0;
  const dev = words[at];
  if (dev === undefined) refuse(text, 'it names no device');
  const set: { mtu?: number; up?: boolean; master?: string | null } = {};
  const port: { hairpin?: boolean; isolated?: boolean } = {};
  for (at += 1; at < words.length; at += 1) {
    const word = words[at] as string;
    const next = words[at + 1];
    if (word === 'up' || word === 'down') set.up = word === 'up';
    else if (word === 'nomaster') set.master = null;
    else if (word === 'type' && next === 'bridge_slave') at += 1;
    else {
      at += 1;
      if (word === 'mtu' && /^\d{1,5}$/.test(next ?? '')) set.mtu = Number(next);
      else if (word === 'master' && next !== undefined) set.master = next;
      else if (word === 'hairpin' || word === 'isolated') port[word] = onOff(next, text);
      else refuse(text, `of ip link set, mtu, up, down, master and nomaster are known, not "${word}"`);
    }
  }
  if (Object.keys(port).length > 0 && Object.keys(set).length > 0)
    refuse(text, 'give the port and the link its own command');
  if (Object.keys(port).length > 0) return { kind: 'port', dev, set: port };
  if (Object.keys(set).length === 0) refuse(text, 'it changes nothing');
  return { kind: 'link', dev, ...set } satisfies LinkEdit;
}

function readAddress(words: readonly string[], verb: string, text: string): Edit {
  const op = verbOf(verb, ['add', 'del', 'replace'] as const, text);
  let address: string | undefined;
  let dev: string | undefined;
  let scope = 'global';
  let prefixRoute = true;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as string;
    if (word === 'dev' || word === 'scope' || /^(label|brd|broadcast|local)$/.test(word)) {
      i += 1;
      if (word === 'dev') dev = words[i];
      else if (word === 'scope') scope = words[i] ?? '';
      else if (word === 'local') address = words[i];
    } else if (word === 'noprefixroute') prefixRoute = false;
    else if (address === undefined) address = word;
    else refuse(text, `"${word}" is not known`);
  }
  const m = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(address ?? '');
  const ip = parseIp(m?.[1] ?? '');
  if (ip === null || m === null) refuse(text, `"${address ?? ''}" is no address`);
  const bits = ip.family === 4 ? 32 : 128;
  const prefixLength = m[2] === undefined ? bits : Number(m[2]);
  if (prefixLength > bits) refuse(text, `/${prefixLength} is longer than an address`);
  if (dev === undefined) refuse(text, 'it names no device');
  return { kind: 'address', op, dev, family: ip.family, address: m[1] as string, prefixLength, scope, prefixRoute };
}

function readNeighbour(words: readonly string[], verb: string, text: string): Edit {
  const op = verbOf(verb, ['add', 'change', 'del', 'replace'] as const, text);
  const { bare, values } = keyed(words, ['dev', 'lladdr', 'nud'], text);
  const [ip, ...more] = bare.filter((w) => w !== 'to');
  const dev = values['dev'];
  if (ip === undefined || parseIp(ip) === null || more.length > 0 || dev === undefined)
    refuse(text, 'it needs one address and dev');
  const mac = values['lladdr'] === undefined ? null : parseMac(values['lladdr']);
  if (mac === null && op !== 'del') refuse(text, 'it needs lladdr with a MAC');
  const state = [(values['nud'] ?? 'permanent').toUpperCase()];
  return {
    kind: 'neighbour',
    op,
    entry: { ip, dev, state, line: 0, ...(mac === null ? {} : { mac }) },
  } satisfies NeighbourEdit;
}

/** `bridge fdb ...` and `bridge link set ...`. */
export function readBridge(words: readonly string[], text: string): Edit {
  const [, object = '', verb = '', ...rest] = words;
  if (object !== '' && 'link'.startsWith(object)) {
    verbOf(verb, ['set'] as const, text);
    return readPort(rest, text);
  }
  if (object === '' || !'fdb'.startsWith(object)) refuse(text, 'of bridge, fdb and link set are known');
  const op = verbOf(verb, ['add', 'append', 'del', 'replace'] as const, text);
  const flags = ['self', 'master', 'permanent', 'static', 'dynamic', 'local'];
  const { bare, values } = keyed(rest, ['dev', 'dst', 'port', 'vni', 'via', 'vlan'], text);
  const [mac, ...more] = bare.filter((w) => !flags.includes(w));
  const hw = parseMac(mac ?? '');
  const dev = values['dev'];
  if (hw === null || more.length > 0 || dev === undefined) refuse(text, 'it needs one MAC and dev');
  if (values['dst'] !== undefined && parseIp(values['dst']) === null)
    refuse(text, `dst ${values['dst']} is no address`);
  const numbers = Object.fromEntries(
    (['port', 'vni', 'vlan'] as const).flatMap((k) => (values[k] === undefined ? [] : [[k, Number(values[k])]])),
  );
  if (Object.values(numbers).some((n) => !Number.isInteger(n))) refuse(text, 'port, vni and vlan are numbers');
  const permanent = !bare.some((w) => /^(static|dynamic)$/.test(w));
  const entry = {
    mac: hw,
    dev,
    ...(values['dst'] === undefined ? {} : { dst: values['dst'] }),
    ...(values['via'] === undefined ? {} : { via: values['via'] }),
    ...numbers,
    self: !bare.includes('master'),
    permanent,
    ...(permanent ? { state: 'permanent' } : bare.includes('static') ? { state: 'static' } : {}),
    line: 0,
  };
  return { kind: 'fdb', op, entry } satisfies FdbEdit;
}

function readPort(words: readonly string[], text: string): Edit {
  const { bare, values } = keyed(words, ['dev', 'hairpin', 'isolated', 'learning', 'flood', 'state'], text);
  const { dev, state, ...switches } = values;
  if (dev === undefined || bare.length > 0)
    refuse(text, bare.length > 0 ? `"${bare[0]}" is not known` : 'it names no device');
  const names = ['disabled', 'listening', 'learning', 'forwarding', 'blocking'];
  const named = state === undefined ? undefined : (names[Number(state)] ?? names.find((n) => n === state));
  if (state !== undefined && named === undefined) refuse(text, `"${state}" is no state of a port`);
  const set: BridgePortAttributes = {
    ...Object.fromEntries(Object.entries(switches).map(([k, v]) => [k, onOff(v, text)])),
    ...(named === undefined ? {} : { state: named }),
  };
  if (Object.keys(set).length === 0) refuse(text, 'it changes nothing');
  return { kind: 'port', dev, set };
}

function keyed(words: readonly string[], keys: readonly string[], text: string) {
  const values: Record<string, string | undefined> = {};
  const bare: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as string;
    if (!keys.includes(word)) bare.push(word);
    else {
      const next = words[i + 1];
      if (next === undefined) refuse(text, `${word} needs a value`);
      values[word] = next;
      i += 1;
    }
  }
  return { values, bare };
}
