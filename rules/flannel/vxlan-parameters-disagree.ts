import type { ClusterTies } from '../../src/derive/cluster.ts';
import { clusterGroups, clusterTies } from '../../src/derive/cluster.ts';
import type { Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Tunnel {
  readonly dev: string;
  /** Routes to other nodes' pods leave by it. */
  readonly used: boolean;
  readonly values: Readonly<Record<Parameter, string>>;
  readonly cite: LineCite;
}

type Parameter = 'UDP port' | 'VNI' | 'address family' | 'GBP' | 'external mode';
const PARAMETERS: readonly Parameter[] = ['UDP port', 'VNI', 'address family', 'GBP', 'external mode'];

interface Tunnels extends ClusterTies {
  readonly tunnels: readonly Tunnel[];
}

export const rule = defineClusterRule({
  id: 'vxlan-parameters-disagree',
  title: {
    bad: 'Nodes cannot decode each other’s VXLAN packets',
    good: 'VXLAN port, VNI and mode are those that most nodes of the cluster have',
  },
  severity: 'critical',
  explanation:
    'A port mismatch ends with an ICMP port unreachable on the underlay; a VNI mismatch is dropped silently by the vxlan driver. ' +
    'A ConfigMap change that reached only some nodes is the usual cause.',
  remediation: [
    {
      step: 'Make net-conf.json equal, then restart flannel on every node; it recreates the device when VNI, port or address differ.',
      run: 'kubectl -n kube-flannel rollout restart ds/kube-flannel-ds   # or on the node: ip link del flannel.1; systemctl restart flanneld',
      verify: 'ip -d link show flannel.1 | grep -o "vxlan id.*"',
      undo: 'put the old net-conf.json back and restart flannel again',
      risk: 'Overlay traffic stops for the seconds that the device is made anew.',
    },
  ],
  references: [REF.flannelConfiguration, REF.vxlan],
  needs: ['links'],
  wants: ['flannelEnv', 'fdb', 'routes4', 'addresses', 'neighbours'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, wants, source }): Tunnels {
    const used = new Set(
      wants.routes4.missing
        ? []
        : wants.routes4.value.routes.flatMap((r) => (r.via === undefined ? [] : (r.dev ?? []))),
    );
    const tunnels = facts.links.value.devices.flatMap((d) => {
      if (d.vxlan === undefined) return [];
      const v = d.vxlan;
      const values = {
        'UDP port': v.dstPortAssumed === true ? 'unset' : String(v.dstPort),
        VNI: String(v.vni),
        'address family': v.local === undefined ? 'unset' : v.local.includes(':') ? 'IPv6' : 'IPv4',
        GBP: v.gbp ? 'on' : 'off',
        'external mode': v.external ? 'on' : 'off',
      };
      return [{ dev: d.name, used: used.has(d.name), values, cite: cite(facts.links, d) }];
    });
    return { ...clusterTies(source), tunnels };
  },
  evaluate(digests) {
    const all = [...digests];
    const groups = clusterGroups(all.map((d) => ({ ...d, ties: d.digest })));
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    const passes = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const peers = new Map<string, Member[]>();
    for (const d of all) {
      const group = groups.get(d.node) ?? null;
      // without any tie, only one flannel network of the same range is taken for one cluster
      if (group === null && d.digest.network === null) continue;
      for (const [family, tunnel] of comparable(d.digest.tunnels)) {
        const key = `${group ?? `network ${d.digest.network}`} ${family}`;
        peers.set(key, [...(peers.get(key) ?? []), { d, tunnel, tied: group !== null }]);
      }
    }
    const guilty = new Set<string>();
    for (const members of peers.values()) {
      for (const parameter of PARAMETERS) {
        const byValue = new Map<string, typeof members>();
        for (const m of members) {
          const value = m.tunnel.values[parameter];
          if (value !== 'unset') byValue.set(value, [...(byValue.get(value) ?? []), m]);
        }
        if (byValue.size < 2) continue;
        const ordered = [...byValue].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
        const [majority, ...minorities] = ordered;
        const model = majority?.[1][0];
        if (majority === undefined || model === undefined) continue;
        for (const [value, outliers] of minorities) {
          // where as many nodes have one as the other, nobody is right
          const tie = outliers.length === majority[1].length;
          for (const o of tie ? outliers.slice(0, 1) : outliers) {
            const sides = tie ? [...outliers.slice(1), ...majority[1].slice(1)].map((m) => m.d.node) : [];
            for (const n of [o.d.node, model.d.node, ...sides]) guilty.add(n);
            const others = tie && outliers.length > 1 ? ` and ${further(outliers.length - 1)}` : '';
            findings.push({
              key: `${o.tunnel.dev.replace(/[\d]+$/, '#')} ${parameter} ${value} vs ${majority[0]}`,
              severity: o.tied ? 'critical' : 'high',
              confidence: o.tied ? 'proven' : 'possible',
              nodes: [o.d.node, model.d.node, ...sides],
              message: `${o.d.node} and ${model.d.node} cannot decode each other: VXLAN ${parameter} of ${o.tunnel.dev} is ${value} on ${o.d.node}${others} and ${majority[0]} on ${model.d.node}${majority[1].length > 1 ? ` and ${further(majority[1].length - 1)}` : ''}${o.tied ? '' : '; that they are of one cluster is assumed, their forwarding tables were not collected'}`,
              cites: [o.tunnel.cite, model.tunnel.cite],
              disprove: 'the two devices belong to different overlays',
            });
          }
        }
      }
    }
    for (const d of all) {
      const [first, ...more] = d.digest.tunnels;
      if (guilty.has(d.node)) continue;
      if (first === undefined) {
        notApplicable.push({ nodes: [d.node], because: 'no vxlan device on this node' });
        continue;
      }
      const compared = [...peers.values()].some((m) => m.length > 1 && m.some((x) => x.d.node === d.node));
      const unclear = idle(d.digest.tunnels).map((t) => t.dev);
      if (unclear.length > 0)
        unknown.push({
          nodes: [d.node],
          because: `which of ${unclear.join(', ')} carries the packets of pods is not known: no route was collected that leads into one`,
          evidence: ['ip.route4'],
        });
      else if (compared) passes.push({ node: d.node, cites: [first.cite, ...more.map((t) => t.cite)] as const });
      else
        unknown.push({
          nodes: [d.node],
          because: 'no bundle of a peer of this overlay is in the case',
          evidence: ['ip.link'],
        });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

const further = (count: number) => `${count} further ${count === 1 ? 'node' : 'nodes'}`;

interface Member {
  readonly d: NodeDigest<Tunnels>;
  readonly tunnel: Tunnel;
  readonly tied: boolean;
}

/** Of several in a family the one that routes use speaks; where none is, which one carries the packets is not known. */
function idle(tunnels: readonly Tunnel[]): readonly Tunnel[] {
  return tunnels.filter((t) => {
    const family = tunnels.filter((o) => familyOf(o) === familyOf(t));
    return family.length > 1 && !family.some((o) => o.used);
  });
}

/** flannel.1 and flannel.7 are one family: the VNI in the name may be the very difference. Devices of other makers are each their own. */
const familyOf = ({ dev }: Tunnel) => (/^flannel[.-]/.test(dev) ? dev.replace(/\d+$/, '#') : dev);

/**
 * The devices of a node that can be set beside another node's, by what they are compared as: of several in a family (flanneld leaves the old
 * device behind) the one that routes use; devices of other makers are many and unlike on one node, so only the same name is the same tunnel.
 */
function comparable(tunnels: readonly Tunnel[]): Map<string, Tunnel> {
  const result = new Map<string, Tunnel>();
  const unclear = idle(tunnels);
  for (const tunnel of tunnels) {
    const family = familyOf(tunnel);
    if (!unclear.includes(tunnel) && result.get(family)?.used !== true) result.set(family, tunnel);
  }
  return result;
}
