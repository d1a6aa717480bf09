import { formatPrefix, type Prefix, parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { type PodWay, podWays } from '../../src/derive/pod-ways.ts';
import { POD_KINDS, podNetworks, routedPods } from '../../src/derive/pods.ts';
import type { Fact, PolicyRule, Route } from '../../src/facts/index.ts';
import { HOOK_WANTS, hookNode, mainRoute, type RouteAnswer, waysThrough } from '../../src/net/index.ts';
import { type Cite, cite, defineNodeRule, type Finding, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'policy-rule-captures-pod-traffic',
  title: {
    bad: 'A policy rule sends container traffic elsewhere before the main table is asked',
    good: 'Policy rules leave container traffic to the main table',
  },
  severity: 'high',
  explanation:
    'The routes to containers and to other nodes’ pods are in the main table. A policy rule in front of it with a default route in its table takes every packet, whatever the main table holds. ' +
    'VPN clients, exit nodes and scripts for a second network card write such rules. wg-quick puts "lookup main suppress_prefixlength 0" in front of its own, which leaves all but the default route to main.',
  remediation: [
    {
      step: 'Let the container ranges be looked up in main before the other rule.',
      run: 'ip rule add pref 1 to <range of the containers> lookup main',
      verify: 'ip route get <address of a container>',
      undo: 'ip rule del pref 1 to <range of the containers> lookup main',
      risk: 'Packets to containers no longer take the ways of the other rules.',
    },
    {
      step: 'Persist it where the other rule is made (RoutingPolicyRule of networkd, routing-rules of NetworkManager, the scripts of the VPN).',
    },
  ],
  references: [REF.ipRule, REF.wgQuick],
  needs: ['rules4', 'routes4', 'addresses'],
  wants: [...HOOK_WANTS.filter((k) => k !== 'rules4'), ...POD_KINDS, 'fdb'],
  explains: [
    'pod-route-missing-or-wrong',
    'rp-filter-drops-path',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, facts, source }) {
    const { rules4, routes4 } = facts;
    const { rules } = rules4.value;
    const nets = [...podNetworks(source), ...routedPods(source)];
    if (nets.length === 0) {
      const { doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable('no container bridge with a port and an IPv4 address, and no pod’s device on this node');
    }
    const main = rules.find((r) => r.action === 'lookup' && r.table === 'main');
    if (rules4.closed && main !== undefined && rules.every((r) => isUsual(r))) return pass(cite(rules4, main));
    const host = hookNode(source);
    const tally = new NodeTally(node.id);
    const taken = new Map<string, Taken>();
    for (const way of podWays(source)) {
      const wanted = mainRoute(host, way.dst);
      if (wanted === null || wanted.type !== 'unicast' || wanted.dev !== way.oif) continue;
      const answers = waysThrough(host, way);
      const judged = answers.map(([answer]) => judgeWay(answer, way, wanted, rules4, routes4));
      const captured = judged.filter((j) => j !== null && typeof j === 'object');
      const open = judged.find((j) => typeof j === 'string');
      const [first] = captured;
      if (first !== undefined && captured.length === judged.length) {
        const key = `${first.by.rule.pref} ${first.answer.text}`;
        const known = taken.get(key) ?? { ...first, ways: [] };
        taken.set(key, { ...known, ways: [...known.ways, { ...way, range: way.range ?? first.own }] });
      } else if (open !== undefined) tally.unknown(open, ['ip.rule4', 'ip.route4']);
      else if (first !== undefined)
        tally.unknown(`ip rule ${first.by.rule.pref} takes some of ${way.name}, those with a mark or without`, [
          'ip.rule4',
        ]);
      else tally.passed(cites(wanted));
    }
    for (const t of taken.values()) tally.fault(finding(node.id, t, rules4, flannelLease(source)?.network?.prefix));
    return tally.verdict([cite(rules4, main ?? (rules[0] as PolicyRule))]);
  },
});

/** What a policy rule did with packets that the main table has a route for. */
interface Capture {
  readonly by: { readonly rule: PolicyRule };
  readonly answer: RouteAnswer;
  /** The route of its table; none: the rule itself rejects. */
  readonly route: Route | undefined;
  readonly wanted: RouteAnswer;
  /** Prefix of the route in the main table. */
  readonly own: string;
}
interface Taken extends Capture {
  readonly ways: readonly PodWay[];
}

const REJECTS = /^(blackhole|unreachable|prohibit)$/;

