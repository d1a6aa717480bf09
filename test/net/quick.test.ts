import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNet } from '../../src/net/addr.ts';
import { readQuick } from '../../src/net/match.ts';
import { protocolNumber } from '../../src/net/packet.ts';
import { readRule } from '../../src/parsers/iptables-rule.ts';

/** Every selector that is read without tokenising must be one of the rule itself: it throws packets out without a further look. */
function expectOwn(text: string): void {
  const quick = readQuick(text, 4);
  if (quick === null) return;
  const rule = readRule(text, 1, undefined, undefined);
  for (const [own, base, mask] of [
    [rule.source, quick.src, quick.srcMask],
    [rule.destination, quick.dst, quick.dstMask],
  ] as const) {
    if (mask === 0) continue;
    const net = own === undefined || own.negated ? null : parseNet(own.value);
    expect(net?.base, text).toBe(base);
    expect(mask, text).toBe((0xffffffff << (32 - (net?.length ?? 0))) >>> 0);
  }
  if (quick.proto >= 0) {
    expect(rule.protocol?.negated, text).toBe(false);
    expect(protocolNumber(rule.protocol?.value ?? ''), text).toBe(quick.proto);
  }
  if (quick.high < 0) return;
  const ports = rule.matches
    .filter((m) => m.name === 'tcp' || m.name === 'udp')
    .flatMap((m) => m.options.filter((o) => o.flag === '--dport' && !o.negated).flatMap((o) => o.values));
  expect(ports, text).toContain(quick.low === quick.high ? `${quick.low}` : `${quick.low}:${quick.high}`);
}

const part = fc.constantFrom(
  ...['-s 10.0.0.1/32', '! -s 10.0.0.0/8', '-s 10.1.2.3/255.255.0.0', '-s 10.1.2.3', '-s web', '-s 10.0.0.0/33'],
  ...['-d 10.96.0.1/32', '! -d 10.96.0.1/32', '-d 10.96.7.7/16', '-d 0.0.0.0/0', '-i eth0', '! -i eth0', '-o cni0'],
  ...['-p tcp', '-p udp', '! -p tcp', '-p all', '-p 6', '-p 4000', '-m tcp --dport 80', '-m udp --dport 53:54'],
  ...[
    '-m tcp ! --dport 80',
    '-m tcp --sport 1 --dport 2',
    '-m comment --comment x',
    '-m comment --comment "a -d 1.2.3.4/32"',
  ],
  ...[
    '-m comment --comment "-p tcp -m tcp --dport 9"',
    '-m comment --comment "a \\" -m tcp --dport 7"',
    '-j DROP',
    '-j X',
  ],
  ...[
    '-m multiport --dports 80,443',
    '-m comment --comment -p',
    '-m comment --comment -m tcp --dport 5',
    '-f',
    '!',
    '"',
  ],
);

describe('selectors that are read without tokenising a rule', () => {
  it('are those of the usual rules', () => {
    expect(
      readQuick(
        '-A KUBE-SERVICES -d 10.96.3.244/32 -p tcp -m comment --comment "default/a:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-A',
        4,
      ),
    ).toEqual({ src: 0, srcMask: 0, dst: 0x0a6003f4, dstMask: 0xffffffff, proto: 6, low: 80, high: 80 });
    expect(readQuick('-A KUBE-SVC-A ! -s 10.244.0.0/16 -d 10.96.3.244/32 -p udp -m udp --dport 1:9 -j X', 4)).toEqual({
      ...{ src: 0, srcMask: 0, dst: 0x0a6003f4, dstMask: 0xffffffff, proto: 17, low: 1, high: 9 },
    });
    expect(readQuick('-A FORWARD -s 10.244.7.7/16 ! -i eth0 -o cni0 -j ACCEPT', 4)?.src).toBe(0x0af40000);
    expect(
      readQuick('-A KUBE-NODEPORTS -p tcp -m comment --comment default/a -m tcp --dport 30080 -j X', 4),
    ).toMatchObject({
      ...{ dstMask: 0, proto: 6, low: 30080, high: 30080 },
    });
    expect(readQuick('-A FORWARD -j ACCEPT', 4)).toBeNull();
    expect(readQuick('-A FORWARD -s fd00::1/128 -j ACCEPT', 6)).toBeNull();
  });

  it('are never more than the rule has', () => {
    let some = 0;
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const text = ['-A FORWARD', ...parts].join(' ');
        if (readQuick(text, 4) !== null) some += 1;
        expectOwn(text);
      }),
      { numRuns: 3000 },
    );
    expect(some).toBeGreaterThan(300);
  });
});
