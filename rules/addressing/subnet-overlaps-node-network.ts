import type { Prefix } from '../../src/core/address.ts';
import {
  addressAt,
  formatIp,
  formatPrefix,
  parseIp,
  parsePrefix,
  prefixContains,
  prefixCovers,
  prefixesOverlap,
} from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import type { ContainerBridge } from '../../src/derive/devices.ts';
import { containerBridges, isUp } from '../../src/derive/devices.ts';
import { bipPlaces, MOVE_DOCKER, moveDocker0, moveNetwork } from '../../src/derive/docker-ranges.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { isDefault, isSamePrefix, overlapsRoute, whoLoses } from '../../src/derive/range-clash.ts';
import type { Route } from '../../src/facts/index.ts';
import type { Finding, LineCite } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

type OwnPrefix = ContainerBridge['prefixes'][number];

/** An address of the node's own world that would be lost: what it is, and where that is written. */
interface Vital {
  readonly address: string;
  readonly what: string;
  readonly cite: LineCite;
}

export const rule = defineNodeRule({
  id: 'subnet-overlaps-node-network',
  title: {
    bad: 'A container subnet overlaps a network that the node itself must reach',
    good: 'Container subnets and the node’s networks are apart',
  },
  severity: 'critical',
  explanation:
    'The kernel sends packets for the shared range into the bridge, where nobody answers. ' +
    'NetworkManager gives the LAN metric 100 while docker0 has metric 0, so docker0 wins a tie after the next restart.',
  remediation: [MOVE_DOCKER],
  references: [REF.dockerBridge, REF.dockerSubnets],
  needs: ['addresses', 'routes4'],
  wants: [
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'flannelEnv',
    'resolvConf',
    'fdb',
    'daemonJson',
    'dockerdArgs',
  ],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external', 'vxlan-forwarding-entry-wrong'],
  evaluate({ node, facts, wants, source }) {
    const bridges = containerBridges(source);
    if (bridges.length === 0) {
      if (isClosed(facts.addresses)) return notApplicable('no container bridge on this node');
      return unknown(node.id, 'the list of the node’s devices was not collected whole', [facts.addresses.evidence]);
    }
    // each next hop of a multipath route is a way of its own
    const unicast = facts.routes4.value.routes
      .filter((r) => r.type === 'unicast')
      .flatMap((r) => (r.nexthops.length === 0 ? [r] : r.nexthops.map((hop) => ({ ...r, ...hop, flags: r.flags }))));
    const routes = unicast.filter((r) => r.table === 'main');
    const cluster = flannelLease(source)?.network?.prefix ?? null;
    const bridgeNames = new Set(bridges.map((b) => b.name));
    const found: Finding[] = [];
    const elsewhere = new Set<string>();
    for (const bridge of bridges) {
      for (const own of bridge.prefixes) {
        for (const r of unicast) {
          const dst = /^(main|local|default)$/.test(r.table) || r.dev === bridge.name ? null : parsePrefix(r.dst);
          if (dst !== null && !isDefault(dst) && prefixesOverlap(dst, own.prefix))
            elsewhere.add(
              `routing table ${r.table} has ${r.dst} by ${r.dev ?? 'a next hop'}, which overlaps ${bridge.name}: the policy rules decide which one wins`,
            );
        }
        const ownRoute = routes.find((r) => r.dev === bridge.name && isSamePrefix(r.dst, own.prefix));
        for (const other of routes) {
          const dst = parsePrefix(other.dst);
          if (dst === null || isDefault(dst) || other.dev === undefined || bridgeNames.has(other.dev)) continue;
          if (!prefixesOverlap(dst, own.prefix)) continue;
          // the overlay's own routes (and flannel udp's supernet) are meant to surround the node's lease
          if (/^flannel/.test(other.dev) || (cluster !== null && prefixCovers(cluster, dst) && other.via !== undefined))
            continue;
          const loser = whoLoses(own.prefix, ownRoute, dst, other, routes);
          if (loser === null) continue;
          found.push(describe(bridge, own, other, loser, node.id));
        }
        found.push(...asleep(bridge, own));
      }
    }
    const open = [...elsewhere].map((because) => ({
      nodes: [node.id] as const,
      because,
      evidence: ['ip.route4', 'ip.rule4'],
    }));
    if (isNonEmpty(found)) return findings(found, [...open, ...openTables()]);
    if (!isClosed(facts.routes4) || !isClosed(facts.addresses)) {
      return unknown(node.id, 'the route or address list was not collected whole', ['ip.route4', 'ip.addr']);
    }
    if (!facts.routes4.value.allTables)
      return unknown(node.id, 'only the main routing table was collected: tables of VPNs are not decided', [
        'ip.route4',
      ]);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    const proof = absent(
      facts.routes4,
      `a route of another device that overlaps ${bridges.flatMap((b) => b.prefixes.map((p) => `${p.address}/${p.prefix.length}`)).join(', ')}`,
    );
    return pass(proof, ...bridges.map((b) => cite(b.fact, b.device)));

    /** A device that is down keeps its address, without a route that shows it. */
    function asleep(bridge: ContainerBridge, own: OwnPrefix): Finding[] {
      return facts.addresses.value.devices
        .filter((d) => !isUp(d) && d.master === undefined && !bridgeNames.has(d.name) && !/^flannel/.test(d.name))
        .flatMap((d) =>
          d.addresses.flatMap((a): Finding[] => {
            const its = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
            // what is a part of the bridge's range goes where it is meant to; kube-ipvs0 is always down, and holds single addresses
            if (its === null || its.length > own.prefix.length || !prefixesOverlap(its, own.prefix)) return [];
            return [
              {
                key: `${bridge.name} ${formatPrefix(its)} ${d.name}`,
                severity: 'medium',
                confidence: 'possible',
                nodes: [node.id],
                latent: true,
                message: `${bridge.name} ${own.address}/${own.prefix.length} overlaps ${a.address}/${a.prefixLength} on ${d.name} of ${node.id}: latent, ${d.name} is down for now`,
                cites: [cite(bridge.fact, own), cite(facts.addresses, d), cite(facts.addresses, a)],
                disprove: `${d.name} is not to come up again`,
              },
            ];
          }),
        );
    }

    function openTables() {
      if (facts.routes4.value.allTables) return [];
      return [
        { nodes: [node.id] as const, because: 'only the main routing table was collected', evidence: ['ip.route4'] },
      ];
    }

    function describe(
      bridge: ContainerBridge,
      own: OwnPrefix,
      other: Route,
      loser: 'lan' | 'containers' | 'latent',
      id: string,
    ): Finding {
      const range = `${own.address}/${own.prefix.length}`;
      const lost = (loser === 'lan' ? vitals() : []).filter((v) => {
        const ip = parseIp(v.address);
        const dst = parsePrefix(other.dst);
        return (
          ip !== null &&
          prefixContains(own.prefix, ip) &&
          dst !== null &&
          prefixContains(dst, ip) &&
          v.address !== own.address
        );
      });
      // docker0 took the gateway's address: what the node sends to it is for the node itself
      const taken = vitals().filter((v) => v.address === own.address && v.what !== 'DNS server');
      const dst = parsePrefix(other.dst);
      const wider = dst !== null && dst.length < own.prefix.length;
      const shared = wider ? formatPrefix(own.prefix) : other.dst;
      const [severity, effect] =
        taken.length > 0
          ? ([
              'critical',
              `${taken.map((v) => `${v.what} ${v.address}`).join(', ')} is ${bridge.name}’s own address here, and what the node sends to it stays on the node`,
            ] as const)
          : loser === 'lan'
            ? ([
                lost.length > 0 ? 'critical' : 'high',
                lost.length > 0
                  ? `${lost.map((v) => `${v.what} ${v.address}`).join(', ')} ${lost.length === 1 ? 'becomes' : 'become'} unreachable`
                  : `hosts of ${shared} that ${other.dev} leads to become unreachable`,
              ] as const)
            : loser === 'containers'
              ? ([
                  'high',
                  `containers on ${bridge.name} are unreachable, their range is routed to ${other.dev}`,
                ] as const)
              : ([
                  'medium',
                  'latent: the other route is listed first for now, the bridge may win after the next restart',
                ] as const);
      return {
        key: `${bridge.name} ${other.dst} ${other.dev}`,
        severity,
        // a wide route says where the range would be, not that anybody is there
        confidence:
          taken.length > 0
            ? 'proven'
            : loser === 'latent'
              ? 'possible'
              : wider && lost.length === 0
                ? 'likely'
                : 'proven',
        nodes: [id],
        latent: loser === 'latent' && taken.length === 0,
        message: `${bridge.name} ${range} overlaps ${other.dst} on ${other.dev} of ${id}: ${effect}`,
        cites: [
          cite(bridge.fact, own),
          cite(facts.routes4, other),
          ...[...lost, ...taken].map((v) => v.cite),
          ...(bridge.name === 'docker0' ? bipPlaces(source).map((p) => cite(p.fact, p.span)) : []),
        ],
        ...remedy(bridge, own, other),
        disprove: `"ip route get" for a host of ${other.dst} that names ${other.dev}`,
      };
    }

    /** docker0 and networks of docker's list get another range; what nobody lists is left to the rule's remedy. */
    function dockers(bridge: ContainerBridge, own: OwnPrefix, other: Route): Pick<Finding, 'remediation'> {
      const known = wants.dockerNetworks.missing ? [] : wants.dockerNetworks.value.networks;
      const name = known.find((n) => n.bridge === bridge.name)?.name;
      const taken = (wanted: Prefix) =>
        unicast.some((r) => overlapsRoute(r.dst, wanted)) || (cluster !== null && prefixesOverlap(cluster, wanted));
      const probe = addressAt(own.prefix, 10);
      const verify = `ip route get ${probe === null ? other.dst : formatIp(probe)}   # must name ${other.dev}`;
      const step =
        bridge.name === 'docker0'
          ? moveDocker0(source, `${own.address}/${own.prefix.length}`, taken, verify)
          : name === undefined
            ? null
            : moveNetwork(name, own.prefix, taken, verify);
      return step === null ? {} : { remediation: [step] };
    }

    /** Docker's own ranges are the rule's remedy; a pod network's bridge is moved, or set free, in another way. */
    function remedy(bridge: ContainerBridge, own: OwnPrefix, other: Route): Pick<Finding, 'remediation'> {
      const { prefix } = own;
      if (cluster === null || !prefixCovers(cluster, prefix)) return dockers(bridge, own, other);
      const range = formatPrefix(prefix);
      const probe = addressAt(prefix, 10);
      const verify = `ip route get ${probe === null ? range : formatIp(probe)}   # must name ${shellWord(bridge.name)}`;
      const dst = parsePrefix(other.dst);
      // a route that the kernel made for an address is a network of the node: the pods have to move
      if (dst === null || !prefixCovers(prefix, dst) || other.proto === 'kernel')
        return {
          remediation: [
            {
              step: `Give the cluster a pod network apart from ${other.dst} (Network in flannel’s net-conf.json, the controller-manager’s --cluster-cidr); nodes get new leases, bridges and pods.`,
              risk: 'Every pod gets a new address.',
            },
          ],
        };
      const route = `${shellWord(other.dst)}${other.via === undefined ? '' : ` via ${shellWord(other.via)}`} dev ${shellWord(other.dev ?? '')}${other.metric === 0 ? '' : ` metric ${other.metric}`}`;
      return {
        remediation: [
          {
            step: `Nothing but ${bridge.name} leads to the node’s own pods: delete the other route, and find out who wrote it (an old flannel in host-gw mode does so for the node’s own lease).`,
            run: `ip route del ${route}`,
            verify,
            undo: `ip route add ${route}`,
          },
        ],
      };
    }

    function vitals(): Vital[] {
      const list: Vital[] = [];
      for (const r of routes)
        if (r.dst === '0.0.0.0/0' && r.via !== undefined)
          list.push({ address: r.via, what: 'the default gateway', cite: cite(facts.routes4, r) });
      if (!wants.fdb.missing) {
        for (const e of wants.fdb.value.entries)
          if (e.dst !== undefined) list.push({ address: e.dst, what: 'overlay peer', cite: cite(wants.fdb, e) });
      }
      if (!wants.resolvConf.missing) {
        for (const l of wants.resolvConf.value.lines) {
          const server = /^nameserver\s+(\S+)/.exec(l.text)?.[1];
          if (server !== undefined) list.push({ address: server, what: 'DNS server', cite: cite(wants.resolvConf, l) });
        }
      }
      return list;
    }
  },
});
