import { type Ground, someAddress } from './ground.ts';
import type { Step } from './plan.ts';
import type { Random } from './random.ts';

const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;
type Hook = (typeof HOOKS)[number];

function address(r: Random, g: Ground): string {
  const side = r.pick(['saddr', 'daddr']);
  switch (r.weighted({ one: 5, not: 1, set: 2, range: 1, named: 2 })) {
    case 'one':
      return `ip ${side} ${someAddress(r, g)}`;
    case 'not':
      return `ip ${side} != ${someAddress(r, g)}`;
    case 'set':
      return `ip ${side} ${r.chance(0.2) ? '!= ' : ''}{ ${r.some(g.addresses, 2).join(', ')} }`;
    case 'range': {
      const base = r.pick(g.addresses).split('.').slice(0, 3).join('.');
      return `ip ${side} ${base}.${r.int(1, 11)}-${base}.${r.int(12, 120)}`;
    }
    case 'named':
      return `ip ${side} ${r.chance(0.2) ? '!= ' : ''}@${r.pick(['hosts', 'nets'])}`;
  }
}

function nftMatch(r: Random, g: Ground, hook: Hook): string {
  const devices: string[] = [];
  if (hook !== 'output') devices.push('iifname');
  if (hook === 'forward' || hook === 'output' || hook === 'postrouting') devices.push('oifname');
  switch (
    r.weighted({
      addr: 6,
      device: 4,
      port: 5,
      state: 4,
      proto: 3,
      mark: 1.5,
      fib: 1.5,
      ct: 1.5,
      concat: 1,
      small: 2,
      numgen: 0.4,
    })
  ) {
    case 'addr':
      return address(r, g);
    case 'device':
      return `${r.pick(devices)} ${r.chance(0.2) ? '!= ' : ''}${r.pick([`"${r.pick(g.devices)}"`, '"c*"', '"eth*"', `{ "${r.pick(g.devices)}", "eth9" }`, `"${r.pick(g.devices)}"`])}`;
    case 'port':
      return r.pick([
        'tcp dport 80',
        'tcp dport { 80, 443 }',
        'udp dport 53',
        'tcp dport != 22',
        'tcp dport 1-1024',
        'th dport 80',
        'udp dport { 53, 8472 }',
        'meta l4proto tcp tcp dport 81',
      ]);
    case 'state':
      return r.pick([
        'ct state established,related',
        'ct state new',
        'ct state invalid',
        'ct state { new, untracked }',
        'ct state != established',
        'ct state vmap { established : accept, related : accept }',
      ]);
    case 'proto':
      return r.pick([
        'meta l4proto tcp',
        'ip protocol icmp',
        'meta l4proto { tcp, udp }',
        'ip protocol != udp',
        'meta nfproto ipv4',
        'icmp type echo-request',
        'icmp type { echo-request, echo-reply }',
      ]);
    case 'mark':
      return r.pick([
        'meta mark 0x1',
        'meta mark & 0x4000 == 0x4000',
        'meta mark != 0',
        'meta mark and 0xf0 != 0x10',
        'ct mark 0x1',
      ]);
    case 'fib':
      return r.pick([
        'fib daddr type local',
        'fib saddr type local',
        'fib daddr type != local',
        ...(hook === 'prerouting'
          ? ['fib saddr . iif oif missing', 'fib saddr . mark . iif oif exists', 'fib daddr . iif type local']
          : []),
      ]);
    case 'ct':
      return r.pick([
        'ct status dnat',
        'ct status snat',
        'ct direction original',
        'ct direction reply',
        `ct original ip daddr ${r.pick([...g.addresses, ...g.own])}`,
        'ct original proto-dst 80',
        'ct status assured',
      ]);
    case 'concat':
      return `ip ${r.pick(['saddr', 'daddr'])} . tcp dport { ${r.pick(g.addresses)} . 80, ${r.pick(g.addresses)} . 81 }`;
    case 'small':
      return r.pick([
        'ip ttl 63',
        'ip ttl > 63',
        'meta length < 100',
        'ip dscp cs0',
        'tcp flags syn',
        'tcp flags & (syn|ack) == syn',
        'meta pkttype host',
        'limit rate 9999/second burst 9999 packets',
        'ip length 60-84',
        'ip ttl { 62, 63, 64 }',
        'ip saddr & 0.0.0.255 == 0.0.0.10',
        'meta skuid 0',
        'limit rate over 9999/second burst 9999 packets',
        'ct count over 5000',
        'tcp sport 1024-65535',
        'udp sport != 53',
        'ip frag-off & 0x1fff == 0',
        'meta l4proto != icmp',
        'ip version 4',
        '@nh,128,32 != 0',
        'tcp option maxseg size > 100',
      ]);
    case 'numgen':
      return `numgen random mod ${r.int(2, 3)} 0`;
  }
}

