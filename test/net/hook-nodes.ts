import type { EvidenceId } from '../../src/core/evidence.ts';
import { FACT_SOURCES, type Fact, type FactKind, isManyKind } from '../../src/facts/index.ts';
import { parseAddr } from '../../src/net/addr.ts';
import type { Doubt } from '../../src/net/doubt.ts';
import { runHook } from '../../src/net/hook.ts';
import { buildNode, type NetFacts, type NetNode } from '../../src/net/model.ts';
import { makePacket, type Packet, tupleOf } from '../../src/net/packet.ts';
import type { Space } from '../../src/net/space.ts';
import type { Hook, HookContext, HookWay } from '../../src/net/step.ts';
import { PARSERS } from '../../src/parsers/index.ts';

/** Texts by evidence id; `id@instance` for files of a namespace; `!reason` is evidence that was skipped. */
export type Texts = Readonly<Record<string, string>>;

/** Two devices, a router's: what the packets of these tests pass through. */
export const ADDR = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
3: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff
    inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0
       valid_lft forever preferred_lft forever
`;
export const ROUTES = `default via 192.0.2.254 dev eth0
10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1
local 10.244.1.1 dev cni0 table local proto kernel scope host src 10.244.1.1
broadcast 10.244.1.255 dev cni0 table local proto kernel scope link src 10.244.1.1
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1
local 192.0.2.1 dev eth0 table local proto kernel scope host src 192.0.2.1
broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src 192.0.2.1
`;

/** Everything that leaves no question beside the rules under test. */
export const QUIET: Texts = {
  'ip.addr': ADDR,
  'ip.route4': ROUTES,
  'ip.rule4': '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n',
  'fw.iptables-legacy-save': '',
  'fw.ip-tables-names': '',
  'fw.nft-json': '{"nftables": []}',
  'fw.ipset-save': '',
};

/** A node over texts, read by the real parsers. */
export function nodeOf(texts: Texts, id = 'node-a'): NetNode {
  const cache = new Map<string, Fact<FactKind>>();
  const one = (kind: FactKind, evidence: EvidenceId, instance: string | undefined): Fact<FactKind> | null => {
    const name = instance === undefined ? evidence : `${evidence}@${instance}`;
    const text = texts[name];
    if (text === undefined || text.startsWith('!')) return null;
    const key = `${kind} ${name}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const parser = PARSERS.find((p) => p.fact === kind && p.evidence.includes(evidence));
    const parsed = parser?.parse(text);
    if (parsed === undefined || !parsed.ok)
      throw new Error(`${name}: ${parsed === undefined ? 'no parser' : parsed.why}`);
    const fact = {
      missing: false,
      kind,
      node: id,
      evidence,
      path: name,
      ...(instance === undefined ? {} : { instance }),
      closed: parsed.skipped.length === 0,
      value: parsed.value,
    } as Fact<FactKind>;
    cache.set(key, fact);
    return fact;
  };
  const facts = {
    node: id,
    get(kind: FactKind) {
      const sources = FACT_SOURCES[kind];
      for (const evidence of sources) {
        const fact = one(kind, evidence, undefined);
        if (fact !== null) return fact;
      }
      const skipped = texts[sources[0]]?.startsWith('!') ? texts[sources[0]]?.slice(1) : undefined;
      return {
        missing: true,
        kind,
        node: id,
        evidence: sources,
        because: skipped ?? 'not collected',
        lookedFor: skipped !== undefined,
      };
    },
    all(kind: FactKind) {
      if (!isManyKind(kind)) return [];
      return FACT_SOURCES[kind].flatMap((evidence) =>
        Object.keys(texts).flatMap((name) => {
          const [id2, instance] = name.split('@');
          const fact = id2 === evidence && instance !== undefined ? one(kind, evidence, instance) : null;
          return fact === null ? [] : [fact];
        }),
      );
    },
  };
  return buildNode(facts as unknown as NetFacts as never);
}

export const hostOf = (texts: Texts): Space => nodeOf({ ...QUIET, ...texts }).host;

/** A first packet; `NEW` in connection tracking unless said otherwise. */
export function packet(p: Partial<Omit<Packet, 'src' | 'dst'>> & { src: string; dst: string }): Packet {
  const made = makePacket({
    proto: 6,
    sport: [32768, 60999],
    dport: 80,
    ...p,
    src: parseAddr(p.src)!,
    dst: parseAddr(p.dst)!,
  });
  return p.ct === undefined ? made : { ...made, ct: p.ct };
}

export const fresh = (p: Packet): Packet => ({
  ...p,
  ct: { state: 'NEW', reply: false, snat: false, dnat: false, orig: tupleOf(p), mark: 0 },
});

export const CONTEXT: HookContext = { track: fresh, maxWays: 64 };

/** Runs a hook; from forward on the packet is tracked already. */
export function run(
  space: Space,
  hook: Hook,
  p: Packet,
  doubts: readonly Doubt[] = [],
  context = CONTEXT,
): readonly HookWay[] {
  const tracked = hook === 'prerouting' || hook === 'output' || p.ct !== null ? p : fresh(p);
  return runHook(space, hook, tracked, doubts, context);
}

/** `accept`, or the ways with what they depend on: `drop[match recent...]`. */
export const verdicts = (ways: readonly HookWay[]): string =>
  ways
    .map((w) => w.verdict)
    .filter((v, i, all) => all.indexOf(v) === i)
    .sort()
    .join('|');

/** A saved ruleset around the lines of one table. */
export function save(table: string, lines: string, backend = 'nf_tables'): string {
  const hooks = {
    raw: 'PREROUTING OUTPUT',
    mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
    nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
    filter: 'INPUT FORWARD OUTPUT',
  };
  const rules = lines
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => l !== '');
  const declared = rules.filter((l) => l.startsWith(':'));
  const built = (hooks[table as keyof typeof hooks] ?? '')
    .split(' ')
    .filter((h) => h !== '' && !declared.some((d) => d.startsWith(`:${h} `)))
    .map((h) => `:${h} ACCEPT [0:0]`);
  const version = backend === 'nf_tables' ? 'v1.8.9 (nf_tables)' : 'v1.8.9';
  return [
    `# Generated by iptables-save ${version} on Thu Nov 26 2026`,
    `*${table}`,
    ...built,
    ...declared,
    ...rules.filter((l) => !l.startsWith(':')),
    'COMMIT',
    '',
  ].join('\n');
}
