import { rule } from '../../../rules/limits/conntrack-table-full.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const sysctls = (count: number, max = 262144) =>
  `net/ipv4/ip_forward:1\nnet/netfilter/nf_conntrack_buckets:65536\nnet/netfilter/nf_conntrack_count:${count}\nnet/netfilter/nf_conntrack_max:${max}\n`;

/** `dmesg` and /proc/uptime of a node that is up for a day. */
const FULL = (at: string) => `[    0.000000] Linux version 6.1.0-18-amd64
[    7.110203] br_netfilter: bridge firewalling registered
[${at}] nf_conntrack: nf_conntrack: table full, dropping packet
[86390.000001] cni0: port 1(veth1) entered forwarding state
`;

/** /proc/net/stat/nf_conntrack and `conntrack -S` of Linux 6.1, conntrack-tools 1.4.7. */
const STAT = (
  drop: string,
) => `entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00001f40  00000000 00000000 00000000 00000007 00000000 00000000 00000000 00000000 00000002 00000000 00000000 00000000  00000000 00000000 00000000 00000000
00001f40  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 ${drop} 00000000 00000000  00000000 00000000 00000000 00000000
cpu=0   \tfound=0 invalid=7 insert=0 insert_failed=2 drop=0 early_drop=0 error=0 search_restart=0 clash_resolve=0 chaintoolong=0 
cpu=1   \tfound=0 invalid=1 insert=0 insert_failed=0 drop=26 early_drop=0 error=0 search_restart=0 clash_resolve=0 chaintoolong=0 
`;

const node = (count: number, files: NodeFiles['files'] = {}): NodeFiles => ({
  files: { 'host/sys/sysctl.txt': sysctls(count), 'host/sys/uptime.txt': '86400.11 167000.02\n', ...files },
});

testRule(rule, {
  finds: {
    'full now': {
      nodes: { a: node(262144) },
      expect: [
        {
          key: 'full',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^the connection tracking table of a is full \(262144 of 262144 entries\): new connections are dropped$/,
          cites: ['nf_conntrack_count:262144', 'nf_conntrack_max:262144'],
        },
      ],
    },
    'nearly full': {
      nodes: { a: node(241000) },
      expect: [{ key: 'nearly full', severity: 'high', confidence: 'likely', cites: ['count:241000', 'max:262144'] }],
    },
    'the kernel said so minutes ago, and a burst is over': {
      nodes: { a: node(90000, { 'host/log/dmesg.txt': FULL('86160.123456') }) },
      expect: [
        {
          key: 'full',
          severity: 'critical',
          confidence: 'proven',
          message: /^a dropped new connections: its connection tracking table was full 4 minutes before the collection/,
          cites: [
            '[86160.123456] nf_conntrack: nf_conntrack: table full, dropping packet',
            'count:90000',
            'max:262144',
          ],
        },
      ],
    },
    'the kernel said so within the hour: somebody may have raised the limit since': {
      nodes: { a: node(900, { 'host/log/dmesg.txt': FULL('84600.123456') }) },
      expect: [
        {
          key: 'full',
          severity: 'high',
          confidence: 'likely',
          message: /was full 30 minutes before the collection \(900 of 262144 entries now\)$/,
          cites: ['[84600.123456] nf_conntrack', 'count:900', 'max:262144'],
        },
      ],
    },
    'the kernel said so long ago': {
      nodes: { a: node(900, { 'host/log/dmesg.txt': FULL(' 3600.123456') }) },
      expect: [
        {
          key: 'was full',
          severity: 'low',
          confidence: 'likely',
          message: /was full 23 hours before the collection; it has 900 of 262144 entries now/,
          cites: ['[ 3600.123456] nf_conntrack', 'count:900', 'max:262144'],
        },
      ],
    },
    'when the kernel said so is not told': {
      nodes: {
        a: node(900, {
          'host/log/dmesg.txt': '[Tue Nov 24 09:58:22 2026] nf_conntrack: table full, dropping packet\n',
        }),
      },
      expect: [{ severity: 'low', message: /at a time that is not told/, cites: ['table full', 'count:900', 'max'] }],
    },
    'packets were dropped at some time': {
      nodes: { a: node(8000, { 'host/ct/stat.txt': STAT('0000001a') }) },
      expect: [
        {
          key: 'was full',
          severity: 'low',
          confidence: 'possible',
          message: /has dropped 26 packets since the node started/,
          cites: ['0000001a', 'count:8000', 'max:262144'],
        },
      ],
    },
  },
  passes: {
    'room, and nothing in the log': {
      nodes: {
        a: node(8000, {
          'host/log/dmesg.txt':
            '[    0.000000] Linux version 6.1.0-18-amd64\n[   12.000000] neighbour: arp_cache: neighbor table overflow!\n',
        }),
      },
    },
    'inserts that failed: two packets of one new connection at once': {
      nodes: { a: node(8000, { 'host/ct/stat.txt': STAT('00000000') }) },
    },
    'another namespace’s table was full': {
      nodes: {
        a: node(8000, {
          'host/log/dmesg.txt': '[86160.123456] nf_conntrack: table full in netns 4026532300, dropping packet\n',
        }),
      },
    },
    'just below nearly full': { nodes: { a: node(235000) } },
  },
  notApplicable: {
    'not loaded': { nodes: { a: { files: { 'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\n' } } } },
  },
  unknown: {
    'in a container': {
      nodes: {
        a: {
          ...node(262144),
          info: { context: { uid: 0, netns: '4026532300', pid1netns: '4026531840', mode: 'container' } },
        },
      },
      because: /counts its own connections only/,
    },
    'neither count nor log': {
      nodes: { a: { files: { 'host/sys/sysctl.txt': { status: 'truncated', text: 'net/ipv4/ip_forward:1\n' } } } },
      because: /were not collected/,
    },
    'no count': {
      nodes: {
        a: {
          files: { 'host/sys/sysctl.txt': { status: 'truncated', text: 'net/netfilter/nf_conntrack_max:262144\n' } },
        },
      },
      because: /how full the connection tracking table is was not collected/,
    },
  },
});
