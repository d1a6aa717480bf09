import { isFlannel } from '../../src/derive/devices.ts';
import { withArgument } from '../../src/derive/flannel-remedy.ts';
import { announcedLeases } from '../../src/derive/k8s-leases.ts';
import { overlayPeers, vteps } from '../../src/derive/overlay.ts';
import type { Fact } from '../../src/facts/index.ts';
import { buildNode, type RouteAnswer, routeFrom, routesOf } from '../../src/net/index.ts';
import type { Cite, Finding } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const ROUTING = ['addresses', 'links', 'linksJson', 'routes4', 'rules4', 'sysctl'] as const;
/** Addresses and lines that one finding names. */
const NAMED = 3;

/** Where a node sends what is for the pods of another one. */
interface End {
  readonly address: string;
  readonly local: string;
  readonly dev: string;
  readonly subnet: string;
  readonly cites: readonly Cite[];
}

interface Lost {
  readonly end: End;
  readonly route: RouteAnswer;
}

export const rule = defineNodeRule({
  id: 'flannel-public-ip-unreachable',
  title: {
    bad: 'Another node announces an address that this one has no way to',
    good: 'The node has a route to each address that other nodes announce',
  },
  severity: 'critical',
  explanation:
    'flannel sends what is for the pods of a node to the address that the node announces: that of the device with its default route, unless flannel is told another. ' +
    'Where that is not the network on which the nodes meet, packets are dropped before they leave; where it is inside the pod network, the tunnel would have to go through itself, and the kernel refuses.',
  remediation: [
    {
      step: 'Let every node announce the address of the device by which it reaches the others (k3s: --flannel-iface=<device>).',
      ...withArgument('--iface-can-reach=<address of a node>'),
      risk: 'Overlay traffic stops for the seconds that the devices are made anew.',
    },
    {
      step: 'Or, of a node behind a translated address, say which one the others reach it by.',
      run: 'kubectl annotate node <node> flannel.alpha.coreos.com/public-ip-overwrite=<address>',
      verify: 'kubectl get node <node> -o yaml | grep flannel.alpha   # after flannel has started again there',
      undo: 'kubectl annotate node <node> flannel.alpha.coreos.com/public-ip-overwrite-',
    },
  ],
  references: [REF.flannelConfiguration, REF.flannelKubernetes],
  needs: ['routes4', 'addresses', 'links'],
  wants: ['fdb', 'neighbours', 'k8sNodes', 'linksJson', 'rules4', 'sysctl'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { links, routes4 } = facts;
    const own = vteps(source);
    if (own.length === 0) {
      if (!links.closed)
        return unknown(node.id, 'whether there is a vxlan device: the list of devices was not collected whole', [
          links.evidence,
        ]);
      return notApplicable('no flannel vxlan device on this node');
    }
    const { fdb, neighbours } = wants;
    if (fdb.missing || neighbours.missing)
      return unknown(node.id, 'where the node sends what is for pods of others was not collected', [
        'bridge.fdb',
        'ip.neigh',
      ]);
    const tally = new NodeTally(node.id);
    const ends = new Map<string, End>();
    const peers = overlayPeers(source);
    for (const { dev, subnet, routeLine, remotes } of peers) {
      const local = own.find((v) => v.dev === dev)?.local;
      const [remote] = remotes;
      if (remote === undefined || local == null)
        tally.unknown(`where ${node.id} sends what is for ${subnet} is not in its tables`, ['bridge.fdb', 'ip.neigh']);
      else if (!ends.has(remote.dst))
        ends.set(remote.dst, {
          address: remote.dst,
          local,
          dev,
          subnet,
          cites: [cite(fdb, remote), cite(routes4, { line: routeLine })],
        });
    }
    if (peers.length === 0) return notApplicable('no route over a flannel vxlan device: it knows no other node');
    const net = buildNode(source, ROUTING);
    const routeOf = routesOf(net);
    const lost: Lost[] = [];
    for (const end of ends.values()) {
      const plain = routeOf(end.address);
      if (plain !== null && !isFlannel(plain.dev)) {
        tally.passed([...end.cites.slice(0, 1), ...plain.cites.map((c) => cite(c.fact, c))]);
        continue;
      }
      const route = routeFrom(net, end.local, end.address);
      if (route?.type === 'local' && !end.address.startsWith('127.'))
        tally.unknown(
          `${node.id} sends what is for ${end.subnet} to its own address ${end.address}: flannel-identity-duplicate judges that`,
          ['k8s.nodes'],
        );
      else if (route === null || route.type === 'unknown')
        tally.unknown(
          `which way ${node.id} has to ${end.address} is not known: ${route?.reason?.because ?? 'several next hops'}`,
          [...(route?.reason?.evidence ?? ['ip.route4', 'ip.rule4'])],
        );
      else if (route.type !== 'unicast' || route.dev === end.dev) lost.push({ end, route });
      else tally.passed([...end.cites.slice(0, 1), ...route.cites.map((c) => cite(c.fact, c))]);
    }
    const names = new Map(announcedLeases(source).map((l) => [l.vtep, l.name]));
    for (const [kind, of] of Map.groupBy(lost, kindOf))
      tally.fault(unreachable(node.id, kind, of, ends.size, names, routes4));
    const [first] = own;
    return tally.verdict([first === undefined ? cite(routes4, { line: 1 }) : cite(links, first)]);
  },
});

