import { formatPrefix, parseIp, parsePrefix, prefixContains } from '../../src/core/address.ts';
import { containerBridges, isFlannel } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { isOneMachine } from '../../src/derive/one-machine.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Fact, MissingFact, Route } from '../../src/facts/index.ts';
import type { Finding, LineCite, NodeVerdict, NodeView } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineClusterRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { joinVerdicts } from '../../src/rule/joined.ts';
import { REF } from '../../src/rule/references.ts';

/** The two halves that VPN clients lay over a default route instead of replacing it. */
const HALVES = ['0.0.0.0/1', '128.0.0.0/1'];

const WANTS = [
  'rules4',
  'addresses',
  'links',
  'bridges',
  'sysfs',
  'dockerNetworks',
  'flannelEnv',
  'flanneldArgs',
  'kubeletArgs',
  'resolvConf',
] as const;

/** One node: what it says of itself, and the networks that it is on. */
interface Gateway {
  readonly verdict: NodeVerdict;
  readonly networks: readonly string[];
  /** Its name servers are reached by other routes, or it has none. */
  readonly served: boolean;
}

type View = NodeView<'routes4', (typeof WANTS)[number]>;

export const rule = defineClusterRule({
  id: 'default-route-missing',
  title: { bad: 'The node has no default route', good: 'The node has a default route' },
  severity: 'high',
  explanation:
    'What no other route covers gets "network unreachable": containers lose everything outside the node’s own networks, while pods on other nodes go on answering. ' +
    'flanneld without --iface looks for its device by the default route, and ends at its next start ("unable to find default route").',
  remediation: [
    {
      step: 'Set the route again, and for good in the node’s network configuration (netplan, nmcli, ifcfg):',
      run: 'ip route add default via <gateway> dev <uplink>',
      verify: 'ip route get 198.41.0.4',
      undo: 'ip route del default via <gateway> dev <uplink>',
    },
    {
      step: 'A node that is kept apart from the outside on purpose needs explicit routes to its DNS servers and registry, and --iface for flanneld.',
    },
  ],
  references: [REF.flannelConfiguration, REF.ipSysctl],
  needs: ['routes4'],
  wants: WANTS,
  explains: ['flannel-public-ip-unreachable', 'trace-pod-to-service-and-external'],
  extract(view): Gateway {
    const { addresses, resolvConf } = view.wants;
    const bridges = new Set(containerBridges(view.source).map((b) => b.name));
    const outer = addresses.missing
      ? []
      : addresses.value.devices.filter((d) => !bridges.has(d.name) && !isFlannel(d.name));
    const networks = outer.flatMap((d) =>
      d.addresses.flatMap((a) => {
        const prefix = a.family === 4 && a.scope === 'global' ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        return prefix === null || prefix.length > 30 ? [] : [formatPrefix(prefix)];
      }),
    );
    const unicast = view.facts.routes4.value.routes.filter((r) => r.type === 'unicast');
    const servers = resolvConf.missing ? [] : nameservers(resolvConf);
    return { verdict: judge(view), networks, served: servers.every(({ address }) => covers(unicast, address)) };
  },
  evaluate(digests) {
    const all = [...digests];
    const lost = new Set(all.filter((d) => d.digest.verdict.kind === 'findings').map((d) => d.node));
    return joinVerdicts(
      all.map(({ node, digest: { verdict } }) => ({ node, verdict })),
      (finding, node) => {
        const own = digests.get(node);
        if (own === undefined || !own.digest.served) return finding;
        const mates = all.filter(
          (d) =>
            d.node !== node && !isOneMachine(d, own) && d.digest.networks.some((n) => own.digest.networks.includes(n)),
        );
        return mates.length > 0 && mates.every((d) => lost.has(d.node)) ? keptApart(finding) : finding;
      },
    );
  },
});

/** Nobody loses the route on all nodes of a network at once, and still has his name servers. */
const keptApart = (finding: Finding): Finding => ({
  ...finding,
  severity: finding.severity === 'info' ? 'info' : 'low',
  confidence: 'possible',
  message: `${finding.message}; no collected node of its network has one: they may be kept apart from the outside on purpose`,
});

