import { rule } from '../../../rules/services/service-has-no-endpoints.ts';
import { type NodeFiles, testRule } from '../../support/rule-table.ts';
import { emptied, kubeNode, NFT_JSON, NFT_TEXT, SAVE, without } from './nodes.ts';

/** The service of these words loses its backends, as kube-proxy writes it. */
const unbacked =
  (name: string, address: string, proto: string, port: number, why = 'has no endpoints') =>
  (save: string): string =>
    without(`${name}`)(save).replace(
      /(:KUBE-SERVICES - \[0:0\]\n(?:.*\n)*?)COMMIT/,
      `$1[0:0] -A KUBE-SERVICES -d ${address}/32 -p ${proto} -m comment --comment "${name} ${why}" -m ${proto} --dport ${port} -j ${why.includes('local') ? 'DROP' : 'REJECT --reject-with icmp-port-unreachable'}\nCOMMIT`,
    );
/** What is left of the time before cluster DNS had a pod. */
const STALE = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
[0:0] -A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns has no endpoints" -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable
COMMIT
`;
const busy = without('default/idle');
const noDns = unbacked('kube-system/kube-dns:dns', '10.96.0.10', 'udp', 53);
const VIPS = `9: kube-ipvs0: <BROADCAST,NOARP> mtu 1500 qdisc noop state DOWN group default 
    link/ether 7e:11:22:33:44:55 brd ff:ff:ff:ff:ff:ff
    inet 10.96.0.1/32 scope global kube-ipvs0
       valid_lft forever preferred_lft forever
    inet 10.96.0.10/32 scope global kube-ipvs0
       valid_lft forever preferred_lft forever
    inet 10.96.0.30/32 scope global kube-ipvs0
       valid_lft forever preferred_lft forever
`;
const ipvsNode = (list: string): NodeFiles =>
  kubeNode(1, emptied, {
    'host/ip/addr.txt': `${kubeNode(1).files['host/ip/addr.txt'] as string}${VIPS}`,
    'host/fw/ipvs.txt': list,
    'files/var/lib/kubelet/config.yaml': 'kind: KubeletConfiguration\nclusterDNS:\n- 10.96.0.10\n',
  });
const API = '-A -t 10.96.0.1:443 -s rr\n-a -t 10.96.0.1:443 -r 192.168.50.11:6443 -m -w 1\n';
const nft = { 'host/fw/nft.json': NFT_JSON, 'host/fw/nft.txt': NFT_TEXT };

testRule(rule, {
  finds: {
    'a service that may be scaled to zero, on all nodes': {
      nodes: { a: kubeNode(1), b: kubeNode(2), c: kubeNode(3) },
      expect: [
        {
          key: 'services',
          severity: 'low',
          nodes: ['a', 'b', 'c'],
          message: /^On a and 2 other nodes a service has no endpoints: default\/idle:http 10\.96\.0\.30:80\/tcp$/,
          cites: ['"default/idle:http has no endpoints"'],
        },
      ],
    },
    'cluster DNS': {
      nodes: { a: kubeNode(1, (t) => noDns(busy(t))), b: kubeNode(2, (t) => noDns(busy(t))) },
      expect: [
        {
          key: 'kube-system/kube-dns:dns',
          severity: 'high',
          nodes: ['a', 'b'],
          message:
            /^The cluster’s DNS \(kube-system\/kube-dns:dns 10\.96\.0\.10:53\/udp\) has no endpoints: kube-proxy of a and b refuses every/,
          cites: ['"kube-system/kube-dns:dns has no endpoints"'],
        },
      ],
    },
    'cluster DNS with internalTrafficPolicy Local, on the node without one': {
      nodes: {
        a: kubeNode(1, (t) =>
          unbacked('kube-system/kube-dns:dns', '10.96.0.10', 'udp', 53, 'has no local endpoints')(busy(t)),
        ),
        b: kubeNode(2, busy),
      },
      answers: { b: 'pass' },
      expect: [
        {
          severity: 'high',
          nodes: ['a'],
          message: /has no backend here: kube-proxy of a drops/,
          cites: ['has no local endpoints'],
        },
      ],
    },
    'ipvs mode: two services without real servers, one of them DNS by the kubelet’s word': {
      nodes: {
        a: ipvsNode(`${API}-A -u 10.96.0.10:53 -s rr\n-A -t 10.96.0.30:80 -s rr\n-A -t 192.168.50.11:30080 -s rr\n`),
      },
      expect: [
        {
          key: '10.96.0.10',
          severity: 'high',
          message: /The cluster’s DNS \(10\.96\.0\.10:53\/udp\)/,
          cites: ['-A -u 10.96.0.10:53 -s rr'],
        },
        {
          key: 'services',
          severity: 'low',
          message: /a service has no endpoints: 10\.96\.0\.30:80\/tcp/,
          cites: ['-A -t 10.96.0.30:80 -s rr'],
        },
      ],
    },
    'nftables mode': {
      nodes: { a: kubeNode(1, emptied, nft) },
      expect: [
        { severity: 'low', message: /default\/idle:http 10\.96\.0\.30:80\/tcp/, cites: ['map no-endpoint-services {'] },
      ],
    },
  },
  passes: {
    'refused by a rule of before in the other backend of iptables, translated by today’s': {
      nodes: {
        a: kubeNode(1, () => STALE, {
          'host/fw/iptables-version.txt': 'iptables v1.8.9 (nf_tables)\n',
          'host/fw/ip_tables_names.txt': 'filter\nnat\n',
          'host/fw/iptables-legacy-save.txt': busy(SAVE),
        }),
      },
    },
    'every service has some': { nodes: { a: kubeNode(1, busy) } },
    'nodes without a pod of a service of policy Local': {
      nodes: {
        a: kubeNode(1, (t) => unbacked('default/web:http', '10.96.0.20', 'tcp', 80, 'has no local endpoints')(busy(t))),
      },
    },
    'nftables mode: rules that iptables mode left do not count': {
      nodes: {
        a: kubeNode(1, (t) => t, {
          ...nft,
          'host/fw/nft.json': NFT_JSON.replace(/("name": ?"no-endpoint-services".*?"elem": ?)\[\[.*?\]\]/, '$1[]'),
        }),
      },
    },
  },
  notApplicable: {
    'no kube-proxy': { nodes: { a: kubeNode(1, emptied) } },
  },
  unknown: {
    'a cut list': {
      nodes: {
        a: kubeNode(1, (t) => t, {
          'host/fw/iptables-save.txt': {
            status: 'truncated',
            text: `${SAVE.slice(SAVE.indexOf('*nat'))}*filter\n:INPUT ACCEPT [0:0]\n`,
          },
        }),
      },
      because: /whether every service has endpoints: host\/fw\/iptables-save\.txt was not collected whole/,
    },
  },
});
