import type { Fact, IptMatch } from '../facts/index.ts';
import { type Addr, networkOf } from './addr.ts';
import { type Look, type Test, unknown } from './chain.ts';
import { missingReason, negate, type Reason, type Truth, truth } from './doubt.ts';
import { compareMember, type Member, type Part, readMember } from './ipset-member.ts';
import type { Packet } from './packet.ts';
import type { Space } from './space.ts';

type SetFact = Fact<'ipsets'>['value']['sets'][number];

interface Indexed {
  readonly set: SetFact;
  readonly parts: readonly string[];
  /** Members by the length and base of their first part, longest prefix first; null: the first part is no address. */
  readonly byNet: readonly (readonly [length: number, members: ReadonlyMap<Addr, Member[]>])[] | null;
  readonly members: readonly Member[];
  /** An element that is not understood. */
  readonly odd: string | null;
}

/** The ipsets of a namespace. */
export interface SetTable {
  readonly byName: ReadonlyMap<string, Indexed>;
  /** Set: the sets were not collected, or not all of them. */
  readonly gap: Reason | null;
}

const INDEXES = new WeakMap<SetFact, Indexed>();

/** The ipsets of the namespace; only the host's are collected. */
export function readSets(space: Space): SetTable {
  if (space.inode !== null)
    return {
      byName: new Map(),
      gap: { because: `the ipsets of ${space.label} were not collected`, evidence: ['fw.ipset-save'] },
    };
  const fact = space.node.facts.get('ipsets');
  if (fact.missing) return { byName: new Map(), gap: missingReason('the ipsets are not known', fact) };
  const gap = fact.closed
    ? null
    : { because: `${fact.path} was not collected whole`, evidence: [fact.evidence] as readonly string[] };
  return { byName: new Map(fact.value.sets.map((set) => [set.name, indexOf(set)])), gap };
}

function indexOf(set: SetFact): Indexed {
  const known = INDEXES.get(set);
  if (known !== undefined) return known;
  const parts = set.type.replace(/^\w+:/, '').split(',');
  const members: Member[] = [];
  let odd = set.masks ?? null;
  if (set.type !== 'list:set') {
    for (const entry of set.entries) {
      const member = readMember(entry.text, parts, entry.nomatch);
      if (member === null) odd ??= entry.text;
      else members.push(member);
    }
  }
  let byNet: Map<number, Map<Addr, Member[]>> | null = new Map();
  for (const member of members) {
    const first = member.parts[0]!;
    if (first.kind !== 'net') {
      byNet = null;
      break;
    }
    let bases = byNet.get(first.length);
    if (bases === undefined) {
      bases = new Map();
      byNet.set(first.length, bases);
    }
    const list = bases.get(first.base);
    if (list === undefined) bases.set(first.base, [member]);
    else list.push(member);
  }
  const sorted = byNet === null ? null : [...byNet].sort((a, b) => b[0] - a[0]);
  const indexed = { set, parts, members, byNet: sorted, odd };
  INDEXES.set(set, indexed);
  return indexed;
}

/** What one of the set's dimensions compares of a packet. */
const addressOf = (p: Packet, dir: string): Addr => (dir === 'src' ? p.src : p.dst);

const specific = (m: Member): number =>
  m.parts.reduce((sum, part: Part) => sum * 256 + (part.kind === 'net' ? part.length : 0), 0);

/** Is the packet in the set? `dirs` says src or dst for each dimension. */
export function inSet(name: string, dirs: readonly string[], p: Packet, look: Look, depth = 0): Truth {
  const { byName, gap } = look.space.sets;
  const indexed = byName.get(name);
  const lacking = gap ?? { because: `the ipsets that were collected do not have it`, evidence: ['fw.ipset-save'] };
  if (indexed === undefined)
    return unknown(look, `what is in set ${name} is not known: ${lacking.because}`, ...lacking.evidence);
  const { set } = indexed;
  if (set.type === 'list:set') {
    if (depth > 4) return unknown(look, `set ${name} lists itself`);
    let open: Reason | null = null;
    for (const entry of set.entries) {
      const t = inSet(entry.text, dirs, p, look, depth + 1);
      if (t === 1) return 1;
      if (t === null) open = look.why;
    }
    if (open !== null) look.why = open;
    return open !== null ? null : gap === null ? 0 : unknown(look, `set ${name}: ${gap.because}`, ...gap.evidence);
  }
  if (dirs.length < indexed.parts.length) return 0;
  // sets of ports alone have no family
  if (set.type !== 'bitmap:port' && set.type !== 'hash:mac' && (set.family === 4) !== (typeof p.dst === 'number'))
    return 0;
  if (indexed.odd !== null) return unknown(look, `"${indexed.odd}" of set ${name} is not understood`);
  let best: Member | null = null;
  let unsure = false;
  const consider = (member: Member) => {
    const t = compareMember(member, dirs, p);
    if (t === null) unsure = true;
    else if (t === 1 && (best === null || specific(member) > specific(best))) best = member;
  };
  if (indexed.byNet === null) for (const member of indexed.members) consider(member);
  else {
    const address = addressOf(p, dirs[0]!);
    for (const [length, bases] of indexed.byNet)
      for (const member of bases.get(networkOf(address, length)) ?? []) consider(member);
  }
  if (unsure) return unknown(look, `whether the packet is in set ${name} depends on what is not known of it`);
  const found = best as Member | null;
  if (gap !== null && (found === null || indexed.parts.includes('net')))
    return unknown(look, `what is in set ${name} is not known: ${gap.because}`, ...gap.evidence);
  return truth(found !== null && !found.nomatch);
}

/** `-m set --match-set NAME src,dst`. */
export function readSetMatch(match: IptMatch): readonly Test[] | null {
  const tests: Test[] = [];
  for (const option of match.options) {
    const [name = '', dirText = ''] = option.values;
    const dirs = dirText.split(',');
    if (option.flag !== '--match-set' || !dirs.every((d) => d === 'src' || d === 'dst')) return null;
    tests.push((p, look) => negate(inSet(name, dirs, p, look), option.negated));
  }
  return tests;
}
