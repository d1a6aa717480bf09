import { rule } from '../../../rules/services/route-localnet-exposed.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';
import { podNode } from '../forwarding/nodes.ts';

/** `ss -H -l -n -t -u -p -e`, iproute2 6.1. */
const LISTENERS = {
  etcd: 'tcp   LISTEN 0      4096       127.0.0.1:2379       0.0.0.0:*    users:(("etcd",pid=901,fd=7)) ino:23001 sk:1 cgroup:/ <->\n',
  healthz:
    'tcp   LISTEN 0      4096       127.0.0.1:10248      0.0.0.0:*    users:(("kubelet",pid=801,fd=9)) ino:23002 sk:2 cgroup:/ <->\n',
  ssh: 'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=701,fd=3)) ino:23003 sk:3 cgroup:/ <->\n',
  six: 'tcp   LISTEN 0      128             [::1]:631           [::]:*    users:(("cupsd",pid=702,fd=3)) ino:23004 sk:4 cgroup:/ v6only:1 <->\n',
};

const sysctls = (all: number | null, eth0: number | null) =>
  `net/ipv4/ip_forward:1\n${all === null ? '' : `net/ipv4/conf/all/route_localnet:${all}\n`}${eth0 === null ? '' : `net/ipv4/conf/eth0/route_localnet:${eth0}\n`}net/ipv4/conf/all/rp_filter:0\nnet/ipv4/conf/eth0/rp_filter:0\n`;

/** The rule of the kubelet, as iptables-save prints it. */
const GUARD = `[0:0] -A INPUT -j KUBE-FIREWALL
[0:0] -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
`;
const guarded = (text: string) =>
  text.replace(':FLANNEL-FWD - [0:0]\n', `:FLANNEL-FWD - [0:0]\n:KUBE-FIREWALL - [0:0]\n${GUARD}`);

const node = (
  listeners: string,
  all: number | null,
  eth0: number | null,
  edit: (text: string) => string = (t) => t,
  files: NodeFiles['files'] = {},
): NodeFiles =>
  podNode(edit, { 'host/sock/ss-listen.txt': listeners, 'host/sys/sysctl.txt': sysctls(all, eth0), ...files });

testRule(rule, {
  finds: {
    'kube-proxy let them in, and the rule of the kubelet is gone': {
      nodes: { a: node(LISTENERS.ssh + LISTENERS.healthz + LISTENERS.etcd, 1, 0) },
      expect: [
        {
          key: 'eth0',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^hosts on the network of eth0 reach what listens on the loopback address of a: 127\.0\.0\.1:2379 \(etcd\); route_localnet=1 lets them in, and no rule drops them$/,
          cites: ['net/ipv4/conf/all/route_localnet:1', '127.0.0.1:2379'],
        },
      ],
    },
    'on the one device': {
      nodes: { a: node(LISTENERS.etcd, 0, 1) },
      expect: [{ key: 'eth0', cites: ['net/ipv4/conf/eth0/route_localnet:1', '127.0.0.1:2379'] }],
    },
    'only what anybody may ask listens': {
      nodes: { a: node(LISTENERS.ssh + LISTENERS.healthz, 1, 1) },
      expect: [
        {
          severity: 'low',
          message: /127\.0\.0\.1:10248 \(kubelet\)/,
          cites: ['all/route_localnet:1', '127.0.0.1:10248'],
        },
      ],
    },
    'nothing listens': {
      nodes: { a: node(LISTENERS.ssh + LISTENERS.six, 1, 0) },
      expect: [{ severity: 'low', message: /nothing listens there yet$/, cites: ['all/route_localnet:1'] }],
    },
    'the rule stands behind one that accepts': {
      nodes: {
        a: node(LISTENERS.etcd, 1, 0, (t) =>
          guarded(t).replace(
            '[0:0] -A INPUT -j KUBE-FIREWALL',
            '[0:0] -A INPUT -i eth0 -j ACCEPT\n[0:0] -A INPUT -j KUBE-FIREWALL',
          ),
        ),
      },
      expect: [{ severity: 'high', cites: ['all/route_localnet:1', '127.0.0.1:2379'] }],
    },
  },
  passes: {
    off: { nodes: { a: node(LISTENERS.etcd, 0, 0) } },
    'on, and the rule of the kubelet is there': { nodes: { a: node(LISTENERS.etcd, 1, 0, guarded) } },
    'on, and INPUT lets in little': {
      nodes: {
        a: node(LISTENERS.etcd, 1, 0, (t) => t.replace(':INPUT ACCEPT', ':INPUT DROP')),
      },
    },
    'on bridges of docker alone (no userland proxy)': {
      nodes: {
        a: node(LISTENERS.etcd, 0, 0, (t) => t, {
          'host/sys/sysctl.txt': `${sysctls(0, 0)}net/ipv4/conf/docker0/route_localnet:1\n`,
        }),
      },
    },
  },
  notApplicable: {
    'no network': {
      nodes: {
        a: node(LISTENERS.etcd, 1, 1, (t) => t, {
          'host/ip/route4.txt': 'unicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n',
        }),
      },
    },
  },
  unknown: {
    'the setting was not collected': {
      nodes: { a: node(LISTENERS.etcd, null, null) },
      because: /route_localnet was not collected/,
    },
    'the rules were not collected': {
      nodes: {
        a: node(LISTENERS.etcd, 1, 0, (t) => t, {
          'host/fw/iptables-save.txt': { status: 'denied' },
          'host/fw/iptables-legacy-save.txt': { status: 'denied' },
          'host/fw/nft.json': { status: 'denied' },
          'host/fw/ip_tables_names.txt': { status: 'denied' },
        }),
      },
      because: /whether a rule drops what eth0 takes for loopback addresses/,
    },
    'the list of programs was cut': {
      nodes: {
        a: node('', 1, 0, (t) => t, { 'host/sock/ss-listen.txt': { status: 'truncated', text: LISTENERS.ssh } }),
      },
      because: /which programs listen on 127\.0\.0\.1/,
    },
  },
});