function judge({ node, facts, wants, source }: View): NodeVerdict {
  const { routes4 } = facts;
  const { routes } = routes4.value;
  const { flanneldArgs, kubeletArgs, resolvConf, rules4 } = wants;
  if (
    containerBridges(source).length === 0 &&
    flannelLease(source) === null &&
    flanneldArgs.missing &&
    kubeletArgs.missing
  )
    return notApplicable('no container network on this node');
  if (isSixOnly(wants.addresses)) return notApplicable('the node has IPv6 alone to the outside');
  const unicast = routes.filter((r) => r.type === 'unicast');
  const everywhere = unicast.filter((r) => r.dst === '0.0.0.0/0');
  const inMain = everywhere.filter((r) => r.table === 'main');
  const alive = inMain.find((r) => !isDead(r));
  if (alive !== undefined) return pass(cite(routes4, alive));
  const halves = HALVES.map((dst) => unicast.find((r) => r.table === 'main' && r.dst === dst && !isDead(r)));
  const [low, high] = halves;
  if (low !== undefined && high !== undefined) return pass(cite(routes4, low), cite(routes4, high));
  if (!isClosed(routes4)) return unknown(node.id, 'the node’s routes were not collected whole', [routes4.evidence]);
  const [dead] = inMain;
  if (dead !== undefined)
    return unknown(
      node.id,
      `the default route (${routes4.path}:${dead.line}) is dead for now: ${dead.dev ?? 'its device'} has no carrier`,
      ['ip.route4'],
    );
  const [other] = everywhere;
  if (other !== undefined)
    return unknown(
      node.id,
      `the main table has no default route, table ${other.table} has: for which packets policy rules say`,
      ['ip.rule4'],
    );
  if (!routes4.value.allTables)
    return unknown(node.id, 'the main table has no default route, and other tables were not collected', ['ip.route4']);
  const forVrf = rules4.missing ? undefined : rules4.value.rules.find((r) => r.l3mdev === true);
  if (forVrf !== undefined)
    return unknown(node.id, 'the node’s devices may be in a VRF: which table is theirs was not followed', ['ip.rule4']);
  // somebody gave the node routes of its own in place of the default one: it may be kept apart on purpose
  const servers = resolvConf.missing ? [] : nameservers(resolvConf);
  const viaGateway = unicast.filter((r) => r.via !== undefined);
  const unreached = servers.find(({ address }) => !covers(unicast, address));
  const iface = flanneldArgs.missing ? undefined : flag(flanneldArgs.value, 'iface', 'iface-regex', 'iface-can-reach');
  // docker alone asks for no device; servers that a gateway of their own leads to were thought of
  const alone =
    flanneldArgs.missing && flanneldArgs.lookedFor && servers.some(({ address }) => covers(viaGateway, address));
  const meant = servers.length > 0 && unreached === undefined && (iface !== undefined || alone);
  const effect =
    unreached === undefined
      ? 'what no other route covers is unreachable for the node and its containers'
      : `its DNS server ${unreached.address} and all that no other route covers are unreachable for the node and its containers`;
  return findings([
    {
      key: 'default',
      severity: meant ? 'info' : 'high',
      confidence: unreached !== undefined ? 'proven' : meant ? 'possible' : 'likely',
      nodes: [node.id],
      message: `${node.id} has no IPv4 default route: ${effect}`,
      cites: [
        absent(routes4, 'a default route (0.0.0.0/0)'),
        ...(unreached === undefined ? [] : [unreached.cite]),
        ...(meant && iface !== undefined && !flanneldArgs.missing ? [cite(flanneldArgs, iface)] : []),
      ],
      disprove:
        'a node that is kept apart from the outside on purpose, with routes to its DNS servers and its registry',
    },
  ]);
}

/** A route that the kernel passes over while its device has no carrier. */
const isDead = (r: Route): boolean =>
  r.nexthops.length === 0 ? r.flags.includes('dead') : r.nexthops.every((h) => h.flags.includes('dead'));

/** Of devices that containers do not have: addresses of IPv6, and none of IPv4. */
function isSixOnly(addresses: Fact<'addresses'> | MissingFact<'addresses'>): boolean {
  if (addresses.missing) return false;
  const outer = addresses.value.devices
    .filter((d) => !isFlannel(d.name) && !/^(lo$|cni|docker|br-|veth|podman|kube-)/.test(d.name))
    .flatMap((d) => d.addresses.filter((a) => a.scope === 'global'));
  return outer.length > 0 && outer.every((a) => a.family === 6);
}

/** IPv4 servers that are not the node itself (a stub of systemd-resolved tells nothing of routes). */
function nameservers(fact: Fact<'resolvConf'>): readonly { readonly address: string; readonly cite: LineCite }[] {
  return fact.value.lines.flatMap((line) => {
    const address = /^nameserver\s+(\d+(?:\.\d+){3})\s*$/.exec(line.text)?.[1];
    return address === undefined || address.startsWith('127.') ? [] : [{ address, cite: cite(fact, line) }];
  });
}

function covers(routes: readonly Route[], address: string): boolean {
  const ip = parseIp(address);
  return (
    ip !== null &&
    routes.some((r) => {
      const prefix = parsePrefix(r.dst);
      return prefix !== null && prefixContains(prefix, ip);
    })
  );
}
