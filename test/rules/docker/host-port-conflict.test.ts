import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/host-port-conflict.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode } from '../forwarding/nodes.ts';

/** `docker inspect` by the collector's allowlist. */
const container = (name: string, port: string, state: Readonly<Record<string, unknown>> = {}) =>
  `${JSON.stringify({
    Id: Buffer.from(name).toString('hex').padEnd(64, '0'),
    Name: `/${name}`,
    State: {
      Pid: 4242,
      Status: 'running',
      StartedAt: '2026-11-20T08:00:00.4Z',
      FinishedAt: NEVER,
      Error: '',
      ...state,
    },
    RestartCount: 0,
    HostConfig: { PortBindings: { '9000/tcp': [{ HostIp: '', HostPort: port }] } },
    NetworkSettings: {
      Ports: state['Status'] === undefined ? { '9000/tcp': [{ HostIp: '0.0.0.0', HostPort: port }] } : {},
      Networks: { bridge: { IPAddress: state['Status'] === undefined ? '172.17.0.2' : '' } },
    },
  })}\n`;
const NEVER = '0001-01-01T00:00:00Z';
/** What dockerd 20.10 says. */
const BOUND =
  'driver failed programming external connectivity on endpoint bad (c3b5251448ddb4af): Error starting userland proxy: listen tcp4 0.0.0.0:9005: bind: address already in use';
const ALLOCATED =
  'driver failed programming external connectivity on endpoint bad (376125be085910f4): Bind for 0.0.0.0:9001 failed: port is already allocated';
const socket = (address: string, process: string | null, proto = 'tcp') =>
  `${proto}   ${proto === 'tcp' ? 'LISTEN' : 'UNCONN'} 0      4096      ${address}       0.0.0.0:*${process === null ? '' : `    users:(("${process}",pid=900,fd=4))`} ino:2 sk:2 cgroup:/ <->\n`;
const PROXY = socket('0.0.0.0:9001', 'docker-proxy');

/** kube-proxy's NodePort 30080 of default/web, with one backend on another node; in front of Docker's. */
const nodePort = (port: number, proto = 'tcp') => `:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-LOLE4ISW44XBNF3G - [0:0]
:KUBE-SVC-LOLE4ISW44XBNF3G - [0:0]
:KUBE-SEP-GJL2QXVJL7GA2JXN - [0:0]
[0:0] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
[0:0] -A KUBE-NODEPORTS -p ${proto} -m comment --comment "default/web:http" -m ${proto} --dport ${port} -j KUBE-EXT-LOLE4ISW44XBNF3G
[0:0] -A KUBE-EXT-LOLE4ISW44XBNF3G -j KUBE-SVC-LOLE4ISW44XBNF3G
[0:0] -A KUBE-SVC-LOLE4ISW44XBNF3G -m comment --comment "default/web:http -> 10.244.2.10:80" -j KUBE-SEP-GJL2QXVJL7GA2JXN
[0:0] -A KUBE-SEP-GJL2QXVJL7GA2JXN -p ${proto} -m comment --comment "default/web:http" -m ${proto} -j DNAT --to-destination 10.244.2.10:80
`;
const withServices = (text: string) => DOCKER_SAVE.replace('[0:0] -A PREROUTING -m addrtype', `${text}$&`);
const external = (address: string, backend: string) =>
  withServices(
    nodePort(30080)
      .replace(
        '[0:0] -A KUBE-SERVICES -m comment',
        `[0:0] -A KUBE-SERVICES -d ${address}/32 -p tcp -m comment --comment "default/web:http external IP" -m tcp --dport 443 -j KUBE-EXT-LOLE4ISW44XBNF3G\n$&`,
      )
      .replaceAll('10.244.2.10:80', backend),
  );
