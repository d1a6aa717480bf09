import { rule } from '../../../rules/forwarding/snat-source-unexpected.ts';
import { testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, dockerNode, nft, podNode } from './nodes.ts';

const first =
  (...rules: string[]) =>
  (t: string): string =>
    t.replace(/(:FLANNEL-POSTRTG - \[0:0\]\n)/, `$1${rules.map((r) => `[0:0] ${r}\n`).join('')}`);
const ROUTES = podNode().files['host/ip/route4.txt'] as string;
const SNAT = '-A POSTROUTING -s 10.244.1.0/24 -o eth0 -j SNAT --to-source 192.168.50.77';

const VIRTUAL = '    inet 192.168.50.77/32 scope global eth0\n       valid_lft forever preferred_lft forever\n';
/** Another node of the network, with more on eth0. */
const holder = (more: string, main = '192.168.50.12') => {
  const { files, ...rest } = podNode();
  const addr = (files['host/ip/addr.txt'] as string)
    .replace('192.168.50.11/24', `${main}/24`)
    .replace(/(inet [\d.]+\/24 scope global eth0\n.*\n)/, `$1${more}`);
  return { ...rest, files: { ...files, 'host/ip/addr.txt': addr } };
};

testRule(rule, {
  finds: {
    'an address that the node does not have': {
      nodes: { a: podNode(first(SNAT)) },
      expect: [
        {
          key: `${SNAT} in nat/POSTROUTING`,
          severity: 'high',
          confidence: 'likely',
          message: /cni0 \(10\.244\.1\.0\/24\) leave a by eth0 as 192\.168\.50\.77, which is no address of a/,
          cites: ['--to-source 192.168.50.77', 'inet 192.168.50.11/24', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'a virtual address that another node has now': {
      nodes: {
        a: podNode(first(SNAT)),
        b: holder(VIRTUAL),
      },
      expect: [
        {
          severity: 'medium',
          confidence: 'possible',
          nodes: ['a'],
          message: /which is no address of a: .*; b has 192\.168\.50\.77: if it is a virtual address that moves/,
          cites: ['--to-source 192.168.50.77', 'inet 192.168.50.11/24', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'the address by which another node is known': {
      nodes: { a: podNode(first(SNAT)), b: holder('', '192.168.50.77') },
      expect: [
        {
          severity: 'high',
          confidence: 'likely',
          cites: ['--to-source', 'inet 192.168.50.11/24', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'with ports, of docker’s network': {
      nodes: {
        a: dockerNode(
          DOCKER_SAVE.replace(
            '-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
            '-s 172.17.0.0/16 ! -o docker0 -p tcp -j SNAT --to-source 192.0.2.77:1024-65535',
          ),
        ),
      },
      expect: [{ cites: ['--to-source 192.0.2.77:1024-65535', 'inet 192.0.2.10/24', 'inet 172.17.0.1/16'] }],
    },
  },
  passes: {
    masquerade: { nodes: { a: podNode() } },
    'an address of the node': { nodes: { a: podNode(first(SNAT.replace('.77', '.11'))) } },
    'one of a range is not judged': { nodes: { a: podNode(first(`${SNAT}-192.168.50.79`)) } },
    'an address that the node takes without having it': {
      nodes: {
        a: podNode(first(SNAT), {
          'host/ip/route4.txt': `${ROUTES}local 192.168.50.77 dev lo table local proto static scope host \n`,
        }),
      },
    },
  },
  notApplicable: {
    'nothing is translated': { nodes: { a: podNode((t) => t.replace(/^.*FLANNEL-POSTRTG.*\n/gm, '')) } },
  },
  unknown: {
    'an address of another network, which a router may send here': {
      nodes: { a: podNode(first(SNAT.replace('192.168.50.77', '203.0.113.5'))) },
      because: /whether answers to 203\.0\.113\.5, .* the node does not have it/,
    },
    'the list of addresses was cut off': {
      nodes: {
        a: podNode(first(SNAT), {
          'host/ip/addr.txt': { status: 'truncated', text: podNode().files['host/ip/addr.txt'] as string },
        }),
      },
      because: /not collected whole/,
    },
  },
});

testRule(rule, {
  finds: {
    'a native table': {
      nodes: {
        a: podNode((t) => t.replace(/^.*FLANNEL-POSTRTG.*\n/gm, ''), {
          'host/fw/nft.json': nft(
            { table: { family: 'ip', name: 'mynat', handle: 9 } },
            {
              chain: {
                family: 'ip',
                table: 'mynat',
                name: 'post',
                handle: 1,
                type: 'nat',
                hook: 'postrouting',
                prio: 100,
                policy: 'accept',
              },
            },
            {
              rule: {
                family: 'ip',
                table: 'mynat',
                chain: 'post',
                handle: 2,
                expr: [{ snat: { addr: '192.168.50.77' } }],
              },
            },
          ),
          'host/fw/nft.txt':
            'table ip mynat { # handle 9\n\tchain post { # handle 1\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tsnat to 192.168.50.77 # handle 2\n\t}\n}\n',
        }),
      },
      expect: [
        {
          message: /as 192\.168\.50\.77/,
          cites: ['snat to 192.168.50.77', 'inet 192.168.50.11/24', 'inet 10.244.1.1/24'],
        },
      ],
    },
  },
  passes: {},
});
