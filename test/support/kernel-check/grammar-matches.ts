import { type Ground, podMac, someAddress, TCP_PORTS, UDP_PORTS } from './ground.ts';
import type { Random } from './random.ts';

export type Table = 'raw' | 'mangle' | 'nat' | 'filter' | 'security';
export type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';

/** Matches of a rule and the protocol they ask for. */
export interface Matches {
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
