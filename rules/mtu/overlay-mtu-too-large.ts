import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import type { Source } from '../../src/derive/devices.ts';
import { isFlannel } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { mssClamp } from '../../src/derive/mss-clamp.ts';
import { largestPod } from '../../src/derive/pod-mtu.ts';
import { remakeFlannelDevice } from '../../src/derive/tunnel-remedy.ts';
import { type RouteOf, type Way, waysOf } from '../../src/derive/tunnel-ways.ts';
import type { At, Tunnel } from '../../src/derive/tunnels.ts';
import { inUse, TUNNEL_KINDS, tunnelsOf } from '../../src/derive/tunnels.ts';
import { buildNode, type NetNode, routesOf } from '../../src/net/index.ts';
import type { Cite, Finding, Undecided } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const ROUTING = ['addresses', 'links', 'linksJson', 'routes4', 'rules4', 'routes6', 'rules6', 'sysctl'] as const;

export const rule = defineNodeRule({
  id: 'overlay-mtu-too-large',
  title: {
    bad: 'The overlay’s packets are too large for the device under it',
    good: 'The overlay’s packets fit the device under it',
  },
  severity: 'high',
  explanation:
    'Where the overlay device names the one under it the kernel refuses such a value, so that one or a route got its smaller MTU afterwards, and the overlay did not follow. ' +
    'Every full-sized packet then leaves as two fragments, and dies wherever fragments are filtered: connections open, and hang with the first large answer.',
  remediation: [
    {
      step: 'Bring the MTU of the underlay to what it was, or make the overlay’s smaller:',
      run: 'ip link set flannel.1 mtu <MTU of the lower device - 50>',
      verify: 'ping -M do -s <that MTU - 28> <IP of a pod on another node>',
      undo: 'ip link set flannel.1 mtu <old MTU>',
    },
  ],
  references: [REF.flannelBackends, REF.flannelVxlan, REF.vxlan],
  needs: [],
  needsAny: ['links', 'addresses'],
  wants: [
    ...TUNNEL_KINDS,
    'linksJson',
    'rules4',
    'rules6',
    'sysctl',
    'flannelEnv',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'k3sArgs',
    'iptables',
    'iptablesNft',
    'iptablesLegacy',
  ],
  explains: ['mtu-differs-across-nodes'],
  evaluate({ node, wants, source }) {
    const { tunnels, passed } = tunnelsOf(source);
    const routeOf = routing(buildNode(source, ROUTING));
    const usage = inUse(tunnels);
    const bad: Finding[] = [];
    const good: Cite[] = [];
    const open: Undecided[] = [];
    const idle: Tunnel[] = [];
    for (const tunnel of tunnels) {
      const { name, mtu } = tunnel.device;
      const ask = (because: string, evidence: readonly string[]) => open.push({ nodes: [node.id], because, evidence });
      if (usage.get(tunnel) === false) {
        idle.push(tunnel);
        continue;
      }
      if (mtu === undefined) {
        ask(`the MTU of ${name} is not told`, [tunnel.fact.evidence]);
        continue;
      }
      const { ways, gap } = waysOf(source, tunnel, routeOf);
      const narrow = ways.filter((w) => w.mtu - tunnel.overhead < mtu);
      if (narrow.length > 0 && usage.get(tunnel) === null)
        ask(`${name} does not fit, but which of the node’s flannel devices is in use is not known`, ['ip.route4']);
      else bad.push(...narrow.map((w) => tooLarge(node.id, source, tunnel, mtu, w)));
      const tight = ways.find((w) => w.mtu - tunnel.overhead - tunnel.perhaps < mtu);
      if (narrow.length === 0 && tight !== undefined)
        ask(
          `whether ${name} with MTU ${mtu} fits ${tight.device.name} with ${tight.mtu}: over IPv4 it does, over IPv6 not, and where its peers are was not collected`,
          ['k8s.nodes'],
        );
      else if (gap !== null) ask(`whether ${name} fits: ${gap.because}`, gap.evidence);
      else if (narrow.length === 0)
        good.push(
          cite(tunnel.fact, tunnel.device),
          ...ways.flatMap((w) => [cite(w.fact, w.device), ...w.cites.map(citeAt)]),
        );
    }
    const told = unlikeLease(node.id, source, tunnels, usage);
    if (told?.kind === 'finding') bad.push(told.finding);
    else if (told !== null && good.length > 0) good.push(told.cite);
    if (isNonEmpty(bad)) return findings(bad, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    const [first, ...more] = good;
    if (first !== undefined) return pass(first, ...more);
    const listed = wants.links.missing ? wants.addresses : wants.links;
    if (!listed.missing && !listed.closed)
      return unknown(node.id, 'whether there is an overlay device: the list of devices was not collected whole', [
        listed.evidence,
      ]);
    return notApplicable(
      [
        ...passed.map((p) => p.because),
        ...idle.map((t) => `no route leaves by ${t.device.name}`),
        ...(passed.length + idle.length === 0 ? ['no overlay device on this node'] : []),
      ].join('; '),
      [...passed, ...idle].map((p) => cite(p.fact, p.device)),
    );
  },
});

/** As the ways of a tunnel are asked for. */
function routing(host: NetNode): RouteOf {
  const routeOf = routesOf(host);
  return (address) => {
    const route = routeOf(address);
    return route === null ? null : { ...route, cites: route.cites.map((c) => ({ fact: c.fact, span: c })) };
  };
}

const citeAt = ({ fact, span }: At): Cite => cite(fact, span);

function tooLarge(
  node: string,
  source: Source<
    | 'links'
    | 'addresses'
    | 'flannelEnv'
    | 'bridges'
    | 'sysfs'
    | 'dockerNetworks'
    | 'k3sArgs'
    | 'iptables'
    | 'iptablesNft'
    | 'iptablesLegacy'
  >,
  tunnel: Tunnel,
  mtu: number,
  way: Way,
): Finding {
  const { name, vxlan, master } = tunnel.device;
  const room = way.mtu - tunnel.overhead;
  const pods = largestPod(source);
  const spared = pods !== null && pods.mtu <= room;
  const clamp = spared ? null : mssClamp(source, name);
  // IPv4 and TCP headers
  const clamped = clamp !== null && clamp.mss + 40 <= room;
  const latent = tunnel.used === false;
  const ofPods = isFlannel(name) || /^(flannel\d|vxlan(-v6)?\.calico$)/.test(name);
  const peers = way.peers.length;
  const whom = peers === 0 || peers === tunnel.remotes.length ? '' : ` to ${peers} of ${tunnel.remotes.length} peers`;
  const under = way.ofRoute
    ? `the route${whom} by ${way.device.name} allows ${way.mtu}`
    : `its packets${whom} leave by ${way.bridge === undefined ? '' : `${way.bridge} and its port `}${way.device.name} with MTU ${way.mtu}`;
  const fate =
    way.bridge !== undefined
      ? 'larger ones are dropped there without a word'
      : vxlan?.df === 'set'
        ? 'larger ones do not leave'
        : tunnel.make === 'ipip' || tunnel.family === 6
          ? // the kernel makes no fragments of a tunnel's IPv6 packets
            'senders of larger ones have to be told by ICMP, and hang where that is filtered'
          : 'larger ones leave as fragments, and are lost wherever fragments are filtered';
  const but = spared
    ? `; pods there have at most ${pods.mtu}, so only the node’s own packets to pods are too large`
    : clamped
      ? `; TCP of pods is held to segments of ${clamp.mss}, so that it is spared: larger UDP and ICMP, and what the node itself sends, are not`
      : latent
        ? '; no route leaves by it yet'
        : '';
  const old = `ip link set ${shellWord(name)} mtu ${mtu}`;
  const peer = '<IP of a pod on another node>';
  const verify = /-v6/.test(name) ? `ping -6 -M do -s ${room - 48} ${peer}` : `ping -M do -s ${room - 28} ${peer}`;
  const first = way.ofRoute
    ? `Take the MTU of ${way.mtu} from the route where the path carries more`
    : `Give ${way.device.name} the MTU of ${mtu + tunnel.overhead} where the network under it carries that`;
  return {
    key: `${name} over ${way.device.name}${way.ofRoute ? ` by a route with ${way.mtu}` : ''}`,
    // nothing leaves by it where all peers are reached directly
    severity: latent
      ? 'low'
      : spared || clamped || !ofPods || tunnel.make === 'ipip' || master !== undefined
        ? 'medium'
        : 'high',
    confidence: way.sure ? 'proven' : 'likely',
    nodes: [node],
    message: `${name} on ${node} has MTU ${mtu}, but ${under}: that leaves room for ${room}, ${fate}${but}`,
    cites: [
      cite(tunnel.fact, tunnel.device),
      cite(way.fact, way.device),
      ...way.cites.map(citeAt),
      ...(spared ? [cite(pods.fact, pods.device)] : []),
      ...(clamped ? [cite(clamp.fact, clamp.span)] : []),
    ],
    ...(latent ? { latent: true } : {}),
    remediation: [
      /calico$|^tunl0$/.test(name)
        ? {
            step: `${first}; else give Calico an MTU of ${room}, for it sets ${name} back to what it was told.`,
            run: `kubectl patch installation default --type merge -p '{"spec":{"calicoNetwork":{"mtu":${room}}}}'   # without the operator: veth_mtu of configmap calico-config, then restart calico-node`,
            verify,
            undo: `kubectl patch installation default --type merge -p '{"spec":{"calicoNetwork":{"mtu":${mtu}}}}'`,
            risk: 'It is for all nodes. Pods keep their larger MTU until they are made anew; until then the node tells them by ICMP.',
          }
        : {
            step: `${first}; else make ${name} as small as it has to be.`,
            run: `ip link set ${shellWord(name)} mtu ${room}`,
            verify,
            undo: old,
            risk: 'Pods keep their larger MTU until they are made anew; until then the node tells them by ICMP.',
          },
      ...(isFlannel(name)
        ? [
            remakeFlannelDevice(source, node, name, {
              step: 'Flannel keeps a device whose VNI, port and addresses are right: for a lasting change remove it, restart flannel on the node, and recreate its pods.',
              verify: `ip link show ${shellWord(name)}; grep FLANNEL_MTU /run/flannel/subnet.env`,
              undo: 'restart flannel again after the MTU under it is as it was',
            }),
          ]
        : []),
    ],
    disprove: `packets of ${mtu + tunnel.overhead} bytes that leave by ${way.device.name} in one piece`,
  };
}

/** FLANNEL_MTU is what pods get: flanneld writes it from the same number that it makes its IPv4 device with (the IPv6 one is 20 smaller). */
function unlikeLease(
  node: string,
  source: Source<'flannelEnv' | 'k3sArgs'>,
  tunnels: readonly Tunnel[],
  usage: ReadonlyMap<Tunnel, boolean | null>,
): { readonly kind: 'finding'; readonly finding: Finding } | { readonly kind: 'same'; readonly cite: Cite } | null {
  const lease = flannelLease(source);
  const own = tunnels.filter(
    // a device that no route leads into may be left of another backend
    (t) => /^flannel/.test(t.device.name) && !/-v6/.test(t.device.name) && usage.get(t) !== false && t.used !== false,
  );
  const [tunnel, second] = own;
  const mtu = tunnel?.device.mtu;
  if (lease?.mtu == null || tunnel === undefined || second !== undefined || mtu === undefined) return null;
  const told = lease.mtu.value;
  if (told === mtu) return { kind: 'same', cite: cite(lease.fact, lease.mtu) };
  const { name } = tunnel.device;
  const larger = told > mtu;
  return {
    kind: 'finding',
    finding: {
      key: `FLANNEL_MTU of ${name}`,
      severity: larger ? 'medium' : 'low',
      confidence: tunnel.used === true ? 'proven' : 'likely',
      nodes: [node],
      message: larger
        ? `FLANNEL_MTU on ${node} is ${told}, but ${name} has MTU ${mtu}: new pods get a larger MTU than the overlay has, and depend on ICMP to learn it`
        : `FLANNEL_MTU on ${node} is ${told}, but ${name} has MTU ${mtu}: flannel kept a device that it made under another configuration; packets of new pods fit`,
      cites: [cite(lease.fact, lease.mtu), cite(tunnel.fact, tunnel.device)],
      remediation: [
        remakeFlannelDevice(source, node, name, {
          step: 'Remove the device and restart flannel on the node, so that both come from one number; recreate pods that were made meanwhile.',
          verify: `grep FLANNEL_MTU /run/flannel/subnet.env; ip link show ${shellWord(name)}`,
          undo: `ip link set ${shellWord(name)} mtu ${mtu}`,
        }),
      ],
      disprove: `a flannel that writes another MTU than that of ${name} on purpose`,
    },
  };
}
