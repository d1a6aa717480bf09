import { expect, it } from 'vitest';
import { rule } from '../../../rules/docker/docker-user-ineffective.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode, NO_NFT } from '../forwarding/nodes.ts';

const node = (save: string, files: Files = {}): { a: NodeFiles } => ({
  a: dockerNode(save, [DOCKER0], {
    'cmdline/dockerd.txt': '/usr/bin/dockerd\n-H\nfd://\n',
    'files/etc/docker/daemon.json': { status: 'absent' },
    ...files,
  }),
});
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});
const published: Files = {
  'docker/containers.jsonl': `{"Id":"${'ab'.repeat(32)}","Name":"/web","State":{"Pid":4242,"Status":"running"},"HostConfig":{"NetworkMode":"default"},"NetworkSettings":{"Ports":{"9000/tcp":[{"HostIp":"0.0.0.0","HostPort":"9001"}]},"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}\n`,
};
const OWN = '-A DOCKER-USER ! -s 192.0.2.0/24 -i eth0 -j DROP';
const GUARDED = DOCKER_SAVE.replace('[0:0] -A DOCKER-USER -j RETURN', `[0:0] ${OWN}\n$&`);
const JUMP = '[0:0] -A FORWARD -j DOCKER-USER\n';
const ORPHANED = GUARDED.replace(JUMP, '');
const ABSENT = 'absent: a jump from FORWARD to DOCKER-USER that packets come to';

