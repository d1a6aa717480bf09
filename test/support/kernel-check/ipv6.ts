import type { ServiceSpec } from '../lab/index.ts';
import { flannelRules, kubeProxyRules } from '../lab/producers.ts';
import type { Ground } from './ground.ts';
import { type NodePart, type Plan, type PlannedPlace, type PlannedProbe, placesOf, type Step } from './plan.ts';
import type { Random } from './random.ts';

/** IPv6 of a lab: the underlay fd50::/64, a /64 of pods for each node, routed over the underlay. */
export const OUTSIDE_IP6 = 'fd50::100';
export const nodeIp6 = (node: Pick<NodePart, 'index'>): string => `fd50::${11 + node.index}`;
const podNet6 = (node: Pick<NodePart, 'index'>): string => `fd44:${node.index + 1}::`;

/** The IPv6 address of a place that has one. */
export function ip6Of(plan: Pick<Plan, 'nodes'>, place: PlannedPlace): string | null {
  if (place.kind === 'outside') return OUTSIDE_IP6;
  const node = plan.nodes.find((n) => n.name === place.node);
  if (node === undefined || place.kind === 'container' || place.kind === 'macvlan') return null;
  return place.kind === 'node' ? nodeIp6(node) : `${podNet6(node)}${place.ip.split('.')[3]}`;
}

/** Addresses, routes and switches, as shell lines of the node. */
export function ipv6Setup(plan: Plan, node: NodePart, netnsOf: (host: number) => string): string {
  const cluster = plan.backend !== 'none';
  const pods = cluster
    ? node.pods.map(
        (host) => `ip -n ${netnsOf(host)} addr add ${podNet6(node)}${host}/64 dev eth0 nodad
ip -n ${netnsOf(host)} -6 route add default via ${podNet6(node)}1`,
      )
    : [];
  const peers = plan.nodes.filter((n) => n !== node && cluster);
  return `echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 1 >/proc/sys/net/bridge/bridge-nf-call-ip6tables
ip addr add ${nodeIp6(node)}/64 dev eth0 nodad
${cluster ? `ip addr add ${podNet6(node)}1/64 dev cni0 nodad` : ''}
ip -6 route add default via ${OUTSIDE_IP6}
${peers.map((peer) => `ip -6 route add ${podNet6(peer)}/64 via ${nodeIp6(peer)}`).join('\n')}
${pods.join('\n')}`;
}

const CLUSTER6 = 'fd44::/16';

/** Services of IPv6: another address for each of IPv4, with pods of its own choice. */
export function someServices6(r: Random, plan: Pick<Plan, 'nodes' | 'services' | 'backend'>): readonly ServiceSpec[] {
  const pods = placesOf(plan).flatMap((place) => (place.kind === 'pod' ? (ip6Of(plan, place) ?? []) : []));
  return (plan.services ?? []).map(({ name, clusterIp, port, proto, nodePort }): ServiceSpec => {
    const targets = r.some(pods, r.pick([0, 1, 1, 2, 3]));
    if (targets.length > 0 && r.chance(0.1)) targets[0] = targets[0]!.replace(/::\d+$/, '::99');
    return {
      name,
      clusterIp: `fd96::${clusterIp.split('.')[3]}`,
      port,
      ...(proto === undefined ? {} : { proto }),
      ...(nodePort === undefined ? {} : { nodePort }),
      endpoints: targets.map((ip) => `[${ip}]:${port}`),
    };
  });
}

/** What kube-proxy and flannel write of IPv6. */
export function producerSteps6(r: Random, g: Ground, services: readonly ServiceSpec[]): Step[] {
  const at = g.node.name;
  const restore = (rules: string) => `ip6tables-${g.node.iptables}-restore --noflush <<'EOF'\n${rules.trimEnd()}\nEOF`;
  return [
    ...(services.length > 0 ? [{ at, what: 'kube-proxy 6', sh: restore(kubeProxyRules(CLUSTER6, services)) }] : []),
    ...(r.chance(0.5) ? [{ at, what: 'flannel 6', sh: restore(flannelRules(CLUSTER6, `${podNet6(g.node)}/64`)) }] : []),
  ];
}

