/** Random rules of the vocabulary that netcase evaluates, and random packets for them: the same seed gives the same. */
import type { Shot } from './hook-router.ts';

export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0;
  }

  /** 0 to n - 1. */
  roll(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]!;
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }
}

const ADDRESSES = [
  '10.1.0.2',
  '10.1.0.0/24',
  '10.2.0.0/16',
  '10.2.0.3',
  '10.2.0.4/30',
  '10.1.0.1',
  '172.16.0.0/12',
  '8.8.8.8',
  '10.0.0.1/255.0.0.255',
];
const PORTS = ['53', '80', '443', '8080', '53:100', '1024:65535', ':442'];
const DEVICES = ['c0', 's0', 'c+', 'lo', 's+', 'eth0'];
const STATES = ['NEW', 'ESTABLISHED,RELATED', 'INVALID', 'NEW,UNTRACKED', 'DNAT', 'SNAT', 'UNTRACKED', 'NEW,DNAT'];
const TYPES = ['LOCAL', 'UNICAST', 'LOCAL,BROADCAST', 'MULTICAST', 'BLACKHOLE'];

type Where = { readonly table: string; readonly chain: string };

function hasIn({ chain }: Where): boolean {
  return ['PREROUTING', 'INPUT', 'FORWARD'].includes(chain) || chain.startsWith('U');
}
function hasOut({ chain }: Where): boolean {
  return ['FORWARD', 'OUTPUT', 'POSTROUTING'].includes(chain) || chain.startsWith('U');
}

