import { rule } from '../../../rules/dns/container-dns-loopback.ts';
import { testRule } from '../../support/rule-table.ts';
import { dnsNode, kubelet, kubeletYaml, SS_COREDNS, SS_DOCKER, SS_WEB } from './nodes.ts';

const POD = 'netns/4026532001/resolv.conf';
const SS = 'netns/4026532001/ss-listen.txt';
const HOST = 'files/etc/resolv.conf';
/** As systemd-resolved writes stub-resolv.conf. */
const STUB =
  '# This is /run/systemd/resolve/stub-resolv.conf managed by man:systemd-resolved(8).\n\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n';
const STUBBED = 'search lan\nnameserver 127.0.0.53\noptions edns0 trust-ad\n';
const RESOLVED = kubeletYaml('resolvConf: /run/systemd/resolve/resolv.conf');

testRule(rule, {
  finds: {
    'a pod with the stub of systemd-resolved, and the kubelet that gives it': {
      nodes: { a: dnsNode({ [POD]: STUBBED, [HOST]: STUB }) },
      expect: [
        {
          key: '127.0.0.53',
          severity: 'high',
          confidence: 'proven',
          message:
            /^A container on a \(netns\/4026532001\) has 127\.0\.0\.53 as name server, where nobody listens; the kubelet gives pods of dnsPolicy Default the node’s own/,
          cites: [
            'nameserver 127.0.0.53',
            'absent: a listener on 127.0.0.53 port 53 of UDP',
            'nameserver 127.0.0.53',
            'absent: --resolv-conf',
          ],
        },
      ],
    },
    'only the kubelet’s file has it so far': {
      nodes: {
        a: dnsNode({ [HOST]: STUB, 'files/var/lib/kubelet/config.yaml': kubeletYaml('resolvConf: /etc/resolv.conf') }),
      },
      expect: [
        { key: 'kubelet', severity: 'medium', cites: ['nameserver 127.0.0.53', 'resolvConf: /etc/resolv.conf'] },
      ],
    },
    'by the flag, which wins over the file': {
      nodes: {
        a: dnsNode({
          [HOST]: STUB,
          'cmdline/kubelet.txt': kubelet('--resolv-conf=/etc/resolv.conf'),
          'files/var/lib/kubelet/config.yaml': RESOLVED,
        }),
      },
      expect: [{ key: 'kubelet', cites: ['nameserver 127.0.0.53', '--resolv-conf=/etc/resolv.conf'] }],
    },
    'a loopback address among others: libc goes on to the next': {
      nodes: { a: dnsNode({ [POD]: 'nameserver 127.0.0.1\nnameserver 192.168.50.100\n' }) },
      expect: [
        {
          key: '127.0.0.1 among others',
          severity: 'low',
          message: /a further server answers/,
          cites: ['nameserver 127.0.0.1', 'absent: a listener on 127.0.0.1'],
        },
      ],
    },
    'no server at all, while the node has one': {
      nodes: { a: dnsNode({ [POD]: 'search lan\n' }) },
      expect: [
        {
          severity: 'medium',
          message: /no name server, so that 127\.0\.0\.1 is asked/,
          cites: ['absent: a line nameserver'],
        },
      ],
    },
    'docker’s address in a namespace that docker does not serve': {
      nodes: { a: dnsNode({ [POD]: 'nameserver 127.0.0.11\noptions ndots:0\n' }) },
      expect: [
        { key: '127.0.0.11', severity: 'high', cites: ['nameserver 127.0.0.11', 'absent: a listener on 127.0.0.11'] },
      ],
    },
    '::1, where rules were not collected': {
      nodes: {
        a: dnsNode({ [POD]: 'nameserver ::1\n', 'netns/4026532001/iptables-nft-save.txt': { status: 'skipped' } }),
      },
      expect: [{ key: '::1', severity: 'high', confidence: 'likely', cites: ['nameserver ::1', 'absent: a listener'] }],
    },
  },
  passes: {
    'a pod with the cluster’s server': { nodes: { a: dnsNode() } },
    'the stub on the node, but not for pods': {
      nodes: { a: dnsNode({ [HOST]: STUB, 'files/var/lib/kubelet/config.yaml': RESOLVED }) },
    },
    'docker’s own resolver in a user-defined network': {
      nodes: {
        a: dnsNode({
          [POD]: 'nameserver 127.0.0.11\noptions ndots:0\n',
          [SS]: SS_DOCKER + SS_WEB,
          'netns/index.txt': '4026532001 335 sleep - /run/docker/netns/4af0abca2ec8\n',
        }),
      },
    },
    'a resolver beside the program (dnsPolicy None)': {
      nodes: {
        a: dnsNode({
          [POD]: 'nameserver 127.0.0.1\n',
          [SS]: 'udp UNCONN 0      0      127.0.0.1:53 0.0.0.0:* users:(("unbound",pid=43,fd=3)) ino:1 sk:2 cgroup:/ <->\n',
        }),
      },
    },
    'a rule leads port 53 elsewhere': {
      nodes: {
        a: dnsNode({
          [POD]: 'nameserver 127.0.0.1\n',
          'netns/4026532001/iptables-nft-save.txt':
            '*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053\nCOMMIT\n',
        }),
      },
    },
    'a service with PrivateNetwork, a virtual machine of Kata: their processes see the node’s file': {
      nodes: {
        a: dnsNode({
          [HOST]: STUB,
          'files/var/lib/kubelet/config.yaml': RESOLVED,
          'netns/index.txt': `4026532001 812 pause - /run/netns/cni-0af4010a\n4026532002 90 systemd-hostnam - -\n4026532003 91 qemu-system-x86 ${'b'.repeat(64)} /run/netns/cni-2\n`,
          'netns/4026532002/resolv.conf': STUB,
          'netns/4026532002/ss-listen.txt': '',
          'netns/4026532003/resolv.conf': STUB,
          'netns/4026532003/ss-listen.txt': '',
        }),
      },
    },
  },
  notApplicable: {
    'no kubelet and no container': {
      nodes: {
        a: {
          files: {
            'cmdline/kubelet.txt': { status: 'absent' },
            'netns/x/resolv.conf': { status: 'absent' },
            'files/var/lib/kubelet/config.yaml': { status: 'absent' },
            [HOST]: STUB,
          },
        },
      },
    },
  },
  unknown: {
    'what listens was not collected': {
      nodes: { a: dnsNode({ [POD]: STUBBED, [SS]: { status: 'skipped', reason: 'inet_diag is not loaded' } }) },
      because: /netns\/4026532001 asks 127\.0\.0\.53: what listens in the namespace was not collected/,
    },
    'CoreDNS listens itself': {
      nodes: { a: dnsNode({ [POD]: STUBBED, [SS]: SS_COREDNS }) },
      because: /CoreDNS in netns\/4026532001 has 127\.0\.0\.53, which is itself/,
    },
    'drop-in files of the kubelet': {
      nodes: { a: dnsNode({ [HOST]: STUB, 'cmdline/kubelet.txt': kubelet('--config-dir=/etc/kubelet.d') }) },
      because: /whether the kubelet gives that file to pods is not known: files in \/etc\/kubelet\.d/,
    },
    'the kubelet’s file was not collected': {
      nodes: { a: dnsNode({ [HOST]: STUB, 'files/var/lib/kubelet/config.yaml': { status: 'denied' } }) },
      because: /the kubelet’s file was not collected/,
    },
    'neither the node nor its container has a server': {
      nodes: { a: dnsNode({ [POD]: 'search lan\n', [HOST]: '' }) },
      because: /no name server, nor has the node/,
    },
  },
});