export const OUTSIDE_SETUP6 = `ip addr add ${OUTSIDE_IP6}/64 dev eth0 nodad`;

function addresses(g: Ground): string[] {
  return placesOf(g.base).flatMap((place) => ip6Of(g.base, place) ?? []);
}

const someNet = (r: Random, g: Ground): string =>
  r.chance(0.5)
    ? `${r.pick(addresses(g))}/128`
    : r.pick(['fd44::/16', 'fd50::/64', 'fc00::/7', ...g.base.nodes.map((n) => `${podNet6(n)}/64`)]);

function matches(r: Random, g: Ground, hook: string, proto: string | null): string {
  const parts: string[] = [];
  const p = proto ?? r.pick(['tcp', 'udp', 'ipv6-icmp', null]);
  const not = () => (r.chance(0.2) ? '! ' : '');
  if (p !== null) parts.push(`-p ${p}`);
  if (r.chance(0.5)) parts.push(`${not()}-s ${someNet(r, g)}`);
  if (r.chance(0.5)) parts.push(`${not()}-d ${someNet(r, g)}`);
  if (hook !== 'OUTPUT' && hook !== 'POSTROUTING' && r.chance(0.3)) parts.push(`${not()}-i ${r.pick(g.devices)}`);
  if (hook !== 'PREROUTING' && hook !== 'INPUT' && r.chance(0.3)) parts.push(`${not()}-o ${r.pick(g.devices)}`);
  if (p === 'tcp') parts.push(r.pick(['--dport 80', '-m multiport --dports 80,443', '! --dport 22']));
  if (p === 'udp') parts.push('--dport 53');
  if (p === 'ipv6-icmp' && r.chance(0.6)) parts.push(`--icmpv6-type ${r.pick(['echo-request', 'echo-reply', '129'])}`);
  if (r.chance(0.4))
    parts.push(
      r.pick([
        '-m conntrack --ctstate NEW',
        '-m conntrack --ctstate RELATED,ESTABLISHED',
        '-m conntrack ! --ctstate INVALID',
        '-m addrtype --dst-type LOCAL',
        '-m mark --mark 0x1',
        '-m comment --comment "six"',
        r.pick(['-m hl --hl-gt 60', '-m hl --hl-eq 64', '-m hl --hl-lt 64']),
      ]),
    );
  return parts.length === 0 ? `-s ${someNet(r, g)}` : parts.join(' ');
}

function rule(r: Random, g: Ground, tool: string): string {
  const table = r.weighted({ filter: 6, nat: 3, mangle: 1, raw: 0.6 });
  const how = r.pick(['-I', '-A']);
  const at = (hook: string, target: string, proto: string | null = null) =>
    `${tool} -t ${table} ${how} ${hook} ${matches(r, g, hook, proto)} -j ${target}`;
  switch (table) {
    case 'filter':
      return at(
        r.weighted({ FORWARD: 6, INPUT: 2, OUTPUT: 1 }),
        r.pick(['ACCEPT', 'ACCEPT', 'DROP', 'RETURN', 'REJECT --reject-with icmp6-adm-prohibited', 'LOG']),
      );
    case 'nat':
      if (r.chance(0.5))
        return at('POSTROUTING', r.pick(['MASQUERADE', `SNAT --to-source ${nodeIp6(g.node)}`, 'ACCEPT']));
      return at(
        r.pick(['PREROUTING', 'OUTPUT']),
        r.pick([`DNAT --to-destination [${r.pick(addresses(g))}]:80`, 'REDIRECT --to-ports 80']),
        'tcp',
      );
    case 'mangle':
      return at(
        r.pick(['PREROUTING', 'FORWARD', 'OUTPUT']),
        r.pick(['MARK --set-xmark 0x1/0x1', 'DROP', 'HL --hl-dec 1']),
      );
    case 'raw':
      return at(r.pick(['PREROUTING', 'OUTPUT']), r.pick(['CT --notrack', 'DROP']));
  }
}

