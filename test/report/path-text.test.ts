import { describe, expect, it } from 'vitest';
import type { ReachJson, TraceHop, TraceJson } from '../../src/core/trace.ts';
import { traceText } from '../../src/report/path-text.ts';
import { reachText } from '../../src/report/reach-text.ts';
import { whyText } from '../../src/report/why-text.ts';

const hop = (node: string, place: string, action: string, text: string, line?: number): TraceHop => ({
  node,
  at: 'host',
  place,
  action,
  text,
  cites:
    line === undefined
      ? []
      : [{ node, evidence: 'fw.iptables-save', path: 'host/fw/iptables-save.txt', line, endLine: line, text }],
});

const PACKET = { src: '10.0.0.1', dst: '10.0.0.2', proto: 'tcp', sport: null, dport: 80 } as const;
const base: TraceJson = {
  schemaVersion: 1,
  verdict: 'dropped',
  because: 'policy DROP of filter/FORWARD',
  packet: PACKET,
  arrived: null,
  hops: [
    hop('node-a', 'route', 'forward', '10.0.0.0/24 dev eth0'),
    hop('node-b', 'filter/FORWARD', 'drop', ':FORWARD DROP', 5),
  ],
  reply: null,
  missing: [],
  branches: [],
};

describe('traceText', () => {
  it('puts the verdict first and one line a hop, the last one marked', () => {
    expect(traceText(base)).toBe(
      [
        'DROPPED on node-b: policy DROP of filter/FORWARD',
        'packet: 10.0.0.1 -> 10.0.0.2 port 80, tcp',
        '',
        '  1  node-a  route           forward  10.0.0.0/24 dev eth0',
        '> 2  node-b  filter/FORWARD  DROP     :FORWARD DROP  [host/fw/iptables-save.txt:5]',
        '',
      ].join('\n'),
    );
  });

  it('takes the name of a node for a word', () => {
    const hops = [hop('a', 'filter/FORWARD', 'drop', ':FORWARD DROP', 5)];
    expect(traceText({ ...base, hops })).toMatch(/^DROPPED on a: policy DROP of filter\/FORWARD\n/);
    const skipped = [
      { node: 'a', because: 'no pod of a was collected' },
      { node: 'node-1', because: 'no pod of node-1 was collected, one of node-10 was' },
    ];
    const text = reachText({ schemaVersion: 1, pods: [], followed: 0, skipped, groups: [] });
    expect(text).toContain('  a: no pod of it was collected\n');
    expect(text).toContain('  node-1: no pod of it was collected, one of node-10 was\n');
  });

  it('shows every way with its share where chance decides', () => {
    const arrived = { node: 'node-c', at: 'pod 10.0.0.9', src: '10.0.0.1', dst: '10.0.0.9', dport: 8080 };
    const good = { ...base, verdict: 'delivered', because: 'it arrives', arrived, probability: 2 / 3 } as const;
    const text = traceText({
      ...base,
      branches: [{ ...base, probability: 1 / 3 }, good, { ...good, probability: null }],
    });
    expect(text).toContain('The rules choose between 3 ways by chance:\n\n1. 33.3 %: DROPPED on node-b: policy DROP');
    expect(text).toContain('\n2. 66.7 %: DELIVERED: it arrives\n');
    expect(text).toContain('\n3. a share that is not known: DELIVERED: it arrives\n');
    expect(text).toContain('  arrives at pod 10.0.0.9 on node-c as 10.0.0.1 -> 10.0.0.9 port 8080');
  });

  it('lists what would decide an unknown, with the commands that collect it', () => {
    const missing = [
      {
        because: 'the nft tables of node-b are not known',
        evidence: ['fw.nft-json'],
        collect: ['nft -j list ruleset'],
      },
    ];
    const text = traceText({ ...base, verdict: 'unknown', because: 'see below', missing: [...missing, ...missing] });
    expect(text.match(/nft tables of node-b/g)).toHaveLength(1);
    expect(text).toMatch(/^UNKNOWN: see below\n/);
    expect(text).toContain(
      'What would decide it:\n  - the nft tables of node-b are not known\n      collect: nft -j list ruleset\n',
    );
    expect(text).toContain('> 2  node-b  filter/FORWARD  DROP');
  });

  it('names a lost answer, an assumed change and an absence', () => {
    const cites = [
      { node: 'node-b', evidence: 'ip.route4', path: 'host/ip/route4.txt', absent: 'a route to 10.0.0.1' },
      { node: 'node-b', evidence: 'ip.route4', path: 'host/ip/route4.txt', whatIf: 'ip route del default' },
    ];
    const reply = {
      verdict: 'dropped',
      because: 'no route',
      hops: [{ ...hop('node-b', 'route', 'drop', 'none'), cites }],
    } as const;
    const text = traceText({
      ...base,
      verdict: 'delivered',
      because: 'it arrives',
      reply,
      assuming: [{ node: 'node-b', command: 'ip route del default' }],
    });
    expect(text).toContain('\nassuming on node-b: ip route del default\n');
    expect(text).toContain(
      '\nreply DROPPED on node-b: no route\n> 1  node-b  route  DROP  none  [host/ip/route4.txt does not hold a route to 10.0.0.1; what-if: ip route del default]',
    );
    expect(text).not.toContain('> 2');
  });
});

const EVIL = '\u001b[2J\u202e\nX\u0007';

/** The same value with every string that may come from a bundle ending in what a terminal must not see. */
function poisoned<T>(value: T, key = ''): T {
  if (typeof value === 'string')
    return (/^(verdict|answer|severity|confidence|how|fact)$/.test(key) ? value : `${value}${EVIL}`) as T;
  if (Array.isArray(value)) return value.map((v) => poisoned(v)) as T;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, poisoned(v, k)])) as T;
}

describe('texts for a terminal', () => {
  const trace: TraceJson = {
    ...base,
    assuming: [{ node: 'n', command: 'c' }],
    missing: [{ because: 'b', evidence: ['e'], collect: ['c'] }],
    reply: { verdict: 'dropped', because: 'r', hops: base.hops },
  };
  const reach: ReachJson = {
    schemaVersion: 1,
    followed: 2,
    pods: [{ node: 'node-a', pod: '10.0.0.1' }],
    skipped: [{ node: 'node-z', because: 'node-z: no pod' }],
    groups: [
      {
        verdict: 'dropped',
        because: 'b',
        pairs: 2,
        blocks: [{ from: ['node-a'], to: ['node-b'] }],
        example: trace,
        cites: base.hops[1]!.cites,
      },
    ],
  };
  const why = {
    answer: 'findings',
    title: 't',
    because: 'b',
    cites: base.hops[1]!.cites,
    findings: [{ severity: 'high', confidence: 'proven', message: 'm', cites: base.hops[1]!.cites, disprove: 'd' }],
    reads: [{ fact: 'iptables', how: 'needs', paths: ['p'], because: 'b', collect: ['c'] }],
  };

  it.each([
    ['trace', () => traceText(poisoned(trace)), traceText(trace)],
    ['reach', () => reachText(poisoned(reach)), reachText(reach)],
    ['why', () => whyText(`rule${EVIL}`, `node${EVIL}`, poisoned(why)), whyText('rule', 'node', why)],
  ] as const)('%s spells out what a bundle may have smuggled in', (_, hostile, clean) => {
    const text = hostile();
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/);
    expect(text.split('\n')).toHaveLength(clean.split('\n').length);
    expect(text).toContain('^[[2J');
  });
});
