import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/published-port-blocked-for-containers.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode, flushed } from '../forwarding/nodes.ts';

const DOCKERD: Files = {
  'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
  'files/etc/docker/daemon.json': { status: 'absent' },
  'docker/version.json': '{"Server":{"Version":"20.10.24"}}\n',
};
const container = (name: string, ip: string, port: string | null = null) =>
  `${JSON.stringify({
    Id: Buffer.from(name).toString('hex').padEnd(64, '0'),
    Name: `/${name}`,
    State: { Pid: 4242, Status: 'running', StartedAt: '2026-11-20T08:00:00.4Z' },
    RestartCount: 0,
    NetworkSettings: {
      Ports: port === null ? {} : { '9000/tcp': [{ HostIp: '0.0.0.0', HostPort: port }] },
      Networks: { bridge: { IPAddress: ip } },
    },
  })}\n`;
const WEB = container('web', '172.17.0.2', '9001');
const CLIENT = container('client', '172.17.0.3');
const node = (save: string, containers = WEB + CLIENT, files: Files = {}): { a: NodeFiles } => ({
  a: dockerNode(save, [DOCKER0], { ...DOCKERD, 'docker/containers.jsonl': containers, ...files }),
});
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});
const input = (...rules: string[]) => rules.map((r) => `[0:0] -A INPUT ${r}\n`).join('');
const FIRST = '[0:0] -A FORWARD -j DOCKER-USER\n';
/** A host firewall that knows the network card alone. */
const SHUT = DOCKER_SAVE.replace(':INPUT ACCEPT', ':INPUT DROP').replace(
  FIRST,
  `${input('-i lo -j ACCEPT', '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', '-p tcp -m tcp --dport 22 -j ACCEPT')}${FIRST}`,
);
/** The mistake of moby 27817 and ufw-docker 53: 172.17.0.2 is not inside 172.16.0.0/16. */
const NEARLY = SHUT.replace(FIRST, `${input('-s 172.16.0.0/16 -p tcp -m tcp --dport 9001 -j ACCEPT')}${FIRST}`);
const OPEN = SHUT.replace(FIRST, `${input('-s 172.17.0.0/16 -j ACCEPT')}${FIRST}`);
const UFW = SHUT.replace(':DOCKER - [0:0]\n', ':ufw-before-input - [0:0]\n:ufw-user-input - [0:0]\n$&');

/** So many containers that each publish a port, from 9001 on. */
const many = (count: number) =>
  Array.from({ length: count }, (_, i) => container(`web${i}`, `172.17.0.${i + 10}`, String(9001 + i))).join('') +
  CLIENT;
const led = (count: number) =>
  Array.from(
    { length: count },
    (_, i) =>
      `[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport ${9001 + i} -j DNAT --to-destination 172.17.0.${i + 10}:9000\n`,
  ).join('');
const LED = /^\[0:0\] -A DOCKER ! -i docker0 -p tcp .* -j DNAT .*\n/m;