type Kind = 'none' | 'rejected' | 'itself' | 'loopback';

function kindOf({ end, route }: Lost): Kind {
  if (end.address.startsWith('127.')) return 'loopback';
  if (route.type === 'unicast') return 'itself';
  return route.type === 'none' ? 'none' : 'rejected';
}

function unreachable(
  node: string,
  kind: Kind,
  of: readonly Lost[],
  total: number,
  names: ReadonlyMap<string, string>,
  routes4: Fact<'routes4'>,
): Finding {
  const addresses = of.map(({ end }) => end.address);
  const more = of.length > NAMED ? ` and ${of.length - NAMED} more` : '';
  const who = of.slice(0, NAMED).map(({ end }) => {
    const name = names.get(end.subnet.replace(/\/.*/, ''));
    return `${end.address} (${name ?? `pods ${end.subnet}`})`;
  });
  const [first] = of;
  const route = first?.route;
  const text = {
    none: 'it has no route to that',
    rejected: `its routes reject that (${route?.text})`,
    itself: `its route to that leads into ${first?.end.dev} itself (${route?.text}), and the kernel refuses`,
    loopback: 'that is each node’s own loopback address',
  }[kind];
  const shown = of
    .slice(0, NAMED)
    .flatMap(({ end, route: r }) => [...end.cites, ...r.cites.map((c) => cite(c.fact, c))]);
  const none: Cite[] =
    kind === 'none' && isClosed(routes4)
      ? addresses.slice(0, NAMED).map((a) => absent(routes4, `a route to ${a}`))
      : [];
  const once = new Map([...shown, ...none].map((c) => [JSON.stringify(c), c]));
  const [head = cite(routes4, { line: 1 }), ...tail] = once.values();
  const all = of.length === total;
  return {
    key: kind,
    severity: all ? 'critical' : 'high',
    confidence: 'proven',
    nodes: [node],
    message: `${node} has to send to ${who.join(', ')}${more} what is for the pods there, but ${text}`,
    cites: [head, ...tail],
    disprove: 'a later collection with a route to that address',
    remediation: [
      ...(kind === 'none' || kind === 'rejected'
        ? [
            {
              step: `Where the address is right, find out why ${node} has lost its route to it.`,
              run: `ip route get ${addresses[0]}`,
              verify: `ip route get ${addresses[0]}   # names the device of the nodes’ network`,
              undo: 'none needed: nothing was changed',
            },
          ]
        : []),
      {
        step: `Where it is not, let every node announce the address of the device by which it reaches ${node} (k3s: --flannel-iface=<device>).`,
        ...withArgument(`--iface-can-reach=${first?.end.local}`),
        risk: 'Overlay traffic stops for the seconds that the devices are made anew.',
      },
    ],
  };
}
