import { describe, expect, it } from 'vitest';
import { type ServiceRule, serviceRules } from '../../src/derive/service-rules.ts';
import type { IptChain } from '../../src/facts/firewall.ts';
import { readRule } from '../../src/parsers/iptables-rule.ts';

/** `told`: which rules had to be tokenised. */
function chainOf(texts: readonly string[], told: number[] = []): IptChain {
  const rule = (index: number) => {
    told.push(index);
    return readRule(texts[index] as string, index + 1, undefined, undefined);
  };
  const rules = () => texts.map((_, index) => rule(index));
  return {
    name: 'KUBE-SERVICES',
    policy: null,
    line: 1,
    ruleCount: texts.length,
    rules,
    rule,
    texts: () => texts,
    shared: rules,
  };
}

const usual = [
  '-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y',
  '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU',
  '-A KUBE-SERVICES -d 10.96.9.9/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-AAAAAAAAAAAAAAAA',
  '-A KUBE-SERVICES -d 10.96.9.8/32 -p tcp -m comment --comment plain -m tcp --dport 80 -j KUBE-SVC-BBBBBBBBBBBBBBBB',
];
const odd = [
  '-A KUBE-SERVICES -d 10.96.0.3/32 -p tcp -m comment --comment "a \\"b\\" cluster IP" -m tcp --dport 80 -j KUBE-SVC-CCCCCCCCCCCCCCCC',
  '-A KUBE-SERVICES ! -d 10.96.0.4/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-DDDDDDDDDDDDDDDD',
  '-A KUBE-SERVICES -d 10.96.0.5/32 ! -p tcp -m comment --comment x -j KUBE-SVC-EEEEEEEEEEEEEEEE',
  '-A KUBE-SERVICES -d 10.96.0.6/32 -p sctp -m sctp --dport 80 -j KUBE-SVC-FFFFFFFFFFFFFFFF',
  '-A KUBE-SERVICES -m comment --comment "goes to KUBE-SVC-X" -j KUBE-NODEPORTS',
  '-A KUBE-SERVICES -d 10.96.0.7/32 -p tcp -m comment --comment "-m tcp --dport 9 -j KUBE-SVC-X" -m tcp --dport 80 -j KUBE-MARK-MASQ',
];

describe('rules of services', () => {
  it('are read from the usual text as tokenising reads them', () => {
    const told: number[] = [];
    const read = serviceRules(chainOf(usual, told));
    expect(told).toEqual([]);
    expect(read).toHaveLength(usual.length);
    // a blank at the end is no longer the usual form
    const tokenised = serviceRules(chainOf(usual.map((text) => `${text} `)));
    expect(read).toEqual(tokenised);
    expect(read[0]).toEqual({
      index: 0,
      address: '10.96.0.1',
      proto: 'tcp',
      port: 443,
      comment: 'default/kubernetes:https cluster IP',
      chain: 'KUBE-SVC-NPX46M4PTMTKRN6Y',
    } satisfies ServiceRule);
  });

  it('are tokenised where they are not usual, and nothing else is one', () => {
    const read = serviceRules(chainOf(odd));
    expect(read.map(({ index, proto, port, comment }) => [index, proto, port, comment])).toEqual([
      [0, 'tcp', 80, 'a "b" cluster IP'],
      [2, null, null, 'x'],
      [3, null, 80, null],
    ]);
  });

  it('are read once for nodes that share them', () => {
    expect(serviceRules(chainOf(usual))).toBe(serviceRules(chainOf(usual)));
  });
});
