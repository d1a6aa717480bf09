import { expect } from 'vitest';
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

/** With a global address of IPv6, a listener that takes it too, and no rule of ip6tables. */
const onSix = ({ n }: ReturnType<typeof behind>) => {
  const addr = `${n.files['host/ip/addr.txt']}`;
  expect(addr).toMatch(/scope global eth0\n/);
  return {
    n: {
      ...n,
      files: {
        ...n.files,
        'host/ip/addr.txt': addr.replace(
          /(scope global eth0\n.*\n)/,
          '$1    inet6 2001:db8:5::1/64 scope global \n       valid_lft forever preferred_lft forever\n',
        ),
        'host/sock/ss-listen.txt': ss(ssh, api('*:2375')),
        'host/fw/ip6tables-save.txt': '',
      },
    },
  };
};

const ID = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
/** docker/socket.txt as the collector writes it. */
const socket = (mode = 'srw-rw----', path = '/run/docker.sock', listening = 'yes', dir = 'drwxr-xr-x') =>
  `socket mode=${mode} uid=0 user=root gid=998 group=docker listening=${listening} path=${path}\ndir mode=${dir} uid=0 gid=0 path=${path.slice(0, path.lastIndexOf('/'))}\ndir mode=drwxr-xr-x uid=0 gid=0 path=/\n`;
const ROOT = 'uid=0 gid=0 groups=0 caps=00000000a80425fb userns=host label=docker-default_(enforce)';
const NOBODY = 'uid=65534 gid=65534 groups=- caps=0000000000000000 userns=host label=docker-default_(enforce)';
const mounts = (...lines: string[]) =>
  [
    'socket dev=0:25 root=/docker.sock path=/run/docker.sock',
    ...lines,
    'looked namespaces=9 containers=3 unread=0',
    '',
  ].join('\n');
const mount = (id: string, at: string, { mode = 'rw', same = 'yes', socket = at, who = ROOT } = {}) =>
  `mount container=${id} pid=4242 mode=${mode} at=${at} socket=${socket} same=${same} host=/run/docker.sock\nprocess container=${id} pid=4242 comm=agent ${who}`;
const container = (id: string, name: string, labels: object = {}) =>
  `${JSON.stringify({ Id: id, Name: `/${name}`, State: { Pid: id === ID ? 4242 : 4243, Status: 'running' }, Config: { Image: 'portainer/portainer-ce:2.19', Labels: labels }, HostConfig: {}, NetworkSettings: {} })}\n`;
/** A socket for root and its group, in no container. */
const SHUT = { 'docker/socket.txt': socket(), 'docker/socket-mounts.txt': mounts() };
/** A dockerd without TCP. */
const quiet = (files: Files) =>
  node({ 'host/sock/ss-listen.txt': ss(ssh), 'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n', ...SHUT, ...files });
const held = (line: string, files: Files = {}) =>
  quiet({ 'docker/socket-mounts.txt': mounts(line), 'docker/containers.jsonl': container(ID, 'portainer'), ...files });
const pod = { 'io.kubernetes.pod.name': 'agent-x1', 'io.kubernetes.pod.namespace': 'kube-system' };

/** userland-proxy off: dockerd itself keeps the published port (docker 20.10, docker/55 of the incidents). */
const withoutProxy = (files: Files = {}) =>
  node({
    'cmdline/dockerd.txt': 'dockerd\n-H\nunix:///run/docker.sock\n',
    'files/etc/docker/daemon.json': '{\n  "userland-proxy": false\n}\n',
    'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:9001')),
    'docker/containers.jsonl': published(9001),
    ...SHUT,
    ...files,
  });
const published = (port: number) =>
  `{"Id":"${'ab'.repeat(32)}","Name":"/web","State":{"Pid":4242,"Status":"running"},"HostConfig":{"NetworkMode":"default"},"NetworkSettings":{"Ports":{"9000/tcp":[{"HostIp":"0.0.0.0","HostPort":"${port}"}]},"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}\n`;

