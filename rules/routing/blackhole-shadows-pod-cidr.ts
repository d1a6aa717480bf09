import {
  addressAt,
  formatIp,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
} from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { liveAddresses, POD_KINDS, type PodNetwork, podNetworks, routedPods } from '../../src/derive/pods.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Fact, MissingFact, Route } from '../../src/facts/index.ts';
import { HOOK_WANTS, hookNode, mainRoute, type RouteAnswer } from '../../src/net/index.ts';
import {
  type Cite,
  cite,
  defineNodeRule,
  type Finding,
  isClosed,
  notApplicable,
  unknown,
} from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'blackhole-shadows-pod-cidr',
  title: {
    bad: 'A route that rejects packets stands in front of the route to the node’s own containers',
    good: 'No rejecting route stands in front of the routes to the node’s own containers',
  },
  severity: 'critical',
  explanation:
    'Among routes for one prefix with one metric the kernel takes the first, and the route of a bridge is appended behind a blackhole that is there already. ' +
    'flanneld with --ip-blackhole-route (0.27.1 and later, meant for Canal) writes such a route when it starts before the bridge exists, and leaves that of an old lease behind. ' +
    'Packets to the containers of the node are then dropped without a trace.',
  remediation: [
    {
      step: 'Delete the route that rejects.',
      run: 'ip route del blackhole <pod subnet of the node>',
      verify: 'ip route get <address of a pod of the node>',
      undo: 'ip route add blackhole <pod subnet of the node>',
    },
    {
      step: 'Keep it from coming back: flanneld without --ip-blackhole-route where the CNI plugin makes a bridge.',
    },
  ],
  references: [REF.flannelBlackhole, REF.flannelStaleBlackhole, REF.ipRoute],
  needs: ['routes4', 'addresses'],
  wants: [...HOOK_WANTS, ...POD_KINDS, 'flanneldArgs'],
  explains: ['rp-filter-drops-path', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { routes4 } = facts;
    const nets = [...podNetworks(source), ...routedPods(source)];
    if (nets.length === 0) {
      const { doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable('no container bridge with a port and an IPv4 address, and no pod’s device on this node');
    }
    const rejecting = routes4.value.routes.flatMap((route) => {
      const prefix = route.table === 'main' && REJECTS.test(route.type) ? parsePrefix(route.dst) : null;
      return prefix === null ? [] : [{ route, prefix }];
    });
    const host = hookNode(source);
    const tally = new NodeTally(node.id);
    for (const net of nets) {
      const name = net.bridge.name;
      const near = rejecting.filter(({ prefix }) => prefixesOverlap(prefix, net.prefix));
      const lives = liveAddresses(source, net);
      for (const { route, prefix } of near) {
        const samples = samplesIn(prefix, net, lives);
        const hit = samples.find(({ ip }) => takes(mainRoute(host, ip), route, routes4));
        if (hit === undefined) {
          const live = samples.filter((s) => s.live).length;
          tally.left(live < MOST ? 0 : lives.length - MOST, lives.length, `addresses of containers on ${name}`);
        } else tally.fault(finding(node.id, net, route, prefix, hit, routes4, wants.flanneldArgs));
      }
      const answer = mainRoute(host, net.sample);
      if (answer?.type === 'unicast' && answer.dev === name) {
        if (isClosed(routes4)) tally.passed(answer.cites.map((c) => cite(c.fact, c)));
        else
          tally.unknown(
            `whether a route rejects packets to containers on ${name}: the routes were not collected whole`,
            [routes4.evidence],
          );
      } else if (answer?.type === 'unknown') tally.unknown(answer.text, [routes4.evidence]);
    }
    const [first] = nets;
    return tally.verdict([cite(first?.bridge.fact ?? routes4, first?.bridge.device ?? { line: 1 })]);
  },
});

const REJECTS = /^(blackhole|unreachable|prohibit)$/;

/** Addresses that stand for those which a rejecting route can take of a network: containers’ own first, then any. */
interface Hit {
  readonly ip: string;
  readonly live: boolean;
}

function samplesIn(prefix: Prefix, net: PodNetwork, lives: readonly string[]): readonly Hit[] {
  const inside = lives.filter((text) => {
    const ip = parseIp(text);
    return ip !== null && prefixContains(prefix, ip);
  });
  const live = inside.slice(0, MOST).map((ip) => ({ ip, live: true }));
  if (prefix.length <= net.prefix.length) return [...live, { ip: net.sample, live: net.live }];
  // nobody has the first and the last address of a range
  const any = prefix.length >= 31 ? null : addressAt(prefix, 1);
  return any === null ? live : [...live, { ip: formatIp(any), live: false }];
}
const MOST = 64;

const takes = (answer: RouteAnswer | null, route: Route, fact: Fact<'routes4'>): boolean =>
  answer !== null && REJECTS.test(answer.type) && answer.cites.some((c) => c.fact === fact && c.line === route.line);

function finding(
  node: string,
  net: PodNetwork,
  route: Route,
  prefix: Prefix,
  { ip, live }: Hit,
  routes4: Fact<'routes4'>,
  flanneld: Fact<'flanneldArgs'> | MissingFact<'flanneldArgs'>,
): Finding {
  const { name } = net.bridge;
  const part = prefix.length > net.prefix.length;
  const own = routes4.value.routes.find((r) => r.table === 'main' && r.type === 'unicast' && r.dev === name);
  const option = flanneld.missing ? undefined : flag(flanneld.value, 'ip-blackhole-route');
  const written = `${route.type} ${route.dst}${route.metric === 0 ? '' : ` metric ${route.metric}`}`;
  const cites: Cite[] = [cite(routes4, route)];
  if (own !== undefined) cites.push(cite(routes4, own));
  cites.push(cite(net.bridge.fact, { line: net.line }));
  if (option !== undefined && !flanneld.missing) cites.push(cite(flanneld, option));
  const before =
    own === undefined
      ? `${name} has no route`
      : part
        ? `it is narrower than the route to ${name}`
        : `it stands before the route to ${name}`;
  const what = part
    ? `packets to those containers on ${name} whose addresses are in it${live ? `, as ${ip},` : ''}`
    : `packets to all containers on ${name}`;
  return {
    key: `${route.type} ${route.dst}`,
    severity: !part ? 'critical' : live ? 'high' : 'low',
    confidence: !part || live ? 'proven' : 'likely',
    nodes: [node],
    message: `${node} rejects ${what} by the route ${written}: ${before}`,
    cites: isNonEmpty(cites) ? cites : [cite(routes4, route)],
    ...(part && !live ? { latent: true } : {}),
    ...(part ? { about: [route.dst.replace(/\/32$/, ''), ip] } : {}),
    disprove: part
      ? 'addresses that no container is to have'
      : `a later collection in which the route to ${name} stands first`,
    remediation: [
      {
        step: `Delete the route on ${node}.`,
        run: `ip route del ${written}`,
        verify: `ip route get ${ip}`,
        undo: `ip route add ${written}`,
        risk: 'none known',
      },
      {
        step:
          option === undefined
            ? 'Find out who wrote it: flanneld with --ip-blackhole-route (its routes of old leases stay), a script, another CNI plugin.'
            : 'Take --ip-blackhole-route from the arguments of flanneld where the CNI plugin makes a bridge: at its next start it writes the route again.',
      },
    ],
  };
}
