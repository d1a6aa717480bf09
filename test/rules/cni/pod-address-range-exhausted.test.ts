import { rule } from '../../../rules/cni/pod-address-range-exhausted.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

/** `grep -rsH ''` over /var/lib/cni/networks: two lines a lease, as host-local 1.4 writes them. */
const leases = (count: number, prefix = '10.244.1', network = 'cbr0', from = 2) =>
  `${Array.from({ length: count }, (_, i) => {
    const path = `/var/lib/cni/networks/${network}/${prefix}.${i + from}`;
    return `${path}:${(i + 1).toString(16).padStart(64, '0')}\r\n${path}:eth0\n`;
  }).join('')}/var/lib/cni/networks/${network}/last_reserved_ip.0:${prefix}.9\n`;

const FLANNEL = `{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
`;
const bridgeConf = (more = '') => `{
  "cniVersion": "0.3.1",
  "name": "podnet",
  "type": "bridge",
  "bridge": "cni0",
  "isGateway": true,
  "ipam": { "type": "host-local", "subnet": "10.244.1.0/28"${more} }
}
`;

const node = (files: NodeFiles['files']): NodeFiles =>
  overlayNode({ n: 1, peers: [2], files: { 'files/etc/cni/net.d/10-flannel.conflist': FLANNEL, ...files } });
const bridged = (conf: string, count: number): NodeFiles =>
  node({
    'files/etc/cni/net.d/10-flannel.conflist': { status: 'absent' },
    'files/etc/cni/net.d/10-podnet.conf': conf,
    'cni/ipam.txt': leases(count, '10.244.1', 'podnet'),
  });

testRule(rule, {
  finds: {
    'leases of pods that are gone fill the range': {
      nodes: { a: node({ 'cni/ipam.txt': leases(253) }) },
      expect: [
        {
          key: 'exhausted cbr0',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^a has no address left for a new pod: 253 of 253 addresses of 10\.244\.1\.0\/24 are taken, and cni0 has 1 pod$/,
          cites: ['/var/lib/cni/networks/cbr0/10.244.1.2:', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
    'few are left': {
      nodes: { a: node({ 'cni/ipam.txt': leases(245) }) },
      expect: [
        {
          key: 'tight cbr0',
          severity: 'high',
          message: /^a has 8 addresses left for pods/,
          cites: ['10.244.1.2:', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'many of pods that are gone, and room enough': {
      nodes: { a: node({ 'cni/ipam.txt': leases(60) }) },
      expect: [
        {
          key: 'leaked cbr0',
          severity: 'low',
          message: /pods that are gone, at least 59/,
          cites: ['10.244.1.2:', 'FLANNEL_SUBNET'],
        },
      ],
    },
    'a bridge with a subnet of its own': {
      nodes: { a: bridged(bridgeConf(), 13) },
      expect: [{ key: 'exhausted podnet', cites: ['podnet/10.244.1.2:', '{'] }],
    },
    'the list of leases was cut, and is long enough': {
      nodes: { a: node({ 'cni/ipam.txt': { status: 'truncated', text: leases(253) } }) },
      expect: [{ key: 'exhausted cbr0', cites: ['10.244.1.2:', 'FLANNEL_SUBNET'] }],
    },
  },
  passes: {
    'a few pods': { nodes: { a: node({ 'cni/ipam.txt': leases(8) }) } },
    'leases of an old subnet and of another configuration do not count': {
      nodes: {
        a: node({
          'cni/ipam.txt': `${leases(8)}${leases(240, '10.244.7')}${leases(14, '10.88.0', 'podman')}`,
        }),
      },
    },
  },
  notApplicable: {
    'no host-local': {
      nodes: { a: overlayNode({ n: 1, peers: [], files: { 'cni/ipam.txt': { status: 'absent' } } }) },
    },
    'leases of IPv6 alone': {
      nodes: { a: node({ 'cni/ipam.txt': '/var/lib/cni/networks/cbr0/fd00:10:244:1::2:0a0b\r\n' }) },
    },
  },
  unknown: {
    'flannel’s subnet is not known': {
      nodes: { a: node({ 'files/run/flannel/subnet.env': { status: 'failed' }, 'cni/ipam.txt': leases(253) }) },
      because: /which range the pods of cbr0 have is not known/,
    },
    'a part of the subnet only': {
      nodes: { a: bridged(bridgeConf(', "rangeStart": "10.244.1.10"'), 4) },
      because: /gives a part of its subnet only/,
    },
    'the list of leases was cut': {
      nodes: { a: node({ 'cni/ipam.txt': { status: 'truncated', text: leases(8) } }) },
      because: /not collected whole/,
    },
  },
});
