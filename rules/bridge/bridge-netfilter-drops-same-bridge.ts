import { isNonEmpty } from '../../src/core/span.ts';
import { acceptBridged } from '../../src/derive/accept-range.ts';
import { bridgeMembers } from '../../src/derive/bridge-members.ts';
import { attachedBridges, type ContainerBridge } from '../../src/derive/devices.ts';
import { POD_KINDS } from '../../src/derive/pods.ts';
import { WHO_LIVES } from '../../src/derive/single-addresses.ts';
import {
  askBridged,
  asksIptables,
  type Decider,
  decidedBy,
  HOOK_WANTS,
  type HookAnswer,
  hookNode,
  isPolicy,
  RULESET_KINDS,
} from '../../src/net/index.ts';
import type { Cite, NodeView, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_WANTS, ...POD_KINDS, 'routes4', 'netnsIndex'] as const;
type View = NodeView<'addresses', (typeof WANTS)[number]>;

const SWITCH = 'net.bridge.bridge-nf-call-iptables';
const ICC = 'com.docker.network.bridge.enable_icc';
/** Rulesets that are closed for all but a few protocols let ping through: it tells nothing. */
const PROBES = [
  { proto: 'tcp', dport: 443 },
  { proto: 'tcp', dport: 8080 },
  { proto: 'udp', dport: 53 },
] as const;

export const rule = defineNodeRule({
  id: 'bridge-netfilter-drops-same-bridge',
  title: {
    bad: 'FORWARD drops what containers of one bridge send to each other',
    good: 'FORWARD lets containers of one bridge talk to each other',
  },
  severity: 'high',
  explanation:
    'With bridge netfilter the kernel shows IPv4 frames that stay on one bridge to FORWARD, coming in and going out by that bridge. A policy that drops, or a REJECT at the end, cuts even neighbours off where no rule accepts them: ' +
    'containers still reach the node and perhaps the outside, but not each other.',
  remediation: [
    {
      step: 'Accept what stays on the bridge, in front of the rule that drops. To match a single port takes -m physdev: -i names the bridge.',
      run: 'iptables -I FORWARD -i docker0 -o docker0 -j ACCEPT',
      verify: 'iptables -C FORWARD -i docker0 -o docker0 -j ACCEPT && echo accepted',
      undo: 'iptables -D FORWARD -i docker0 -o docker0 -j ACCEPT',
      risk: 'Containers of that bridge reach every port of each other.',
    },
  ],
  references: [REF.ipSysctl, REF.dockerFirewall, REF.kernelBridge],
  needs: ['addresses'],
  needsAny: RULESET_KINDS,
  wants: WANTS,
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, source } = view;
    const { bridges, doubt } = attachedBridges(source);
    const several = bridges.filter((b) => b.ports.length > 1);
    if (!isNonEmpty(several)) {
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable('no bridge of this node has two containers');
    }
    const tally = new NodeTally(node.id);
    const quiet: Cite[] = [];
    for (const bridge of several) quiet.push(...judge(view, bridge, tally));
    if (isNonEmpty(quiet) && quiet.length === several.length)
      return notApplicable('containers of one bridge are not shown to iptables, or are kept apart on purpose', quiet);
    return tally.verdict([cite(several[0].fact, several[0].device)]);
  },
});

