import { expect, it } from 'vitest';
import { rule } from '../../../rules/forwarding/egress-masquerade-missing.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import {
  cniNode,
  DOCKER_SAVE,
  DOCKER0,
  dockerNode,
  flushed,
  legacyUnknown,
  NO_NFT,
  nft,
  podNode,
  podNodeWithout,
  policyRouted,
  routedNode,
} from './nodes.ts';

const POSTRTG = /^.*FLANNEL-POSTRTG.*\n/gm;
/** The nat table without flannel's part, with these rules of POSTROUTING instead. */
const nat =
  (...rules: string[]) =>
  (t: string): string =>
    t.replace(POSTRTG, '').replace(/(:POSTROUTING ACCEPT \[0:0\]\n)/, `$1${rules.map((r) => `[0:0] ${r}\n`).join('')}`);
const covered = (...rules: string[]) => ({ nodes: { a: podNode(nat(...rules)) } });
const bare = (...cites: string[]) => [
  'inet 10.244.1.1/24',
  'default via',
  'absent: a rule of nat POSTROUTING',
  ...cites,
];
const without = (name: string) => DOCKER_SAVE.replace(/^.*-s 172\.17\.0\.0\/16 ! -o docker0.*\n/m, name);
const APP = { name: 'app', bridge: 'br-0123456789ab', subnet: '172.18.0.0/16', gateway: '172.18.0.1' };

/** The router that a node's default route names. */
function gateway(...routes: string[]): NodeFiles {
  const { files } = dockerNode(DOCKER_SAVE, []);
  return {
    files: {
      ...files,
      'host/ip/addr.txt': (files['host/ip/addr.txt'] as string).replace('192.0.2.10/24', '192.168.50.100/24'),
      'host/ip/route4.txt': `${['unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.100 ', ...routes].join('\n')}\n`,
    },
  };
}
const masquerade = (family: string, priority: number, ...expr: unknown[]) =>
  nft(
    { table: { family, name: 'mynat', handle: 9 } },
    {
      chain: {
        family,
        table: 'mynat',
        name: 'post',
        handle: 1,
        type: 'nat',
        hook: 'postrouting',
        prio: priority,
        policy: 'accept',
      },
    },
    { rule: { family, table: 'mynat', chain: 'post', handle: 2, expr: [...expr, { masquerade: null }] } },
  );
const outEth0 = { match: { op: '==', left: { meta: { key: 'oifname' } }, right: 'eth0' } };

