import { isUnicast } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { overlayDevices } from '../../src/derive/devices.ts';
import { peerRoutes } from '../../src/derive/pods.ts';
import type { Finding, LineCite } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Known {
  readonly own: readonly string[];
  /** MACs of the node's own tunnel ends: others may send to one of them by an address of a router in front of it. */
  readonly ends: readonly string[];
  readonly named: readonly {
    readonly address: string;
    /** Whose tunnel end is meant. */
    readonly mac: string | null;
    readonly where: string;
    readonly cite: Pick<LineCite, 'evidence' | 'path' | 'line'>;
  }[];
}

/** Not a fault: the engine turns its findings into the report's list of nodes that should have been collected. */
export const rule = defineClusterRule({
  id: 'peer-not-collected',
  title: { bad: 'A node that others speak to has no bundle', good: 'Every node that is named has a bundle' },
  severity: 'info',
  explanation:
    'A peer named in forwarding entries or next hops was not collected, so nothing that depends on it can be decided.',
  remediation: [
    {
      step: 'Collect a bundle on that node and analyse again with the same case file.',
      run: 'sudo sh netcase-collect.sh -o /tmp',
      verify: 'netcase nodes --case FILE',
      undo: 'none needed',
    },
  ],
  references: [REF.flannelTroubleshooting],
  needs: ['addresses'],
  wants: ['fdb', 'routes4', 'flannelEnv', 'links'],
  extract({ facts, wants, source }): Known {
    const own = facts.addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address));
    const ends = overlayDevices(source).flatMap(({ device }) => device.mac ?? []);
    const named: Known['named'][number][] = [];
    const seen = new Set<string>();
    if (!wants.fdb.missing) {
      for (const e of wants.fdb.value.entries) {
        // a group's members and an end that is told for each packet are not named
        if (e.dst === undefined || seen.has(e.dst) || !isUnicast(e.dst)) continue;
        seen.add(e.dst);
        const { evidence, path, line } = cite(wants.fdb, e);
        named.push({ address: e.dst, mac: e.mac, where: 'the fdb', cite: { evidence, path, line } });
      }
    }
    if (!wants.routes4.missing) {
      for (const { route, dev } of peerRoutes(source)) {
        // over vxlan the gateway is the peer's VTEP: its underlay address, in the fdb, says more
        if (route.via === undefined || seen.has(route.via) || (/^flannel[.-]/.test(dev) && !wants.fdb.missing))
          continue;
        seen.add(route.via);
        const { evidence, path, line } = cite(wants.routes4, route);
        named.push({
          address: route.via,
          mac: null,
          where: `the route to ${route.dst}`,
          cite: { evidence, path, line },
        });
      }
    }
    return { own, ends, named };
  },
  evaluate(digests) {
    const owned = new Set<string>();
    const ends = new Set<string>();
    for (const d of digests) {
      for (const a of d.digest.own) owned.add(a);
      for (const mac of d.digest.ends) ends.add(mac);
    }
    const missing = new Map<string, { nodes: string[]; where: string; cites: LineCite[] }>();
    const passes = [];
    for (const d of digests) {
      for (const n of d.digest.named) {
        if (owned.has(n.address) || (n.mac !== null && ends.has(n.mac))) continue;
        const known = missing.get(n.address) ?? { nodes: [], where: n.where, cites: [] };
        known.nodes.push(d.node);
        if (known.cites.length < 3) known.cites.push({ kind: 'lines', node: d.node, ...n.cite, endLine: n.cite.line });
        missing.set(n.address, known);
      }
      passes.push({
        node: d.node,
        cites: [
          {
            kind: 'absent',
            node: d.node,
            evidence: 'ip.addr',
            path: 'host/ip/addr.txt',
            absent: 'peers without a bundle',
          },
        ] as const,
      });
    }
    const findings: Finding[] = [];
    for (const [address, { nodes, where, cites }] of missing) {
      if (!isNonEmpty(nodes) || !isNonEmpty(cites)) continue;
      const first = nodes.length === 1 ? nodes[0] : `${nodes[0]} and ${nodes.length - 1} more`;
      findings.push({
        key: address,
        severity: 'info',
        confidence: 'likely',
        nodes: [nodes[0]],
        message: `named in ${where} of ${first}`,
        cites,
      });
    }
    return { findings, passes, unknown: [], notApplicable: [] };
  },
});