testRule(rule, {
  finds: {
    'the jump is gone, and a port is published (moby 48560)': {
      nodes: node(ORPHANED, published),
      expect: [
        {
          key: 'nft',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /the 1 rule in DOCKER-USER, "-A DOCKER-USER ! -s 192\.0\.2\.0\/24 -i eth0 -j DROP" among them: FORWARD does not lead there; published are 9001\/tcp/,
          cites: [':DOCKER-USER -', OWN, ABSENT, ':FORWARD DROP'],
        },
      ],
    },
    'a rule in front accepts all that goes to containers': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -i eth0 -o docker0 -j ACCEPT\n${JUMP}`), published),
      expect: [
        {
          key: 'nft around',
          severity: 'medium',
          confidence: 'likely',
          message:
            /keeps nobody from containers on docker0 of a: "-A FORWARD -i eth0 -o docker0 -j ACCEPT" in front of it/,
          cites: [OWN, '-A FORWARD -i eth0 -o docker0 -j ACCEPT'],
        },
      ],
    },
    'nothing is published': {
      nodes: node(ORPHANED),
      expect: [{ severity: 'medium', cites: [':DOCKER-USER -', OWN, ABSENT, ':FORWARD DROP'] }],
    },
    'a rule in front accepts everything': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -j ACCEPT\n${JUMP}`), published),
      expect: [{ severity: 'high', cites: [':DOCKER-USER -', OWN, ABSENT, ':FORWARD DROP'] }],
    },
    'rules that keep nobody out': {
      nodes: node(ORPHANED.replace(OWN, '-A DOCKER-USER -i eth0 -j LOG'), published),
      expect: [{ severity: 'medium', cites: [':DOCKER-USER -', '-j LOG', ABSENT, ':FORWARD DROP'] }],
    },
    'only INPUT leads there': {
      nodes: node(ORPHANED.replace('[0:0] -A FORWARD -j DOCKER-ISO', '[0:0] -A INPUT -j DOCKER-USER\n$&'), published),
      expect: [{ severity: 'high', cites: [':DOCKER-USER -', OWN, ABSENT, ':FORWARD DROP'] }],
    },
    'appended behind the RETURN that dockerd ends the chain with': {
      nodes: node(DOCKER_SAVE.replace('-A DOCKER-USER -j RETURN', `$&\n[0:0] ${OWN}`), published),
      expect: [
        {
          key: 'nft behind',
          severity: 'high',
          confidence: 'proven',
          message:
            /comes to a rule in DOCKER-USER, "-A DOCKER-USER ! -s 192\.0\.2\.0\/24 -i eth0 -j DROP": "-A DOCKER-USER -j RETURN" in front lets them all through; published are 9001\/tcp/,
          cites: [OWN, '-A DOCKER-USER -j RETURN'],
        },
      ],
    },
    'a published port by the host’s number, which DNAT has changed by then (tried on the kernel)': {
      nodes: node(GUARDED.replace(OWN, '-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP'), published),
      expect: [
        {
          key: 'nft port',
          severity: 'high',
          confidence: 'proven',
          message: /--dport 9001 -j DROP" keeps nobody from published port 9001 of a: .* port 9000 already/,
          cites: ['-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001', '--to-destination 172.17.0.2:9000'],
        },
      ],
    },
    'another rule keeps others off that port': {
      nodes: node(GUARDED.replace(OWN, `$&\n[0:0] -A DOCKER-USER -p tcp -m tcp --dport 9001 -j DROP`)),
      expect: [{ severity: 'medium', confidence: 'likely', cites: ['--dport 9001', ':9000'] }],
    },
    'FORWARD accepts all that it is for before it leads there': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -i eth0 -m comment --comment lan -j ACCEPT\n${JUMP}`)),
      expect: [{ key: 'nft behind', severity: 'medium', cites: [OWN, '-A FORWARD -i eth0'] }],
    },
    'the rules are in legacy, the jump in nft leads to another chain of that name': {
      nodes: node(DOCKER_SAVE, {
        ...published,
        'host/fw/iptables-legacy-save.txt': ORPHANED.replaceAll('(nf_tables)', '(legacy)'),
        'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
      }),
      expect: [{ key: 'legacy', severity: 'high', cites: [':DOCKER-USER -', OWN, ABSENT, ':FORWARD DROP'] }],
    },
  },
  passes: {
    'behind RETURN is only what keeps nobody out': {
      nodes: node(GUARDED.replace('-A DOCKER-USER -j RETURN', '$&\n[0:0] -A DOCKER-USER -i eth0 -j LOG'), published),
    },
    'in front is what lets some of its packets through': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -i eth0 -o eth1 -j ACCEPT\n${JUMP}`), published),
    },
    'in front is what lets all to containers through, and none has a port for them': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -i eth0 -o docker0 -j ACCEPT\n${JUMP}`)),
    },
    'in front are only answers to containers': {
      nodes: node(
        GUARDED.replace(
          JUMP,
          `[0:0] -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n${JUMP}`,
        ),
        published,
      ),
    },
    'FORWARD leads there': { nodes: node(GUARDED, published) },
    'by a chain of somebody else, for some packets': {
      nodes: node(
        GUARDED.replace(JUMP, '[0:0] -A FORWARD -i eth0 -j OWN\n[0:0] -A OWN -j DOCKER-USER\n').replace(
          ':DOCKER-USER - [0:0]\n',
          '$&:OWN - [0:0]\n',
        ),
      ),
    },
    'a rule in front accepts some': {
      nodes: node(GUARDED.replace(JUMP, `[0:0] -A FORWARD -s 10.0.0.0/8 -j ACCEPT\n${JUMP}`)),
    },
  },
  notApplicable: {
    'only what dockerd puts there': { nodes: node(DOCKER_SAVE.replace(JUMP, '')) },
    'no such chain': { nodes: node(DOCKER_SAVE.replace(/^.*DOCKER-USER.*\n/gm, '')) },
    'nothing of Docker in what was sent': {
      nodes: without(
        node(DOCKER_SAVE.replace(/^.*DOCKER.*\n/gm, '')),
        'cmdline/dockerd.txt',
        'host/fw/iptables-legacy-save.txt',
        'host/fw/ip_tables_names.txt',
      ),
    },
    'dockerd does not run': { nodes: node(ORPHANED, { 'cmdline/dockerd.txt': { status: 'absent' } }) },
    'dockerd writes no rules': { nodes: node(ORPHANED, { 'files/etc/docker/daemon.json': '{ "iptables": false }\n' }) },
  },
  unknown: {
    'the text was cut': {
      nodes: node('', { 'host/fw/iptables-save.txt': { status: 'truncated', text: ORPHANED } }),
      because: /was not collected whole/,
    },
    'the other backend was not collected': {
      nodes: without(node(DOCKER_SAVE), 'host/fw/iptables-legacy-save.txt', 'host/fw/ip_tables_names.txt'),
      because: /the iptables-legacy tables are not known/,
    },
    'empty files that somebody sent: a command that failed leaves them too': {
      nodes: {
        a: {
          ...node('').a,
          info: { format: 'loose-files', context: { uid: null, netns: null, pid1netns: null, mode: null } },
        },
      },
      because: /host\/fw\/iptables-save\.txt is empty/,
    },
    'only nat was printed (iptables-save -t nat), and nft was not asked': {
      nodes: without(node(DOCKER_SAVE.slice(DOCKER_SAVE.lastIndexOf('# Generated by'))), 'host/fw/nft.json'),
      because: /the native nft tables are not known/,
    },
    'only nft was asked': {
      nodes: without(
        node('', {
          'host/fw/nft.json': NO_NFT.replace(
            /\]\}\n$/,
            ', {"rule": {"family": "ip", "table": "filter", "chain": "DOCKER-USER", "handle": 4, "expr": [{"drop": null}]}}]}\n',
          ),
        }),
        'host/fw/iptables-save.txt',
      ),
      because: /only as nft prints it/,
    },
  },
});

it('docker-user-ineffective: the command is for the ruleset that has the rules', () => {
  const run = (nodes: { a: NodeFiles }) => judge([rule], nodes).findings[0]?.remediation?.[0]?.run;
  expect(run(node(ORPHANED))).toBe('iptables -I FORWARD -j DOCKER-USER');
  const legacy = { 'host/fw/iptables-legacy-save.txt': ORPHANED, 'host/fw/ip_tables_names.txt': 'nat\nfilter\n' };
  expect(run(node(DOCKER_SAVE, legacy))).toBe('iptables-legacy -I FORWARD -j DOCKER-USER');
});

it('docker-user-ineffective: what stands behind RETURN is not moved one by one', () => {
  const [found] = judge([rule], node(DOCKER_SAVE.replace('-A DOCKER-USER -j RETURN', `$&\n[0:0] ${OWN}`))).findings;
  expect(found?.remediation?.[0]).toMatchObject({
    run: 'iptables -D DOCKER-USER -j RETURN && iptables -A DOCKER-USER -j RETURN',
    undo: 'iptables -D DOCKER-USER -j RETURN && iptables -I DOCKER-USER 1 -j RETURN',
  });
});

it('docker-user-ineffective: the rule by the port that the packet came for', () => {
  const step = (text: string) => {
    const [found] = judge(
      [rule],
      node(
        GUARDED.replace(OWN, () => text),
        published,
      ),
    ).findings;
    return found?.remediation?.[0];
  };
  const own = 'DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP';
  const instead = 'DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 9001 --ctdir ORIGINAL -j DROP';
  expect(step(`-A ${own}`)).toMatchObject({
    run: `iptables -I ${instead} && iptables -D ${own}`,
    undo: `iptables -I ${own} && iptables -D ${instead}`,
  });
  // a list of ports is for multiport alone, and a shell would read the comment
  expect(step('-A DOCKER-USER -p tcp -m multiport --dports 9001,9002 -j DROP')?.run).toBeUndefined();
  expect(step('-A DOCKER-USER -p tcp -m tcp --dport 9001 -m comment --comment "$(id)" -j DROP')?.run).toBeUndefined();
});
