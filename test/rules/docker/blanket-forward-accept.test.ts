import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/blanket-forward-accept.ts';
import { rule as missing } from '../../../rules/docker/docker-rules-missing.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, type DockerNetworkSpec, dockerNode, podNode } from '../forwarding/nodes.ts';

const FILES: Files = {
  'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
  'files/etc/docker/daemon.json': { status: 'absent' },
  'docker/version.json': '{"Server":{"Version":"20.10.24"}}\n',
};
const node = (
  save: string,
  files: Files = {},
  networks: readonly DockerNetworkSpec[] = [DOCKER0],
): { a: NodeFiles } => ({
  a: dockerNode(save, networks, { ...FILES, ...files }),
});
const FIRST = '[0:0] -A FORWARD -j DOCKER-USER\n';
/** `iptables -I FORWARD -s 0.0.0.0/0 -j ACCEPT`, as iptables-save prints it (V67). */
const inFront = (...rules: string[]) =>
  DOCKER_SAVE.replace(FIRST, `${rules.map((r) => `[0:0] -A ${r}\n`).join('')}${FIRST}`);
const UNIT = `# /etc/systemd/system/docker.service
[Service]
ExecStart=/usr/bin/dockerd
ExecStartPost=/sbin/iptables -I FORWARD -s 0.0.0.0/0 -j ACCEPT
`;

testRule(rule, {
  finds: {
    'in front of all (V43)': {
      nodes: node(inFront('FORWARD -j ACCEPT')),
      expect: [
        {
          key: '-A FORWARD -j ACCEPT',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^"-A FORWARD -j ACCEPT" on a lets every forwarded packet through: none comes to DOCKER-USER, DOCKER-ISOLATION-STAGE-1 behind it/,
          cites: ['-A FORWARD -j ACCEPT', '-A FORWARD -j DOCKER-USER', '-A FORWARD -j DOCKER-ISOLATION-STAGE-1'],
        },
      ],
    },
    'written by docker’s unit at each start': {
      nodes: node(inFront('FORWARD -j ACCEPT', 'FORWARD -j ACCEPT', 'FORWARD -m comment --comment "ours" -j ACCEPT'), {
        'systemd/docker.txt': UNIT,
      }),
      expect: [
        {
          message: /through \(2 times\): .*; docker’s unit writes it at each start$/,
          cites: ['-A FORWARD -j ACCEPT', '-j DOCKER-USER', '-j DOCKER-ISOLATION', 'ExecStartPost=/sbin/iptables'],
        },
      ],
    },
    'with a comment alone': {
      nodes: node(inFront('FORWARD -m comment --comment "k8s, do not -j DROP" -j ACCEPT')),
      expect: [
        { severity: 'high', cites: ['--comment "k8s, do not -j DROP" -j ACCEPT', '-j DOCKER-USER', '-j DOCKER-ISO'] },
      ],
    },
    'what lets every new connection through': {
      nodes: node(inFront('FORWARD -m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT')),
      expect: [
        {
          message: /^"-A FORWARD .* -j ACCEPT" on a lets every new connection through: none comes to DOCKER-USER/,
          cites: ['--ctstate NEW,RELATED,ESTABLISHED -j ACCEPT', '-j DOCKER-USER', '-j DOCKER-ISO'],
        },
      ],
    },
    'in a chain that all packets go through, DOCKER-USER itself': {
      nodes: node(DOCKER_SAVE.replace('-A DOCKER-USER -j RETURN', '-A DOCKER-USER -j ACCEPT')),
      expect: [
        {
          key: '-A DOCKER-USER -j ACCEPT',
          message: /none comes to DOCKER-ISOLATION-STAGE-1 behind it/,
          cites: ['-A DOCKER-USER -j ACCEPT', '-A FORWARD -j DOCKER-ISOLATION-STAGE-1'],
        },
      ],
    },
  },
  passes: {
    'Docker’s own rules': { nodes: node(DOCKER_SAVE) },
    'behind all of them it is what policy ACCEPT is': {
      nodes: node(
        DOCKER_SAVE.replace(/(.*-A FORWARD -i docker0 -o docker0 -j ACCEPT\n)/, '$1[0:0] -A FORWARD -j ACCEPT\n'),
      ),
    },
    'for some packets only': {
      nodes: node(
        inFront(
          'FORWARD -s 10.244.0.0/16 -j ACCEPT',
          'FORWARD -i tun0 -j ACCEPT',
          'FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
          'FORWARD -p tcp -m conntrack --ctstate NEW -j ACCEPT',
          'FORWARD -m conntrack ! --ctstate NEW -j ACCEPT',
        ),
      ),
    },
    'some packets leave the chain before': {
      nodes: node(
        inFront('FORWARD -j OWN', 'OWN -i eth0 -j RETURN', 'OWN -j ACCEPT').replace(
          ':DOCKER-USER - [0:0]\n',
          '$&:OWN - [0:0]\n',
        ),
      ),
    },
    'a drop of everything in front of it': {
      nodes: node(
        inFront('FORWARD -j DROP', 'FORWARD -j ACCEPT')
          .replace(FIRST, '')
          .replace('[0:0] -A FORWARD -j DROP\n', `${FIRST}[0:0] -A FORWARD -j DROP\n`),
      ),
    },
  },
  notApplicable: {
    'a router without containers': { nodes: node(inFront('FORWARD -j ACCEPT'), {}, []) },
    'flannel alone: there is nothing behind it': {
      nodes: { a: podNode((t) => t.replace('-A FORWARD', '-A FORWARD -j ACCEPT\n-A FORWARD')) },
    },
  },
  unknown: {
    'whether there are containers was not collected': {
      nodes: { a: { files: { 'host/fw/iptables-save.txt': inFront('FORWARD -j ACCEPT') } } },
      because: /whether "-A FORWARD -j ACCEPT" opens containers: the node’s devices are not known/,
    },
    'the text was cut': {
      nodes: node('', { 'host/fw/iptables-save.txt': { status: 'truncated', text: DOCKER_SAVE.slice(0, 420) } }),
      because: /whether FORWARD accepts everything: host\/fw\/iptables-save\.txt was not collected whole/,
    },
  },
});

describe('the rule in front is the cause', () => {
  it('of rules of Docker’s that packets do not come to', () => {
    const { causes, findings } = judge([missing, rule], node(inFront('FORWARD -j ACCEPT')));
    expect(findings.map((f) => f.rule).sort()).toEqual(['blanket-forward-accept', 'docker-rules-missing']);
    expect(causes).toHaveLength(1);
    expect(findings.find((f) => f.id === causes[0]?.finding)?.rule).toBe('blanket-forward-accept');
  });
  it('is deleted, after what flannel needs is let through', () => {
    const steps = (files: Files = {}) =>
      judge([rule], node(inFront('FORWARD -j ACCEPT'), files)).findings[0]?.remediation ?? [];
    expect(steps()[0]).toMatchObject({ run: 'iptables -D FORWARD -j ACCEPT', undo: 'iptables -I FORWARD -j ACCEPT' });
    const [first] = steps({
      'files/run/flannel/subnet.env': 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n',
    });
    expect(first?.run).toBe(
      'iptables -I DOCKER-USER -s 10.244.0.0/16 -j ACCEPT; iptables -I DOCKER-USER -d 10.244.0.0/16 -j ACCEPT',
    );
  });
});