const node = (save: string, sockets: string | null, files: Files = {}): { a: NodeFiles } => ({
  a: dockerNode(save, [DOCKER0], {
    'docker/containers.jsonl': container('web', '9001'),
    ...(sockets === null ? {} : { 'host/sock/ss-listen.txt': sockets }),
    ...files,
  }),
});
/** An interface of virtual machines, with its own resolver. */
const VIRBR = (save: string, sockets: string): { a: NodeFiles } => {
  const { files } = node(save, sockets).a;
  const addr = files['host/ip/addr.txt'] as string;
  return {
    a: {
      files: {
        ...files,
        'host/ip/addr.txt': `${addr}40: virbr0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 52:54:00:11:22:33 brd ff:ff:ff:ff:ff:ff
    inet 192.168.122.1/24 brd 192.168.122.255 scope global virbr0
       valid_lft forever preferred_lft forever
`,
        'host/ip/route4.txt': `${files['host/ip/route4.txt']}local 192.168.122.1 dev virbr0 table local proto kernel scope host src 192.168.122.1 \n`,
      },
    },
  };
};

testRule(rule, {
  finds: {
    'a program listens on a NodePort': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('0.0.0.0:30080', 'nginx')),
      expect: [
        {
          key: '30080/tcp',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^30080\/tcp on a is claimed twice: the NodePort of service default\/web:http takes what other machines send to 192\.0\.2\.10:30080, and nginx, which listens on 0\.0\.0\.0, gets nothing of it$/,
          cites: ['-A KUBE-NODEPORTS -p tcp', '0.0.0.0:30080'],
        },
      ],
    },
    'of IPv6 and IPv4 at once': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('*:30080', 'java')),
      expect: [{ message: /java, which listens/, cites: ['-A KUBE-NODEPORTS -p tcp', '*:30080'] }],
    },
    'of UDP': {
      nodes: node(withServices(nodePort(30053, 'udp')), PROXY + socket('0.0.0.0:30053', 'named', 'udp')),
      expect: [{ key: '30053/udp', cites: ['-A KUBE-NODEPORTS -p udp', '0.0.0.0:30053'] }],
    },
    'a NodePort and a published port': {
      nodes: node(withServices(nodePort(9001)), PROXY),
      expect: [
        {
          key: '9001/tcp',
          message:
            /the NodePort of service default\/web:http takes .* and container web \(172\.17\.0\.2:9000\) gets nothing/,
          cites: ['-A KUBE-NODEPORTS -p tcp', '--to-destination 172.17.0.2:9000'],
        },
      ],
    },
    'a published port in front of a NodePort': {
      nodes: node(DOCKER_SAVE.replace('[0:0] -A OUTPUT ! -d', `${nodePort(9001)}$&`), PROXY),
      expect: [
        {
          message:
            /container web \(172\.17\.0\.2:9000\) takes .* and the NodePort of service default\/web:http gets nothing/,
          cites: ['--to-destination 172.17.0.2:9000', '-A KUBE-NODEPORTS -p tcp'],
        },
      ],
    },
    'a program on one address, that of virtual machines': {
      nodes: VIRBR(withServices(nodePort(53, 'udp')), PROXY + socket('192.168.122.1:53', 'dnsmasq', 'udp')),
      expect: [
        { key: '53/udp', message: /send to 192\.168\.122\.1:53/, cites: ['KUBE-NODEPORTS', '192.168.122.1:53'] },
      ],
    },
    'a service has the node’s own address': {
      nodes: node(external('192.0.2.10', '10.244.2.10:443'), PROXY + socket('0.0.0.0:443', 'nginx')),
      expect: [
        {
          key: '443/tcp',
          message: /service default\/web:http, which has the node’s address, takes/,
          cites: ['--comment "default/web:http external IP"', '0.0.0.0:443'],
        },
      ],
    },
    'dockerd could not start a container, a program has its port': {
      nodes: node(DOCKER_SAVE, PROXY + socket('0.0.0.0:9005', 'nginx'), {
        'docker/containers.jsonl':
          container('web', '9001') +
          container('bad', '9005', { Pid: 0, Status: 'exited', Error: BOUND, FinishedAt: '2026-11-23T04:05:06Z' }),
      }),
      expect: [
        {
          key: '9005/tcp of bad',
          severity: 'high',
          message: /^Container bad on a could not be started: nginx has its port 9005\/tcp$/,
          cites: ['"Name":"/bad"', '0.0.0.0:9005'],
        },
      ],
    },
    'a try that was given up': {
      nodes: node(DOCKER_SAVE, PROXY + socket('0.0.0.0:9005', 'nginx'), {
        'docker/containers.jsonl':
          container('web', '9001') + container('bad', '9005', { Pid: 0, Status: 'created', Error: BOUND }),
      }),
      expect: [{ severity: 'medium', cites: ['"Name":"/bad"', '0.0.0.0:9005'] }],
    },
    'another container has it': {
      nodes: node(DOCKER_SAVE, PROXY, {
        'docker/containers.jsonl':
          container('web', '9001') + container('bad', '9001', { Pid: 0, Status: 'created', Error: ALLOCATED }),
      }),
      expect: [{ severity: 'low', message: /container web has its port/, cites: ['"Name":"/bad"', '"Name":"/web"'] }],
    },
  },
  passes: {
    'docker-proxy belongs to the published port': { nodes: node(DOCKER_SAVE, PROXY) },
    'dockerd keeps it where there is no proxy': { nodes: node(DOCKER_SAVE, socket('0.0.0.0:9001', 'dockerd')) },
    'an old kube-proxy keeps its NodePorts': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('*:30080', 'kube-proxy')),
    },
    'a program on loopback alone': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('127.0.0.1:30080', 'nginx')),
    },
    'of another protocol': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('0.0.0.0:30080', 'named', 'udp')),
    },
    'another address of the node': {
      nodes: node(
        DOCKER_SAVE.replace('DOCKER ! -i docker0 -p', 'DOCKER -d 192.0.2.10/32 ! -i docker0 -p'),
        socket('192.0.2.10:9001', 'docker-proxy') + socket('172.17.0.1:9001', 'nginx'),
      ),
    },
    'the program is the service’s backend': {
      nodes: node(external('192.0.2.10', '192.0.2.10:443'), PROXY + socket('0.0.0.0:443', 'nginx')),
    },
    'the service has an address of others': {
      nodes: node(external('192.0.2.77', '10.244.2.10:443'), PROXY + socket('0.0.0.0:443', 'nginx')),
    },
    'packets do not come to the rule': {
      nodes: node(
        withServices(nodePort(30080)).replace(/.*kubernetes service portals.*\n/, ''),
        PROXY + socket('0.0.0.0:30080', 'nginx'),
      ),
    },
    'a container that did not start, whose port is free by now': {
      nodes: node(DOCKER_SAVE, PROXY, {
        'docker/containers.jsonl':
          container('web', '9001') + container('bad', '9005', { Pid: 0, Status: 'created', Error: BOUND }),
      }),
    },
  },
  notApplicable: {
    'no port is led anywhere': { nodes: node(DOCKER_SAVE.replace(/.*DNAT.*\n/, ''), socket('0.0.0.0:22', 'sshd')) },
  },
  unknown: {
    'sockets were not collected': {
      nodes: node(withServices(nodePort(30080)), null),
      because: /who listens on the ports that rules lead elsewhere: sock\.ss-listen/,
    },
    'who listens was not told': {
      nodes: node(withServices(nodePort(30080)), PROXY + socket('0.0.0.0:30080', null)),
      because: /who listens on 30080\/tcp was not told, which takes root/,
    },
    'the rules were not collected': {
      nodes: node(DOCKER_SAVE, PROXY, {
        'host/fw/iptables-save.txt': { status: 'timeout' },
        'host/fw/nft.json': { status: 'timeout' },
      }),
      because: /whether ports are led to containers/,
    },
  },
});

describe('what moves them', () => {
  it('shows both, and the service by name', () => {
    const nodes = node(withServices(nodePort(30080)), PROXY + socket('0.0.0.0:30080', 'nginx'));
    const steps = judge([rule], nodes).findings[0]?.remediation ?? [];
    expect(steps.map((s) => s.run)).toEqual([
      "ss -Hlntp 'sport = :30080'; iptables -t nat -S | grep -e '--dport 30080 '",
      undefined,
      'kubectl -n default get service web -o yaml',
    ]);
    expect(steps[1]?.step).toBe('Either: let nginx listen on another port.');
  });
});