/** Lines by which nothing is asked of the bridge: its frames pass iptables by, or dockerd keeps its containers apart. */
function judge({ node, source, wants }: View, bridge: ContainerBridge, tally: NodeTally): readonly Cite[] {
  const net = hookNode(source);
  const { dockerNetworks: networks } = wants;
  const own = networks.missing ? undefined : networks.value.networks.find((n) => n.bridge === bridge.name);
  if (own?.options[ICC] === 'false' && !networks.missing) return [cite(networks, own)];
  const shown = asksIptables(net, bridge.name);
  const loaded = wants.modules.missing ? false : wants.modules.value.modules.some((m) => m.name === 'br_netfilter');
  // a kernel before 5.3 has the switch in the first network namespace alone
  const on = shown.on === false && shown.cites.length === 0 && loaded ? null : shown.on;
  if (on === false) {
    const [off] = shown.cites;
    return [off === undefined ? cite(bridge.fact, bridge.device) : cite(off.fact, off)];
  }
  const members = bridgeMembers(source, bridge);
  const [a, b] = members;
  const from = a?.port ?? bridge.ports[0];
  const to = b?.port ?? bridge.ports.find((p) => p !== from);
  const what = `whether FORWARD lets containers of ${bridge.name} talk to each other`;
  if (a === undefined || b === undefined || from === undefined || to === undefined) {
    tally.unknown(`${what}: addresses of two of them were not collected`, WHO_LIVES);
    return [];
  }
  const answers: HookAnswer[] = [];
  for (const probe of PROBES) {
    const answer = askBridged(net, { src: a.ip, dst: b.ip, bridge: bridge.name, ports: [from, to], ...probe });
    if (answer.verdict === 'accept') {
      tally.passed(answer.deciders.map((d) => cite(d.fact, d)));
      return [];
    }
    answers.push(answer);
  }
  const open = answers.find((x) => x.verdict === 'unknown');
  const [decider] = answers[0]?.deciders ?? [];
  if (open !== undefined || decider === undefined) {
    tally.unknown(`${what}: ${open?.because ?? 'what drops them has no line'}`, open?.evidence ?? []);
    return [];
  }
  if (on === null) {
    tally.unknown(`${what}: ${decidedBy(decider)} drops them if ${SWITCH} is on, which was not collected`, [
      'sys.sysctl',
    ]);
    return [];
  }
  // a rule for this very bridge: somebody wants them apart
  const meant = isPolicy(decider.place) || namesBoth(decider, bridge.name);
  if (meant && networks.missing && !isPolicy(decider.place)) {
    tally.unknown(`${what}: "${decider.text}" keeps them apart, which docker does where it was told icc=false`, [
      'docker.network-inspect',
    ]);
    return [];
  }
  const chain = decider.place.split(' > ').at(-1) ?? decider.place;
  tally.fault({
    key: `${bridge.name} ${decider.text.startsWith(':') ? decidedBy(decider) : decider.text} in ${chain}`,
    severity: isPolicy(decider.place) ? 'info' : meant ? 'low' : 'high',
    confidence: 'proven',
    nodes: [node.id],
    about: members.slice(0, 32).map((m) => m.ip),
    message: `Containers of ${bridge.name} on ${node.id} cannot talk to each other (${a.ip} -> ${b.ip}): bridge netfilter shows their frames to iptables, and ${decidedBy(decider)} in ${decider.place} drops them${meant ? ', by a rule that is for this' : ''}`,
    cites: [cite(decider.fact, decider), ...shown.cites.map((c) => cite(c.fact, c)), cite(bridge.fact, bridge.device)],
    disprove: `a rule in front of it that accepts what comes in by ${bridge.name} and goes out by it`,
    remediation: meant ? [] : remedy(decider, bridge.name),
  });
  return [];
}

const namesBoth = ({ text }: Decider, bridge: string): boolean =>
  text.includes(` -i ${bridge} `) && text.includes(` -o ${bridge} `);

function remedy(decider: Decider, bridge: string): Remediation[] {
  return [
    {
      step: 'Accept what stays on the bridge, in front of the rule that drops.',
      ...acceptBridged(decider.fact.evidence, decider.place, bridge),
      risk: `Containers of ${bridge} reach every port of each other.`,
    },
    {
      step: 'Keep it: with the tool that loads the rules (netfilter-persistent, firewalld, nftables.service), or let the owner of the bridge write it again (systemctl restart docker). On a host without Kubernetes the switch can be off instead.',
      run: `sysctl -w ${SWITCH}=0`,
      verify: `sysctl ${SWITCH}`,
      undo: `sysctl -w ${SWITCH}=1`,
      risk: 'Services of Kubernetes, published ports without docker-proxy, and icc=false need it on.',
    },
  ];
}
