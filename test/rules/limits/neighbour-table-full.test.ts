import { rule } from '../../../rules/limits/neighbour-table-full.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const SYSCTL =
  'net/ipv4/ip_forward:1\nnet/ipv4/neigh/default/gc_thresh1:128\nnet/ipv4/neigh/default/gc_thresh2:512\nnet/ipv4/neigh/default/gc_thresh3:1024\n';

/** /proc/net/stat/arp_cache of Linux 6.1: the entries of all namespaces, in each row. */
const STAT = (entries: number, fulls = 0) => {
  const hex = (n: number) => n.toString(16).padStart(8, '0');
  return `entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast periodic_gc_runs forced_gc_runs unresolved_discards table_fulls
${hex(entries)} 00000398 00000359 00000002   00000d05 000001a1 00000005   00000000         00000000         0000009a         00000000       00000000            00000000
${hex(entries)} 00000310 0000032c 00000002   00000c0b 0000014e 00000001   00000000         00000000         00000000         00000000       00000000            ${hex(fulls)}
`;
};

const OVERFLOW = (at: string) =>
  `[    0.000000] Linux version 6.1.0-18-amd64\n[${at}] neighbour: arp_cache: neighbor table overflow!\n`;

const neighbours = (stale: number, permanent = 0) =>
  [
    ...Array.from(
      { length: stale },
      (_, i) => `10.1.${i >> 8}.${i & 255} dev eth0 lladdr 02:00:00:00:00:64 used 3/3/0 probes 1 STALE `,
    ),
    ...Array.from(
      { length: permanent },
      (_, i) => `10.244.${i & 255}.0 dev flannel.1 lladdr 0e:00:00:00:00:02 used 1/1/1 probes 0 PERMANENT `,
    ),
    'fe80::1 dev eth0 lladdr 02:00:00:00:00:64 router used 1/1/1 probes 0 STALE ',
  ].join('\n');

const node = (files: NodeFiles['files']): NodeFiles => ({
  files: { 'host/sys/sysctl.txt': SYSCTL, 'host/sys/uptime.txt': '86400.11 167000.02\n', ...files },
});

testRule(rule, {
  finds: {
    'it overflows': {
      nodes: {
        a: node({ 'host/proc/net/stat/arp_cache': STAT(1024, 77), 'host/log/dmesg.txt': OVERFLOW('86300.000000') }),
      },
      expect: [
        {
          key: 'full',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^the neighbour table of a overflowed 2 minutes before the collection \(1024 entries of at most 1024 now\): new neighbours were not resolved$/,
          cites: [
            '[86300.000000] neighbour: arp_cache: neighbor table overflow!',
            'gc_thresh3:1024',
            '00000400 00000398',
          ],
        },
      ],
    },
    'nearly full': {
      nodes: { a: node({ 'host/proc/net/stat/arp_cache': STAT(990) }) },
      expect: [
        {
          key: 'nearly full',
          severity: 'high',
          confidence: 'likely',
          message: /is nearly full: 990 entries of at most 1024$/,
          cites: ['gc_thresh3:1024', '000003de'],
        },
      ],
    },
    'the neighbours of the host alone fill it': {
      nodes: { a: node({ 'host/ip/neigh.txt': neighbours(1000) }) },
      expect: [{ message: /nearly full: 1000 entries of at most 1024 of the host alone$/, cites: ['gc_thresh3:1024'] }],
    },
    'it overflowed long ago': {
      nodes: { a: node({ 'host/proc/net/stat/arp_cache': STAT(300), 'host/log/dmesg.txt': OVERFLOW('  100.000000') }) },
      expect: [
        {
          key: 'was full',
          severity: 'low',
          message: /overflowed 24 hours before the collection; it has 300 entries of at most 1024 now/,
          cites: ['[  100.000000] neighbour', 'gc_thresh3:1024', '0000012c'],
        },
      ],
    },
    'a counter of who knows when': {
      nodes: { a: node({ 'host/proc/net/stat/arp_cache': STAT(300, 5) }) },
      expect: [
        {
          severity: 'low',
          confidence: 'possible',
          message: /was full 5 times/,
          cites: ['00000005', 'gc_thresh3:1024'],
        },
      ],
    },
  },
  passes: {
    room: { nodes: { a: node({ 'host/proc/net/stat/arp_cache': STAT(300) }) } },
    'entries of flannel do not count': {
      nodes: { a: node({ 'host/proc/net/stat/arp_cache': STAT(1100), 'host/ip/neigh.txt': neighbours(300, 700) }) },
    },
    'nothing was ever written in a whole log': {
      nodes: { a: node({ 'host/log/dmesg.txt': '[    0.000000] Linux version 6.1.0-18-amd64\n' }) },
    },
    'the table of IPv6 is another one': {
      nodes: {
        a: node({
          'host/proc/net/stat/arp_cache': STAT(300),
          'host/log/dmesg.txt': '[86300.000000] neighbour: ndisc_cache: neighbor table overflow!\n',
        }),
      },
    },
  },
  notApplicable: {
    'a namespace that is not the host’s': {
      nodes: { a: { files: { 'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\n' } } },
    },
  },
  unknown: {
    'no counters, and a log whose start is gone': {
      nodes: {
        a: node({ 'host/ip/neigh.txt': neighbours(30), 'host/log/dmesg.txt': '[80000.000000] eth0: link up\n' }),
      },
      because: /how many neighbours the host and its containers have together/,
    },
    'no limit': {
      nodes: { a: { files: { 'host/sys/sysctl.txt': { status: 'truncated', text: 'net/ipv4/ip_forward:1\n' } } } },
      because: /gc_thresh3 was not collected/,
    },
  },
});
