import { rule } from '../../../rules/docker/docker-api-exposed.ts';
import { firewall, overlayNode } from '../../support/overlay-node.ts';
import type { Files } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const ss = (...lines: string[]) => `${lines.join('\n')}\n`;
const ssh =
  'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=700,fd=3)) ino:1 sk:1 cgroup:/ <->';
const api = (where: string) =>
  `tcp   LISTEN 0      4096         ${where}       0.0.0.0:*    users:(("dockerd",pid=900,fd=4)) ino:2 sk:2 cgroup:/ <->`;
const node = (files: Files) => ({ n: { files } });
/** The API on all addresses behind an INPUT that drops what these rules do not accept. */
const behind = (...rules: string[]) => ({
  n: overlayNode({
    n: 1,
    peers: [2],
    files: {
      'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2375')),
      'host/fw/nft.json': '{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]}\n',
      'host/fw/iptables-save.txt': firewall(1, (t) =>
        t
          .replace(':INPUT ACCEPT [0:0]', ':INPUT DROP [0:0]')
          .replace('[0:0] -A FORWARD -m comment', `${rules.map((r) => `[0:0] ${r}\n`).join('')}$&`),
      ),
    },
  }),
});

/** userland-proxy off: dockerd itself keeps the published port (docker 20.10, docker/55 of the incidents). */
const withoutProxy = (files: Files = {}) =>
  node({
    'cmdline/dockerd.txt': 'dockerd\n-H\nunix:///run/docker.sock\n',
    'files/etc/docker/daemon.json': '{\n  "userland-proxy": false\n}\n',
    'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:9001')),
    'docker/containers.jsonl': published(9001),
    ...files,
  });
const published = (port: number) =>
  `{"Id":"${'ab'.repeat(32)}","Name":"/web","State":{"Pid":4242,"Status":"running"},"HostConfig":{"NetworkMode":"default"},"NetworkSettings":{"Ports":{"9000/tcp":[{"HostIp":"0.0.0.0","HostPort":"${port}"}]},"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}\n`;

testRule(rule, {
  finds: {
    'Docker 1.13 of Red Hat, and a command line in one piece': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2375').replace('"dockerd"', '"dockerd-current"')),
        'cmdline/dockerd.txt':
          '/usr/bin/dockerd-current\0--host=tcp://0.0.0.0:2375\0--exec-opt\0native.cgroupdriver=systemd\0',
      }),
      expect: [{ key: '0.0.0.0:2375', confidence: 'proven', cites: ['dockerd-current', '--host=tcp'] }],
    },
    'a port that no container publishes': {
      nodes: withoutProxy({ 'docker/containers.jsonl': published(9002) }),
      expect: [{ key: '0.0.0.0:9001', cites: ['dockerd', 'absent'] }],
    },
    'observed on all addresses': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2375')),
        'cmdline/dockerd.txt': 'dockerd\n-H\ntcp://0.0.0.0:2375\n-H\nunix:///var/run/docker.sock\n',
      }),
      expect: [
        {
          key: '0.0.0.0:2375',
          severity: 'critical',
          message: /listens on 0\.0\.0\.0:2375/,
          cites: ['dockerd', 'tcp://0.0.0.0:2375'],
        },
      ],
    },
    'a firewall hides it from other machines, from nobody else': {
      nodes: behind('-A INPUT -i lo -j ACCEPT', '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT'),
      expect: [{ severity: 'high', message: /only the host’s firewall/, cites: ['dockerd', ':INPUT DROP'] }],
    },
    'a firewall that lets the port in hides nothing': {
      nodes: behind('-A INPUT -p tcp -m tcp --dport 2375 -j ACCEPT'),
      expect: [{ severity: 'critical', cites: ['dockerd'] }],
    },
    'loopback only: any local user': {
      nodes: node({ 'host/sock/ss-listen.txt': ss(ssh, api('127.0.0.1:2375')) }),
      expect: [{ severity: 'high', cites: ['127.0.0.1:2375'] }],
    },
    'port 2376 without tlsverify is no better': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(api('10.0.0.5:2376')),
        'files/etc/docker/daemon.json': '{\n  "hosts": ["tcp://10.0.0.5:2376"],\n  "tls": true\n}\n',
      }),
      expect: [{ severity: 'critical', cites: ['10.0.0.5:2376', 'absent: "tlsverify": true', 'tcp://10.0.0.5:2376'] }],
    },
    'configured only: the listener was not seen': {
      nodes: node({
        'files/etc/docker/daemon.json': '{\n  "hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]\n}\n',
      }),
      expect: [
        {
          severity: 'critical',
          message: /configured to listen .* not seen/,
          cites: ['tcp://0.0.0.0:2375', 'absent: "tlsverify": true'],
        },
      ],
    },
  },
  passes: {
    'verified, by a command line in one piece': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2376')),
        'cmdline/dockerd.txt':
          '/usr/bin/dockerd -H fd:// --tlsverify --tlscacert=/etc/docker/ca.pem -H tcp://0.0.0.0:2376\n',
      }),
    },
    'dockerd keeps a port that a container publishes': { nodes: withoutProxy() },
    'unix socket only': {
      nodes: node({ 'host/sock/ss-listen.txt': ss(ssh), 'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n' }),
    },
    '2376 with tlsverify': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2376')),
        'files/etc/docker/daemon.json':
          '{"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": true, "tlscacert": "/etc/docker/ca.pem"}\n',
        'cmdline/dockerd.txt': 'dockerd\n',
      }),
    },
    'the metrics port is not the API': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:9323')),
        'files/etc/docker/daemon.json': '{"metrics-addr": "0.0.0.0:9323"}\n',
        'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n',
      }),
    },
    'swarm ports have their own mutual TLS': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(api('0.0.0.0:2377'), api('0.0.0.0:7946')),
        'cmdline/dockerd.txt': 'dockerd\n',
      }),
    },
  },
  notApplicable: {
    'dockerd does not run here': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh),
        'files/etc/docker/daemon.json': { status: 'absent' },
        'cmdline/dockerd.txt': { status: 'absent' },
      }),
    },
  },
  unknown: {
    'dockerd keeps published ports, and which those are was not collected': {
      nodes: withoutProxy({ 'docker/containers.jsonl': { status: 'failed' } }),
      because: /port 9001 for its API/,
    },
    'without root, nobody knows who listens': {
      nodes: node({
        'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n',
        'host/sock/ss-listen.txt': ss('tcp   LISTEN 0      4096         0.0.0.0:4243       0.0.0.0:*'),
      }),
      because: /takes root/,
    },
    'sockets were not collected': {
      nodes: node({ 'cmdline/dockerd.txt': 'dockerd\n', 'host/sock/ss-listen.txt': { status: 'denied' } }),
      because: /not collected/,
    },
    'socket list cut': {
      nodes: node({
        'cmdline/dockerd.txt': 'dockerd\n',
        'host/sock/ss-listen.txt': { status: 'truncated', text: `${ssh}\n` },
      }),
      because: /not whole/,
    },
  },
});
