import { flannelRules } from '../lab/producers.ts';
import type { Ground } from './ground.ts';
import { CLUSTER, podIp, podPrefix, type Step } from './plan.ts';
import type { Random } from './random.ts';

const restore = (save: string, rules: string): string => `${save} --noflush <<'EOF'\n${rules.trimEnd()}\nEOF`;

/** flannel's rules by the version that writes them. */
export function flannelStep(r: Random, g: Ground, tool: string): Step {
  const at = g.node.name;
  const own = `${podPrefix(g.node)}.0/24`;
  const kind = r.weighted({ current: 5, 'v0.20': 2, old: 2, nft: 1.5, none: 0.4 });
  const step = (sh: string): Step => ({ at, what: `flannel ${kind}`, sh });
  if (kind === 'none') return step(':');
  if (kind === 'nft') return step(`nft -f - <<'EOF'\n${flannelNft(own)}EOF`);
  if (kind === 'current') return step(restore(`${tool}-restore`, flannelRules(CLUSTER, own)));
  const mark =
    kind === 'v0.20'
      ? '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN\n'
      : '';
  const four = (chain: string) => `-A ${chain} -s ${CLUSTER} -d ${CLUSTER} -j RETURN
-A ${chain} -s ${CLUSTER} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A ${chain} ! -s ${CLUSTER} -d ${own} -j RETURN
-A ${chain} ! -s ${CLUSTER} -d ${CLUSTER} -j MASQUERADE --random-fully`;
  if (kind === 'old')
    return step(
      restore(
        `${tool}-restore`,
        `*nat\n${four('POSTROUTING')}\nCOMMIT\n*filter\n-A FORWARD -s ${CLUSTER} -j ACCEPT\n-A FORWARD -d ${CLUSTER} -j ACCEPT\nCOMMIT\n`,
      ),
    );
  return step(
    restore(
      `${tool}-restore`,
      `*nat\n:FLANNEL-POSTRTG - [0:0]\n-I POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n${mark}${four('FLANNEL-POSTRTG')}\nCOMMIT
*filter\n:FLANNEL-FWD - [0:0]\n-I FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n-A FLANNEL-FWD -s ${CLUSTER} -j ACCEPT\n-A FLANNEL-FWD -d ${CLUSTER} -j ACCEPT\nCOMMIT\n`,
    ),
  );
}

export const flannelNft = (own: string): string => `table ip flannel-ipv4 {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr ${CLUSTER} accept
    ip daddr ${CLUSTER} accept
  }
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr ${own} ip daddr ${CLUSTER} return
    ip saddr ${CLUSTER} ip daddr ${own} return
    ip saddr != ${own} ip daddr ${own} return
    ip saddr ${CLUSTER} ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != ${CLUSTER} ip daddr ${CLUSTER} masquerade fully-random
  }
}
`;

/** The CNI bridge plugin's ipMasq chains and portmap's host ports for the node's pods. */
export function cniStep(r: Random, g: Ground, tool: string): Step {
  const nat: string[] = [];
  const chains: string[] = ['CNI-HOSTPORT-DNAT', 'CNI-HOSTPORT-SETMARK', 'CNI-HOSTPORT-MASQ'];
  const ipMasq = r.chance(0.4);
  g.node.pods.forEach((host, i) => {
    const ip = podIp(g.node, host);
    const id = `0123456789abcdef0123456${i}`;
    const comment = `-m comment --comment "name: \\"cbr0\\" id: \\"${id}\\""`;
    if (ipMasq) {
      chains.push(`CNI-${id}`);
      nat.push(`-A POSTROUTING -s ${ip}/32 ${comment} -j CNI-${id}`);
      nat.push(`-A CNI-${id} -d ${podPrefix(g.node)}.0/24 ${comment} -j ACCEPT`);
      nat.push(`-A CNI-${id} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`);
    }
    if (i > 0 && r.chance(0.5)) return;
    const dn = `CNI-DN-abcdef0123456789abc${i}`;
    chains.push(dn);
    const port = 9001 + i;
    nat.push(
      `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"${id}\\"" -m multiport --dports ${port} -j ${dn}`,
    );
    nat.push(`-A ${dn} -s ${podPrefix(g.node)}.0/24 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`);
    nat.push(`-A ${dn} -s 127.0.0.1/32 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`);
    nat.push(`-A ${dn} -p tcp -m tcp --dport ${port} -j DNAT --to-destination ${ip}:80`);
  });
  return {
    at: g.node.name,
    what: 'cni portmap',
    sh: restore(
      `${tool}-restore`,
      `*nat
${chains.map((c) => `:${c} - [0:0]`).join('\n')}
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
${nat.join('\n')}
COMMIT
`,
    ),
  };
}

