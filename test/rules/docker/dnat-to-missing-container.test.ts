import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/dnat-to-missing-container.ts';
import { rule as missing } from '../../../rules/docker/docker-rules-missing.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode, podAddr } from '../forwarding/nodes.ts';

const DOCKERD: Files = {
  'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
  'files/etc/docker/daemon.json': { status: 'absent' },
  'docker/version.json': '{"Server":{"Version":"20.10.24"}}\n',
};
interface Spec {
  readonly name?: string;
  readonly ip?: string;
  readonly port?: string;
  readonly status?: string;
  readonly finishedAt?: string;
}
const container = ({
  name = 'web',
  ip = '172.17.0.2',
  port = '9001',
  status = 'running',
  finishedAt = '0001-01-01T00:00:00Z',
}: Spec) => {
  const bound = { '9000/tcp': [{ HostIp: '0.0.0.0', HostPort: port }] };
  return `${JSON.stringify({
    Id: Buffer.from(name).toString('hex').padEnd(64, '0'),
    Name: `/${name}`,
    State: {
      Pid: status === 'running' ? 4242 : 0,
      Status: status,
      StartedAt: '2026-11-20T08:00:00.4Z',
      FinishedAt: finishedAt,
    },
    RestartCount: 0,
    HostConfig: { PortBindings: { '9000/tcp': [{ HostIp: '', HostPort: port }] } },
    NetworkSettings: {
      Ports: status === 'running' ? bound : {},
      Networks: { bridge: { IPAddress: status === 'running' ? ip : '' } },
    },
  })}\n`;
};
const node = (save: string, containers: readonly Spec[] = [{}], files: Files = {}): { a: NodeFiles } => ({
  a: dockerNode(save, [DOCKER0], {
    ...DOCKERD,
    'docker/containers.jsonl': containers.map(container).join(''),
    ...files,
  }),
});
const STALE = '[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 9001 -j DNAT --to-destination 172.17.0.9:9000\n';
/** A rule of a container that is gone, in front of web's. */
const before = (stale: string) => DOCKER_SAVE.replace('[0:0] -A DOCKER -i docker0 -j RETURN\n', `$&${stale}`);
/** `iptables -t nat -A PREROUTING -p tcp --dport 8443 -j DNAT --to-destination` */
const byHand = (target: string) =>
  DOCKER_SAVE.replace(
    '[0:0] -A PREROUTING ',
    `[0:0] -A PREROUTING -p tcp -m tcp --dport 8443 -j DNAT --to-destination ${target}\n$&`,
  );
const OTHER = STALE.replace('9001', '9005');
const listener = {
  'host/sock/ss-listen.txt':
    'tcp   LISTEN 0      4096      0.0.0.0:9005       0.0.0.0:*    users:(("nginx",pid=900,fd=4)) ino:2 sk:2 cgroup:/ <->\n',
};
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});
/** What the CNI plugin portmap 1.1 writes for a pod's hostPort. */
const portmap = (ip: string) => `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-DN-2b8bb1c8e9b1c5dd6d7b4 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
[0:0] -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
[0:0] -A CNI-DN-2b8bb1c8e9b1c5dd6d7b4 -s 10.244.1.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
[0:0] -A CNI-DN-2b8bb1c8e9b1c5dd6d7b4 -p tcp -m tcp --dport 8080 -j DNAT --to-destination ${ip}:80
[0:0] -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"4f1a\\"" -m multiport --dports 8080 -j CNI-DN-2b8bb1c8e9b1c5dd6d7b4
[0:0] -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
COMMIT
`;
/** One pod, 10.244.1.10, whose other end is veth0a. */
const pods = (ip: string, files: Files = {}): { a: NodeFiles } => {
  const { files: all } = dockerNode(portmap(ip), [
    { name: 'cbr0', bridge: 'cni0', subnet: '10.244.1.0/24', gateway: '10.244.1.1' },
  ]);
  const inner = podAddr('10.244.1.10').replace('"ifindex":2,"link_index":5', '"ifindex":4,"link_index":11');
  const file = {
    'docker/network-inspect.json': { status: 'skipped', reason: 'dockerd does not run, asking could start it' },
    'netns/4026532001/addr.json': inner,
  } as const;
  return { a: { files: { ...all, ...file, ...files } } };
};