/** One to three matches of an iptables rule. */
export function matches(d: Dice, where: Where): string {
  const parts: string[] = [];
  const not = () => (d.chance(25) ? '! ' : '');
  let proto = '';
  const need = (name: string) => {
    if (proto === '') {
      proto = name;
      parts.unshift(`-p ${name}`);
    }
    return proto === name;
  };
  const own = (negation: string) => {
    if (proto !== '') return null;
    const name = d.pick(['tcp', 'udp', 'icmp']);
    proto = negation === '' ? name : 'none';
    return `${negation}-p ${name}`;
  };
  const pool: (() => string | null)[] = [
    () => `${not()}-s ${d.pick(ADDRESSES)}`,
    () => `${not()}-d ${d.pick(ADDRESSES)}`,
    () => `${not()}-d ${d.pick(ADDRESSES)}`,
    () => (hasIn(where) ? `${not()}-i ${d.pick(DEVICES)}` : null),
    () => (hasOut(where) ? `${not()}-o ${d.pick(DEVICES)}` : null),
    () => own(''),
    () => own('! '),
    () => (need(d.pick(['tcp', 'udp'])) ? `-m ${proto} ${not()}--dport ${d.pick(PORTS)}` : null),
    () => (need(d.pick(['tcp', 'udp'])) ? `-m ${proto} ${not()}--sport ${d.pick(PORTS)}` : null),
    () =>
      need(d.pick(['tcp', 'udp']))
        ? `-m multiport ${not()}--${d.pick(['dports', 'ports', 'sports'])} 53,80,8000:9000`
        : null,
    () => (need('tcp') ? `-m tcp ${not()}--tcp-flags SYN,ACK,FIN,RST ${d.pick(['SYN', 'ACK', 'SYN,ACK'])}` : null),
    () => (need('tcp') ? `${not()}--syn` : null),
    () => (need('icmp') ? `-m icmp ${not()}--icmp-type ${d.pick(['8', '0', '3/4', 'any'])}` : null),
    () => `-m conntrack ${not()}--ctstate ${d.pick(STATES)}`,
    () => `-m state ${not()}--state ${d.pick(['NEW', 'RELATED,ESTABLISHED', 'INVALID'])}`,
    () => `-m conntrack ${not()}--ctorigdst ${d.pick(ADDRESSES.slice(0, 8))}`,
    () => `-m conntrack ${not()}--ctorigsrc ${d.pick(ADDRESSES.slice(0, 8))} --ctstate NEW`,
    () => `-m conntrack ${not()}--ctreplsrc ${d.pick(ADDRESSES.slice(0, 8))}`,
    () => (need('tcp') ? `-m conntrack --ctproto tcp ${not()}--ctorigdstport ${d.pick(PORTS.slice(0, 5))}` : null),
    () => `-m conntrack --ctdir ${d.pick(['ORIGINAL', 'REPLY'])}`,
    () => `-m addrtype ${not()}--dst-type ${d.pick(TYPES)}`,
    () => `-m addrtype ${not()}--src-type ${d.pick(TYPES)}`,
    () =>
      ['PREROUTING', 'INPUT', 'FORWARD'].includes(where.chain)
        ? `-m addrtype ${not()}--dst-type LOCAL --limit-iface-in`
        : null,
    () => `-m mark ${not()}--mark ${d.pick(['0x1', '0x4000/0x4000', '0', '0x2/0x3'])}`,
    () => `-m connmark ${not()}--mark ${d.pick(['0x1', '0', '0x4000/0x4000'])}`,
    () => `-m comment --comment "a \\"quoted\\" word"`,
    () => `-m iprange ${not()}--dst-range 10.2.0.3-10.2.0.5`,
    () => `-m iprange ${not()}--src-range 10.1.0.1-10.1.0.9 ${not()}--dst-range 10.0.0.0-10.2.0.4`,
    () => `-m length ${not()}--length ${d.pick(['0:30', '31', '40:', '30:40'])}`,
    () => `-m ttl ${d.pick(['--ttl-eq 64', '--ttl-lt 64', '--ttl-gt 20', '--ttl-eq 63'])}`,
    () => `-m dscp ${not()}--dscp ${d.pick(['0x00', '0x0a'])}`,
    () => `-m tos ${not()}--tos ${d.pick(['0x28/0xff', '0x00/0x28'])}`,
    () => `-m pkttype ${not()}--pkt-type ${d.pick(['unicast', 'multicast'])}`,
    () => `-m statistic --mode random --probability 0.5`,
    () => `-m statistic --mode nth --every 3 --packet 0`,
    () => `-m limit --limit 10000/second --limit-burst 10000`,
    () =>
      `-m set ${not()}--match-set ${d.pick(['nets dst', 'nets src', 'ports dst,dst', 'ports src,src', 'both dst,dst', 'list dst'])}`,
    () => `-m helper ${not()}--helper ftp`,
    () => (where.chain === 'OUTPUT' || where.chain === 'POSTROUTING' ? `-m owner ${not()}--uid-owner 0` : null),
    () =>
      where.chain === 'PREROUTING' && where.table !== 'nat'
        ? `-m rpfilter ${d.pick(['', '--invert', '--loose'])}`
        : null,
    () => `-m recent --name r --rcheck`,
    () => (['INPUT', 'FORWARD', 'PREROUTING'].includes(where.chain) ? '-m mac --mac-source 02:00:00:00:00:99' : null),
    () => `${not()}-f`,
    () => `-m physdev ${not()}--physdev-in c0`,
    () => `-m physdev ${not()}--physdev-is-bridged`,
  ];
  const n = d.roll(3) + (d.chance(20) ? 0 : 1);
  for (let i = 0; i < n; i += 1) {
    const part = d.pick(pool)();
    if (part !== null) parts.push(part);
  }
  // the protocol's own options must follow it
  return parts.sort((a, b) => Number(b.startsWith('-p')) - Number(a.startsWith('-p'))).join(' ');
}

