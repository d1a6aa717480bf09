import { type Ground, podMac, someAddress, TCP_PORTS, UDP_PORTS } from './ground.ts';
import type { Step } from './plan.ts';
import type { Random } from './random.ts';

export type Table = 'raw' | 'mangle' | 'nat' | 'filter' | 'security';
type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';

const HOOKS: Readonly<Record<Table, readonly Hook[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

/** Matches of a rule and the protocol they ask for. */
interface Matches {
  readonly text: string;
  readonly proto: 'tcp' | 'udp' | 'icmp' | null;
}

function portMatch(r: Random, proto: 'tcp' | 'udp'): string {
  const ports: readonly number[] = proto === 'tcp' ? TCP_PORTS : UDP_PORTS;
  const not = r.chance(0.15) ? '! ' : '';
  switch (r.weighted({ dport: 6, range: 1, open: 1, sport: 1, multi: 3, ports: 1, high: 1 })) {
    case 'dport':
      return `${not}--dport ${r.pick(ports)}`;
    case 'range':
      return `${not}--dport ${r.pick(['1:1024', '50:100', '8000:9999', '30000:32767'])}`;
    case 'open':
      return `${not}--dport ${r.pick(['1024:', ':100'])}`;
    case 'sport':
      return `${not}--sport ${r.pick(ports)}`;
    case 'multi':
      return `-m multiport ${not}--dports ${r.some(ports, 2).join(',')},${r.pick(['443', '6443:6500', '50:60'])}`;
    case 'ports':
      return `-m multiport ${not}--ports ${r.some(ports, 2).join(',')}`;
    case 'high':
      return '--sport 1024:65535';
  }
}

function deviceMatch(r: Random, g: Ground, flag: '-i' | '-o'): string {
  const not = r.chance(0.25) ? '! ' : '';
  const device = r.pick(g.devices);
  if (r.chance(0.2)) return `${not}${flag} ${r.pick(['eth+', 'cni+', 'flannel+', 'docker+', 'br-+', 'veth+', 'c+'])}`;
  return `${not}${flag} ${device}`;
}

/** Matches that look at the packet's connection, mark, type and so on: all that people and programs use. */
function moreMatch(r: Random, g: Ground, table: Table, hook: Hook, proto: Matches['proto']): string {
  const not = r.chance(0.2) ? '! ' : '';
  switch (
    r.weighted({
      state: 8,
      addrtype: 3,
      mark: 3,
      iprange: 2,
      set: 2,
      comment: 3,
      physdev: 2,
      statistic: 0.7,
      small: 4,
      orig: 1.5,
      limit: 1,
      foreign: 0.7,
    })
  ) {
    case 'state': {
      const states = r.some(['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED'], r.int(1, 3)).join(',');
      if (r.chance(0.15)) return `-m conntrack ${not}--ctstate ${r.pick(['DNAT', 'SNAT', 'ESTABLISHED,DNAT'])}`;
      return r.chance(0.25) ? `-m state ${not}--state ${states}` : `-m conntrack ${not}--ctstate ${states}`;
    }
    case 'addrtype': {
      const limit = hook === 'PREROUTING' || hook === 'INPUT' ? r.chance(0.2) : false;
      const side = limit ? '--dst-type' : r.pick(['--dst-type', '--dst-type', '--src-type']);
      return `-m addrtype ${not}${side} ${r.pick(['LOCAL', 'LOCAL', 'UNICAST', 'LOCAL,UNICAST', 'BROADCAST', 'BLACKHOLE'])}${limit ? ' --limit-iface-in' : ''}`;
    }
    case 'mark':
      return `-m mark ${not}--mark ${r.pick(['0x4000/0x4000', '0x1', '0x0', '0x8000/0x8000', '0x10/0xf0', '0xca6c'])}`;
    case 'iprange': {
      const a = r.pick(g.addresses).split('.');
      const from = Math.max(0, Number(a[3]) - r.int(0, 9));
      return `-m iprange ${not}--${r.pick(['src', 'dst'])}-range ${a.slice(0, 3).join('.')}.${from}-${a.slice(0, 3).join('.')}.${Math.min(255, from + r.int(0, 20))}`;
    }
    case 'set':
      return r.chance(0.3) && proto !== null && proto !== 'icmp'
        ? `-m set ${not}--match-set nc-ip-port ${r.pick(['dst,dst', 'src,dst', 'src,src'])}`
        : `-m set ${not}--match-set ${r.pick(['nc-ip', 'nc-net', 'nc-list'])} ${r.pick(['src', 'dst'])}`;
    case 'comment':
      return `-m comment --comment "${r.pick(['allow app', 'cali:x', "it's ok", 'a -j DROP b', 'k8s: x/y:z', 'ufw!'])}"`;
    case 'physdev':
      if (hook === 'FORWARD' || hook === 'POSTROUTING')
        return r.chance(0.5)
          ? `-m physdev ${not}--physdev-is-bridged`
          : `-m physdev ${not}--physdev-in ${r.pick(g.ports.length > 0 ? g.ports : ['eth0'])}`;
      return hook === 'OUTPUT'
        ? ''
        : `-m physdev ${not}--physdev-in ${r.pick(g.ports.length > 0 ? g.ports : ['eth0'])}`;
    case 'statistic':
      return r.chance(0.6)
        ? `-m statistic --mode random --probability ${r.pick(['0.50000000000', '0.33333333349', '0.25'])}`
        : `-m statistic --mode nth --every ${r.int(2, 3)} --packet 0`;
    case 'small':
      return smallMatch(r, g, hook, proto, not);
    case 'orig':
      return `-m conntrack ${r.pick([`--ctorigdst ${r.pick([...g.addresses, ...g.own, ...g.serviceIps])}`, '--ctdir ORIGINAL', '--ctdir REPLY', `--ctorigdstport ${r.pick([80, 30080, 9001])} --ctproto 6`, '--ctstatus CONFIRMED', '--ctstatus ASSURED', `--ctorigsrc ${someAddress(r, g)}`, `--ctreplsrc ${r.pick(g.addresses)}`])}`;
    case 'limit':
      return '-m limit --limit 9999/sec --limit-burst 9999';
    case 'foreign':
      return r.pick([
        '-m recent --name nc --rcheck',
        '-m hashlimit --hashlimit-upto 9999/sec --hashlimit-burst 9999 --hashlimit-mode srcip --hashlimit-name nc',
        '-m connlimit --connlimit-above 500',
        '-m time --timestart 00:00 --timestop 23:59',
        '-m u32 --u32 "6&0xFF=0x11"',
        '-m string --string zzzz --algo bm',
        ...(hook === 'OUTPUT' ? ['-m owner --uid-owner 0', '-m owner --uid-owner 1234'] : []),
        ...(hook === 'PREROUTING' && (table === 'raw' || table === 'mangle')
          ? ['-m rpfilter', '-m rpfilter --invert', '-m rpfilter --loose']
          : []),
      ]);
  }
}

function smallMatch(r: Random, g: Ground, hook: Hook, proto: Matches['proto'], not: string): string {
  const mac = r.pick(g.node.pods.length > 0 ? g.node.pods.map((host) => podMac(g.node, host)) : ['0a:58:00:00:00:01']);
  return r.pick([
    `-m length ${not}--length ${r.pick(['0:100', '500:', '60', '84'])}`,
    `-m ttl ${r.pick(['--ttl-gt 62', '--ttl-lt 64', '--ttl-eq 64', '--ttl-eq 63'])}`,
    `-m dscp ${not}--dscp 0`,
    `-m tos ${not}--tos 0x10`,
    `-m connmark ${not}--mark 0x1/0x1`,
    `-m policy --dir ${hook === 'OUTPUT' || hook === 'POSTROUTING' ? 'out' : 'in'} --pol none`,
    '-m helper --helper ftp',
    ...(hook === 'PREROUTING' || hook === 'INPUT' || hook === 'FORWARD'
      ? [`-m pkttype ${not}--pkt-type unicast`, `-m mac ${not}--mac-source ${mac}`]
      : []),
    ...(proto === 'icmp'
      ? [`-m icmp ${not}--icmp-type ${r.pick(['echo-request', 'echo-reply', '8', '3/4', 'any'])}`]
      : []),
    ...(proto === 'tcp'
      ? [`${not}--syn`, `--tcp-flags SYN,ACK,FIN,RST ${r.pick(['SYN', 'SYN,ACK', 'RST'])}`, '--tcp-option 2']
      : []),
  ]);
}

export function matches(r: Random, g: Ground, table: Table, hook: Hook, needs: Matches['proto'] = null): Matches {
  const proto = needs ?? r.pick(['tcp', 'tcp', 'udp', 'icmp', null, null] as const);
  const parts: string[] = [];
  if (proto !== null) parts.push(`-p ${proto}`);
  else if (r.chance(0.1)) parts.push(`! -p ${r.pick(['tcp', 'udp', 'icmp', '47'])}`);
  if (r.chance(0.4)) parts.push(`${r.chance(0.2) ? '! ' : ''}-s ${someAddress(r, g)}`);
  if (r.chance(0.4)) parts.push(`${r.chance(0.2) ? '! ' : ''}-d ${someAddress(r, g)}`);
  if (hook !== 'OUTPUT' && hook !== 'POSTROUTING' && r.chance(0.35)) parts.push(deviceMatch(r, g, '-i'));
  if (hook !== 'PREROUTING' && hook !== 'INPUT' && r.chance(0.35)) parts.push(deviceMatch(r, g, '-o'));
  if ((proto === 'tcp' || proto === 'udp') && r.chance(0.6)) parts.push(portMatch(r, proto));
  if (r.chance(0.55)) parts.push(moreMatch(r, g, table, hook, proto));
  if (r.chance(0.2)) parts.push(moreMatch(r, g, table, hook, proto));
  return { text: parts.filter((p) => p !== '').join(' '), proto };
}

function natTarget(r: Random, g: Ground, hook: Hook): { target: string; proto: Matches['proto'] } {
  const any = (target: string) => ({ target, proto: null });
  if (hook === 'POSTROUTING')
    return any(
      r.pick([
        'MASQUERADE',
        'MASQUERADE',
        'MASQUERADE --random-fully',
        `SNAT --to-source ${r.pick(g.own)}`,
        `SNAT --to-source ${r.pick([...g.own, ...g.addresses])}`,
        'ACCEPT',
        'RETURN',
      ]),
    );
  if (hook === 'INPUT') return any(r.pick([`SNAT --to-source ${r.pick(g.own)}`, 'ACCEPT', 'RETURN']));
  const to = r.pick([...g.addresses, ...g.addresses, ...g.own]);
  return r.pick([
    { target: `DNAT --to-destination ${to}:80`, proto: 'tcp' as const },
    { target: `DNAT --to-destination ${to}:80`, proto: 'tcp' as const },
    { target: `DNAT --to-destination ${to}:53`, proto: 'udp' as const },
    any(`DNAT --to-destination ${to}`),
    { target: 'REDIRECT --to-ports 80', proto: 'tcp' as const },
    any('REDIRECT'),
    any('ACCEPT'),
    any('RETURN'),
    any(`NETMAP --to ${r.pick(g.subnets.filter((s) => s.endsWith('/24')))}`),
  ]);
}

function target(r: Random, g: Ground, table: Table, hook: Hook): { target: string; proto: Matches['proto'] } {
  const any = (t: string) => ({ target: t, proto: null });
  if (table === 'nat') return natTarget(r, g, hook);
  if (table === 'raw') return any(r.pick(['ACCEPT', 'DROP', 'CT --notrack', 'NOTRACK', 'TRACE', 'RETURN']));
  if (table === 'mangle') {
    const kind = r.weighted({ mark: 6, ct: 2, small: 3, end: 2 });
    if (kind === 'mark')
      return any(
        `MARK ${r.pick(['--set-xmark 0x4000/0x4000', '--set-mark 0x1', '--or-mark 0x10', '--and-mark 0xfffffffe', '--xor-mark 0x1', '--set-xmark 0x0/0x4000', '--set-mark 0xca6c'])}`,
      );
    if (kind === 'ct') return any(`CONNMARK ${r.pick(['--save-mark', '--restore-mark', '--set-xmark 0x1/0x1'])}`);
    if (kind === 'end') return any(r.pick(['ACCEPT', 'DROP', 'RETURN']));
    return r.pick([
      any(`TTL ${r.pick(['--ttl-set 64', '--ttl-inc 1', '--ttl-dec 1', '--ttl-set 1'])}`),
      any('DSCP --set-dscp 0x10'),
      any('TOS --set-tos 0x10'),
      ...(hook === 'FORWARD' || hook === 'POSTROUTING'
        ? [
            { target: 'TCPMSS --clamp-mss-to-pmtu', proto: 'tcp' as const },
            { target: 'TCPMSS --set-mss 500', proto: 'tcp' as const },
          ]
        : []),
    ]);
  }
  const kind = r.weighted({ accept: 6, drop: 3, reject: 1.5, back: 1.5, log: 1 });
  if (kind === 'accept') return any('ACCEPT');
  if (kind === 'drop') return any('DROP');
  if (kind === 'back') return any('RETURN');
  if (kind === 'log')
    return any(r.pick(['LOG --log-prefix "nc: "', 'NFLOG --nflog-group 1', 'CONNMARK --set-xmark 0x1/0x1']));
  if (table === 'security') return any('DROP');
  return r.pick([
    any(
      `REJECT --reject-with ${r.pick(['icmp-port-unreachable', 'icmp-host-prohibited', 'icmp-admin-prohibited', 'icmp-net-unreachable'])}`,
    ),
    { target: 'REJECT --reject-with tcp-reset', proto: 'tcp' as const },
  ]);
}

function ruleText(r: Random, g: Ground, table: Table, hook: Hook): string {
  const end = target(r, g, table, hook);
  const { text, proto } = matches(r, g, table, hook, end.proto);
  const withPorts = end.target.endsWith(':80') || end.target.includes(':53') || end.target.includes('--to-ports');
  const aimed =
    withPorts && !text.includes('dport') ? ` --dport ${r.pick(proto === 'udp' ? UDP_PORTS : TCP_PORTS)}` : '';
  const syn = end.target.startsWith('TCPMSS') && !text.includes('--syn') ? ' --tcp-flags SYN,RST SYN' : '';
  // what ends every packet needs something that it is about
  const narrow = text === '' ? `-s ${someAddress(r, g)}` : text;
  return `${narrow}${aimed}${syn} -j ${end.target}`;
}

const SETS = (r: Random, g: Ground): string => {
  const members = (from: readonly string[], set: string) => r.some(from, r.int(1, 3)).map((a) => `add ${set} ${a}`);
  const port = `${r.pick(g.addresses)},${r.pick(['tcp:80', 'udp:53', '80'])}`;
  return [
    'create nc-ip hash:ip',
    'create nc-net hash:net',
    'create nc-ip-port hash:ip,port',
    'create nc-list list:set',
    ...members(g.addresses, 'nc-ip'),
    ...members(g.subnets, 'nc-net'),
    ...(r.chance(0.4) ? [`add nc-net ${r.pick(g.addresses)} nomatch`] : []),
    `add nc-ip-port ${port}`,
    'add nc-list nc-ip',
    ...(r.chance(0.5) ? ['add nc-list nc-net'] : []),
  ].join('\n');
};

/** Rules as an administrator adds them: one step each; a chain of its own is one step with its rules. */
export function adminRules(r: Random, g: Ground, count: number, tool: string): Step[] {
  const at = g.node.name;
  const steps: Step[] = [];
  for (let i = 0; i < count; i++) {
    const table = r.weighted({ filter: 8, nat: 4, mangle: 2.5, raw: 1, security: 0.3 });
    const hook = table === 'filter' ? r.weighted({ FORWARD: 6, INPUT: 2.5, OUTPUT: 1.5 }) : r.pick(HOOKS[table]);
    const how = r.chance(0.5) ? '-I' : '-A';
    if (r.chance(0.2))
      steps.push({ at, what: `${tool} chain`, sh: userChain(r, g, tool, table, hook, `NC-${i}`, how) });
    else
      steps.push({ at, what: `${tool} rule`, sh: `${tool} -t ${table} ${how} ${hook} ${ruleText(r, g, table, hook)}` });
  }
  if (steps.some((step) => step.sh.includes('--match-set')))
    steps.unshift({ at, what: 'ipsets', sh: `ipset restore <<'EOF'\n${SETS(r, g)}\nEOF` });
  return steps;
}

function userChain(r: Random, g: Ground, tool: string, table: Table, hook: Hook, name: string, how: string): string {
  const rules = Array.from(
    { length: r.int(1, 3) },
    () => `${tool} -t ${table} -A ${name} ${ruleText(r, g, table, hook)}`,
  );
  const nested = r.chance(0.35);
  const inner = nested
    ? [
        `${tool} -t ${table} -N ${name}-IN`,
        `${tool} -t ${table} -A ${name}-IN ${ruleText(r, g, table, hook)}`,
        `${tool} -t ${table} ${r.pick(['-I', '-A'])} ${name} ${matches(r, g, table, hook).text} ${r.pick(['-j', '-g'])} ${name}-IN`,
      ]
    : [];
  const jump = r.chance(0.15) ? '-g' : '-j';
  return [
    `${tool} -t ${table} -N ${name}`,
    ...rules,
    ...inner,
    `${tool} -t ${table} ${how} ${hook} ${r.chance(0.5) ? matches(r, g, table, hook).text : ''} ${jump} ${name}`,
  ].join('\n');
}