function nftVerdict(r: Random, g: Ground, hook: Hook): string {
  switch (r.weighted({ accept: 6, drop: 3, reject: 1, back: 1, mark: 2, none: 1, vmap: 1.5, untrack: 0.4, ttl: 0.4 })) {
    case 'accept':
      return 'accept';
    case 'drop':
      return 'drop';
    case 'reject':
      if (hook === 'prerouting' || hook === 'postrouting') return 'drop';
      return r.pick([
        'reject',
        'reject with icmpx type admin-prohibited',
        'reject with icmp type host-unreachable',
        'meta l4proto tcp reject with tcp reset',
      ]);
    case 'back':
      return 'return';
    case 'mark':
      return r.pick([
        'meta mark set 0x1',
        'meta mark set mark or 0x10',
        'ct mark set 0x1',
        'meta mark set ct mark',
        'meta mark set meta mark & 0xffffbfff',
      ]);
    case 'none':
      return r.pick([
        'counter',
        'log prefix "nc "',
        'counter comment "nothing"',
        'add @seen { ip saddr }',
        'update @seen { ip daddr }',
        'ct mark set meta mark',
        'continue',
      ]);
    case 'vmap':
      return r.pick([
        'tcp dport vmap { 80 : accept, 81 : drop }',
        `ip saddr vmap { ${r.pick(g.addresses)} : drop, ${r.pick(g.subnets)} : accept }`,
        'ip daddr vmap @verdicts',
        'meta l4proto vmap { icmp : accept, udp : return }',
        ...(hook !== 'output' ? [`iifname vmap { "${r.pick(g.devices)}" : accept, "lo" : accept }`] : []),
      ]);
    case 'untrack':
      return 'counter';
    case 'ttl':
      return 'ip dscp set cs1';
  }
}

const PRIORITIES = [
  'filter',
  'filter - 1',
  'filter + 10',
  'mangle',
  'raw',
  '-200',
  '-160',
  '-90',
  '50',
  '110',
  'raw - 5',
] as const;

const rule = (r: Random, g: Ground, hook: Hook): string => {
  const parts = [nftMatch(r, g, hook)];
  if (r.chance(0.45)) parts.push(nftMatch(r, g, hook));
  if (r.chance(0.3)) parts.push('counter');
  // a vmap as a match would be followed by a second verdict
  const open = parts.filter((p) => !p.includes(' vmap '));
  return open.length < parts.length
    ? parts.find((p) => p.includes(' vmap '))!
    : [...open, nftVerdict(r, g, hook)].join(' ');
};

function natRule(r: Random, g: Ground, hook: Hook, family: 'ip' | 'inet'): string {
  const to = family === 'inet' ? ' ip' : '';
  const target = r.pick([...g.addresses, ...g.own]);
  if (hook === 'postrouting' || hook === 'input') {
    const verdict =
      hook === 'input'
        ? `snat${to} to ${r.pick(g.own)}`
        : r.pick([
            'masquerade',
            'masquerade',
            `snat${to} to ${r.pick(g.own)}`,
            'masquerade random',
            'meta l4proto tcp masquerade to :2000-3000',
            `snat${to} to ip saddr map { ${r.pick(g.addresses)} : ${r.pick(g.own)} }`,
            'accept',
            'return',
          ]);
    return `${nftMatch(r, g, hook).replace(/^ct state vmap .*/, 'ct state new')} ${verdict}`;
  }
  return r.pick([
    `tcp dport ${r.pick([80, 8080, 30081, 9001])} dnat${to} to ${target}:80`,
    `udp dport ${r.pick([53, 9053])} dnat${to} to ${target}:53`,
    `${address(r, g)} tcp dport ${r.pick([80, 8080])} dnat${to} to ${target}:80`,
    `fib daddr type local tcp dport ${r.pick([30081, 9001])} dnat${to} to ${target}:80`,
    `tcp dport ${r.pick([8080, 9002])} redirect to :80`,
    `dnat${to} to tcp dport map { 8080 : ${target}, 9002 : ${r.pick(g.addresses)} }`,
    `${address(r, g)} accept`,
  ]);
}