testRule(rule, {
  finds: {
    'a host without scheme is one of TCP': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('*:4243')),
        'cmdline/dockerd.txt': 'dockerd\n-H\nunix:///run/docker.sock\n-H\n0.0.0.0:4243\n',
        ...SHUT,
      }),
      expect: [{ severity: 'critical', confidence: 'proven', cites: ['*:4243', '0.0.0.0:4243'] }],
    },
    'systemd listens for dockerd': {
      nodes: quiet({
        'host/sock/ss-listen.txt': ss(ssh, api('*:2375').replace('"dockerd",pid=900', '"systemd",pid=1')),
        'systemd/docker.txt':
          '# /usr/lib/systemd/system/docker.socket\n[Socket]\nListenStream=/run/docker.sock\n# /etc/systemd/system/docker.socket.d/tcp.conf\n[Socket]\nListenStream=2375\n',
      }),
      expect: [{ severity: 'critical', confidence: 'proven', cites: ['*:2375', 'ListenStream=2375'] }],
    },
    'tlsverify that is switched off': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('*:2376')),
        'cmdline/dockerd.txt': 'dockerd\n-H\ntcp://0.0.0.0:2376\n--tlsverify=0\n',
        ...SHUT,
      }),
      expect: [{ severity: 'critical', confidence: 'proven', cites: ['*:2376', 'tcp://0.0.0.0:2376'] }],
    },
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
    'and hides nothing on IPv6': {
      nodes: onSix(behind()),
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
    'a socket that everybody may write to': {
      nodes: quiet({ 'docker/socket.txt': socket('srw-rw-rw-') }),
      expect: [
        {
          key: 'socket:/run/docker.sock',
          severity: 'high',
          confidence: 'proven',
          message: /Every local user of n .* root on n: \/run\/docker\.sock is srw-rw-rw-, root:docker/,
          cites: ['mode=srw-rw-rw-', 'dir mode=drwxr-xr-x'],
        },
      ],
    },
    'write permission is enough, for a socket of another name too': {
      nodes: quiet({ 'docker/socket.txt': socket('srw-rw--w-', '/srv/my sockets/d.sock') }),
      expect: [{ key: 'socket:/srv/my sockets/d.sock', cites: ['srw-rw--w-', 'path=/srv/my sockets'] }],
    },
    'systemd listens on it while dockerd is down: a connection starts it': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh),
        'files/etc/docker/daemon.json': { status: 'absent' },
        'cmdline/dockerd.txt': { status: 'absent' },
        'docker/socket.txt': socket('srw-rw-rw-'),
        'docker/socket-mounts.txt': mounts(),
      }),
      expect: [{ key: 'socket:/run/docker.sock', cites: ['srw-rw-rw-', 'drwxr-xr-x'] }],
    },
    'mounted into a container': {
      nodes: held(mount(ID, '/var/run/docker.sock')),
      expect: [
        {
          key: 'container:portainer',
          severity: 'high',
          confidence: 'proven',
          message:
            /Container portainer \(image portainer\/portainer-ce:2\.19\) has the Docker API and is root on n by it: \/run\/docker\.sock is mounted at \/var\/run\/docker\.sock; a process of uid 0/,
          cites: ['mount container=abab', 'process container=abab'],
        },
      ],
    },
    'a directory above it, read-only': {
      nodes: held(mount(ID, '/host/run', { mode: 'ro', socket: '/host/run/docker.sock' })),
      expect: [
        {
          key: 'container:portainer',
          message:
            /: \/run, with \/run\/docker\.sock in it, is mounted at \/host\/run read-only, which keeps nobody from connecting/,
          cites: ['at=/host/run', 'comm=agent'],
        },
      ],
    },
    'neither root nor mighty, but in the group of the socket': {
      nodes: held(
        mount(ID, '/s', { who: 'uid=1000 gid=1000 groups=1000,998 caps=0000000000000000 userns=host label=-' }),
      ),
      expect: [
        { key: 'container:portainer', confidence: 'proven', message: /uid 1000/, cites: ['at=/s', 'groups=1000,998'] },
      ],
    },
    'a profile of their own may keep it off, and the file was not compared': {
      nodes: held(mount(ID, '/s', { same: '-', who: ROOT.replace('docker-default', 'ours') })),
      expect: [{ key: 'container:portainer', confidence: 'likely', cites: ['same=-', 'ours_(enforce)'] }],
    },
    'pods are one finding, with the containers of another runtime beside': {
      nodes: quiet({
        'docker/socket-mounts.txt': mounts(
          mount(ID, '/s'),
          mount(OTHER, '/s'),
          mount('ef'.repeat(32), '/host/run', { socket: '/host/run/docker.sock' }).replaceAll('4242', '7'),
        ),
        'docker/containers.jsonl':
          container(ID, 'k8s_a', pod) + container(OTHER, 'k8s_b', { ...pod, 'io.kubernetes.pod.name': 'agent-x2' }),
      }),
      expect: [
        {
          key: 'pods',
          message: /kube-system\/agent-x1 \(image .*\), kube-system\/agent-x2/,
          cites: ['container=abab', 'uid=0', 'container=cdcd', 'uid=0'],
        },
        {
          key: 'unnamed-containers',
          message: /docker’s list does not hold .* efefefefefef \(process agent\)/,
          cites: ['container=efef', 'comm=agent'],
        },
      ],
    },
    'a socket beside the port': {
      nodes: node({
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2375')),
        ...SHUT,
        'docker/socket.txt': socket('srw-rw-rw-'),
      }),
      expect: [
        { key: '0.0.0.0:2375', severity: 'critical', cites: ['dockerd'] },
        { key: 'socket:/run/docker.sock', severity: 'high', cites: ['srw-rw-rw-', 'drwxr-xr-x'] },
      ],
    },
    'rootless dockerd gives no more than its user': {
      nodes: quiet({
        'docker/socket.txt': socket('srw-rw-rw-', '/run/user/1000/docker.sock'),
        'cmdline/dockerd.txt': 'dockerd\n--rootless\n',
      }),
      expect: [
        { severity: 'medium', message: /the user of rootless dockerd/, cites: ['srw-rw-rw-', 'dir', '--rootless'] },
      ],
    },
  },
  passes: {
    'a port that a drop-in of docker.socket takes back': {
      nodes: quiet({
        'systemd/docker.txt':
          '# /etc/systemd/system/docker.socket.d/10.conf\n[Socket]\nListenStream=2375\n# /etc/systemd/system/docker.socket.d/20.conf\n[Socket]\nListenStream=\nListenStream=/run/docker.sock\n',
      }),
    },
    'verified, by a command line in one piece': {
      nodes: node({
        ...SHUT,
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2376')),
        'cmdline/dockerd.txt':
          '/usr/bin/dockerd -H fd:// --tlsverify --tlscacert=/etc/docker/ca.pem -H tcp://0.0.0.0:2376\n',
      }),
    },
    'dockerd keeps a port that a container publishes': { nodes: withoutProxy() },
    'unix socket only': {
      nodes: node({
        ...SHUT,
        'host/sock/ss-listen.txt': ss(ssh),
        'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n',
      }),
    },
    '2376 with tlsverify': {
      nodes: node({
        ...SHUT,
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:2376')),
        'files/etc/docker/daemon.json':
          '{"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": true, "tlscacert": "/etc/docker/ca.pem"}\n',
        'cmdline/dockerd.txt': 'dockerd\n',
      }),
    },
    'the metrics port is not the API': {
      nodes: node({
        ...SHUT,
        'host/sock/ss-listen.txt': ss(ssh, api('0.0.0.0:9323')),
        'files/etc/docker/daemon.json': '{"metrics-addr": "0.0.0.0:9323"}\n',
        'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n',
      }),
    },
    'swarm ports have their own mutual TLS': {
      nodes: node({
        ...SHUT,
        'host/sock/ss-listen.txt': ss(api('0.0.0.0:2377'), api('0.0.0.0:7946')),
        'cmdline/dockerd.txt': 'dockerd\n',
      }),
    },
    'root and the group docker': { nodes: quiet({}) },
    'everybody may write to it, nobody gets there': {
      nodes: quiet({ 'docker/socket.txt': socket('srw-rw-rw-', '/srv/d/docker.sock', 'yes', 'drwx------') }),
    },
    'a socket that nobody listens on': {
      nodes: quiet({ 'docker/socket.txt': socket('srw-rw-rw-', '/run/old.sock', 'no') }),
    },
    'no socket at all': {
      nodes: quiet({ 'docker/socket.txt': { status: 'absent' }, 'docker/socket-mounts.txt': { status: 'absent' } }),
    },
    'mounted, and no process there may write to it': {
      nodes: held(mount(ID, '/rootfs/run', { socket: '/rootfs/run/docker.sock', who: NOBODY })),
    },
    'mounted into a user namespace of its own': {
      nodes: held(
        mount(ID, '/s', {
          who: ROOT.replace('uid=0 gid=0 groups=0', 'uid=100000 gid=100000 groups=100000').replace('host', 'other'),
        }),
      ),
    },
    'an older socket, or something on top of it': { nodes: held(mount(ID, '/s', { same: 'no' })) },
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
    'a bundle of a collector that did not look at the socket': {
      nodes: node({ 'host/sock/ss-listen.txt': ss(ssh), 'cmdline/dockerd.txt': 'dockerd\n-H\nfd://\n' }),
      because: /who may connect to docker’s unix socket.* was not collected .*; on TCP nothing is open/,
    },
    'a guard is no look': {
      nodes: quiet({
        'docker/socket.txt': { status: 'skipped', reason: 'in a container without a dockerd: no files of the node' },
        'docker/socket-mounts.txt': {
          status: 'skipped',
          reason: 'in a container without a dockerd: no files of the node',
        },
      }),
      because: /in a container without a dockerd/,
    },
    'without root nobody sees the mounts': {
      nodes: quiet({ 'docker/socket-mounts.txt': { status: 'denied' } }),
      because: /which containers have docker’s socket was not collected/,
    },
    'some processes could not be read': {
      nodes: quiet({
        'docker/socket-mounts.txt': { status: 'failed', text: mounts().replace('unread=0', 'unread=2') },
      }),
      because: /not looked at in full \(2 processes/,
    },
    'the directory of a socket is closed': {
      nodes: quiet({ 'docker/socket.txt': `denied path=/srv/d/docker.sock\n${socket()}` }),
      because: /not all looked at \(\/srv\/d\/docker\.sock\)/,
    },
    'nobody knows who runs in the container': {
      nodes: held(mount(ID, '/s').split('\n')[0] ?? ''),
      because: /container portainer .* who runs in it was not read/,
    },
    'SELinux may keep the container off': {
      nodes: held(
        mount(ID, '/s', { who: ROOT.replace('docker-default_(enforce)', 'system_u:system_r:container_t:s0:c1,c2') }),
      ),
      because: /container portainer.* depends on a policy/,
    },
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