/** ufw's chains as `ufw enable` writes them, with some allowed ports. */
export function ufwStep(r: Random, g: Ground, tool: string): Step {
  const allow = r.some(
    [
      '-p tcp --dport 80',
      '-p tcp --dport 22',
      '-p udp --dport 53',
      '-p udp --dport 8472',
      '-s 192.168.50.0/24',
      '-i cni0',
      '-i flannel.1',
      `-s ${CLUSTER}`,
    ],
    r.int(2, 6),
  );
  const route = r.some([`-s ${CLUSTER}`, `-d ${CLUSTER}`, '-i cni0', '-o cni0', '-i docker0 -o eth0'], r.int(0, 3));
  const log = (chain: string, text: string) =>
    `-A ${chain} -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW ${text}] "`;
  return {
    at: g.node.name,
    what: 'ufw',
    sh: restore(
      `${tool}-restore`,
      `*filter
:INPUT DROP [0:0]
:FORWARD ${r.pick(['DROP', 'DROP', 'ACCEPT'])} [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
:ufw-not-local - [0:0]
:ufw-skip-to-policy-input - [0:0]
:ufw-after-input - [0:0]
:ufw-logging-deny - [0:0]
:ufw-reject-input - [0:0]
:ufw-track-forward - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-track-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
${r.chance(0.5) ? '-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT\n' : ''}-A ufw-before-forward -j ufw-user-forward
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
-A ufw-not-local -j DROP
${log('ufw-logging-deny', 'BLOCK')}
-A ufw-after-input -p udp -m udp --dport 137 -j ufw-skip-to-policy-input
-A ufw-after-input -m addrtype --dst-type BROADCAST -j ufw-skip-to-policy-input
-A ufw-skip-to-policy-input -j DROP
${r.chance(0.3) ? '-A ufw-reject-input -j REJECT --reject-with icmp-port-unreachable\n' : ''}${allow.map((m) => `-A ufw-user-input ${m} -j ACCEPT`).join('\n')}
${route.map((m) => `-A ufw-user-forward ${m} -j ACCEPT`).join('\n')}
COMMIT
`,
    ),
  };
}

/** firewalld's table of its nftables backend, reduced to its structure. */
export function firewalldStep(r: Random, g: Ground): Step {
  const trusted = r.some(
    g.devices.filter((d) => d !== 'lo'),
    r.int(0, 3),
  );
  const ports = r.some(
    ['tcp dport 22', 'tcp dport 80', 'udp dport 53', 'udp dport 8472', 'icmp type echo-request'],
    r.int(1, 4),
  );
  const zones = (chain: string) =>
    `${trusted.map((d) => `iifname "${d}" goto ${chain}_trusted`).join('\n    ')}\n    goto ${chain}_public`;
  return {
    at: g.node.name,
    what: 'firewalld',
    sh: `nft -f - <<'EOF'
table inet firewalld {
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_INPUT_ZONES
    ct state invalid drop
    reject with icmpx type admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_FORWARD_ZONES
    ct state invalid drop
    reject with icmpx type admin-prohibited
  }
  chain filter_INPUT_ZONES {
    ${zones('filter_IN')}
  }
  chain filter_FORWARD_ZONES {
    ${zones('filter_FWD')}
  }
  chain filter_IN_trusted {
    accept
  }
  chain filter_FWD_trusted {
    accept
  }
  chain filter_IN_public {
    ${ports.map((p) => `${p} accept`).join('\n    ')}
    meta l4proto { icmp, ipv6-icmp } accept
  }
  chain filter_FWD_public {
    ${r.chance(0.3) ? 'accept' : 'meta l4proto icmp accept'}
  }
  chain nat_POSTROUTING {
    type nat hook postrouting priority srcnat + 10; policy accept;
    ${r.chance(0.4) ? 'iifname != "lo" oifname "eth0" masquerade' : 'counter'}
  }
}
EOF`,
  };
}

/** A stateful host firewall as people write it by hand. */
export function hostFirewallStep(r: Random, g: Ground, tool: string): Step {
  const open = r.some(
    [
      '-p tcp --dport 22',
      '-p tcp --dport 80',
      '-p udp --dport 8472',
      '-p udp --dport 53',
      '-p icmp',
      '-s 192.168.50.0/24',
      `-s ${CLUSTER}`,
      '-i cni0',
    ],
    r.int(1, 5),
  );
  const lines = [
    '-A INPUT -i lo -j ACCEPT',
    r.pick([
      '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT',
    ]),
    ...open.map((m) => `-A INPUT ${m} -j ACCEPT`),
  ];
  return {
    at: g.node.name,
    what: 'host firewall',
    sh: `${lines.map((l) => `${tool} ${l}`).join('\n')}\n${tool} -P INPUT DROP`,
  };
}

/** Policies and accepts around FORWARD. */
export function forwardPolicyStep(r: Random, g: Ground, tool: string): Step {
  const sh = r.pick([
    `${tool} -P FORWARD DROP`,
    `${tool} -P FORWARD DROP\n${tool} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `${tool} -P FORWARD DROP\n${tool} -I FORWARD -i ${r.pick(g.devices)} -j ACCEPT`,
    `${tool} -P FORWARD DROP\n${tool} -I FORWARD -o ${r.pick(g.devices)} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n${tool} -I FORWARD -i ${r.pick(g.devices)} -j ACCEPT`,
    `${tool} -A FORWARD -j REJECT --reject-with icmp-host-prohibited`,
    `${tool} -I FORWARD -s 0.0.0.0/0 -j ACCEPT`,
    `${tool} -P OUTPUT DROP\n${tool} -A OUTPUT -o lo -j ACCEPT\n${tool} -A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n${tool} -A OUTPUT -p udp --dport 8472 -j ACCEPT`,
  ]);
  return { at: g.node.name, what: 'policy', sh };
}
