import { type Effect, lost, paths } from './faults.ts';
import type { Lab } from './lab.ts';

/** What a firewall of a node lets in: answers, pings of other machines, and ssh. */
const HARDENED = `iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -P INPUT DROP`;

const GUARD = `nft -f - <<'EOF'
table inet guard {
  chain input {
    type filter hook input priority filter; policy accept;
    ct state { established, related } accept
    iifname "eth0" udp dport 1024-65535 reject with icmpx admin-prohibited
  }
}
EOF`;

/** S04: a firewall on each of the first two nodes lets no vxlan in: of iptables on one, of nft on the other. */
export async function vxlanUdpBlocked(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(HARDENED);
  await b.sh(GUARD);
  return {
    rule: 'vxlan-udp-blocked',
    nodes: [a.id, b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(a, b), icmp(b, a), icmp(pa, lab.outside)],
  };
}
