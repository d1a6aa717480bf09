import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-rules-missing.ts';
import { RULES } from '../../../rules/index.ts';
import { rankCauses } from '../../../src/engine/causes.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { flushed, nft, podNode } from '../forwarding/nodes.ts';

const FLANNELD = { 'cmdline/flanneld.txt': '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n' };
const node = (edit: (save: string) => string = (t) => t, files: NodeFiles['files'] = {}): NodeFiles =>
  podNode(edit, { ...FLANNELD, ...files });
const gone = (policy: 'ACCEPT' | 'DROP', nat = '') => node(() => flushed(policy, nat));
const told = (...flags: readonly string[]) =>
  node(() => flushed('DROP'), { 'cmdline/flanneld.txt': ['/opt/bin/flanneld', '--ip-masq', ...flags, ''].join('\n') });

testRule(rule, {
  finds: {
    'somebody flushed the tables, and flanneld did not write them again (flannel 1450)': {
      nodes: { a: gone('DROP') },
      expect: [
        {
          key: 'none',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^flanneld runs on a, but none of the rules that it keeps in FORWARD and POSTROUTING is there: pods on cni0/,
          cites: [
            'absent: a rule of flannel for 10.244.0.0/16',
            ':FORWARD DROP',
            'FLANNEL_IPMASQ=true',
            '/opt/bin/flanneld',
          ],
        },
      ],
    },
    'its chains are there, and nothing leads to them': {
      nodes: { a: node((t) => t.replace(/^.*-j FLANNEL-.*\n/gm, '')) },
      expect: [
        { severity: 'critical', cites: ['absent: a rule of flannel', ':FORWARD DROP', 'FLANNEL_IPMASQ', 'flanneld'] },
      ],
    },
  },
  passes: {
    'its rules are there': { nodes: { a: node() } },
    'those of before 0.21, without chains': {
      nodes: {
        a: node(() =>
          flushed('DROP', '-A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE\n').replace(
            'COMMIT',
            '-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n-A FORWARD -d 10.244.0.0/16 -j ACCEPT\nCOMMIT',
          ),
        ),
      },
    },
    'in a table of nft, with EnableNFTables': {
      nodes: {
        a: node(() => flushed('ACCEPT'), {
          'host/fw/nft.json': nft(
            { table: { family: 'ip', name: 'flannel-ipv4', handle: 3 } },
            {
              chain: {
                family: 'ip',
                table: 'flannel-ipv4',
                name: 'postrtg',
                handle: 1,
                type: 'nat',
                hook: 'postrouting',
                prio: 100,
                policy: 'accept',
              },
            },
            {
              rule: {
                family: 'ip',
                table: 'flannel-ipv4',
                chain: 'postrtg',
                handle: 2,
                expr: [
                  {
                    match: {
                      op: '==',
                      left: { payload: { protocol: 'ip', field: 'saddr' } },
                      right: { prefix: { addr: '10.244.0.0', len: 16 } },
                    },
                  },
                  { masquerade: { flags: 'fully-random' } },
                ],
              },
            },
          ),
        }),
      },
    },
  },
  notApplicable: {
    'policy ACCEPT: egress alone fails, and has its own rule': { nodes: { a: gone('ACCEPT') } },
    'somebody else translates: FORWARD alone drops, and has its own rule': {
      nodes: { a: gone('DROP', '-A POSTROUTING -o eth0 -j MASQUERADE\n') },
    },
    'flanneld keeps no rules of FORWARD (Canal)': { nodes: { a: told('--iptables-forward-rules=false') } },
    'flanneld does not masquerade': {
      nodes: {
        a: node(() => flushed('DROP'), {
          'files/run/flannel/subnet.env':
            'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
        }),
      },
    },
    'no flanneld was seen': { nodes: { a: podNode(() => flushed('DROP')) } },
  },
  unknown: {
    'the ruleset was cut': {
      nodes: {
        a: node((t) => t, { 'host/fw/iptables-save.txt': { status: 'truncated', text: flushed('DROP') } }),
      },
      because: /the rulesets were not collected whole/,
    },
  },
});

it('is the one cause of what FORWARD drops and what nobody translates', () => {
  const { findings } = judge(RULES, { a: gone('DROP') });
  const byId = new Map(findings.map((f) => [f.id, f.rule]));
  expect(findings.map((f) => f.rule)).toEqual(
    expect.arrayContaining(['forward-drops-pod-traffic', 'egress-masquerade-missing']),
  );
  expect(rankCauses(findings, RULES).map((c) => byId.get(c.finding))).toEqual([rule.id]);
});
