import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/vxlan-udp-blocked.ts';
import { firewall, type OverlayNode, overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { NO_NFT } from '../forwarding/nodes.ts';

/** A flannel node all of whose rulesets are known, with rules for its own packets; `policy` of INPUT. */
function node(
  rules: string,
  { policy = 'ACCEPT', peers = [2], ...o }: Partial<OverlayNode> & { policy?: string } = {},
): NodeFiles {
  const save = firewall(1, (t) =>
    t
      .replace(':INPUT ACCEPT [0:0]\n:FORWARD', `:INPUT ${policy} [0:0]\n:FORWARD`)
      .replace('[0:0] -A FORWARD -m comment', `${rules}[0:0] -A FORWARD -m comment`),
  );
  return overlayNode({
    n: 1,
    peers,
    ...o,
    files: {
      'host/fw/nft.json': NO_NFT,
      'host/fw/iptables-legacy-save.txt': '',
      'host/fw/ipset-save.txt': '',
      'host/fw/iptables-save.txt': save,
      ...o.files,
    },
  });
}

const ESTABLISHED = '[9:900] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n';
const SSH = '[1:60] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n';
const from = (source: string, port = 8472) => `[7:900] -A INPUT -s ${source} -p udp -m udp --dport ${port} -j ACCEPT\n`;
const REJECT = '[3:300] -A INPUT -j REJECT --reject-with icmp-host-prohibited\n';

/** `nft -j list ruleset` and `nft -a list ruleset` of nftables 1.0.6 with firewalld's zones on eth0, ssh open. */
const FIREWALLD_JSON =
  '{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}, {"table": {"family": "inet", "name": "firewalld", "handle": 1}}, {"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT", "handle": 1, "type": "filter", "hook": "input", "prio": 10, "policy": "accept"}}, {"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT_ZONES", "handle": 2}}, {"chain": {"family": "inet", "table": "firewalld", "name": "filter_IN_public", "handle": 3}}, {"chain": {"family": "inet", "table": "firewalld", "name": "filter_IN_public_deny", "handle": 4}}, {"chain": {"family": "inet", "table": "firewalld", "name": "filter_IN_public_allow", "handle": 5}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 7, "expr": [{"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": {"set": ["established", "related"]}}}, {"accept": null}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 8, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, {"accept": null}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 9, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 10, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}, {"drop": null}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 11, "expr": [{"jump": {"target": "filter_INPUT_ZONES"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 12, "expr": [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT_ZONES", "handle": 13, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}, {"goto": {"target": "filter_IN_public"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT_ZONES", "handle": 14, "expr": [{"goto": {"target": "filter_IN_public"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public", "handle": 15, "expr": [{"jump": {"target": "filter_IN_public_deny"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public", "handle": 16, "expr": [{"jump": {"target": "filter_IN_public_allow"}}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public", "handle": 18, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["icmp", "ipv6-icmp"]}}}, {"accept": null}]}}, {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public_allow", "handle": 19, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, {"accept": null}]}}]}\n';
const FIREWALLD_TEXT = `table inet firewalld { # handle 1
	chain filter_INPUT { # handle 1
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept # handle 7
		ct status dnat accept # handle 8
		iifname "lo" accept # handle 9
		ct state invalid drop # handle 10
		jump filter_INPUT_ZONES # handle 11
		reject with icmpx admin-prohibited # handle 12
	}

	chain filter_INPUT_ZONES { # handle 2
		iifname "eth0" goto filter_IN_public # handle 13
		goto filter_IN_public # handle 14
	}

	chain filter_IN_public { # handle 3
		jump filter_IN_public_deny # handle 15
		jump filter_IN_public_allow # handle 16
		meta l4proto { icmp, ipv6-icmp } accept # handle 18
	}

	chain filter_IN_public_deny { # handle 4
	}

	chain filter_IN_public_allow { # handle 5
		tcp dport 22 accept # handle 19
	}
}
`;
/** The same after `nft insert rule inet firewalld filter_IN_public_allow ip saddr 192.168.50.0/24 udp dport 8472 accept`. */
const FIREWALLD_OPEN = FIREWALLD_JSON.replace(
  /\{"rule": \{"family": "inet", "table": "firewalld", "chain": "filter_IN_public_allow"/,
  (m) =>
    `{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public_allow", "handle": 20, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "192.168.50.0", "len": 24}}}}, {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 8472}}, {"accept": null}]}}, ${m}`,
);
const firewalld = (json: string): NodeFiles =>
  node('', { files: { 'host/fw/nft.json': json, 'host/fw/nft.txt': FIREWALLD_TEXT } });

/** iptables-legacy-save beside the rules of nft. */
const legacy = (rules: string, policy: string) =>
  `# Generated by iptables-save v1.8.9 on Fri Nov 27 18:31:28 2026
*filter
:INPUT ${policy} [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
${rules}COMMIT
# Completed on Fri Nov 27 18:31:28 2026
`;

const NODES = 'create nodes hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x5d2a\n';
const BY_SET = '[7:900] -A INPUT -p udp -m udp --dport 8472 -m set --match-set nodes src -j ACCEPT\n';

const K8S = JSON.stringify(
  {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'b', annotations: { 'flannel.alpha.coreos.com/public-ip': '192.168.50.12' } },
    spec: { podCIDR: '10.244.2.0/24' },
  },
  null,
  4,
);

/** Of a node that left: an entry without a route. */
const leftOf =
  (n: number) =>
  (files: NodeFiles): NodeFiles['files'] => ({
    ...files.files,
    'host/ip/route4.txt': (files.files['host/ip/route4.txt'] as string).replace(
      new RegExp(`^.*10\\.244\\.${n}\\.0/24 via.*\\n`, 'm'),
      '',
    ),
    'host/ip/neigh.txt': (files.files['host/ip/neigh.txt'] as string).replace(
      new RegExp(`^10\\.244\\.${n}\\.0 .*\\n`, 'm'),
      '',
    ),
  });

testRule(rule, {
  finds: {
    'policy DROP; answers and ssh alone are let in (S04)': {
      nodes: { a: node(`${ESTABLISHED}${SSH}`, { policy: 'DROP' }) },
      expect: [
        {
          key: 'in flannel.1: policy DROP of INPUT in filter/INPUT',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^a drops vxlan packets \(udp\/8472\) from 192\.168\.50\.12: policy DROP of INPUT in filter\/INPUT; what pods there send/,
          cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
    'a REJECT in front of the ACCEPT, as iptables-services leaves it': {
      nodes: { a: node(`${ESTABLISHED}${SSH}${REJECT}${from('192.168.50.0/24')}`) },
      expect: [
        {
          severity: 'critical',
          message: /"-A INPUT -j REJECT --reject-with icmp-host-prohibited" in filter\/INPUT/,
          cites: ['-A INPUT -j REJECT', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
    'the port of the other convention is open': {
      nodes: { a: node(from('192.168.50.0/24', 8472), { policy: 'DROP', port: 4789 }) },
      expect: [{ message: /udp\/4789/, cites: [':INPUT DROP', 'dstport 4789', 'dst 192.168.50.12'] }],
    },
    'TCP of the nodes is open, UDP is not': {
      nodes: { a: node('[7:900] -A INPUT -s 192.168.50.0/24 -p tcp -j ACCEPT\n', { policy: 'DROP' }) },
      expect: [{ severity: 'critical', cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'] }],
    },
    'iptables-legacy drops what nft lets in': {
      nodes: {
        a: node('', {
          files: {
            'host/fw/iptables-legacy-save.txt': legacy(SSH, 'DROP'),
            'host/fw/ip_tables_names.txt': 'filter\n',
          },
        }),
      },
      expect: [{ confidence: 'proven', cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'] }],
    },
    'firewalld’s nftables backend refuses': {
      nodes: { a: firewalld(FIREWALLD_JSON) },
      expect: [
        {
          severity: 'critical',
          message: /in nft inet firewalld filter_INPUT/,
          cites: ['reject with icmpx admin-prohibited', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
    'raw PREROUTING drops it before all others': {
      nodes: {
        a: node('', {
          files: {
            'host/fw/iptables-save.txt': firewall(
              1,
              (t) => `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
[5:500] -A PREROUTING -i eth0 -p udp -m udp --dport 8472 -j DROP
COMMIT
${t}`,
            ),
          },
        }),
      },
      expect: [
        {
          message: /in raw\/PREROUTING/,
          cites: ['-A PREROUTING -i eth0 -p udp -m udp --dport 8472 -j DROP', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
    'its own OUTPUT lets nothing to the other nodes out': {
      nodes: { a: node('[4:400] -A OUTPUT -d 192.168.50.0/24 -p udp -j DROP\n') },
      expect: [
        {
          key: 'out flannel.1: "-A OUTPUT -d 192.168.50.0/24 -p udp -j DROP" in filter/OUTPUT',
          severity: 'critical',
          message: /^a drops vxlan packets \(udp\/8472\) to 192\.168\.50\.12: .*does not leave the node$/,
          cites: ['-A OUTPUT -d 192.168.50.0/24', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
    'a list of nodes that does not have the newest': {
      nodes: {
        a: node(`${from('192.168.50.12/32')}${from('192.168.50.13/32')}`, { policy: 'DROP', peers: [2, 3, 4] }),
      },
      expect: [
        {
          severity: 'high',
          confidence: 'likely',
          message: /from 192\.168\.50\.14, 1 of 3 nodes: policy DROP/,
          cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.14'],
        },
      ],
    },
    'the other node by its name, where flannel announces that': {
      nodes: { a: node('', { policy: 'DROP', files: { 'k8s/nodes.json': K8S } }) },
      expect: [
        { message: /from b \(192\.168\.50\.12\): policy/, cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'] },
      ],
    },
    'the address that is announced is shut, the one that the device has is open': {
      nodes: {
        a: node('[4:400] -A INPUT -d 192.168.77.11/32 -p udp -m udp --dport 8472 -j DROP\n', {
          files: {
            'k8s/nodes.json': K8S.replace('192.168.50.12', '192.168.77.11').replace('10.244.2.0', '10.244.1.0'),
            'host/ip/addr.txt': (node('').files['host/ip/addr.txt'] as string).replace(
              /(inet 192\.168\.50\.11\/24 scope global eth0\n)/,
              '$1       valid_lft forever preferred_lft forever\n    inet 192.168.77.11/24 scope global eth0\n',
            ),
          },
        }),
      },
      expect: [{ severity: 'critical', cites: ['-A INPUT -d 192.168.77.11/32', 'dstport 8472', 'dst 192.168.50.12'] }],
    },
    'a set of nodes that is empty': {
      nodes: { a: node(BY_SET, { policy: 'DROP', files: { 'host/fw/ipset-save.txt': NODES } }) },
      expect: [{ severity: 'critical', cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'] }],
    },
    'of very many that no rule tells apart one finding tells': {
      nodes: { a: node(ESTABLISHED, { policy: 'DROP', peers: Array.from({ length: 98 }, (_, i) => i + 2) }) },
      expect: [
        {
          severity: 'critical',
          message: /from 192\.168\.50\.12, 192\.168\.50\.13, 192\.168\.50\.14 and 95 more: policy/,
          cites: [':INPUT DROP', 'dstport 8472', 'dst 192.168.50.12'],
        },
      ],
    },
  },
  passes: {
    'nothing filters': { nodes: { a: node('') } },
    'policy DROP, the network of the nodes is let in': {
      nodes: { a: node(`${ESTABLISHED}${from('192.168.50.0/24')}`, { policy: 'DROP' }) },
    },
    'each node is let in': {
      nodes: { a: node(`${from('192.168.50.12/32')}${from('192.168.50.13/32')}`, { policy: 'DROP', peers: [2, 3] }) },
    },
    'a set of nodes lets them in': {
      nodes: {
        a: node(BY_SET, {
          policy: 'DROP',
          files: { 'host/fw/ipset-save.txt': `${NODES}add nodes 192.168.50.12\n` },
        }),
      },
    },
    'firewalld lets the nodes in': { nodes: { a: firewalld(FIREWALLD_OPEN) } },
    'the node that is not in the list has left: no route leads to its entry': {
      nodes: { a: { files: leftOf(4)(node(from('192.168.50.12/32'), { policy: 'DROP', peers: [2, 4] })) } },
    },
    'a drop of another port': { nodes: { a: node('[0:0] -A INPUT -p udp -m udp --dport 4789 -j DROP\n') } },
    'a drop on another device': { nodes: { a: node('[0:0] -A INPUT -i eth1 -p udp -j DROP\n') } },
    'FORWARD has no say': {
      nodes: { a: node('[0:0] -A FORWARD -p udp -m udp --dport 8472 -j DROP\n') },
    },
  },
  notApplicable: {
    'no vxlan device': {
      nodes: {
        a: {
          files: Object.fromEntries(
            Object.entries(node('', { policy: 'DROP' }).files).map(([path, text]) => [
              path,
              /addr|link\.txt/.test(path) ? (text as string).replace(/^3: flannel[\s\S]*?(?=^4: )/m, '') : text,
            ]),
          ),
        },
      },
    },
    'a cluster of one node': { nodes: { a: node('', { policy: 'DROP', peers: [] }) } },
  },
  unknown: {
    'whom the set holds was not collected': {
      nodes: {
        a: node(BY_SET, {
          policy: 'DROP',
          files: { 'host/fw/ipset-save.txt': { status: 'missing', reason: 'tool not found' } },
        }),
      },
      because: /whether udp\/8472 of other nodes gets in/,
    },
    'native nft tables were not collected': {
      nodes: { a: node('', { files: { 'host/fw/nft.json': { status: 'missing', reason: 'tool not found' } } }) },
      because: /native nft tables are not known/,
    },
    'the legacy tables were not collected': {
      nodes: {
        a: node('', {
          files: {
            'host/fw/iptables-legacy-save.txt': { status: 'missing', reason: 'tool not found' },
            'host/fw/ip_tables_names.txt': 'filter\n',
          },
        }),
      },
      because: /iptables-legacy tables are not known/,
    },
    'which nodes are behind the device was not collected': {
      nodes: { a: node('', { policy: 'DROP', files: { 'host/bridge/fdb.txt': { status: 'missing' } } }) },
      because: /which nodes are behind flannel\.1 was not collected whole/,
    },
    'the device’s own address is not the node’s': {
      nodes: {
        a: node('', {
          policy: 'DROP',
          files: {
            'host/ip/addr.txt': (node('').files['host/ip/addr.txt'] as string).replace(
              '192.168.50.11/24',
              '192.168.50.91/24',
            ),
          },
        }),
      },
      because: /192\.168\.50\.11, with which it sends, is no address of the node/,
    },
    'the rules decide by chance': {
      nodes: {
        a: node(
          '[0:0] -A INPUT -p udp -m udp --dport 8472 -m statistic --mode random --probability 0.50000000000 -j DROP\n',
        ),
      },
      because: /by chance/,
    },
    'so many that rules tell apart one by one': {
      nodes: {
        a: node(Array.from({ length: 40 }, (_, i) => from(`192.168.50.${12 + i}/32`)).join(''), {
          policy: 'DROP',
          peers: Array.from({ length: 40 }, (_, i) => i + 2),
        }),
      },
      because: /the rules tell so many nodes apart that 8 of 40 were not asked about/,
    },
  },
});

const remedy = (n: NodeFiles) => judge([rule], { a: n }).findings[0]?.remediation?.[0];

it('lets the port in where it is dropped', () => {
  const one = 'iptables -I INPUT -s 192.168.50.0/24 -p udp --dport 8472 -j ACCEPT';
  expect(remedy(node('', { policy: 'DROP' }))?.run).toBe(one);
  const old = { 'host/fw/iptables-legacy-save.txt': legacy('', 'DROP'), 'host/fw/ip_tables_names.txt': 'filter\n' };
  expect(remedy(node('', { files: old }))?.run).toBe(one.replace('iptables', 'iptables-legacy'));
  expect(remedy(node('[4:400] -A OUTPUT -p udp -j DROP\n'))?.run).toBe(
    'iptables -I OUTPUT -d 192.168.50.0/24 -p udp --dport 8472 -j ACCEPT',
  );
});

it('names addresses where the nodes are on several networks', () => {
  const apart = node('', {
    policy: 'DROP',
    peers: [2, 3],
    fdb: (n, l) => (n === 3 ? l.replace('192.168.50', '172.30.8') : l),
  });
  expect(remedy(apart)?.run).toBe('iptables -I INPUT -s 192.168.50.12,172.30.8.13 -p udp --dport 8472 -j ACCEPT');
});

it('speaks the words of the firewall that is there', () => {
  expect(remedy(firewalld(FIREWALLD_JSON))?.run).toBe(
    `firewall-cmd --permanent --zone="$(firewall-cmd --get-zone-of-interface=eth0)" --add-rich-rule='rule family=ipv4 source address=192.168.50.0/24 port port=8472 protocol=udp accept' && firewall-cmd --reload`,
  );
  const ufw = (t: string) => t.replace(':FLANNEL-FWD', ':ufw-user-input - [0:0]\n:FLANNEL-FWD');
  const denied = node('', { policy: 'DROP' });
  const save = ufw(denied.files['host/fw/iptables-save.txt'] as string);
  expect(remedy({ files: { ...denied.files, 'host/fw/iptables-save.txt': save } })?.run).toBe(
    'ufw allow from 192.168.50.0/24 to any port 8472 proto udp',
  );
});
