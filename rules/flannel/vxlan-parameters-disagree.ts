import type { ClusterTies } from '../../src/derive/cluster.ts';
import { clusterGroups, clusterTies } from '../../src/derive/cluster.ts';
import type { Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Tunnel {
  readonly dev: string;
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
  title: { bad: 'Nodes cannot decode each other’s VXLAN packets', good: 'VXLAN port, VNI and mode agree on all nodes' },
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
  wants: ['flannelEnv', 'fdb', 'routes4', 'addresses'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, source }): Tunnels {
    const tunnels = facts.links.value.devices.flatMap((d) => {
      if (d.vxlan === undefined) return [];
      const v = d.vxlan;
      const values = {
        'UDP port': String(v.dstPort),
        VNI: String(v.vni),
        'address family': v.local === undefined ? 'unset' : v.local.includes(':') ? 'IPv6' : 'IPv4',
        GBP: v.gbp ? 'on' : 'off',
        'external mode': v.external ? 'on' : 'off',
      };
      return [{ dev: d.name, values, cite: cite(facts.links, d) }];
    });
    return { ...clusterTies(source), tunnels };
  },
  evaluate(digests) {
    const all = [...digests];
    const groups = clusterGroups(all.map((d) => ({ node: d.node, ties: d.digest })));
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    const passes = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const peers = new Map<string, { d: NodeDigest<Tunnels>; tunnel: Tunnel }[]>();
    for (const d of all) {
      // flannel-v6.1 beside flannel.1: one family of devices each; the VNI in the name may be the very difference
      for (const tunnel of d.digest.tunnels) {
        const family = tunnel.dev.replace(/[\d]+$/, '#');
        const key = `${groups.get(d.node) ?? `network ${d.digest.network}`} ${family}`;
        peers.set(key, [...(peers.get(key) ?? []), { d, tunnel }]);
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
          for (const o of outliers) {
            guilty.add(o.d.node).add(model.d.node);
            findings.push({
              key: `${o.tunnel.dev.replace(/[\d]+$/, '#')} ${parameter} ${value} vs ${majority[0]}`,
              severity: 'critical',
              confidence: 'proven',
              nodes: [o.d.node, model.d.node],
              message: `${o.d.node} and ${model.d.node} cannot decode each other: VXLAN ${parameter} of ${o.tunnel.dev} is ${value} on ${o.d.node} and ${majority[0]} on ${model.d.node}${majority[1].length > 1 ? ` and ${majority[1].length - 1} further nodes` : ''}`,
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
      if (compared) passes.push({ node: d.node, cites: [first.cite, ...more.map((t) => t.cite)] as const });
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
