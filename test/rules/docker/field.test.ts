import { describe, expect, it } from 'vitest';
import { rule as api } from '../../../rules/docker/docker-api-exposed.ts';
import { rule as missing } from '../../../rules/docker/docker-rules-missing.ts';
import { rule as user } from '../../../rules/docker/docker-user-ineffective.ts';
import { type Files, judge } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, type DockerNetworkSpec, dockerNode } from '../forwarding/nodes.ts';

const ss = (...lines: string[]) => `${lines.join('\n')}\n`;
const ssh =
  'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=700,fd=3)) ino:1 sk:1 cgroup:/ <->';
const l = (where: string, prog = 'dockerd', pid = 900) =>
  `tcp   LISTEN 0      4096         ${where}       0.0.0.0:*    users:(("${prog}",pid=${pid},fd=4)) ino:2 sk:2 cgroup:/ <->`;
const SHUT = {
  'docker/socket.txt':
    'socket mode=srw-rw---- uid=0 user=root gid=998 group=docker listening=yes path=/run/docker.sock\ndir mode=drwxr-xr-x uid=0 gid=0 path=/run\ndir mode=drwxr-xr-x uid=0 gid=0 path=/\n',
  'docker/socket-mounts.txt':
    'socket dev=0:25 root=/docker.sock path=/run/docker.sock\nlooked namespaces=9 containers=3 unread=0\n',
};
const args = (...a: string[]) => ({ 'cmdline/dockerd.txt': `/usr/bin/dockerd\n${a.join('\n')}\n` });
const down = { 'cmdline/dockerd.txt': { status: 'absent' as const } };
const nojson = { 'files/etc/docker/daemon.json': { status: 'absent' as const } };
const json = (v: object) => ({ 'files/etc/docker/daemon.json': `${JSON.stringify(v, null, 2)}\n` });
const sock = (...lines: string[]) => ({ 'host/sock/ss-listen.txt': ss(ssh, ...lines) });
const unit = (exec: string, more = '') => ({
  'systemd/docker.txt': `# /lib/systemd/system/docker.service\n[Service]\nType=notify\nExecStart=${exec}\n${more}`,
});
const cont = (name: string, ports: object, more: object = {}) =>
  `${JSON.stringify({ Id: name.padEnd(64, '0'), Name: `/${name}`, State: { Pid: 4242, Status: 'running' }, Config: { Image: 'x', Labels: {} }, HostConfig: { NetworkMode: 'default' }, NetworkSettings: { Ports: ports, Networks: { bridge: { IPAddress: '172.17.0.2' } } }, ...more })}\n`;
const conts = (...c: string[]) => ({ 'docker/containers.jsonl': c.join('') });
const pub = (cport: string, hport: string, ip = '0.0.0.0') => ({ [cport]: [{ HostIp: ip, HostPort: hport }] });
const ver = (v: string) => ({ 'docker/version.json': `{"Client":{"Version":"${v}"},"Server":{"Version":"${v}"}}\n` });
const info = (v: string, more: object = {}) => ({
  ...ver(v),
  'docker/info.json': `${JSON.stringify({ ID: 'A', ServerVersion: v, ...more })}\n`,
});