testRule(rule, {
  finds: {
    'one of two next hops leaves by a device that no rule covers': {
      nodes: {
        a: dockerNode(DOCKER_SAVE.replace('! -o docker0 -j MASQUERADE', '-o eth0 -j MASQUERADE'), [DOCKER0], {
          'host/ip/route4.txt': (dockerNode('').files['host/ip/route4.txt'] as string).replace(
            /^unicast default .*$/m,
            'unicast default proto static scope global \n\tnexthop via 192.0.2.1 dev eth0 weight 1 \n\tnexthop via 198.51.100.1 dev eth1 weight 1 ',
          ),
        }),
      },
      expect: [
        {
          key: 'docker0 172.17.0.0/16 eth1',
          message: /on the way out by eth1/,
          cites: ['172.17.0.1/16', 'default', 'absent', 'POSTROUTING'],
        },
      ],
    },
    '--iptables=false among dockerd’s options, nothing in its file': {
      nodes: {
        a: dockerNode(without(''), [DOCKER0], {
          'cmdline/dockerd.txt': '/usr/bin/dockerd -H fd:// --iptables=false\n',
        }),
      },
      expect: [
        {
          key: 'docker0 172.17.0.0/16',
          message: /and docker is told to write no rules/,
          cites: ['inet 172.17.0.1/16', 'default via', 'absent', ':POSTROUTING', '--iptables=false'],
        },
      ],
    },
    'the nat table was flushed (S09)': {
      nodes: { a: podNode(nat()) },
      expect: [
        {
          key: 'cni0 10.244.1.0/24',
          severity: 'high',
          nodes: ['a'],
          message: /cni0 \(10\.244\.1\.0\/24\) leave a with their private address: no SNAT .* by eth0/,
          cites: bare(':POSTROUTING ACCEPT'),
        },
      ],
    },
    'iptables:false left the nat table of a flannel node empty': {
      nodes: { a: podNode(nat(), { 'files/etc/docker/daemon.json': '{"iptables": false}\n' }) },
      expect: [{ key: 'cni0 10.244.1.0/24', cites: bare(':POSTROUTING ACCEPT') }],
    },
    'iptables: false on a docker host, and nobody else translates': {
      // as dockerd 20.10 then lists its bridge
      nodes: {
        a: dockerNode(
          without(''),
          [{ ...DOCKER0, options: { 'com.docker.network.bridge.enable_ip_masquerade': 'false' } }],
          { 'files/etc/docker/daemon.json': '{"iptables": false}\n' },
        ),
      },
      expect: [
        {
          key: 'docker0 172.17.0.0/16',
          message: /and docker is told to write no rules/,
          cites: ['inet 172.17.0.1/16', 'default via', 'absent', ':POSTROUTING', '"iptables": false'],
        },
      ],
    },
    'docker with ip-masq=false leaves it to flannel, and flannel does not (kubernetes/27 of the incidents)': {
      nodes: {
        a: podNode(nat(), {
          'docker/network-inspect.json': `${JSON.stringify([
            {
              Name: 'bridge',
              Id: 'b'.repeat(64),
              Scope: 'local',
              Driver: 'bridge',
              IPAM: { Config: [{ Subnet: '10.244.1.0/24', Gateway: '10.244.1.1' }] },
              Containers: {},
              Options: {
                'com.docker.network.bridge.name': 'cni0',
                'com.docker.network.bridge.enable_ip_masquerade': 'false',
              },
            },
          ])}\n`,
        }),
      },
      expect: [{ key: 'cni0 10.244.1.0/24', cites: bare(':POSTROUTING ACCEPT') }],
    },
    'docker’s network without its rule, another one covered': {
      nodes: { a: dockerNode(without(''), [DOCKER0, APP]) },
      expect: [
        {
          key: 'br-0123456789ab 172.18.0.0/16',
          cites: ['inet 172.18.0.1/16', 'default via', 'absent', ':POSTROUTING'],
        },
        { key: 'docker0 172.17.0.0/16', cites: ['inet 172.17.0.1/16', 'default via', 'absent', ':POSTROUTING'] },
      ],
    },
    'ACCEPT in front of MASQUERADE': {
      nodes: { a: podNode(nat('-A POSTROUTING -s 10.244.0.0/16 -j ACCEPT', '-A POSTROUTING -o eth0 -j MASQUERADE')) },
      expect: [{ cites: bare(':POSTROUTING ACCEPT', '-A POSTROUTING -s 10.244.0.0/16 -j ACCEPT') }],
    },
    'RETURN at the top level ends the chain': {
      nodes: { a: podNode(nat('-A POSTROUTING -s 10.244.1.0/24 -j RETURN', '-A POSTROUTING -o eth0 -j MASQUERADE')) },
      expect: [{ cites: bare(':POSTROUTING ACCEPT') }],
    },
    'a rule for another device or subnet covers nothing': {
      nodes: {
        a: podNode(nat('-A POSTROUTING -o eth1 -j MASQUERADE', '-A POSTROUTING -s 10.245.0.0/16 -j MASQUERADE')),
      },
      expect: [{ cites: bare(':POSTROUTING ACCEPT') }],
    },
    'a chain of flannel that nothing jumps to': {
      nodes: {
        a: podNode((t) => t.replace(/^.*-A POSTROUTING .*FLANNEL-POSTRTG\n/m, '')),
      },
      expect: [{ cites: bare(':POSTROUTING ACCEPT') }],
    },
    'only TCP is translated: medium': {
      nodes: { a: podNode(nat('-A POSTROUTING -s 10.244.1.0/24 -p tcp -j MASQUERADE')) },
      expect: [{ severity: 'medium', key: 'cni0 10.244.1.0/24 (udp, icmp)', cites: bare(':POSTROUTING ACCEPT') }],
    },
    'NOTRACK: what is not tracked is not translated (V10)': {
      nodes: {
        a: podNode(
          (t) =>
            `# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026\n*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[0:0] -A PREROUTING -i cni0 -j NOTRACK\nCOMMIT\n${t}`,
        ),
      },
      expect: [
        {
          message: /by eth0: "-A PREROUTING -i cni0 -j NOTRACK" keeps their connections untracked/,
          cites: ['-A PREROUTING -i cni0 -j NOTRACK', ...bare(':POSTROUTING ACCEPT')],
        },
      ],
    },
    'translated on the way out, but a policy rule chooses another': {
      nodes: {
        a: policyRouted({ 'host/fw/iptables-save.txt': DOCKER_SAVE.replace(/ ! -o docker0(?= -j MASQ)/, ' -o eth0') }),
      },
      expect: [
        {
          message: /on the way out by wg0/,
          cites: ['inet 172.17.0.1/16', 'from 172.17.0.0/16 lookup 200', 'default dev wg0', 'absent', ':POSTROUTING'],
        },
      ],
    },
    'a gateway that has no route back': {
      nodes: { a: podNode(nat()), gw: gateway('unicast 10.244.1.0/24 via 192.168.50.77 dev eth0 proto boot ') },
      expect: [{ nodes: ['a'], cites: bare(':POSTROUTING ACCEPT') }],
    },
    'a peer’s route over the overlay is no way back from outside': {
      nodes: {
        a: podNode(nat()),
        b: overlayNode({ n: 2, peers: [1], files: { 'host/fw/nft.json': NO_NFT } }),
      },
      expect: [{ nodes: ['a'], cites: bare(':POSTROUTING ACCEPT') }],
      answers: { b: 'pass' },
    },
  },
  passes: {
    'a pod without a bridge (AWS VPC CNI)': {
      nodes: {
        a: routedNode(
          flushed(
            'ACCEPT',
            '-A POSTROUTING ! -d 192.168.0.0/16 -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.50.11\n',
          ),
        ),
      },
    },
    'flannel --ip-masq': { nodes: { a: podNode() } },
    'FLANNEL_IPMASQ=false and docker translates': {
      nodes: {
        a: podNode(nat('-A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE'), {
          'files/run/flannel/subnet.env':
            'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
        }),
      },
    },
    docker: { nodes: { a: dockerNode(DOCKER_SAVE) } },
    'a broader rule of the admin (S09b)': covered('-A POSTROUTING -o eth0 -j MASQUERADE'),
    'not by lo': covered('-A POSTROUTING ! -o lo -j MASQUERADE'),
    'a fixed address': covered('-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j SNAT --to-source 192.168.50.11'),
    'a policy rule sends containers into a tunnel, where they are translated': { nodes: { a: policyRouted() } },
    'a mark does': {
      nodes: {
        a: policyRouted(
          {
            'host/fw/iptables-save.txt': `# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 16:28:10 2026
*mangle
:PREROUTING ACCEPT [0:0]
[0:0] -A PREROUTING -i docker0 -j MARK --set-xmark 0x7/0xffffffff
COMMIT
${DOCKER_SAVE.replaceAll(' ! -o docker0', ' -o wg0')}`,
          },
          '100:\tfrom all fwmark 0x7 lookup 200\n',
        ),
      },
    },
    'ip-masq-agent with the list of GKE': covered(
      '-A POSTROUTING -d 10.0.0.0/8 -j RETURN',
      '-A POSTROUTING -d 192.0.2.0/24 -j RETURN',
      '-A POSTROUTING -d 198.51.100.0/24 -j RETURN',
      '-A POSTROUTING -d 203.0.113.0/24 -j RETURN',
      '-A POSTROUTING -d 100.64.0.0/10 -j RETURN',
      '-A POSTROUTING -d 198.18.0.0/15 -j RETURN',
      '-A POSTROUTING -j MASQUERADE',
    ),
    'ip-masq-agent': {
      nodes: {
        a: podNode((t) =>
          nat(
            '-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT',
            '-A IP-MASQ-AGENT -d 169.254.0.0/16 -j RETURN',
            '-A IP-MASQ-AGENT -d 10.0.0.0/8 -j RETURN',
            '-A IP-MASQ-AGENT -j MASQUERADE',
          )(t).replace(':POSTROUTING ACCEPT', ':IP-MASQ-AGENT - [0:0]\n:POSTROUTING ACCEPT'),
        ),
      },
    },
    'kubelet’s non-masquerade CIDR': covered(
      '-A POSTROUTING ! -d 10.0.0.0/8 -m addrtype ! --dst-type LOCAL -j MASQUERADE',
    ),
    'the CNI bridge plugin, for the addresses that pods have': {
      nodes: {
        a: podNode((t) =>
          nat(
            '-A POSTROUTING -s 10.244.1.10/32 -m comment --comment "name: \\"cbr0\\" id: \\"4f1a\\"" -j CNI-0123456789abcdef01234567',
            '-A CNI-0123456789abcdef01234567 -d 10.244.1.0/24 -m comment --comment "name: \\"cbr0\\" id: \\"4f1a\\"" -j ACCEPT',
            '-A CNI-0123456789abcdef01234567 ! -d 224.0.0.0/4 -m comment --comment "name: \\"cbr0\\" id: \\"4f1a\\"" -j MASQUERADE',
          )(t).replace(':POSTROUTING ACCEPT', ':CNI-0123456789abcdef01234567 - [0:0]\n:POSTROUTING ACCEPT'),
        ),
      },
    },
    'RETURN in a chain goes on behind its jump (V15)': {
      nodes: {
        a: podNode((t) =>
          nat(
            '-A POSTROUTING -j MINE',
            '-A MINE -s 10.244.0.0/16 -j RETURN',
            '-A POSTROUTING -o eth0 -j MASQUERADE',
          )(t).replace(':POSTROUTING ACCEPT', ':MINE - [0:0]\n:POSTROUTING ACCEPT'),
        ),
      },
    },
    'an nft table of the admin’s own, behind an ACCEPT of iptables (V14)': {
      nodes: {
        a: podNode(nat('-A POSTROUTING -s 10.244.0.0/16 -j ACCEPT'), {
          'host/fw/nft.json': masquerade('inet', 110, outEth0),
        }),
      },
    },
    'flannel with EnableNFTables': {
      nodes: {
        a: podNode(nat(), {
          'host/fw/nft.json': masquerade(
            'ip',
            100,
            {
              match: {
                op: '==',
                left: { payload: { protocol: 'ip', field: 'saddr' } },
                right: { prefix: { addr: '10.244.0.0', len: 16 } },
              },
            },
            {
              match: {
                op: '!=',
                left: { payload: { protocol: 'ip', field: 'daddr' } },
                right: { prefix: { addr: '224.0.0.0', len: 4 } },
              },
            },
          ),
        }),
      },
    },
    'by the legacy variant': {
      nodes: {
        a: podNode(nat(), {
          'host/fw/iptables-legacy-save.txt':
            '# Generated by iptables-save v1.8.9 on Tue Nov 24 10:00:00 2026\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A POSTROUTING -s 10.244.0.0/16 -o eth0 -j MASQUERADE\nCOMMIT\n',
          'host/fw/ip_tables_names.txt': 'nat\n',
        }),
      },
    },
    'a mark that PREROUTING sets': {
      nodes: {
        a: podNode(
          (t) =>
            `# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026\n*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A PREROUTING -i cni0 -j MARK --set-xmark 0x20/0x20\nCOMMIT\n${nat('-A POSTROUTING -m mark --mark 0x20/0x20 -j MASQUERADE')(t)}`,
        ),
      },
    },
  },
  notApplicable: {
    'dockerd --ip-masq=false, and docker’s list of networks was not collected': {
      nodes: {
        a: dockerNode(without(''), [DOCKER0], {
          'docker/network-inspect.json': { status: 'missing' },
          'cmdline/dockerd.txt': '/usr/bin/dockerd --ip-masq=false\n',
        }),
      },
    },
    '"ip-masq": false': {
      nodes: {
        a: dockerNode(without(''), [DOCKER0], {
          'docker/network-inspect.json': { status: 'missing' },
          'files/etc/docker/daemon.json': '{"ip-masq": false}\n',
        }),
      },
    },
    'an --internal network': { nodes: { a: dockerNode(without(''), [{ ...DOCKER0, internal: true }]) } },
    'declared without masquerading': {
      nodes: {
        a: dockerNode(without(''), [
          { ...DOCKER0, options: { 'com.docker.network.bridge.enable_ip_masquerade': 'false' } },
        ]),
      },
    },
    'a routed network of docker 28': {
      nodes: {
        a: dockerNode(without(''), [
          { ...DOCKER0, options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' } },
        ]),
      },
    },
    'publicly routable addresses': {
      nodes: {
        a: dockerNode(without(''), [
          {
            name: 'pub',
            bridge: 'br-0123456789ab',
            subnet: '198.18.0.0/24'.replace('198.18', '8.8'),
            gateway: '8.8.0.1',
          },
        ]),
      },
    },
    'no default route': {
      nodes: {
        a: podNode(nat(), {
          'host/ip/route4.txt': 'unicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n',
        }),
      },
    },
    'no container network': { nodes: { a: dockerNode(without(''), []) } },
    'the gateway of the case routes the subnet back (S09c)': {
      nodes: { a: podNode(nat()), gw: gateway('unicast 10.244.1.0/24 via 192.168.50.11 dev eth0 proto boot ') },
      answers: { gw: 'not-applicable' },
    },
  },
  unknown: {
    'what is dropped on its way out lacks no translation': {
      nodes: {
        a: podNode(
          (t) =>
            `# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026\n*mangle\n:POSTROUTING ACCEPT [0:0]\n[18:1224] -A POSTROUTING -s 10.244.1.0/24 -o eth0 -j DROP\nCOMMIT\n${t}`,
        ),
      },
      because:
        /it is dropped on its way out \(mangle\/POSTROUTING: -A POSTROUTING -s 10\.244\.1\.0\/24 -o eth0 -j DROP\)/,
    },
    'pods without a bridge have addresses that others may know (AWS VPC CNI with external SNAT)': {
      nodes: { a: routedNode(flushed('ACCEPT')) },
      because:
        /10\.244\.7\.5\/32 is translated \(a pod’s, by cali12d4a061371\): nothing does so, but what made its route/,
    },
    'the default route was not collected': {
      nodes: {
        a: { files: { ...podNode(nat()).files, 'host/ip/route4.txt': '' }, info: { format: 'loose-files' } },
      },
      because: /the node’s routes were not collected whole/,
    },
    'iptables-save -t filter: the other table was not read': {
      nodes: {
        a: dockerNode(DOCKER_SAVE.replaceAll(' (nf_tables)', '').replace(/^\*nat[\s\S]*?^COMMIT\n/m, ''), [DOCKER0], {
          'host/fw/iptables-legacy-save.txt': { status: 'skipped', reason: 'iptables-save is this variant' },
          'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
        }),
      },
      because: /the kernel has the iptables-legacy table nat, which is not in host\/fw\/iptables-save\.txt/,
    },
    'the CNI plugins’ rules are for single addresses, and whose they are is not known': {
      nodes: { a: cniNode() },
      because: /10\.244\.1\.10 is not, 10\.244\.1\.77 may be/,
    },
    'nor does a stale lease prove anything': {
      nodes: { a: cniNode('10.244.1.33') },
      because: /10\.244\.1\.33 is not, 10\.244\.1\.77 may be/,
    },
    'a routing daemon may announce it': {
      nodes: {
        a: podNode(nat(), {
          'host/ip/route4.txt': (podNode().files['host/ip/route4.txt'] as string).replace(
            'unicast 192.168.50.0/24',
            'unicast 10.9.0.0/24 via 192.168.50.100 dev eth0 proto bird scope global \nunicast 192.168.50.0/24',
          ),
        }),
      },
      because: /routing daemon \(proto bird\)/,
    },
    'the jump to a target that is not understood': {
      nodes: { a: podNode(nat('-A POSTROUTING -s 10.244.0.0/16 -j FULLCONENAT --to-source 192.168.50.11')) },
      because: /FULLCONENAT/,
    },
    'a match that is not understood': {
      nodes: {
        a: podNode(nat('-A POSTROUTING -m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0" -j MASQUERADE')),
      },
      because: /bpf/,
    },
    'the other variant was not collected': {
      nodes: { a: legacyUnknown('nat\n', nat()) },
      because: /iptables-legacy tables are not known/,
    },
    'native tables were not collected': {
      nodes: { a: podNodeWithout('host/fw/nft.json') },
      because: /native nft tables are not known/,
    },
    'iptables-save was cut before nat': {
      nodes: {
        a: podNode((t) => t, {
          'host/fw/iptables-save.txt': {
            status: 'truncated',
            text: '# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[0:0] -A FORWARD -s 10.244.0.0/16 -j ACCEPT\n',
          },
        }),
      },
      because: /not collected whole/,
    },
  },
});

it('lets podman write podman’s rules', () => {
  const podman = { ...DOCKER0, name: 'podman', bridge: 'podman0', subnet: '10.88.0.0/16', gateway: '10.88.0.1' };
  const node = dockerNode(without(''), [podman], { 'docker/network-inspect.json': { status: 'absent' } });
  const [finding] = judge([rule], { a: node }).findings;
  expect(finding?.message).toMatch(/podman0 \(10\.88\.0\.0\/16\)/);
  expect(finding?.remediation?.[0]?.step).toMatch(/podman network reload --all/);
});
