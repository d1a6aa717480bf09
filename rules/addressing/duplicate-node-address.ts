import { parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { clusterGroups } from '../../src/derive/cluster.ts';
import { isUp, overlayDevices, uplinks } from '../../src/derive/devices.ts';
import { wireTies } from '../../src/derive/same-wire.ts';
import type { Cite, Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** An address by which other machines know the node. */
interface Held {
  readonly address: string;
  readonly length: number;
  readonly dev: string;
  readonly mac: string | null;
  /** The address that the node sends with: the first of its network, or the tunnel's. A virtual address is neither. */
  readonly main: boolean;
  readonly cite: LineCite;
}

interface Addresses {
  readonly held: readonly Held[];
  /** Machines on its wire, `mac@address`. */
  readonly wire: readonly string[];
}

type Holder = NodeDigest<Addresses> & { readonly at: Held };

const DAY_MS = 86_400_000;

export const rule = defineClusterRule({
  id: 'duplicate-node-address',
  title: { bad: 'Two nodes have the same address', good: 'No other node of the case has the node’s address' },
  severity: 'critical',
  explanation:
    'Switches and neighbours send to whoever answered ARP last, so the wrong node gets the packets and drops them. ' +
    'A node also drops what comes from an address that it has itself, whatever rp_filter says. It comes and goes as neighbour entries expire.',
  remediation: [
    {
      step: 'Take the address from the node that should not have it, there and in its network configuration; then let the neighbours forget what they learnt.',
      run: 'ip addr del <address>/<length> dev <device>; ip neigh flush all   # the second on every other node',
      verify: 'arping -D -c 2 -I <device> <address>   # from a third machine: one hardware address answers',
      undo: 'ip addr add <address>/<length> dev <device>',
      risk: 'Connections to that node by this address end.',
    },
  ],
  references: [REF.ipSysctl, REF.vxlan],
  needs: ['addresses', 'routes4'],
  wants: ['links', 'fdb', 'neighbours'],
  explains: [
    'flannel-identity-duplicate',
    'vxlan-forwarding-entry-wrong',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  extract({ facts, source }): Addresses {
    const { addresses } = facts;
    const tunnels = overlayDevices(source).flatMap(({ device }) => device.vxlan?.local ?? []);
    const below = new Set(overlayDevices(source).flatMap(({ device }) => device.vxlan?.dev ?? []));
    const [first] = uplinks(source);
    if (first?.why === 'default route') below.add(first.dev);
    const held = addresses.value.devices
      .filter((d) => below.has(d.name) && isUp(d))
      .flatMap((d) =>
        d.addresses
          // a single address without a network is a virtual one (keepalived, kube-vip, MetalLB): it moves
          .filter((a) => a.family === 4 && a.scope === 'global' && a.prefixLength < 31 && a.peer === undefined)
          .map(
            (a): Held => ({
              address: a.address,
              length: a.prefixLength,
              dev: d.name,
              mac: d.mac ?? null,
              main: !a.secondary || tunnels.includes(a.address),
              cite: cite(addresses, a),
            }),
          ),
      );
    return { held, wire: wireTies(source) };
  },
  evaluate(digests) {
    const all = [...digests];
    const holders = new Map<string, Holder[]>();
    for (const d of all)
      for (const at of d.digest.held) holders.set(at.address, [...(holders.get(at.address) ?? []), { ...d, at }]);
    // an address that several have ties nobody: networks of two sites are often numbered alike
    const shared = new Set([...holders].filter(([, list]) => oneOfEach(list).length > 1).map(([address]) => address));
    const groups = clusterGroups(
      all.map(({ node, digest }) => ({
        node,
        ties: { network: null, ties: digest.wire.filter((t) => !shared.has(t.slice(t.indexOf('@') + 1))) },
      })),
    );
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    const named = new Set<string>();
    for (const [address, list] of holders) {
      const [a, b] = oneOfEach(list);
      if (a === undefined || b === undefined) continue;
      const [ga, gb] = [groups.get(a.node) ?? null, groups.get(b.node) ?? null];
      const both = `${a.node} and ${b.node} both have ${address}`;
      const ask = (why: string, evidence: readonly string[]) =>
        unknown.push({ nodes: [a.node, b.node], because: `${both}: ${why}`, evidence });
      if (a.at.mac === null || a.at.mac === b.at.mac)
        ask('one machine collected twice, or a copy of it', ['sys.machine-id']);
      else if (
        ga === null ||
        ga !== gb ||
        !onOneWire(
          a,
          b,
          all.filter((d) => groups.get(d.node) === ga),
          shared,
        )
      )
        // the same private network is somewhere else, too; and nodes of one cluster have it behind a NAT each
        ask('that they stand on one network is not in the evidence', ['ip.neigh', 'bridge.fdb', 'ip.link']);
      else if (!a.at.main && !b.at.main)
        ask('it is a second address on each of them, and may be a virtual one that moved between the collections', [
          'ip.addr',
        ]);
      else findings.push(twice(address, a, b));
      named.add(a.node).add(b.node);
    }
    const passes: { node: string; cites: readonly [Cite, ...Cite[]] }[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const size = new Map<string, number>();
    for (const group of groups.values()) if (group !== null) size.set(group, (size.get(group) ?? 0) + 1);
    for (const { node, digest } of all) {
      if (named.has(node)) continue;
      const cites = digest.held.map((h) => h.cite);
      const mates = (size.get(groups.get(node) ?? '') ?? 0) > 1;
      if (mates && isNonEmpty(cites)) passes.push({ node, cites });
      else
        notApplicable.push({
          nodes: [node],
          because: isNonEmpty(cites)
            ? 'no other node of the case is known to be on its network'
            : 'no IPv4 address of an uplink on this node',
        });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

/** Whether machines inside the address's own network tie them: another device of theirs may be on one wire, and this one not. */
function onOneWire(a: Holder, b: Holder, of: readonly NodeDigest<Addresses>[], shared: ReadonlySet<string>): boolean {
  const network = parsePrefix(`${a.at.address}/${a.at.length}`);
  const inside = (tie: string) => {
    const address = tie.slice(tie.indexOf('@') + 1);
    const ip = parsePrefix(address);
    return network !== null && ip !== null && !shared.has(address) && prefixCovers(network, ip);
  };
  const ties = of.map(({ node, digest }) => ({ node, ties: { network: null, ties: digest.wire.filter(inside) } }));
  const groups = clusterGroups(ties);
  return groups.get(a.node) === groups.get(b.node);
}

/** Two nodes that have it; one machine that was collected twice is one, also after it started anew. The one whose main address it is comes first. */
function oneOfEach(list: readonly Holder[]): readonly Holder[] {
  const machines = new Map<string, Holder>();
  for (const h of list) {
    const machine = h.machineIdSha256 === null ? h.node : `${h.machineIdSha256} ${h.at.mac}`;
    if (!machines.has(machine)) machines.set(machine, h);
  }
  return [...machines.values()].sort((x, y) => Number(y.at.main) - Number(x.at.main));
}

function twice(address: string, a: Holder, b: Holder): Finding {
  const apart =
    a.collectedAt !== null &&
    b.collectedAt !== null &&
    Math.abs(Date.parse(a.collectedAt) - Date.parse(b.collectedAt)) > DAY_MS;
  const doubt = apart ? ', but their bundles are more than a day apart: the address may have moved' : '';
  const second = b.at.main ? '' : `; on ${b.node} it is a second address`;
  const dev = shellWord(b.at.dev);
  return {
    key: address,
    severity: apart ? 'medium' : 'critical',
    confidence: apart ? 'possible' : 'proven',
    nodes: [a.node, b.node],
    message: `${a.node} (${a.at.dev}) and ${b.node} (${b.at.dev}) both have ${address}${second}${doubt}`,
    cites: [a.at.cite, b.at.cite],
    disprove: 'one of the two had given the address up when the other one was collected',
    ...(b.at.main
      ? {}
      : {
          remediation: [
            {
              step: `${address} is the main address of ${a.node}: take it from ${b.node}, there and in its network configuration; then let the other nodes forget what they learnt.`,
              run: `ip addr del ${address}/${b.at.length} dev ${dev}   # on ${b.node}; then on every other node: ip neigh flush all`,
              verify: `arping -D -c 2 -I ${dev} ${address}   # on ${b.node}: the answer comes from ${a.node}’s hardware address alone`,
              undo: `ip addr add ${address}/${b.at.length} dev ${dev}`,
              risk: `Connections to ${b.node} by ${address} end.`,
            },
          ],
        }),
  };
}