/** What looks at frames before or beside the IP hooks: few write it, and a trace has to see that it is there. */
export function lowTable(r: Random, g: Ground): Step {
  const device = r.pick(g.devices.filter((d) => d !== 'lo'));
  const sh = r.pick([
    `nft add table netdev nc\nnft add chain netdev nc in '{ type filter hook ingress device ${device} priority 0; policy accept; }'\nnft add rule netdev nc in '${address(r, g)} ${r.pick(['drop', 'accept', 'counter'])}'`,
    `nft add table bridge nc\nnft add chain bridge nc fwd '{ type filter hook forward priority 0; policy accept; }'\nnft add rule bridge nc fwd '${address(r, g)} ${r.pick(['drop', 'accept', 'counter'])}'`,
    `nft add table inet ncf\nnft add flowtable inet ncf ft '{ hook ingress priority 0; devices = { ${device} }; }'\nnft add chain inet ncf fwd '{ type filter hook forward priority 0; policy accept; }'\nnft add rule inet ncf fwd 'meta l4proto tcp flow add @ft'`,
    `nft add table inet nci\nnft add chain inet nci in '{ type filter hook ingress device ${device} priority 0; policy accept; }'\nnft add rule inet nci in '${address(r, g)} drop'`,
  ]);
  return { at: g.node.name, what: 'low nft table', sh };
}

/** Native nft tables as firewalls, container engines and people write them; one step a table, its rules can fail one by one. */
export function nftTable(r: Random, g: Ground, serial: number): Step {
  const family = r.pick(['ip', 'inet', 'inet'] as const);
  const table = `${family} nc${serial}`;
  const lines: string[] = [
    `nft add table ${table}`,
    `nft add set ${table} hosts '{ type ipv4_addr; elements = { ${r.some(g.addresses, r.int(1, 3)).join(', ')} }; }'`,
    `nft add set ${table} nets '{ type ipv4_addr; flags interval; elements = { ${r.pick(g.subnets)}, 203.0.113.0/24 }; }'`,
    `nft add set ${table} seen '{ type ipv4_addr; flags dynamic; size 1000; }'`,
    `nft add map ${table} verdicts '{ type ipv4_addr : verdict; elements = { ${r.pick(g.addresses)} : accept, ${r.pick(g.own)} : drop }; }'`,
  ];
  const chains = r.int(1, 2);
  for (let c = 0; c < chains; c++) {
    const nat = r.chance(0.3);
    const hook = nat
      ? r.pick(['prerouting', 'postrouting', 'postrouting', 'output', 'input'] as const)
      : r.pick([...HOOKS, 'forward', 'forward'] as const);
    const priority = nat
      ? hook === 'postrouting'
        ? r.pick(['srcnat', 'srcnat', '90', '110'])
        : hook === 'input'
          ? '100'
          : r.pick([hook === 'output' ? '-100' : 'dstnat', '-100', '-110', '-90'])
      : r.pick(PRIORITIES);
    const route = !nat && hook === 'output' && r.chance(0.4);
    const policy = !nat && r.chance(0.15) ? 'drop' : 'accept';
    const chain = `${table} ${hook}${c}`;
    lines.push(
      `nft add chain ${chain} '{ type ${nat ? 'nat' : route ? 'route' : 'filter'} hook ${hook} priority ${priority}; policy ${policy}; }'`,
    );
    if (!nat && r.chance(0.3)) {
      lines.push(`nft add chain ${table} sub${c}`);
      for (let i = r.int(1, 2); i > 0; i--) lines.push(`nft add rule ${table} sub${c} '${rule(r, g, hook)}'`);
      lines.push(`nft add rule ${chain} '${nftMatch(r, g, hook)} ${r.pick(['jump', 'goto'])} sub${c}'`);
    }
    for (let i = r.int(1, 3); i > 0; i--)
      lines.push(`nft add rule ${chain} '${nat ? natRule(r, g, hook, family) : rule(r, g, hook)}'`);
    if (!nat && hook === 'prerouting' && priority === 'raw' && r.chance(0.4))
      lines.push(`nft add rule ${chain} '${address(r, g)} notrack'`);
    if (policy === 'drop')
      lines.push(
        `nft add rule ${chain} '${r.pick(['ct state established,related accept', 'accept', 'meta l4proto icmp accept'])}'`,
      );
  }
  return { at: g.node.name, what: 'nft table', sh: lines.join('\n') };
}