/** Nodes made up for one question each; answers were written down before the rules were asked. `answer`: that of the rule, or severity and confidence of its finding. */
type Row = readonly [name: string, files: Files, answer: string];
const API: readonly Row[] = [
  ['default unix', { ...SHUT, ...args('-H', 'fd://'), ...nojson, ...sock() }, 'pass'],
  [
    'host-gateway-ip in unit, dockerd down',
    {
      ...SHUT,
      ...down,
      ...json({ debug: true }),
      ...sock(),
      ...unit('/usr/bin/dockerd -H fd:// --host-gateway-ip=10.0.0.1'),
    },
    'pass',
  ],
  [
    '-H tcp in unit, down',
    { ...SHUT, ...down, ...nojson, ...sock(), ...unit('/usr/bin/dockerd -H tcp://0.0.0.0:2375 -H fd://') },
    'critical likely',
  ],
  [
    'drop-in clears ExecStart',
    {
      ...SHUT,
      ...down,
      ...nojson,
      ...sock(),
      ...unit(
        '/usr/bin/dockerd -H tcp://0.0.0.0:2375 -H fd://',
        '\n# /etc/systemd/system/docker.service.d/o.conf\n[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd://\n',
      ),
    },
    'not-applicable',
  ],
  [
    'drop-in adds tcp',
    {
      ...SHUT,
      ...down,
      ...nojson,
      ...sock(),
      ...unit(
        '/usr/bin/dockerd -H fd://',
        '\n# /etc/systemd/system/docker.service.d/o.conf\n[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H unix:///run/docker.sock -H tcp://10.0.0.5:2375\n',
      ),
    },
    'critical likely',
  ],
  [
    'drop-in clears ExecStart, nothing after',
    {
      ...SHUT,
      ...down,
      ...nojson,
      ...sock(),
      ...unit(
        '/usr/bin/dockerd -H tcp://0.0.0.0:2375',
        '\n# /etc/systemd/system/docker.service.d/o.conf\n[Service]\nExecStart=\n',
      ),
    },
    'not-applicable',
  ],
  [
    'unit with single quotes',
    { ...SHUT, ...down, ...nojson, ...sock(), ...unit("/usr/bin/dockerd '-H' 'tcp://0.0.0.0:2375'") },
    'critical likely',
  ],
  [
    'unit continued lines',
    {
      ...SHUT,
      ...down,
      ...nojson,
      ...sock(),
      ...unit('/usr/bin/dockerd \\\n  -H fd:// \\\n  --host=tcp://0.0.0.0:2376 \\\n  --tlsverify --tlscacert=/a'),
    },
    'not-applicable',
  ],
  [
    'unit tcp + tlsverify=true',
    { ...SHUT, ...down, ...nojson, ...sock(), ...unit('/usr/bin/dockerd --host=tcp://0.0.0.0:2376 --tlsverify=true') },
    'not-applicable',
  ],
  [
    'unit tcp + tlsverify=1',
    { ...SHUT, ...down, ...nojson, ...sock(), ...unit('/usr/bin/dockerd --host=tcp://0.0.0.0:2376 --tlsverify=1') },
    'not-applicable',
  ],
  [
    'variable in the unit, down, default file has tcp',
    {
      ...SHUT,
      ...down,
      ...json({ debug: true }),
      ...sock(),
      ...unit('/usr/bin/dockerd -H fd:// $DOCKER_OPTS'),
      'files/etc/default/docker': 'DOCKER_OPTS="-H tcp://0.0.0.0:2375"\n',
    },
    'critical likely',
  ],
  [
    'variable in the unit, down, nothing collected',
    { ...SHUT, ...down, ...json({ debug: true }), ...sock(), ...unit('/usr/bin/dockerd -H fd:// $DOCKER_OPTS') },
    'unknown',
  ],
  [
    'socket %t',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(),
      ...unit(
        '/usr/bin/dockerd -H fd://',
        '\n# /lib/systemd/system/docker.socket\n[Socket]\nListenStream=%t/docker.sock\n',
      ),
    },
    'pass',
  ],
  [
    'socket v6',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('[::]:2375', 'systemd', 1)),
      ...unit(
        '/usr/bin/dockerd -H fd://',
        '\n# /lib/systemd/system/docker.socket\n[Socket]\nListenStream=/run/docker.sock\nListenStream=[::]:2375\n',
      ),
    },
    'critical proven',
  ],
  [
    'socket loopback',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('127.0.0.1:2375', 'systemd', 1)),
      ...unit(
        '/usr/bin/dockerd -H fd://',
        '\n# /lib/systemd/system/docker.socket\n[Socket]\nListenStream=/run/docker.sock\nListenStream=127.0.0.1:2375\n',
      ),
    },
    'high proven',
  ],
  [
    'socket tcp but dockerd not -H fd',
    {
      ...SHUT,
      ...args('-H', 'unix:///run/docker.sock'),
      ...nojson,
      ...sock(l('127.0.0.1:2375', 'systemd', 1)),
      ...unit(
        '/usr/bin/dockerd -H unix:///run/docker.sock',
        '\n# /lib/systemd/system/docker.socket\n[Socket]\nListenStream=2375\n',
      ),
    },
    'unknown',
  ],
  [
    'swarm ingress port',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('*:2377'), l('*:7946'), l('*:8080')),
      ...info('24.0.7', {
        Swarm: {
          LocalNodeState: 'active',
          ControlAvailable: true,
          RemoteManagers: [{ NodeID: 'a', Addr: '10.0.0.5:2377' }],
        },
      }),
      ...conts(cont('task', { '80/tcp': null })),
      'host/fw/iptables-save.txt':
        '*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:DOCKER-INGRESS - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS\n-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:8080\n-A DOCKER-INGRESS -j RETURN\nCOMMIT\n',
    },
    'pass',
  ],
  [
    'swarm ingress port, no rules collected',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('*:2377'), l('*:7946'), l('*:8080')),
      ...info('24.0.7', { Swarm: { LocalNodeState: 'active' } }),
      ...conts(cont('task', { '80/tcp': null })),
    },
    'unknown',
  ],
  [
    'swarm on a port of its own',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('*:5000'), l('*:7946')),
      ...info('24.0.7', {
        Swarm: { LocalNodeState: 'active', RemoteManagers: [{ NodeID: 'a', Addr: '10.0.0.5:5000' }] },
      }),
      ...conts(''),
    },
    'pass',
  ],
  ['-Htcp joined', { ...SHUT, ...args('-Htcp://0.0.0.0:4243'), ...nojson, ...sock(l('*:4243')) }, 'critical proven'],
  [
    '-H :2375 is loopback, not seen',
    { ...SHUT, ...down, ...nojson, ...sock(), ...unit('/usr/bin/dockerd -H tcp://:2375') },
    'high likely',
  ],
  [
    '-H tcp:// without port, tls',
    { ...SHUT, ...args('-H', 'tcp://0.0.0.0', '--tlsverify'), ...nojson, ...sock(l('*:2376')) },
    'pass',
  ],
  [
    'userland-proxy=0',
    {
      ...SHUT,
      ...args('-H', 'fd://', '--userland-proxy=0'),
      ...nojson,
      ...sock(l('0.0.0.0:9001')),
      ...conts(cont('web', pub('9000/tcp', '9001'))),
    },
    'pass',
  ],
  [
    'userland-proxy=f no containers',
    { ...SHUT, ...args('-H', 'fd://', '--userland-proxy=f'), ...nojson, ...sock(l('0.0.0.0:9001')) },
    'unknown',
  ],
  [
    'published range without proxy',
    {
      ...SHUT,
      ...args('-H', 'fd://', '--userland-proxy=false'),
      ...nojson,
      ...sock(l('0.0.0.0:8000'), l('0.0.0.0:8001')),
      ...conts(
        cont('web', {
          '80/tcp': [
            { HostIp: '0.0.0.0', HostPort: '8000' },
            { HostIp: '::', HostPort: '8000' },
          ],
          '81/tcp': [{ HostIp: '127.0.0.1', HostPort: '8001' }],
        }),
      ),
    },
    'pass',
  ],
  ['socat 2375', { ...SHUT, ...args('-H', 'fd://'), ...nojson, ...sock(l('0.0.0.0:2375', 'socat', 55)) }, 'unknown'],
  [
    'docker-proxy 2375 (dind)',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      ...sock(l('0.0.0.0:2375', 'docker-proxy', 55)),
      ...conts(cont('dind', pub('2375/tcp', '2375'))),
    },
    'unknown',
  ],
  ['nginx on 2376', { ...SHUT, ...args('-H', 'fd://'), ...nojson, ...sock(l('0.0.0.0:2376', 'nginx', 55)) }, 'pass'],
  [
    'tls without verify json',
    {
      ...SHUT,
      ...args(),
      ...json({
        hosts: ['tcp://0.0.0.0:2376', 'unix:///run/docker.sock'],
        tls: true,
        tlscert: '/a',
        tlskey: '/b',
        tlscacert: '/c',
      }),
      ...sock(l('*:2376')),
    },
    'critical proven',
  ],
  [
    'tlsverify json',
    {
      ...SHUT,
      ...args(),
      ...json({
        hosts: ['tcp://0.0.0.0:2376', 'unix:///run/docker.sock'],
        tlsverify: true,
        tlscert: '/a',
        tlskey: '/b',
        tlscacert: '/c',
      }),
      ...sock(l('*:2376')),
    },
    'pass',
  ],
  [
    'tlsverify false json',
    { ...SHUT, ...args(), ...json({ hosts: ['tcp://0.0.0.0:2376'], tlsverify: false }), ...sock(l('*:2376')) },
    'critical proven',
  ],
  [
    'tlsverify with tls false',
    { ...SHUT, ...args('-H', 'tcp://0.0.0.0:2376', '--tlsverify', '--tls=false'), ...nojson, ...sock(l('*:2376')) },
    'pass',
  ],
  [
    'rootless, tcp in its namespace',
    {
      ...SHUT,
      ...args('--rootless', '-H', 'tcp://0.0.0.0:2375'),
      ...nojson,
      ...sock(),
      ...info('24.0.7', { SecurityOptions: ['name=rootless'] }),
    },
    'pass',
  ],
  [
    'rootless, port passed on',
    {
      ...SHUT,
      ...args('--rootless', '-H', 'tcp://0.0.0.0:2376'),
      ...nojson,
      ...sock(l('*:2376', 'rootlesskit', 44)),
      ...info('24.0.7', { SecurityOptions: ['name=rootless'] }),
    },
    'critical likely',
  ],
  [
    'podman-docker',
    {
      ...down,
      ...nojson,
      ...sock(l('0.0.0.0:8080', 'podman', 9)),
      'docker/version.json':
        '{"Client":{"Version":"4.9"},"Server":{"Version":"4.9","Components":[{"Name":"Podman Engine"}]}}\n',
    },
    'not-applicable',
  ],
  [
    'no root: 2375 bare',
    {
      ...SHUT,
      ...args('-H', 'fd://'),
      ...nojson,
      'host/sock/ss-listen.txt':
        'tcp   LISTEN 0      4096         0.0.0.0:2375       0.0.0.0:*    ino:2 sk:2 cgroup:/ <->\n',
    },
    'critical possible',
  ],
  ['ssh host', { ...SHUT, ...args('-H', 'unix:///run/docker.sock', '-H', 'npipe://x'), ...nojson, ...sock() }, 'pass'],
  [
    'metrics',
    { ...SHUT, ...args('-H', 'fd://', '--metrics-addr=0.0.0.0:9323'), ...nojson, ...sock(l('*:9323')) },
    'pass',
  ],
  [
    'snap',
    {
      ...SHUT,
      'cmdline/dockerd.txt':
        'dockerd\n--group\ndocker\n--exec-root=/run/snap.docker\n--data-root=/var/snap/docker/common/var-lib-docker\n--config-file=/var/snap/docker/2893/config/daemon.json\n',
      ...json({ 'log-level': 'error' }),
      ...sock(),
    },
    'pass',
  ],
  [
    'v4-mapped loopback',
    { ...SHUT, ...args('-H', 'tcp://127.0.0.1:2375'), ...nojson, ...sock(l('[::ffff:127.0.0.1]:2375')) },
    'high proven',
  ],
  [
    'hosts in json and args running older',
    { ...SHUT, ...args('-H', 'fd://'), ...json({ hosts: ['tcp://0.0.0.0:2375'] }), ...sock() },
    'critical likely',
  ],
  [
    '17.03 docker daemon',
    {
      ...SHUT,
      'cmdline/dockerd.txt': '/usr/bin/docker\ndaemon\n-H\ntcp://0.0.0.0:2375\n',
      ...nojson,
      ...sock(l('*:2375', 'docker')),
    },
    'critical proven',
  ],
];

