import { rule } from '../../../rules/services/service-proxy-not-programmed.ts';
import { type NodeFiles, testRule } from '../../support/rule-table.ts';
import {
  emptied,
  flushed,
  KUBELET,
  kubeNode,
  NFT_JSON,
  NFT_TEXT,
  NO_KUBELET,
  NO_PROXY,
  SAVE,
  without,
} from './nodes.ts';

const at = (node: NodeFiles, minute: number): NodeFiles => ({
  ...node,
  info: { ...node.info, collectedAt: `2026-11-24T10:${String(minute).padStart(2, '0')}:00.000Z` },
});
const addr = (n: number, more: string) => `${kubeNode(n).files['host/ip/addr.txt'] as string}${more}`;
const device = (name: string, inet = '') =>
  `9: ${name}: <BROADCAST,NOARP> mtu 1500 qdisc noop state DOWN group default \n    link/ether 7e:11:22:33:44:55 brd ff:ff:ff:ff:ff:ff\n${inet}`;
const VIPS = '    inet 10.96.0.1/32 scope global kube-ipvs0\n       valid_lft forever preferred_lft forever\n';
const ipvs = (list: string) => ({
  'host/ip/addr.txt': addr(1, device('kube-ipvs0', VIPS)),
  'host/fw/ipvs.txt': list,
});
interface NftObject {
  map?: { name: string; elem?: unknown };
  rule?: { chain: string };
}
/** What is left of kube-proxy's nft table. */
const nft = (keep: (object: NftObject) => boolean = () => true) => {
  const { nftables } = JSON.parse(NFT_JSON) as { nftables: NftObject[] };
  return {
    'host/fw/nft.json': `${JSON.stringify({ nftables: nftables.filter(keep) })}\n`,
    'host/fw/nft.txt': NFT_TEXT,
  };
};
const loose = { info: { format: 'loose-files' } } as const;
/** In front of kube-proxy's jump, as iptables-save prints it. */
const inFront =
  (rule: string) =>
  (save: string): string =>
    save.replace('[0:0] -A PREROUTING ', `[0:0] -A PREROUTING ${rule}\n$&`);
const raw =
  (rule: string) =>
  (save: string): string =>
    `*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[0:0] -A PREROUTING ${rule}\nCOMMIT\n${save}`;
const API = '-A KUBE-SERVICES -d 10.96.0.1/32';
const DNS = '-A KUBE-SERVICES -d 10.96.0.10/32';
const WEB = /^.*default\/web:http.*\n/gm;