/** A target that the table and chain allow. */
export function target(d: Dice, { table, chain }: Where, users: readonly string[]): string {
  const jump = users.length > 0 && d.chance(30) ? `${d.chance(25) ? '-g' : '-j'} ${d.pick(users)}` : null;
  if (jump !== null) return jump;
  const common = [
    '-j ACCEPT',
    '-j RETURN',
    '',
    '-j NFLOG',
    '-j MARK --set-xmark 0x1/0xffffffff',
    '-j MARK --set-xmark 0x4000/0x4000',
    '-j MARK --or-mark 0x2',
    '-j MARK --and-mark 0xfffffffe',
    '-j MARK --xor-mark 0x4001',
  ];
  if (table === 'filter')
    return d.pick([
      ...common.slice(0, 5),
      '-j DROP',
      '-j DROP',
      '-j REJECT',
      '-j REJECT --reject-with icmp-host-prohibited',
      '-j ACCEPT',
      '-p tcp -j REJECT --reject-with tcp-reset',
    ]);
  if (table === 'raw')
    return d.pick([...common, '-j CT --notrack', '-j NOTRACK', '-j DROP', '-j MARK --set-xmark 0x3/0x3']);
  if (table === 'mangle')
    return d.pick([
      ...common,
      '-j DROP',
      '-j TOS --set-tos 0x28/0xff',
      '-j DSCP --set-dscp 0x0a',
      '-j TTL --ttl-set 30',
      '-j CONNMARK --set-xmark 0x1/0xffffffff',
      '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff',
      '-j CONNMARK --restore-mark',
      '-p tcp -j TCPMSS --set-mss 1000',
      '-j TTL --ttl-dec 1',
    ]);
  const dst = [
    '-j DNAT --to-destination 10.2.0.4',
    '-p tcp -j DNAT --to-destination 10.2.0.5:8080',
    '-p udp -j DNAT --to-destination 10.2.0.5:53-60',
    '-j DNAT --to-destination 10.1.0.1',
    '-j DNAT --to-destination 10.2.0.3-10.2.0.6',
    '-j REDIRECT',
    '-p udp -j REDIRECT --to-ports 8080',
    '-j DNAT --to-destination 10.1.0.2',
    '-p tcp -j DNAT --to-destination :443',
    '-d 10.2.0.0/24 -j NETMAP --to 10.2.0.0/30',
  ];
  const src = [
    '-j MASQUERADE',
    '-p tcp -j MASQUERADE --to-ports 5000-5999',
    '-j SNAT --to-source 10.2.0.254',
    '-p udp -j SNAT --to-source 10.2.0.1:7000-9000',
    '-j SNAT --to-source 10.2.0.200-10.2.0.201',
    '-j MASQUERADE --random-fully',
    '-s 10.1.0.0/24 -j NETMAP --to 10.2.0.128/25',
  ];
  const pool =
    chain === 'PREROUTING' || chain === 'OUTPUT' ? dst : chain === 'POSTROUTING' || chain === 'INPUT' ? src : [];
  if (pool.length === 0) return d.pick(common);
  return chain === 'INPUT'
    ? d.pick([...common, ...src.slice(2, 5)])
    : d.pick([...common.slice(0, 6), ...pool, ...pool]);
}

const CHAINS: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

/** Commands that load a random iptables ruleset; a rule that the kernel refuses is left out by it. */
export function iptablesScript(d: Dice, command: string): string {
  const lines: string[] = [];
  for (const [table, chains] of Object.entries(CHAINS)) {
    if (d.chance(table === 'raw' || table === 'mangle' ? 50 : 15)) continue;
    const run = (args: string) => lines.push(`${command} -t ${table} ${args} 2>/dev/null`);
    const users = ['U1', 'U2', 'U3'].slice(d.roll(4));
    for (const u of users) run(`-N ${u}`);
    for (const [i, u] of users.entries())
      for (let n = d.roll(4); n > 0; n -= 1)
        run(`-A ${u} ${matches(d, { table, chain: u })} ${target(d, { table, chain: u }, users.slice(i + 1))}`);
    for (const chain of chains) {
      for (let n = d.roll(5); n > 0; n -= 1)
        run(`-A ${chain} ${matches(d, { table, chain })} ${target(d, { table, chain }, users)}`);
      if (table !== 'nat' && d.chance(12)) run(`-P ${chain} DROP`);
    }
  }
  return lines.join('\n');
}

