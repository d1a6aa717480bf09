// Faults that --faults puts into some nodes, and what an analyzer must find because of each.

/**
 * name: what the generator changes; rule: the finding that it must give, null while no rule looks for it.
 * also: what it breaks besides, with a remedy of its own. Each stands in one node, far enough from the others that none hides another.
 */
export const FAULTS = [
  { name: 'forward-drop', rule: 'forward-drops-pod-traffic', text: 'FORWARD policy DROP and FLANNEL-FWD is empty' },
  {
    name: 'missing-masquerade',
    rule: 'egress-masquerade-missing',
    also: ['service-proxy-not-programmed'],
    text: 'nat POSTROUTING is empty',
  },
  { name: 'vxlan-port', rule: 'vxlan-parameters-disagree', text: 'flannel.1 sends to udp/4789, the others to 8472' },
  { name: 'cgroup-driver', rule: 'cgroup-driver-mismatch', text: 'dockerd uses cgroupfs, the kubelet systemd' },
  { name: 'ip-forward', rule: 'ip-forward-disabled', text: 'net.ipv4.ip_forward=0' },
  { name: 'subnet-overlap', rule: 'subnet-overlaps-node-network', text: 'docker0 has the subnet of the underlay' },
  { name: 'bridge-nf', rule: 'bridge-netfilter-off', text: 'net.bridge.bridge-nf-call-iptables=0' },
  {
    name: 'flannel-mtu',
    rule: 'overlay-mtu-too-large',
    text: 'flannel.1 and cni0 have MTU 1500 on an underlay of 1500',
  },
];

/** The faults of the node that is the k-th of `count` written nodes; of a small fleet some nodes have several. */
export function faultsOf(options, k, count) {
  if (!options.faults) return new Set();
  const chosen = FAULTS.filter((_, f) => Math.floor(((f + 0.5) * count) / FAULTS.length) === k);
  return new Set(chosen.map((f) => f.name));
}
