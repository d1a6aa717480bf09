import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/addressing/subnet-overlaps-node-network.ts';
import type { Files } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';

const addr = (
  docker: string,
) => `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 brd 192.168.50.255 scope global eth0
       valid_lft forever preferred_lft forever
3: docker0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet ${docker} scope global docker0
       valid_lft forever preferred_lft forever
4: vetha@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master docker0 state UP group default
    link/ether 02:42:00:00:00:02 brd ff:ff:ff:ff:ff:ff link-netnsid 0
`;
/** A dump of all tables always has this one: it is what tells it from a dump of the main table. */
const local = 'local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \n';
const node = (docker: string, routes: string, more: Files = {}) => ({
  a: {
    files: {
      'host/ip/addr.txt': addr(docker),
      'host/ip/route4.txt': routes + local,
      'files/etc/resolv.conf': 'nameserver 192.168.50.2\n',
      ...more,
    },
  },
});
const gateway = 'unicast default via 192.168.50.100 dev eth0 proto dhcp scope global metric 100 \n';

/** The same node with flannel's bridge in place of docker's. */
const podNode = (routes: string) => {
  const own = 'unicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n';
  return node('10.244.1.1/24', `${gateway}${routes}${own}`, {
    'host/ip/addr.txt': addr('10.244.1.1/24').replaceAll('docker0', 'cni0'),
    'files/run/flannel/subnet.env':
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
  });
};