/** Packets of which every one is the first of a connection. */
export function shots(d: Dice, first: number, count: number): Shot[] {
  return Array.from({ length: count }, (_, i): Shot => {
    const id = first + i;
    const at = d.pick(['cli', 'cli', 'cli', 'srv', 'rtr', 'rtr'] as const);
    const proto = d.pick(['tcp', 'tcp', 'udp', 'icmp'] as const);
    const src =
      at === 'cli'
        ? d.pick(['10.1.0.2', '10.1.0.2', '172.16.5.5'])
        : at === 'srv'
          ? d.pick(['10.2.0.2', '10.2.0.3'])
          : d.pick(['10.2.0.1', '10.1.0.1', '10.2.0.254']);
    const dst =
      at === 'srv'
        ? d.pick(['10.1.0.2', '10.2.0.1', '10.1.0.1'])
        : d.pick([
            '10.2.0.3',
            '10.2.0.4',
            '10.2.0.5',
            '8.8.8.8',
            '10.1.0.1',
            '10.2.0.254',
            ...(at === 'rtr' ? ['10.1.0.2'] : []),
          ]);
    const ports = proto === 'icmp' ? {} : { sport: 1024 + id, dport: d.pick([53, 80, 443, 8080, 99]) };
    return {
      id,
      at,
      src,
      dst,
      proto,
      ...ports,
      ttl: d.pick([64, 64, 64, 20]),
      tos: d.pick([0, 0, 0x28]),
      ...(proto === 'tcp' && d.chance(12) ? { flags: d.pick([16, 18]) } : {}),
    };
  });
}

const NFT_FLAGS = ['syn', 'ack', 'syn,ack'];

/** One to three expressions of an nft rule. */
function expressions(d: Dice, hook: string): string {
  const not = () => (d.chance(25) ? '!= ' : '');
  const pool: (() => string | null)[] = [
    () => `ip saddr ${not()}${d.pick(ADDRESSES.slice(0, 8))}`,
    () => `ip daddr ${not()}${d.pick(ADDRESSES.slice(0, 8))}`,
    () => `ip daddr ${not()}{ 10.2.0.3, 10.2.0.4-10.2.0.9, 10.1.0.0/24 }`,
    () => `ip daddr ${not()}@nets`,
    () => `ip saddr ${not()}10.1.0.1-10.1.0.9`,
    () => `ip daddr & 255.0.0.255 == 10.0.0.3`,
    () => `ip daddr . tcp dport ${not()}{ 10.2.0.3 . 80, 10.2.0.4 . 443 }`,
    () => `ip daddr . meta l4proto . th dport ${not()}@svc`,
    () => `ip saddr . ip daddr ${not()}@pairs`,
    () => `iifname ${not()}${d.pick(['"c0"', '"s*"', '{ "c0", "lo" }', '@devs', '"lo"'])}`,
    () => `oifname ${not()}${d.pick(['"c0"', '"s*"', '{ "c0", "lo" }', '@devs'])}`,
    () =>
      hook === 'output' || hook === 'postrouting'
        ? `oif ${not()}${d.pick(['c0', 's0', 'lo'])}`
        : `iif ${not()}${d.pick(['c0', 's0', 'lo'])}`,
    () => `meta l4proto ${not()}${d.pick(['tcp', 'udp', '{ tcp, udp }', 'icmp'])}`,
    () => `ip protocol ${not()}${d.pick(['tcp', 'icmp'])}`,
    () => `tcp dport ${not()}${d.pick(['80', '{ 53, 443 }', '1-100', '{ 80, 8000-9000 }'])}`,
    () => `tcp dport ${d.pick(['<', '>=', '>'])} 443`,
    () => `udp dport ${not()}53`,
    () => `udp sport ${not()}1024-65535`,
    () => `tcp flags ${not()}${d.pick(NFT_FLAGS)}`,
    () => `tcp flags & (syn|ack) ${d.pick(['==', '!='])} syn`,
    () => `tcp flags & (fin|syn|rst|ack) == ${d.pick(['syn', '(syn|ack)'])}`,
    () => `icmp type ${not()}${d.pick(['echo-request', '{ echo-reply, echo-request }'])}`,
    () =>
      `ct state ${not()}${d.pick(['new', 'established,related', 'invalid', '{ new, untracked }', 'new,untracked'])}`,
    () => `ct status ${d.pick(['dnat', 'snat', '& dnat == dnat', '! snat,dnat', '& (snat|dnat) == 0', 'assured'])}`,
    () => `ct direction ${not()}${d.pick(['original', 'reply'])}`,
    () => `ct original ip daddr ${not()}${d.pick(ADDRESSES.slice(0, 8))}`,
    () => `ct reply ip saddr ${not()}10.2.0.0/24`,
    () => `meta l4proto tcp ct original proto-dst ${not()}80`,
    () => `ct mark ${not()}${d.pick(['0', '1', '0x4000'])}`,
    () => `meta mark ${not()}${d.pick(['0', '1', '0x4000'])}`,
    () => `meta mark & 0x4000 ${d.pick(['==', '!='])} 0x4000`,
    () => `fib daddr type ${not()}${d.pick(['local', 'unicast', '{ local, broadcast }'])}`,
    () => `fib saddr type ${not()}local`,
    () =>
      hook === 'prerouting' || hook === 'input' || hook === 'forward' ? `fib daddr . iif type ${not()}local` : null,
    () =>
      hook === 'prerouting' || hook === 'input' || hook === 'forward'
        ? `fib saddr . iif oif ${d.pick(['missing', 'exists'])}`
        : null,
    () => `ip ttl ${d.pick(['64', '< 64', '!= 63', '> 20'])}`,
    () => `ip length ${d.pick(['> 30', '30', '< 44'])}`,
    () => `meta length ${d.pick(['> 30', '30', '< 44'])}`,
    () => `ip dscp ${not()}${d.pick(['cs0', 'af11'])}`,
    () => `numgen random mod 2 ${d.pick(['0', '< 1', '!= 1'])}`,
    () => `limit rate ${d.chance(30) ? 'over ' : ''}100000/second burst 100000 packets`,
    () => 'meta nfproto ipv4',
    () => 'meta pkttype host',
    () => 'ip frag-off & 0x1fff != 0',
    () => (hook === 'output' ? `meta skuid ${not()}0` : null),
    () => 'jhash ip saddr mod 2 0',
    () => 'ip6 saddr != ::1',
    () => 'ip version 4',
  ];
  const parts: string[] = [];
  for (let n = d.roll(3) + (d.chance(15) ? 0 : 1); n > 0; n -= 1) {
    const part = d.pick(pool)();
    if (part !== null) parts.push(part);
  }
  return parts.join(' ');
}