testRule(rule, {
  finds: {
    'only the last of many ports': {
      nodes: node(
        DOCKER_SAVE.replace(LED, led(12)).replace(
          FIRST,
          `${input('-i docker0 -p tcp -m tcp --dport 9012 -j DROP')}${FIRST}`,
        ),
        many(12),
      ),
      expect: [
        { message: /cannot use port 9012\/tcp of container web11/, cites: ['--dport 9012 -j DROP', '/web11', ':9000'] },
      ],
    },
    'INPUT drops what containers send to the node': {
      nodes: node(SHUT),
      expect: [
        {
          key: 'docker0 policy DROP of INPUT',
          severity: 'medium',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^Containers of docker0 on a cannot use port 9001\/tcp of container web by the node’s address \(172\.17\.0\.3 -> 192\.0\.2\.10:9001\): they come in by INPUT, where policy DROP of INPUT in filter\/INPUT drops them; other machines are led past it$/,
          cites: [':INPUT DROP', '"Name":"/web"', '--dport 9001 -j DNAT --to-destination 172.17.0.2:9000'],
        },
      ],
    },
    'the rule that should let them in has another range': {
      nodes: node(NEARLY),
      expect: [{ severity: 'medium', cites: [':INPUT DROP', '"Name":"/web"', '--to-destination 172.17.0.2:9000'] }],
    },
    'a rule for the bridge': {
      nodes: node(
        DOCKER_SAVE.replace(FIRST, `${input('-i docker0 -j REJECT --reject-with icmp-port-unreachable')}${FIRST}`),
      ),
      expect: [{ cites: ['-A INPUT -i docker0 -j REJECT', '"Name":"/web"', '--to-destination 172.17.0.2:9000'] }],
    },
    'the only container is the one that publishes': {
      nodes: node(SHUT, WEB),
      expect: [{ severity: 'low', cites: [':INPUT DROP', '"Name":"/web"', '--to-destination'] }],
    },
  },
  passes: {
    'INPUT accepts': { nodes: node(DOCKER_SAVE) },
    'it lets the range of the bridge in': { nodes: node(OPEN) },
    'it drops other ports': {
      nodes: node(DOCKER_SAVE.replace(FIRST, `${input('-i docker0 -p tcp -m tcp --dport 22 -j DROP')}${FIRST}`)),
    },
    'without docker-proxy containers are led to the container at once': {
      nodes: node(
        SHUT.replace('[0:0] -A DOCKER -i docker0 -j RETURN\n', '').replace('DOCKER ! -i docker0 -p', 'DOCKER -p'),
      ),
    },
    'nobody is let in: another rule’s': { nodes: node(SHUT.replace(/.*DNAT.*\n/, '')) },
  },
  notApplicable: {
    'no port is published': { nodes: node(SHUT, CLIENT) },
    'dockerd does not run': {
      nodes: node(SHUT, WEB, {
        'cmdline/dockerd.txt': { status: 'skipped', reason: 'no process dockerd' },
        'docker/network-inspect.json': '[]\n',
      }),
    },
  },
  unknown: {
    'more ports than are asked about': {
      nodes: node(DOCKER_SAVE.replace(LED, led(220)), many(220)),
      because: /^20 of 220 pairs of a published port and a network were not asked about/,
    },
    'containers were not collected': {
      nodes: without(node(SHUT), 'docker/containers.jsonl'),
      because: /which ports are published: docker\.containers/,
    },
    'the rules were not collected': {
      nodes: node(SHUT, WEB + CLIENT, {
        'host/fw/iptables-save.txt': { status: 'timeout' },
        'host/fw/nft.json': { status: 'timeout' },
      }),
      because: /whether containers of docker0 may use published port 9001\/tcp: /,
    },
    'the node’s routes were not collected': {
      nodes: without(node(SHUT), 'host/ip/route4.txt'),
      because: /the node’s address is not known/,
    },
  },
});

describe('what opens it', () => {
  const run = (save: string) => judge([rule], node(save)).findings[0]?.remediation?.[1];
  it('by the ruleset that drops it', () => {
    expect(run(SHUT)).toMatchObject({
      run: 'iptables -I INPUT -i docker0 -p tcp --dport 9001 -j ACCEPT',
      undo: 'iptables -D INPUT -i docker0 -p tcp --dport 9001 -j ACCEPT',
    });
  });
  it('by ufw where it is ufw’s', () => {
    expect(run(UFW)?.run).toBe('ufw allow in on docker0 to any port 9001 proto tcp');
    expect(run(UFW)?.undo).toBe('ufw delete allow in on docker0 to any port 9001 proto tcp');
  });
  it('a flushed nat table is not its business', () => {
    expect(judge([rule], node(flushed('DROP').replace(':INPUT ACCEPT', ':INPUT DROP'))).findings).toEqual([]);
  });
});