testRule(rule, {
  finds: {
    'docker0 took the gateway’s address (docker/58 of the incidents)': {
      nodes: node(
        '192.168.50.100/24',
        `${gateway}unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \nunicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.100 \n`,
      ),
      expect: [
        {
          severity: 'critical',
          message: /default gateway 192\.168\.50\.100 is docker0’s own address here/,
          cites: ['inet 192.168.50.100/24', 'dev eth0', 'default via'],
        },
      ],
    },
    'the card that has the LAN is down: its address shows no route, and is there': {
      nodes: node(
        '192.168.50.1/24',
        'unicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.1 \n',
        {
          'host/ip/addr.txt': addr('192.168.50.1/24').replace(
            '<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP',
            '<BROADCAST,MULTICAST> mtu 1500 qdisc fq_codel state DOWN',
          ),
        },
      ),
      expect: [
        {
          key: 'docker0 192.168.50.0/24 eth0',
          severity: 'medium',
          confidence: 'possible',
          message: /overlaps 192\.168\.50\.11\/24 on eth0 of a: latent, eth0 is down for now/,
          cites: ['inet 192.168.50.1/24', 'eth0: <BROADCAST,MULTICAST>', 'inet 192.168.50.11/24'],
        },
      ],
    },
    'host-gw wrote a route for the node’s own lease (kubernetes/21)': {
      nodes: podNode('unicast 10.244.1.0/24 dev eth0 proto boot scope link \n'),
      expect: [
        {
          key: 'cni0 10.244.1.0/24 eth0',
          severity: 'high',
          message: /containers on cni0 are unreachable/,
          cites: ['inet 10.244.1.1/24', '10.244.1.0/24 dev eth0'],
        },
      ],
    },
    'the pod network is a part of the LAN (kubernetes/40)': {
      nodes: podNode('unicast 10.244.0.0/13 dev eth0 proto kernel scope link src 10.244.0.5 \n'),
      expect: [
        {
          message: /hosts of 10\.244\.1\.0\/24 that eth0 leads to become unreachable/,
          cites: ['inet 10.244.1.1/24', '10.244.0.0/13'],
        },
      ],
    },
    'docker0 on the LAN, LAN metric 100 (S17): gateway and DNS are lost': {
      nodes: node(
        '192.168.50.1/24',
        `${gateway}unicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.1 \nunicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 metric 100 \n`,
      ),
      expect: [
        {
          key: 'docker0 192.168.50.0/24 eth0',
          severity: 'critical',
          message: /default gateway 192\.168\.50\.100, DNS server 192\.168\.50\.2 become unreachable/,
          cites: [
            'inet 192.168.50.1/24',
            '192.168.50.0/24 dev eth0',
            'default via 192.168.50.100',
            'nameserver 192.168.50.2',
          ],
        },
      ],
    },
    'a longer prefix inside a static route': {
      nodes: node(
        '10.20.5.1/24',
        `${gateway}unicast 10.20.0.0/16 via 192.168.50.200 dev eth0 proto static scope global \nunicast 10.20.5.0/24 dev docker0 proto kernel scope link src 10.20.5.1 \nunicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \n`,
      ),
      expect: [
        { key: 'docker0 10.20.0.0/16 eth0', severity: 'high', cites: ['inet 10.20.5.1/24', '10.20.0.0/16 via'] },
      ],
    },
    'one way of a multipath route': {
      nodes: node(
        '10.20.5.1/24',
        `${gateway}unicast 10.20.0.0/16 proto static scope global \n\tnexthop via 192.168.50.200 dev eth0 weight 1 \n\tnexthop via 192.168.60.200 dev eth1 weight 1 \nunicast 10.20.5.0/24 dev docker0 proto kernel scope link src 10.20.5.1 \n`,
      ),
      expect: [
        { key: 'docker0 10.20.0.0/16 eth0', cites: ['inet 10.20.5.1/24', '10.20.0.0/16 proto static'] },
        { key: 'docker0 10.20.0.0/16 eth1', cites: ['inet 10.20.5.1/24', '10.20.0.0/16 proto static'] },
      ],
    },
    'equal prefix, LAN listed first, containers attached': {
      nodes: node(
        '192.168.50.1/24',
        `${gateway}unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \nunicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.1 \n`,
      ),
      expect: [
        {
          severity: 'high',
          message: /containers on docker0 are unreachable/,
          cites: ['inet 192.168.50.1/24', 'dev eth0'],
        },
      ],
    },
    'the same, nobody attached: latent': {
      nodes: node(
        '192.168.50.1/24',
        `${gateway}unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \nunicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.1 linkdown \n`,
      ),
      expect: [{ severity: 'medium', message: /latent/, cites: ['inet 192.168.50.1/24', 'dev eth0'] }],
    },
  },
  passes: {
    'the halves of a default route that OpenVPN writes': {
      nodes: node(
        '172.17.0.1/16',
        `${gateway}unicast 0.0.0.0/1 via 10.8.0.1 dev tun0 proto boot scope global \nunicast 128.0.0.0/1 via 10.8.0.1 dev tun0 proto boot scope global \nunicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \n`,
      ),
    },
    apart: {
      nodes: node(
        '172.17.0.1/16',
        `${gateway}unicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \nunicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \n`,
      ),
    },
    'kube-ipvs0, always down, with the addresses of services': {
      nodes: node(
        '172.17.0.1/16',
        `${gateway}unicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \n`,
        {
          'host/ip/addr.txt': `${addr('172.17.0.1/16')}5: kube-ipvs0: <BROADCAST,NOARP> mtu 1500 qdisc noop state DOWN group default
    link/ether 02:00:00:00:00:05 brd ff:ff:ff:ff:ff:ff
    inet 172.17.0.10/32 scope global kube-ipvs0
       valid_lft forever preferred_lft forever
`,
        },
      ),
    },
    'a more specific LAN route inside docker0 goes where it is meant to': {
      nodes: node(
        '172.17.0.1/16',
        `${gateway}unicast 172.17.9.0/24 via 192.168.50.200 dev eth0 proto static scope global \nunicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \n`,
      ),
    },
  },
  unknown: {
    'an empty file that somebody sent: any host has routes of lo': {
      nodes: {
        a: {
          files: { ...node('172.17.0.1/16', '').a.files, 'host/ip/route4.txt': '' },
          info: { format: 'loose-files' },
        },
      },
      because: /the route or address list was not collected whole/,
    },
    'a VPN’s table holds a part of the range': {
      nodes: node(
        '172.17.0.1/16',
        `${gateway}unicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \nunicast 172.17.8.0/21 dev tun0 table 220 proto static scope link \n`,
      ),
      because: /routing table 220 has 172\.17\.8\.0\/21 by tun0/,
    },
    'route list cut': {
      nodes: node('172.17.0.1/16', '', { 'host/ip/route4.txt': { status: 'truncated', text: gateway } }),
      because: /not collected whole/,
    },
    'ip route without other tables': {
      nodes: node('172.17.0.1/16', '', {
        'host/ip/route4.txt': `${gateway}172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 \n`,
      }),
      because: /only the main routing table/,
    },
  },
});