testRule(rule, {
  finds: {
    'a rule in front accepts what pods send': {
      nodes: { a: kubeNode(1, inFront('-s 10.244.0.0/16 -j ACCEPT')) },
      expect: [
        {
          key: 'astray -A PREROUTING -s 10.244.0.0/16 -j ACCEPT',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^On a what pods send to default\/kubernetes:https \(10\.96\.0\.1:443\/tcp\), kube-system\/kube-dns:dns \(10\.96\.0\.10:53\/udp\) is not translated, and goes nowhere: "-A PREROUTING -s 10\.244\.0\.0\/16 -j ACCEPT" takes it/,
          cites: [API, DNS, '-A PREROUTING -s 10.244.0.0/16 -j ACCEPT'],
        },
      ],
    },
    'a RETURN in front': {
      nodes: { a: kubeNode(1, inFront('-i cni0 -j RETURN')) },
      expect: [
        { severity: 'critical', message: /"-A PREROUTING -i cni0 -j RETURN"/, cites: [API, DNS, '-i cni0 -j RETURN'] },
      ],
    },
    'another translation in front': {
      nodes: { a: kubeNode(1, inFront('-p udp -m udp --dport 53 -j DNAT --to-destination 192.168.50.200')) },
      expect: [
        {
          severity: 'critical',
          message:
            /send to kube-system\/kube-dns:dns \(10\.96\.0\.10:53\/udp\) goes to 192\.168\.50\.200, which is no backend/,
          cites: [DNS, '--to-destination 192.168.50.200'],
        },
      ],
    },
    'connections to services are not tracked': {
      nodes: { a: kubeNode(1, raw('-d 10.96.0.0/12 -j CT --notrack')) },
      expect: [{ severity: 'critical', cites: [API, DNS, '-d 10.96.0.0/12 -j CT --notrack'] }],
    },
    'the chain of cluster DNS is empty': {
      nodes: { a: kubeNode(1, without('] -A KUBE-SVC-QL2MYDZXQLZFOF2R')) },
      expect: [
        {
          key: 'astray kube-system/kube-dns:dns (10.96.0.10:53/udp)',
          severity: 'critical',
          message: /is not translated, and goes nowhere: kube-proxy’s chain KUBE-SVC-QL2MYDZXQLZFOF2R is empty$/,
          cites: [DNS, ':KUBE-SVC-QL2MYDZXQLZFOF2R'],
        },
      ],
    },
    'that of its last backend is empty: half of the connections': {
      nodes: { a: kubeNode(1, without('] -A KUBE-SEP-Y77QKAAYQLPHZDZJ')) },
      expect: [
        {
          severity: 'high',
          message:
            /^On a 50 % of the new connections that pods make to kube-system\/kube-dns:dns .*chain KUBE-SEP-Y77QKAAYQLPHZDZJ is empty$/,
          cites: [DNS, ':KUBE-SEP-Y77QKAAYQLPHZDZJ'],
        },
      ],
    },
    'all rules flushed, chains left': {
      nodes: { a: kubeNode(1, flushed) },
      expect: [
        {
          key: 'none',
          severity: 'critical',
          confidence: 'likely',
          message: /^No Kubernetes service has a rule on a, although kube-proxy runs/,
          cites: [
            '/usr/bin/kubelet',
            'absent: a ClusterIP in KUBE-SERVICES',
            'absent: a ClusterIP in KUBE-SERVICES',
            '/usr/local/bin/kube-proxy',
          ],
        },
      ],
    },
    'no kube-proxy was seen, its chains are left': {
      nodes: { a: kubeNode(1, flushed, NO_PROXY) },
      expect: [
        {
          message: /kube-proxy was there and what is left of it are chains without services/,
          cites: ['/usr/bin/kubelet', 'absent: a ClusterIP', 'absent: a ClusterIP', ':KUBE-SERVICES - [0:0]'],
        },
      ],
    },
    'nothing of kube-proxy, but a peer has services': {
      nodes: { a: kubeNode(1, emptied, NO_PROXY), b: kubeNode(2) },
      answers: { b: 'pass' },
      expect: [
        {
          nodes: ['a'],
          message: /No Kubernetes service has a rule on a, while its peer b has them/,
          cites: ['/usr/bin/kubelet', 'absent: a ClusterIP', 'absent: a ClusterIP', '-d 10.96.0.1/32 -p tcp'],
        },
      ],
    },
    'nothing leads from PREROUTING': {
      nodes: { a: kubeNode(1, without('-A PREROUTING')) },
      expect: [
        {
          key: 'PREROUTING KUBE-SERVICES',
          severity: 'critical',
          confidence: 'proven',
          cites: [
            'absent: a jump from nat PREROUTING to KUBE-SERVICES',
            ':PREROUTING ACCEPT',
            '-d 10.96.0.1/32 -p tcp',
          ],
        },
      ],
    },
    'a rule in front of the jump ends every packet': {
      nodes: {
        a: kubeNode(1, (t) => t.replace('[0:0] -A PREROUTING', '[0:0] -A PREROUTING -j ACCEPT\n[0:0] -A PREROUTING')),
      },
      expect: [{ key: 'PREROUTING KUBE-SERVICES', cites: ['absent: a jump', ':PREROUTING ACCEPT', '10.96.0.1/32'] }],
    },
    'nothing leads from OUTPUT': {
      nodes: { a: kubeNode(1, without('-A OUTPUT -m comment')) },
      expect: [
        {
          key: 'OUTPUT KUBE-SERVICES',
          severity: 'high',
          cites: ['absent: a jump from nat OUTPUT', ':OUTPUT ACCEPT', '10.96.0.1/32'],
        },
      ],
    },
    'nothing leads from POSTROUTING, and NodePorts have no jump': {
      nodes: { a: kubeNode(1, without('-A POSTROUTING -m comment --comment "kubernetes', '-j KUBE-NODEPORTS')) },
      expect: [
        {
          key: 'KUBE-SERVICES KUBE-NODEPORTS',
          cites: ['absent: a jump from nat KUBE-SERVICES', ':KUBE-SERVICES'],
        },
        {
          key: 'POSTROUTING KUBE-POSTROUTING',
          severity: 'high',
          cites: ['absent: a jump from nat POSTROUTING', ':POSTROUTING'],
        },
      ],
    },
    'ipvs mode: the device has addresses, ipvs no service': {
      nodes: {
        a: kubeNode(1, emptied, {
          ...NO_PROXY,
          ...ipvs(
            'IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n',
          ),
        }),
      },
      expect: [
        {
          message: /what is left of kube-proxy has no services in it/,
          cites: [
            '/usr/bin/kubelet',
            'absent: a ClusterIP',
            'absent: a ClusterIP',
            'kube-ipvs0: <BROADCAST,NOARP>',
            'absent: a service of ipvs',
          ],
        },
      ],
    },
    'nftables mode: the map of services is empty': {
      nodes: {
        a: kubeNode(1, emptied, {
          ...NO_PROXY,
          ...nft((o) => o.map?.name !== 'service-ips'),
        }),
      },
      expect: [
        {
          key: 'none',
          cites: [
            '/usr/bin/kubelet',
            'absent: a ClusterIP',
            'absent: a ClusterIP',
            'table ip kube-proxy {',
            'absent: an element of the map service-ips',
          ],
        },
      ],
    },
    'nftables mode: a flushed base chain': {
      nodes: {
        a: kubeNode(
          1,
          emptied,
          nft((o) => o.rule?.chain !== 'nat-prerouting'),
        ),
      },
      expect: [
        {
          key: 'none',
          cites: [
            '/usr/bin/kubelet',
            'absent: a ClusterIP',
            'absent: a ClusterIP',
            'table ip kube-proxy {',
            'absent: a jump from nat prerouting',
            '/usr/local/bin/kube-proxy',
          ],
        },
      ],
    },
    'a service that peers before and after have': {
      nodes: {
        a: at(kubeNode(1), 0),
        b: at(
          kubeNode(2, (t) => t.replace(WEB, '')),
          5,
        ),
        c: at(kubeNode(3), 9),
      },
      answers: { a: 'pass', c: 'pass' },
      expect: [
        {
          key: 'services',
          severity: 'high',
          confidence: 'likely',
          nodes: ['b'],
          message:
            /b has no rule for a ClusterIP of a and c, which were collected before and after it: default\/web:http \(10\.96\.0\.20 tcp 80\)/,
          cites: ['absent: a rule for 10.96.0.20 tcp 80', '-d 10.96.0.20/32'],
        },
      ],
    },
    'NodePorts alone': {
      nodes: { a: at(kubeNode(1), 0), b: at(kubeNode(2, without('-A KUBE-NODEPORTS')), 5), c: at(kubeNode(3), 9) },
      expect: [
        {
          key: 'node ports',
          severity: 'high',
          nodes: ['b'],
          message:
            /KUBE-NODEPORTS is empty on b; that of a and c, which were collected before and after it, has 1 rules/,
          cites: [':KUBE-NODEPORTS -', '--dport 30080'],
        },
      ],
    },
    'one peer at the same time': {
      nodes: { a: at(kubeNode(1), 0), b: at(kubeNode(2, without('default/idle')), 1) },
      answers: { a: 'pass' },
      expect: [
        {
          key: 'services',
          severity: 'medium',
          confidence: 'possible',
          nodes: ['b'],
          cites: ['absent: a rule for 10.96.0.30', 'default/idle:http has no endpoints'],
        },
      ],
    },
  },
  passes: {
    'node-local DNS takes the address for itself, untracked': {
      nodes: {
        a: kubeNode(1, raw('-d 10.96.0.10/32 -p udp -m udp --dport 53 -j NOTRACK'), {
          'host/ip/addr.txt': addr(1, device('nodelocaldns', '    inet 10.96.0.10/32 scope global nodelocaldns\n')),
        }),
      },
    },
    'the first of two backends’ chains is empty: the other one gets all': {
      nodes: { a: kubeNode(1, without('] -A KUBE-SEP-33IHZSRCBSKUPYXE')) },
    },
    'rules in front for others than pods': {
      nodes: {
        a: kubeNode(1, inFront('-i eth1 -j ACCEPT')),
        b: kubeNode(2, inFront('-d 203.0.113.7/32 -j DNAT --to-destination 10.244.1.10')),
      },
    },
    'all there': { nodes: { a: kubeNode(1), b: kubeNode(2) } },
    'a control plane without kube-proxy in sight': { nodes: { a: kubeNode(1, (t) => t, NO_PROXY) } },
    'the other program’s ruleset': {
      nodes: { a: kubeNode(1, emptied, { 'host/fw/iptables-legacy-save.txt': SAVE.replaceAll(' (nf_tables)', '') }) },
    },
    'ipvs mode': {
      nodes: {
        a: kubeNode(1, emptied, ipvs('-A -t 10.96.0.1:443 -s rr\n-a -t 10.96.0.1:443 -r 192.168.50.11:6443 -m -w 1\n')),
      },
    },
    'nftables mode, unhooked chains of another time beside it': {
      nodes: { a: kubeNode(1, without('-A PREROUTING'), nft()) },
    },
    'a service that was made between two bundles': {
      nodes: {
        a: at(
          kubeNode(1, (t) => t.replace(WEB, '')),
          0,
        ),
        b: at(kubeNode(2), 30),
        c: at(kubeNode(3), 31),
      },
    },
    'a service without endpoints on one node alone': {
      nodes: {
        a: kubeNode(1),
        b: kubeNode(2, (t) =>
          t
            .replace(WEB, '')
            .replace(/(.*default\/idle.*\n)/, (line) => line + line.replace('0.30', '0.20').replace('idle', 'web')),
        ),
      },
      answers: {},
    },
    'two clusters of two customers': {
      nodes: {
        a: kubeNode(1),
        b: kubeNode(2, (t) => t.replaceAll('192.168.50.11:6443', '10.9.9.9:6443').replace(WEB, '')),
      },
    },
  },
  notApplicable: {
    'the host of a node in a container (kind): its kube-proxy is seen': {
      nodes: { a: kubeNode(1, emptied, NO_KUBELET) },
    },
    'no kubelet': { nodes: { a: kubeNode(1, emptied, { ...NO_KUBELET, ...NO_PROXY }) } },
    'what a cluster left behind': {
      nodes: { a: kubeNode(1, without('-A PREROUTING'), { ...NO_KUBELET, ...NO_PROXY }) },
    },
    Cilium: { nodes: { a: kubeNode(1, emptied, { ...NO_PROXY, 'host/ip/addr.txt': addr(1, device('cilium_host')) }) } },
    'Cilium with what kube-proxy left': {
      nodes: {
        a: kubeNode(1, without('-A PREROUTING'), { ...NO_PROXY, 'host/ip/addr.txt': addr(1, device('cilium_net')) }),
      },
    },
    'kube-router': {
      nodes: { a: kubeNode(1, emptied, { ...NO_PROXY, 'host/ip/addr.txt': addr(1, device('kube-dummy-if')) }) },
    },
    'k3s without kube-proxy': {
      nodes: {
        a: kubeNode(1, emptied, {
          ...NO_PROXY,
          ...NO_KUBELET,
          'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n--disable-kube-proxy\n',
        }),
      },
    },
    'a kubelet of static pods': {
      nodes: {
        a: kubeNode(1, flushed, { ...NO_PROXY, 'cmdline/kubelet.txt': KUBELET.replace(/--kubeconfig.*\n/, '') }),
      },
    },
    'services of IPv6': {
      nodes: {
        a: kubeNode(1, without('KUBE-SVC', 'KUBE-SEP', 'has no endpoints'), {
          'host/fw/ip6tables-save.txt': SAVE.replace('-d 10.96.0.1/32', '-d fd00:10:96::1/128'),
        }),
      },
    },
    'a loose iptables-save of a Docker host': {
      nodes: { a: { files: { 'host/fw/iptables-save.txt': emptied(SAVE) }, ...loose } },
    },
  },
  unknown: {
    'loose files: an empty iptables-save': {
      nodes: {
        a: {
          files: kubeNode(1, () => '', { 'host/fw/iptables-legacy-save.txt': { status: 'absent' } }).files,
          ...loose,
        },
      },
      because: /is empty, which a command that failed leaves too/,
    },
    'the kubelet is down, kube-proxy runs': {
      nodes: { a: kubeNode(1, flushed, NO_KUBELET) },
      because: /no kubelet runs, and whether the kube-proxy that does is this node’s is not known/,
    },
    'no trace of kube-proxy on any node': {
      nodes: { a: kubeNode(1, emptied, NO_PROXY) },
      because: /whether anything serves ClusterIPs here: a kubelet runs, no kube-proxy was seen/,
    },
    'legacy tables were not collected': {
      nodes: {
        a: kubeNode(1, flushed, {
          'host/fw/iptables-legacy-save.txt': { status: 'missing', reason: 'tool not found in PATH' },
          'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
        }),
      },
      because: /whether services have rules here: the iptables-legacy tables are not known/,
    },
    'the nft tables were not collected': {
      nodes: {
        a: kubeNode(1, without('-A PREROUTING'), {
          'host/fw/nft.json': { status: 'missing', reason: 'tool not found' },
        }),
      },
      because: /whether packets come to the services’ rules: the native nft tables are not known/,
    },
    'ipvs mode, ipvs was not collected': {
      nodes: {
        a: kubeNode(1, flushed, {
          'host/ip/addr.txt': addr(1, device('kube-ipvs0', VIPS)),
          'host/fw/ipvs.txt': { status: 'denied', reason: 'not root' },
        }),
      },
      because: /kube-ipvs0 is there, but the services of ipvs are not known/,
    },
    'a cut iptables-save': {
      nodes: {
        a: kubeNode(1, (t) => t, { 'host/fw/iptables-save.txt': { status: 'truncated', text: SAVE.slice(0, 900) } }),
      },
      because: /not collected whole/,
    },
    'loose files: chains without rules, no kubelet': {
      nodes: {
        a: { files: { 'host/fw/iptables-save.txt': flushed(SAVE), 'host/ip/addr.txt': addr(1, '') }, ...loose },
      },
    },
  },
});