function fault(r: Random, g: Ground): string {
  const peers = g.base.nodes.filter((n) => n !== g.node);
  const device = r.pick(g.devices.filter((d) => d !== 'lo')).replaceAll('.', '/');
  return r.pick([
    'sysctl -qw net.ipv6.conf.all.forwarding=0',
    `sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.${device}.force_forwarding=1`,
    `sysctl -qw net.ipv6.conf.${device}.disable_ipv6=1`,
    `sysctl -qw net.ipv6.conf.${device}.forwarding=0`,
    `sysctl -qw net.ipv6.conf.${device}.hop_limit=${r.pick([1, 60, 65])}`,
    `ip -6 route add ${r.pick(['blackhole', 'unreachable', 'prohibit'])} ${someNet(r, g)} metric ${r.pick([1, 2000])}`,
    'ip -6 route del default',
    `ip -6 route add ${someNet(r, g)} via ${OUTSIDE_IP6} dev eth0 metric ${r.pick([1, 2000])}`,
    'sysctl -qw net.bridge.bridge-nf-call-ip6tables=0',
    ...peers.map((peer) => `ip -6 route del ${podNet6(peer)}/64`),
    `ip -6 route add default via ${OUTSIDE_IP6} dev eth0 table 106\nip -6 rule add pref ${r.pick([100, 33000])} from ${someNet(r, g)} lookup 106`,
  ]);
}

/** What is done to IPv6 on one node: rules, policies, faults. */
export function ipv6Steps(r: Random, g: Ground, count: number): Step[] {
  const tool = `ip6tables-${g.node.iptables}`;
  return Array.from({ length: count }, (): Step => {
    const kind = r.weighted({ rule: 6, policy: 1, fault: 3 });
    const sh =
      kind === 'rule'
        ? rule(r, g, tool)
        : kind === 'fault'
          ? fault(r, g)
          : `${tool} -P ${r.pick(['FORWARD', 'INPUT'])} DROP\n${tool} -A ${r.pick(['FORWARD', 'INPUT'])} ${r.pick(['-m conntrack --ctstate ESTABLISHED', '-p ipv6-icmp', '-s fc00::/7'])} -j ACCEPT`;
    return { at: g.node.name, what: `ipv6 ${kind}`, sh };
  });
}

/** Every place with IPv6 to every other. */
export function ipv6Probes(r: Random, plan: Omit<Plan, 'probes'>): PlannedProbe[] {
  const places = placesOf(plan).flatMap((place) => {
    const ip = ip6Of(plan, place);
    return ip === null ? [] : [{ id: place.id, ip }];
  });
  const direct = places.flatMap((from) =>
    places.flatMap((to): PlannedProbe[] => {
      if (from === to) return [];
      return [
        { from: from.id, to: to.ip, proto: 'icmp' },
        { from: from.id, to: to.ip, proto: 'tcp', port: 80 },
        ...(r.chance(0.5) ? [{ from: from.id, to: to.ip, proto: 'udp' as const, port: 53 }] : []),
        ...(r.chance(0.2)
          ? [{ from: from.id, to: to.ip, proto: 'icmp' as const, size: r.pick([1200, 1400, 1452]), df: true }]
          : []),
      ];
    }),
  );
  const services = places.flatMap((from) =>
    (plan.services6 ?? []).flatMap((service): PlannedProbe[] => {
      const want = {
        from: from.id,
        proto: service.proto ?? ('tcp' as const),
        tries: service.endpoints.length > 1 ? 4 : 1,
      };
      const nodes = service.nodePort === undefined ? [] : r.some(plan.nodes.map(nodeIp6), 2);
      return [
        ...(from.id === 'outside' ? [] : [{ ...want, to: service.clusterIp, port: service.port }]),
        ...nodes.map((to) => ({ ...want, to, port: service.nodePort as number })),
      ];
    }),
  );
  return [...direct, ...services];
}