const OWN = (r: string) => DOCKER_SAVE.replace('[0:0] -A DOCKER-USER -j RETURN', `[0:0] ${r}\n$&`);
const web = conts(cont('web', pub('9000/tcp', '9001')));
const run = { ...args('-H', 'fd://'), ...nojson };
const bigSave = OWN('-A DOCKER-USER ! -s 192.0.2.0/24 -i eth0 -j DROP');
const dn = (save: string, files: Files = {}, nets: readonly DockerNetworkSpec[] = [DOCKER0]) =>
  dockerNode(save, nets, { ...run, ...ver('20.10.24'), ...files }).files;
const USER: readonly Row[] = [
  ['container port, good', dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9000 -j DROP'), web), 'pass'],
  ['host port: no effect', dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP'), web), 'high proven'],
  ['host port, no -i', dn(OWN('-A DOCKER-USER -p tcp -m tcp --dport 9001 -j DROP'), web), 'high likely'],
  [
    'host port but of container out',
    dn(OWN('-A DOCKER-USER -i docker0 -p tcp -m tcp --dport 9001 -j DROP'), web),
    'pass',
  ],
  [
    'host port with ctorigdstport',
    dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 9001 --ctdir ORIGINAL -j DROP'), web),
    'pass',
  ],
  [
    'host port = container port',
    dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP'), conts(cont('web', pub('9001/tcp', '9001')))),
    'pass',
  ],
  [
    'another container has that port',
    dn(
      OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP'),
      conts(cont('web', pub('9000/tcp', '9001')), cont('x', pub('9001/tcp', '7000'))),
    ),
    'pass',
  ],
  [
    'multiport host ports',
    dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m multiport --dports 9001,9002 -j DROP'), web),
    'high proven',
  ],
  ['udp rule, tcp port', dn(OWN('-A DOCKER-USER -i eth0 -p udp -m udp --dport 9001 -j DROP'), web), 'pass'],
  [
    'published on loopback',
    dn(
      OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j DROP'),
      conts(cont('web', pub('9000/tcp', '9001', '127.0.0.1'))),
    ),
    'high proven',
  ],
  [
    'accept rule with host port then drop',
    dn(
      OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001 -j ACCEPT').replace(
        '[0:0] -A DOCKER-USER -j RETURN',
        '[0:0] -A DOCKER-USER -i eth0 -j DROP\n$&',
      ),
      web,
    ),
    'pass',
  ],
  ['range', dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9000:9010 -j DROP'), web), 'pass'],
  [
    'range of host ports',
    dn(OWN('-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001:9010 -j DROP'), web),
    'high proven',
  ],
  ['drop all, then fine', dn(bigSave, web), 'pass'],
  [
    '29 nftables, DOCKER-USER jump there',
    dn(bigSave, { ...web, ...info('29.1.3', { FirewallBackend: { Driver: 'nftables' } }) }),
    'pass',
  ],
  [
    '29 nftables, DOCKER-USER unreferenced',
    dn(bigSave.replace('[0:0] -A FORWARD -j DOCKER-USER\n', ''), {
      ...web,
      ...info('29.1.3', { FirewallBackend: { Driver: 'nftables' } }),
    }),
    'high proven',
  ],
  [
    '28 jump',
    dn(
      bigSave
        .replace('-A FORWARD -j DOCKER-ISOLATION-STAGE-1', '-A FORWARD -j DOCKER-FORWARD')
        .replace(':DOCKER-USER', ':DOCKER-FORWARD - [0:0]\n:DOCKER-USER'),
      { ...web, ...ver('28.3.0') },
    ),
    'pass',
  ],
  [
    'ufw before: accept from lan',
    dn(
      bigSave
        .replace('[0:0] -A FORWARD -j DOCKER-USER', '[0:0] -A FORWARD -j ufw-before-forward\n$&')
        .replace(':DOCKER-USER', ':ufw-before-forward - [0:0]\n:DOCKER-USER')
        .replace(
          '[0:0] -A DOCKER-USER ! -s',
          '[0:0] -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n$&',
        ),
      web,
    ),
    'pass',
  ],
  [
    'chain before accepts all',
    dn(
      bigSave
        .replace('[0:0] -A FORWARD -j DOCKER-USER', '[0:0] -A FORWARD -j MINE\n$&')
        .replace(':DOCKER-USER', ':MINE - [0:0]\n:DOCKER-USER')
        .replace('[0:0] -A DOCKER-USER ! -s', '[0:0] -A MINE -j ACCEPT\n$&'),
      web,
    ),
    'high proven',
  ],
  [
    'kube-forward before: mark accept',
    dn(
      bigSave
        .replace(
          '[0:0] -A FORWARD -j DOCKER-USER',
          '[0:0] -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD\n$&',
        )
        .replace(':DOCKER-USER', ':KUBE-FORWARD - [0:0]\n:DOCKER-USER')
        .replace('[0:0] -A DOCKER-USER ! -s', '[0:0] -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n$&'),
      web,
    ),
    'pass',
  ],
  [
    '17.05 has none',
    dn(DOCKER_SAVE.replace(/^.*DOCKER-USER.*\n/gm, ''), { ...web, ...ver('17.05.0') }),
    'not-applicable',
  ],
  [
    '29 has no RETURN',
    dn(bigSave.replace('[0:0] -A DOCKER-USER -j RETURN\n', ''), { ...web, ...ver('29.0.0') }),
    'pass',
  ],
];
const MISSING: readonly Row[] = [
  ['20.10 whole', dn(DOCKER_SAVE, web), 'pass'],
  [
    'userland-proxy off: nat OUTPUT without ! -d 127',
    dn(DOCKER_SAVE.replace('OUTPUT ! -d 127.0.0.0/8', 'OUTPUT').replace('[0:0] -A DOCKER -i docker0 -j RETURN\n', ''), {
      ...web,
      ...json({ 'userland-proxy': false }),
    }),
    'pass',
  ],
  ['iptables false json', dn('', json({ iptables: false })), 'not-applicable'],
  ['iptables=0 flag', dn('', args('-H', 'fd://', '--iptables=0')), 'not-applicable'],
  ['rootless', dn('', info('24.0.7', { SecurityOptions: ['name=rootless'] })), 'not-applicable'],
  [
    'snap dockerd',
    dn(DOCKER_SAVE, {
      ...web,
      'cmdline/dockerd.txt': 'dockerd\n--config-file=/var/snap/docker/2893/config/daemon.json\n',
    }),
    'pass',
  ],
  ['ip-masq false', dn(DOCKER_SAVE.replace(/.*MASQUERADE\n/g, ''), { ...web, ...json({ 'ip-masq': false }) }), 'pass'],
  [
    '17.05',
    dn(
      DOCKER_SAVE.replace(/^.*DOCKER-(USER|ISOLATION-STAGE-[12]).*\n/gm, '')
        .replace('[0:0] -A FORWARD -o docker0 -m', '[0:0] -A FORWARD -j DOCKER-ISOLATION\n$&')
        .replace(':DOCKER - [0:0]\n', ':DOCKER - [0:0]\n:DOCKER-ISOLATION - [0:0]\n'),
      { ...web, ...ver('17.05.0') },
    ),
    'pass',
  ],
  ['ufw reset: filter gone', dn(DOCKER_SAVE.replace(/^\[0:0\] -A FORWARD .*\n/gm, ''), web), 'critical proven'],
  ['firewalld reload: nat gone', dn(DOCKER_SAVE.replace(/^\[0:0\] -A PREROUTING .*\n/gm, ''), web), 'high proven'],
  ['nat OUTPUT gone only', dn(DOCKER_SAVE.replace(/^\[0:0\] -A OUTPUT .*\n/gm, ''), web), 'pass'],
  [
    'macvlan only',
    dn('', {
      'docker/network-inspect.json': JSON.stringify([
        {
          Name: 'm',
          Id: 'a'.repeat(64),
          Driver: 'macvlan',
          Internal: false,
          IPAM: { Config: [{ Subnet: '10.0.0.0/24' }] },
          Options: { parent: 'eth0' },
          Containers: {},
        },
        { Name: 'host', Id: 'b'.repeat(64), Driver: 'host', IPAM: {}, Options: {}, Containers: {} },
      ]),
    }),
    'not-applicable',
  ],
  [
    '29 nft: without tables',
    dn('', { ...web, ...info('29.1.3', { FirewallBackend: { Driver: 'nftables' } }) }),
    'high likely',
  ],
  [
    '29 iptables whole',
    dn(DOCKER_SAVE, { ...web, ...info('29.1.3', { FirewallBackend: { Driver: 'iptables' } }) }),
    'pass',
  ],
  [
    '29 iptables+firewalld',
    dn(DOCKER_SAVE, { ...web, ...info('29.1.3', { FirewallBackend: { Driver: 'iptables+firewalld' } }) }),
    'pass',
  ],
  ['29 without info but with iptables rules', dn(DOCKER_SAVE, { ...web, ...ver('29.1.3') }), 'pass'],
  ['podman answers', dn('', { 'cmdline/dockerd.txt': { status: 'absent' as const } }), 'not-applicable'],
  [
    'gateway_mode routed',
    dn(DOCKER_SAVE.replace(/.*MASQUERADE\n/g, ''), { ...web, ...ver('28.3.0') }, [
      { ...DOCKER0, options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' } },
    ]),
    'pass',
  ],
];
describe.each([
  ['docker-api-exposed', api, API],
  ['docker-user-ineffective', user, USER],
  ['docker-rules-missing', missing, MISSING],
] as const)('%s on nodes of Docker 17 to 29', (_, rule, rows) => {
  it.each(rows)('%s', (_name, files, answer) => {
    const { findings, matrix } = judge([rule], { n: { files } });
    const found = findings.map((f) => `${f.severity} ${f.confidence}`);
    expect(found.length > 0 ? found[0] : matrix[rule.id]?.['n']).toBe(answer);
  });
});