const VMAPS = [
  'ct state vmap { new : jump X, established : accept, invalid : drop }',
  'ip daddr . tcp dport vmap { 10.2.0.3 . 80 : drop, 10.2.0.4 . 443 : jump X }',
  'tcp dport vmap @ports',
  'meta l4proto vmap { tcp : jump X, udp : goto X, icmp : continue }',
  'numgen random mod 2 vmap { 0 : jump X, 1 : return }',
  'ip daddr vmap { 10.2.0.0/24 : jump X, 10.1.0.0-10.1.0.255 : accept }',
];

function statement(d: Dice, type: string, hook: string, user: boolean): string {
  const jump = user && d.chance(25) ? d.pick([...VMAPS, 'jump X', 'goto X', 'jump X']) : null;
  if (jump !== null) return jump;
  const marks = [
    'meta mark set 1',
    'meta mark set meta mark | 0x4000',
    'meta mark set meta mark & 0xfffffffe',
    'meta mark set meta mark ^ 0x4001',
    'ct mark set 1',
    'ct mark set meta mark',
    'meta mark set ct mark',
    'meta mark set 0x4000 accept',
  ];
  const common = ['accept', 'return', 'continue', 'counter', 'log group 5', ...marks];
  if (type !== 'nat') {
    const more = hook === 'prerouting' || hook === 'output' ? ['notrack'] : [];
    const set = ['ip ttl set 30', 'ip dscp set af11', 'add @seen { ip saddr }'];
    return d.pick([
      ...common,
      ...more,
      ...set,
      'drop',
      'drop',
      'reject',
      'reject with icmp type host-prohibited',
      'accept',
    ]);
  }
  const dst = [
    'dnat to 10.2.0.4',
    'meta l4proto tcp dnat to 10.2.0.5:8080',
    'dnat to 10.2.0.3-10.2.0.6',
    'redirect',
    'meta l4proto udp redirect to :8080',
    'dnat to numgen random mod 2 map { 0 : 10.2.0.3, 1 : 10.2.0.4 }',
    'dnat to tcp dport map { 80 : 10.2.0.5, 443 : 10.2.0.6 }',
    'dnat to ip daddr . tcp dport map { 10.2.0.3 . 80 : 10.2.0.7 . 8080, 10.2.0.4 . 443 : 10.2.0.8 . 53 }',
    'dnat to ip daddr map @backends',
    'dnat prefix to ip daddr map { 10.2.0.0/29 : 10.2.0.0/29 }',
  ];
  const src = [
    'masquerade',
    'meta l4proto tcp masquerade to :5000-5999',
    'snat to 10.2.0.254',
    'masquerade random',
    'snat to 10.2.0.200-10.2.0.201',
    'snat to ip saddr map { 10.1.0.2 : 10.2.0.254, 10.2.0.1 : 10.2.0.254 }',
  ];
  const own = hook === 'prerouting' || hook === 'output' ? dst : hook === 'postrouting' ? src : src.slice(2, 3);
  return d.pick([...common.slice(0, 8), ...own, ...own]);
}