describe('remedies fit the bridge', () => {
  const remedy = (nodes: ReturnType<typeof podNode>) => judge([rule], nodes).findings[0]?.remediation;

  it('a stray route of the node’s own lease is deleted', () => {
    expect(remedy(podNode('unicast 10.244.1.0/24 dev eth0 proto boot scope link metric 7 \n'))?.[0]).toMatchObject({
      run: 'ip route del 10.244.1.0/24 dev eth0 metric 7',
      verify: expect.stringContaining('must name cni0'),
    });
  });

  it('a docker network moves to a range that no route has', () => {
    const nodes = node(
      '10.20.5.1/24',
      `${gateway}unicast 10.20.0.0/16 via 192.168.50.200 dev eth0 proto static scope global \nunicast 10.201.0.0/16 via 192.168.50.200 dev eth0 proto static scope global \nunicast 10.20.5.0/24 dev br-shop proto kernel scope link src 10.20.5.1 \n`,
      {
        'host/ip/addr.txt': addr('10.20.5.1/24').replaceAll('docker0', 'br-shop'),
        'host/ip/link.txt':
          '3: br-shop: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default \n    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 minmtu 68 maxmtu 65535 \n    bridge forward_delay 1500 \n',
        'docker/network-inspect.json': `${JSON.stringify([{ Name: 'shop', Id: '1'.repeat(64), Scope: 'local', Driver: 'bridge', IPAM: { Config: [{ Subnet: '10.20.5.0/24' }] }, Options: { 'com.docker.network.bridge.name': 'br-shop' } }])}\n`,
      },
    );
    expect(remedy(nodes)?.[0]).toMatchObject({
      run: expect.stringMatching(
        /^docker network create --subnet 10\.202\.0\.0\/24 shop-apart && .*; docker network rm shop$/,
      ),
      verify: 'ip route get 10.20.5.10   # must name eth0',
    });
  });

  const LAN = `${gateway}unicast 192.168.50.0/24 dev docker0 proto kernel scope link src 192.168.50.1 \nunicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 metric 100 \n`;
  const onLan = (files: Record<string, string | { status: 'absent' }>, routes = '') =>
    node('192.168.50.1/24', LAN + routes, files);
  const DAEMON = 'files/etc/docker/daemon.json';
  const citesOf = (nodes: ReturnType<typeof node>) =>
    judge([rule], nodes).findings[0]?.cites.map((c) => (c.kind === 'lines' ? c.excerpt?.text : c.absent)) ?? [];

  it('docker0 moves to a range that no route has; daemon.json keeps its other keys', () => {
    const nodes = onLan(
      { [DAEMON]: '{ "log-driver": "json-file" }\n' },
      'unicast 10.200.0.0/16 via 192.168.50.200 dev eth0 proto static scope global \n',
    );
    expect(remedy(nodes)).toEqual([
      {
        step: expect.stringMatching(/^Move docker0 from 192\.168\.50\.1\/24 to 10\.201\.0\.1\/24, .*10\.202\.0\.0\/16/),
        run: expect.stringMatching(
          /^f=\/etc\/docker\/daemon\.json; cp -a \$f \$f\.before && python3 .* \$f '\{"bip":"10\.201\.0\.1\/24","default-address-pools":\[\{"base":"10\.202\.0\.0\/16","size":24\}\]\}' && systemctl restart docker$/,
        ),
        verify: 'ip -4 addr show docker0; ip route get 192.168.50.10   # must name eth0, docker0 has 10.201.0.1/24',
        undo: expect.stringMatching(
          /^f=\/etc\/docker\/daemon\.json; mv \$f\.before \$f && python3 .* \$f '\{"bip":"192\.168\.50\.1\/24"\}' && systemctl restart docker$/,
        ),
        risk: expect.stringContaining('live-restore'),
      },
    ]);
  });

  it('where no daemon.json was, one is made', () => {
    expect(remedy(onLan({ [DAEMON]: { status: 'absent' } }))?.[0]).toMatchObject({
      run: `mkdir -p /etc/docker && echo '{"bip":"10.200.0.1/24","default-address-pools":[{"base":"10.201.0.0/16","size":24}]}' > /etc/docker/daemon.json && systemctl restart docker`,
      undo: `echo '{"bip":"192.168.50.1/24"}' > /etc/docker/daemon.json && systemctl restart docker`,
    });
  });

  it('address pools that were chosen stay; where the range is set is cited', () => {
    const nodes = onLan({
      [DAEMON]: '{\n"bip": "192.168.50.1/24",\n"default-address-pools": [{"base": "10.99.0.0/16", "size": 24}]\n}\n',
    });
    expect(remedy(nodes)?.[0]).toMatchObject({
      run: expect.stringContaining(`'{"bip":"10.200.0.1/24"}'`),
      undo: 'f=/etc/docker/daemon.json; mv $f.before $f && systemctl restart docker',
    });
    expect(citesOf(nodes).at(-1)).toBe('"bip": "192.168.50.1/24",');
  });

  it('a range from dockerd’s command line is changed there', () => {
    const nodes = onLan({ 'cmdline/dockerd.txt': '/usr/bin/dockerd\n--bip=192.168.50.1/24\n' });
    expect(remedy(nodes)?.[0]).toMatchObject({
      step: expect.stringMatching(/--bip=192\.168\.50\.1\/24 on dockerd’s command line.* to --bip=10\.200\.0\.1\/24/),
      run: 'systemctl cat docker | grep -n -e "--bip" -e EnvironmentFile',
      undo: 'put --bip=192.168.50.1/24 back and restart docker',
    });
    expect(citesOf(nodes).at(-1)).toBe('--bip=192.168.50.1/24');
  });

  it('a pod network is not moved by docker’s settings', () => {
    const steps = remedy(podNode('unicast 10.244.0.0/21 dev eth0 proto kernel scope link src 10.244.0.5 \n'));
    expect(JSON.stringify(steps)).toContain('--cluster-cidr');
    expect(JSON.stringify(steps)).not.toContain('daemon.json');
  });
});
