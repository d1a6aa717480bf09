import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/loopback-publish-broken.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode } from '../forwarding/nodes.ts';

const DOCKERD: Files = {
  'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
  'docker/version.json': '{"Server":{"Version":"20.10.24"}}\n',
};
const container = (hostIp = '0.0.0.0', startedAt = '2026-11-20T08:00:00.4Z') =>
  `${JSON.stringify({
    Id: 'web'.padEnd(64, '0'),
    Name: '/web',
    State: { Pid: 4242, Status: 'running', StartedAt: startedAt },
    RestartCount: 0,
    NetworkSettings: {
      Ports: { '9000/tcp': [{ HostIp: hostIp, HostPort: '9001' }] },
      Networks: { bridge: { IPAddress: '172.17.0.2' } },
    },
  })}\n`;
const socket = (address: string, process: string | null) =>
  `tcp   LISTEN 0      4096      ${address}:9001       0.0.0.0:*${process === null ? '' : `    users:(("${process}",pid=900,fd=4))`} ino:2 sk:2 cgroup:/ <->\n`;
const SSHD =
  'tcp   LISTEN 0      128       0.0.0.0:22       0.0.0.0:*    users:(("sshd",pid=1,fd=3)) ino:1 sk:1 cgroup:/ <->\n';
/** As dockerd 20.10 writes it with userland-proxy=false. */
const BARE = DOCKER_SAVE.replace('OUTPUT ! -d 127.0.0.0/8 -m', 'OUTPUT -m')
  .replace('[0:0] -A DOCKER -i docker0 -j RETURN\n', '')
  .replace('DOCKER ! -i docker0 -p', 'DOCKER -p')
  .replace('[0:0] -A POSTROUTING -s', '[0:0] -A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE\n$&');
const NO_PROXY: Files = { 'files/etc/docker/daemon.json': '{\n  "userland-proxy": false\n}\n' };
const localnet = (docker0: number, all = 0) => ({
  'host/sys/sysctl.txt': `net/ipv4/ip_forward:1\nnet/ipv4/conf/all/route_localnet:${all}\nnet/ipv4/conf/docker0/route_localnet:${docker0}\n`,
});
const node = (sockets: string | null, files: Files = {}, save = DOCKER_SAVE): { a: NodeFiles } => ({
  a: dockerNode(save, [DOCKER0], {
    ...DOCKERD,
    'files/etc/docker/daemon.json': { status: 'absent' },
    'docker/containers.jsonl': container(),
    ...(sockets === null ? {} : { 'host/sock/ss-listen.txt': sockets }),
    ...files,
  }),
});
const bare = (files: Files, save = BARE) => node(SSHD + socket('0.0.0.0', 'dockerd'), { ...NO_PROXY, ...files }, save);
const LED = '--dport 9001 -j DNAT --to-destination 172.17.0.2:9000';

testRule(rule, {
  finds: {
    'its proxy died': {
      nodes: node(SSHD),
      expect: [
        {
          key: '127.0.0.1:9001/tcp nobody',
          severity: 'medium',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /^Port 9001\/tcp of container web does not answer on 127\.0\.0\.1 of a, though other machines may reach it: no docker-proxy listens there, and no rule of nat OUTPUT leads/,
          cites: ['"Name":"/web"', 'absent: docker-proxy on 9001/tcp'],
        },
      ],
    },
    'dockerd alone keeps the port': {
      nodes: node(SSHD + socket('0.0.0.0', 'dockerd'), NO_PROXY),
      expect: [{ severity: 'medium', cites: ['"Name":"/web"', 'absent: docker-proxy on 9001/tcp'] }],
    },
    'of a port on loopback alone': {
      nodes: node(SSHD, { 'docker/containers.jsonl': container('127.0.0.1') }),
      expect: [
        {
          severity: 'high',
          message: /of a, the only address that it is published on: no docker-proxy/,
          cites: ['"Name":"/web"', 'absent: docker-proxy on 9001/tcp'],
        },
      ],
    },
    'route_localnet of the bridge is off': {
      nodes: bare(localnet(0)),
      expect: [
        {
          key: '127.0.0.1:9001/tcp route_localnet',
          severity: 'medium',
          confidence: 'proven',
          message: /net\.ipv4\.conf\.docker0\.route_localnet is 0: nothing with a loopback source leaves by docker0$/,
          cites: ['"Name":"/web"', LED, 'net/ipv4/conf/docker0/route_localnet:0'],
        },
      ],
    },
    'nothing translates the source': {
      nodes: bare(localnet(1), BARE.replace(/.*--src-type LOCAL.*\n/, '')),
      expect: [
        {
          key: '127.0.0.1:9001/tcp source',
          message: /with the source 127\.0\.0\.1, which no rule translates/,
          cites: ['"Name":"/web"', LED, 'net/ipv4/conf/docker0/route_localnet:1'],
        },
      ],
    },
  },
  passes: {
    'docker-proxy listens': { nodes: node(socket('0.0.0.0', 'docker-proxy')) },
    'on loopback alone': {
      nodes: node(socket('127.0.0.1', 'docker-proxy'), { 'docker/containers.jsonl': container('127.0.0.1') }),
    },
    'by IPv6 and IPv4 at once': { nodes: node(socket('*', 'docker-proxy')) },
    'the node translates it itself': { nodes: bare(localnet(1)) },
    'route_localnet of all is enough': { nodes: bare(localnet(0, 1)) },
    'another program answers there: not this rule’s': { nodes: node(socket('127.0.0.1', 'nginx')) },
  },
  notApplicable: {
    'published on another address': {
      nodes: node(socket('192.0.2.10', 'docker-proxy'), { 'docker/containers.jsonl': container('192.0.2.10') }),
    },
    'iptables=false': { nodes: node(SSHD, { 'files/etc/docker/daemon.json': '{ "iptables": false }\n' }) },
    'dockerd does not run': {
      nodes: node(SSHD, { 'cmdline/dockerd.txt': { status: 'skipped', reason: 'no process dockerd' } }),
    },
  },
  unknown: {
    'sockets were not collected': {
      nodes: node(null),
      because: /no rule leads it there, and whether docker-proxy listens was not collected whole/,
    },
    'who listens was not told': { nodes: node(socket('0.0.0.0', null)), because: /which takes root/ },
    'its settings were not collected': {
      nodes: bare({ 'host/sys/sysctl.txt': { status: 'timeout' } }),
      because: /whether a source of 127\.0\.0\.0\/8 may leave by docker0 or is translated there is not known/,
    },
    'a container that was just started': {
      nodes: node(SSHD, { 'docker/containers.jsonl': container('0.0.0.0', '2026-11-24T10:00:02Z') }),
      because: /it was started at .*, perhaps after the sockets were read/,
    },
    'containers were not collected': {
      nodes: node(SSHD, { 'docker/containers.jsonl': { status: 'timeout' } }),
      because: /which ports are published/,
    },
  },
});

describe('what mends it', () => {
  it('starts the proxy, or sets what is missing', () => {
    const run = (nodes: { a: NodeFiles }) => judge([rule], nodes).findings[0]?.remediation?.map((s) => s.run);
    expect(run(node(SSHD))).toEqual(['docker restart web', 'systemctl restart docker']);
    expect(run(bare(localnet(0)))).toEqual(['sysctl -w net.ipv4.conf.docker0.route_localnet=1']);
    expect(run(bare(localnet(1), BARE.replace(/.*--src-type LOCAL.*\n/, '')))).toEqual(['systemctl restart docker']);
  });
});