/** Commands that load random native tables. */
export function nftScript(d: Dice): string {
  const lines: string[] = [];
  const run = (args: string) => lines.push(`nft '${args}' 2>/dev/null`);
  for (const name of ['t1', 't2'].slice(d.roll(2))) {
    // a table of iptables' own may hold chains that iptables did not make
    const shared = name === 't2' && d.chance(25);
    const family = shared ? 'ip' : d.pick(['ip', 'inet']);
    const t = `${family} ${shared ? d.pick(['filter', 'nat', 'mangle']) : name}`;
    run(`add table ${t}`);
    run(`add set ${t} nets { type ipv4_addr; flags interval; elements = { 10.2.0.0/29, 172.16.0.0/12 } }`);
    run(
      `add set ${t} svc { type ipv4_addr . inet_proto . inet_service; elements = { 10.2.0.3 . tcp . 80, 10.2.0.4 . udp . 53 } }`,
    );
    run(
      `add set ${t} pairs { type ipv4_addr . ipv4_addr; flags interval; elements = { 10.1.0.0/24 . 10.2.0.0-10.2.0.4, 172.16.5.5 . 0.0.0.0/0 } }`,
    );
    run(`add set ${t} devs { type ifname; elements = { "c0", "lo" } }`);
    run(`add set ${t} seen { type ipv4_addr; flags dynamic; }`);
    run(`add map ${t} backends { type ipv4_addr : ipv4_addr; elements = { 10.2.0.3 : 10.2.0.9, 8.8.8.8 : 10.2.0.8 } }`);
    run(`add chain ${t} X`);
    run(`add map ${t} ports { type inet_service : verdict; elements = { 80 : jump X, 443 : drop, 53 : accept } }`);
    const hooks = ['prerouting', 'input', 'forward', 'output', 'postrouting'];
    const bases: [string, string, string][] = [];
    for (let n = 2 + d.roll(4); n > 0; n -= 1) {
      const hook = d.pick(hooks);
      const type = d.pick(['filter', 'filter', 'nat', ...(hook === 'output' ? ['route'] : [])]);
      if (type === 'nat' && hook === 'forward') continue;
      const priority =
        type === 'nat'
          ? hook === 'prerouting' || hook === 'output'
            ? d.pick([-100, -100, -110, -90])
            : d.pick([100, 100, 90])
          : d.pick([-350, -250, -150, -110, 0, 10, 150]);
      const base = shared && d.chance(50) ? hook.toUpperCase() : `b${bases.length}`;
      if (bases.some(([known]) => known === base)) continue;
      run(
        `add chain ${t} ${base} { type ${type} hook ${hook} priority ${priority}; policy ${type === 'filter' && d.chance(12) ? 'drop' : 'accept'}; }`,
      );
      bases.push([base, type, hook]);
    }
    const types = new Set(bases.map(([, type]) => type));
    if (types.size > 0)
      for (let n = d.roll(4); n > 0; n -= 1)
        run(`add rule ${t} X ${expressions(d, 'any')} ${statement(d, 'filter', 'any', false)}`);
    for (const [base, type, hook] of bases)
      for (let n = 1 + d.roll(4); n > 0; n -= 1)
        run(`add rule ${t} ${base} ${expressions(d, hook)} ${statement(d, type, hook, type !== 'nat')}`);
  }
  return lines.join('\n');
}