testRule(rule, {
  finds: {
    'a rule of a container that is gone takes the port of one that runs': {
      nodes: node(before(STALE)),
      expect: [
        {
          key: '9001/tcp 172.17.0.9:9000',
          severity: 'high',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /^9001\/tcp on a is led to 172\.17\.0\.9:9000, which no container there has: container web \(172\.17\.0\.2\) publishes it, and gets no packets/,
          cites: [
            '--to-destination 172.17.0.9:9000',
            'inet 172.17.0.1/16',
            'absent: a running container with 172.17.0.9',
          ],
        },
      ],
    },
    'of a program of the node': {
      nodes: node(before(OTHER), [{}], listener),
      expect: [
        {
          severity: 'high',
          message: /nginx of the node listens on it/,
          cites: ['--dport 9005', 'inet 172.17.0.1', 'absent'],
        },
      ],
    },
    'that nobody wants': {
      nodes: node(before(OTHER)),
      expect: [
        {
          severity: 'medium',
          message: /whoever uses the port next/,
          cites: ['--dport 9005', 'inet 172.17.0.1', 'absent'],
        },
      ],
    },
    'its container ended long ago': {
      nodes: node(before(OTHER), [
        {},
        { name: 'old', port: '9005', status: 'exited', finishedAt: '2026-11-23T04:05:06Z' },
      ]),
      expect: [{ severity: 'medium', cites: ['--dport 9005', 'inet 172.17.0.1', 'absent'] }],
    },
    'by hand in PREROUTING, for a container that has another address now': {
      nodes: node(byHand('172.17.0.9:9000')),
      expect: [
        {
          key: '8443/tcp 172.17.0.9:9000',
          severity: 'high',
          message: /: the rule was written by hand, and its clients get no answer$/,
          cites: ['-A PREROUTING -p tcp -m tcp --dport 8443', 'inet 172.17.0.1', 'absent'],
        },
      ],
    },
    'a pod’s hostPort: all ends of cni0 are known': {
      nodes: pods('10.244.1.66'),
      expect: [
        {
          key: '8080/tcp 10.244.1.66:80',
          severity: 'medium',
          confidence: 'proven',
          cites: ['--to-destination 10.244.1.66:80', 'inet 10.244.1.1/24'],
        },
      ],
    },
  },
  passes: {
    'the container is there': { nodes: node(DOCKER_SAVE) },
    'the pod is there': { nodes: pods('10.244.1.10') },
    'by hand, to a container that is there': { nodes: node(byHand('172.17.0.2:9000')) },
    'by hand, to another machine': { nodes: node(byHand('192.168.122.50:443')) },
    'by hand, behind a rule that takes the port': {
      nodes: node(
        byHand('172.17.0.2:9000').replace(/(.*--dport 8443 .*)172\.17\.0\.2:9000\n/, '$&$1172.17.0.9:9000\n'),
      ),
    },
    'a stale rule behind the good one': {
      nodes: node(DOCKER_SAVE.replace('172.17.0.2:9000\n', `172.17.0.2:9000\n${STALE}`)),
    },
  },
  notApplicable: {
    'no port is published': { nodes: node(DOCKER_SAVE.replace(/.*DNAT.*\n/, '')) },
    'it leads to another machine': { nodes: node(DOCKER_SAVE.replace('172.17.0.2:9000', '192.0.2.77:9000')) },
  },
  unknown: {
    'containers were not collected': {
      nodes: without(node(before(STALE)), 'docker/containers.jsonl'),
      because:
        /whether a container has 172\.17\.0\.9:9000: which addresses containers on docker0 have was not collected whole/,
    },
    'its container ended, nobody knows when': {
      nodes: node(before(OTHER), [
        {},
        { name: 'old', port: '9005', status: 'exited', finishedAt: '2026-11-24T10:00:02Z' },
      ]),
      because: /container old, which published it, is exited, perhaps since the rules were read/,
    },
    'it is restarting': {
      nodes: node(before(OTHER), [
        {},
        { name: 'old', port: '9005', status: 'restarting', finishedAt: '2026-11-24T10:00:01Z' },
      ]),
      because: /is restarting/,
    },
    'a pod whose namespace was not collected': {
      nodes: without(pods('10.244.1.66'), 'netns/4026532001/addr.json'),
      because: /which addresses containers on cni0 have was not collected whole/,
    },
  },
});

describe('what mends it', () => {
  it('deletes the very rule, and puts it back where it was', () => {
    const [first, second] = judge([rule], node(before(STALE))).findings[0]?.remediation ?? [];
    const spec = '! -i docker0 -p tcp -m tcp --dport 9001 -j DNAT --to-destination 172.17.0.9:9000';
    expect(first?.run).toBe(`iptables -t nat -D DOCKER ${spec}`);
    expect(first?.undo).toBe(`iptables -t nat -I DOCKER 2 ${spec}`);
    expect(second?.run).toBe('systemctl restart docker');
  });
  it('hangs under docker-rules-missing where the container’s own rule is gone too', () => {
    const { causes, findings } = judge([rule, missing], node(DOCKER_SAVE.replaceAll('172.17.0.2', '172.17.0.9')));
    const first = findings.find((f) => f.id === causes[0]?.finding);
    expect(first?.rule).toBe('docker-rules-missing');
    const mine = findings.find((f) => f.rule === 'dnat-to-missing-container');
    expect(causes.flatMap((c) => c.explains)).toContain(mine?.id);
  });
});
