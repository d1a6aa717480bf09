import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/collection/bundle-incomplete.ts';
import { rule as forwarding } from '../../../rules/forwarding/ip-forward-disabled.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, testRule } from '../../support/rule-table.ts';

testRule(rule, {
  finds: {
    'a timeout': {
      nodes: {
        a: { files: { 'host/sys/uname.txt': 'Linux\n', 'docker/info.txt': { status: 'timeout', reason: '20 s' } } },
      },
      expect: [
        {
          key: 'items',
          severity: 'info',
          message: /1 of 2 evidence items did not come whole \(docker\.info timeout\)/,
          cites: ['absent: the file itself (timeout: 20 s)'],
        },
      ],
    },
    'a cut upload': {
      nodes: { a: { files: { 'host/sys/uname.txt': 'Linux\n' }, info: { complete: false } } },
      expect: [{ key: 'partial', severity: 'medium', cites: ['absent: a complete manifest'] }],
    },
    'taken inside a container': {
      nodes: {
        a: {
          files: { 'host/sys/uname.txt': 'Linux\n' },
          info: { context: { uid: 0, netns: '4026532001', pid1netns: '4026531840', mode: 'container' } },
        },
      },
      expect: [
        {
          key: 'context',
          severity: 'medium',
          message: /4026532001, not in that of process 1 \(4026531840\)/,
          cites: ['absent: the host’s own'],
        },
      ],
    },
  },
  passes: {
    'items that the node does not have are no gap': {
      nodes: {
        a: {
          files: {
            'host/sys/uname.txt': 'Linux\n',
            'docker/info.txt': { status: 'skipped', reason: 'dockerd does not run' },
            'files/etc/docker/daemon.json': { status: 'absent' },
          },
        },
      },
    },
  },
});

describe('with rules that could not decide', () => {
  it('weighs more when a critical rule needed the item, and names the rules', () => {
    const files = { ...overlayNode({ n: 1, peers: [2] }).files, 'host/sys/sysctl.txt': { status: 'denied' as const } };
    const result = judge([forwarding, rule], { a: { files } });
    const [finding] = result.findings;
    expect(finding?.severity).toBe('medium');
    expect(finding?.message).toContain('1 rule could not decide (ip-forward-disabled)');
  });
});