/** `null`: they go where the main table leads. Text: why that is not known. */
function judgeWay(
  answer: RouteAnswer | undefined,
  way: PodWay,
  wanted: RouteAnswer,
  rules4: Fact<'rules4'>,
  routes4: Fact<'routes4'>,
): Capture | string | null {
  const { name } = way;
  if (answer === undefined || answer.type === 'unknown')
    return `where ${name} go is not known: ${answer?.text ?? 'the way has no readable addresses'}`;
  const line = answer.cites.find((c) => c.fact.kind === 'rules4')?.line;
  const by = rules4.value.rules.find((r) => r.line === line);
  if (answer.type === 'unicast' && answer.dev === wanted.dev) return null;
  if (by === undefined)
    return answer.type === 'none' ? `no policy rule leads ${name} to the main table, which has their route` : null;
  if (by.fwmark !== undefined && by.fwmark !== 0 && !by.not)
    return `ip rule ${by.pref} leads ${name} with mark 0x${by.fwmark.toString(16)} away from the main table, and somebody marks them on purpose`;
  const at = answer.cites.find((c) => c.fact.kind === 'routes4')?.line;
  const route = routes4.value.routes.find((r) => r.line === at);
  const own = routes4.value.routes.find((r) => wanted.cites.some((c) => c.line === r.line))?.dst ?? way.dst;
  const capture = { by: { rule: by }, answer, route, wanted, own };
  if (REJECTS.test(answer.type)) return capture;
  if (answer.type !== 'unicast' || route === undefined)
    return `what becomes of ${name} by ip rule ${by.pref} is not known`;
  // somebody wrote a route for these very containers
  if (isNarrow(route.dst, own))
    return `ip rule ${by.pref} has a route of its own for ${name} (${route.dst} by ${answer.dev}): whether it leads there is not known`;
  return capture;
}

function isNarrow(dst: string, own: string): boolean {
  const [a, b] = [parsePrefix(dst), parsePrefix(own)];
  return a !== null && b !== null && a.length >= b.length;
}

const cites = (answer: RouteAnswer): Cite[] => answer.cites.map((c) => cite(c.fact, c));

/** One of the three that every namespace has. */
const isUsual = ({ pref, action, table, from, not, to, iif, oif, fwmark, suppressPrefixLength }: PolicyRule): boolean =>
  action === 'lookup' &&
  ((pref === 0 && table === 'local') ||
    (pref === 32766 && table === 'main') ||
    (pref === 32767 && table === 'default')) &&
  (from === undefined || from === 'all') &&
  !not &&
  [to, iif, oif, fwmark, suppressPrefixLength].every((x) => x === undefined);

function finding(
  node: string,
  { by: { rule: by }, answer, route, wanted, ways }: Taken,
  rules4: Fact<'rules4'>,
  cluster: Prefix | undefined,
): Finding {
  const to =
    route === undefined
      ? `rejects (${answer.type})`
      : REJECTS.test(answer.type)
        ? `rejects by ${answer.type} ${word(route)} of table ${by.table}`
        : `sends by ${answer.dev} (${word(route)} of table ${by.table})`;
  const names = [...new Set(ways.map((w) => w.name))];
  const ranges = [...new Set(ways.map((w) => rangeOf(w, cluster ?? null)))];
  const pref = by.pref <= 1 ? 0 : 1;
  const all: Cite[] = [
    cite(rules4, by),
    ...cites(answer).filter((c) => c.evidence !== rules4.evidence),
    ...cites(wanted),
  ];
  const rulesOf = (verb: string) =>
    ranges.map((r) => `ip rule ${verb} pref ${pref} to ${shellWord(r)} lookup main`).join('; ');
  return {
    key: `rule ${by.pref} ${by.table ?? by.action}`,
    severity: 'high',
    confidence: 'proven',
    nodes: [node],
    message: `ip rule ${by.pref} of ${node} ${to} ${listed(names)} before the main table is asked, which has them go by ${listed([...new Set(ways.map((w) => w.oif))])}`,
    cites: isNonEmpty(all) ? all : [cite(rules4, by)],
    about: [...(answer.dev === '' ? [] : [answer.dev]), `rule ${by.pref}`, 'policy rule'],
    disprove: `what listens behind table ${by.table ?? by.action} passes these packets on to the containers`,
    remediation: [
      {
        step: `Let ${listed(ranges)} be looked up in main before ip rule ${by.pref}.`,
        run: rulesOf('add'),
        verify: ways.slice(0, 3).map(asked).join('; '),
        undo: rulesOf('del'),
        risk: 'Packets to these ranges no longer take the ways of the other rules.',
      },
      {
        step: `Find out who writes ip rule ${by.pref} (a VPN client, networkd, NetworkManager, a script for a second card) and make the exception last there: [RoutingPolicyRule] To= Table=main Priority= in networkd, ipv4.routing-rules in NetworkManager.`,
      },
    ],
  };
}

/** The cluster's whole range in place of its parts. */
function rangeOf({ range, dst }: PodWay, cluster: Prefix | null): string {
  const prefix = parsePrefix(range ?? dst);
  if (cluster !== null && prefix !== null && prefixCovers(cluster, prefix)) return formatPrefix(cluster);
  return range ?? dst;
}

const word = ({ dst }: Route) => (dst === '0.0.0.0/0' ? 'the default route' : dst);
const listed = (list: readonly string[]) =>
  list.length < 2 ? list.join('') : `${list.slice(0, -1).join(', ')} and ${list.at(-1)}`;
const asked = ({ src, dst, iif }: PodWay) =>
  `ip route get ${dst}${src === null ? '' : ` from ${src}`}${iif === 'lo' ? '' : ` iif ${shellWord(iif)}`}`;
