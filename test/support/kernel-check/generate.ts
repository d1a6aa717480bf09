import type { ServiceSpec } from '../lab/index.ts';
import { kubeProxyRules } from '../lab/producers.ts';
import { dockerRules } from './docker-style.ts';
import { outsideFault, someFault } from './faults.ts';
import { adminRules } from './grammar-iptables.ts';
import { lowTable, nftTable } from './grammar-nft.ts';
import {
  cniStep,
  firewalldStep,
  flannelStep,
  forwardPolicyStep,
  hostFirewallStep,
  ufwStep,
} from './grammar-producers.ts';
import { type Ground, groundOf } from './ground.ts';
import { ipv6Probes, ipv6Steps, producerSteps6, someServices6 } from './ipv6.ts';
import { type BridgePart, CLUSTER, type NodePart, nodeIp, type Plan, podIp, type Step } from './plan.ts';
import { probesFor } from './probes.ts';
import { Random } from './random.ts';

function somePublished(r: Random, containers: number, from: number): BridgePart['published'] {
  return Array.from({ length: r.int(0, 2) }, (_, i) => {
    const udp = r.chance(0.2);
    return {
      proto: udp ? ('udp' as const) : ('tcp' as const),
      hostPort: udp ? 9053 + from : 9001 + from * 10 + i,
      container: r.int(0, containers - 1),
      port: udp ? 53 : 80,
      hostIp: null,
    };
  });
}

function someBridges(r: Random, index: number, own: string): BridgePart[] {
  return Array.from({ length: r.int(1, 2) }, (_, i): BridgePart => {
    const containers = Array.from({ length: r.int(1, 2) }, (_x, c) => 2 + c);
    return {
      name: i === 0 ? 'docker0' : `br-${(0x8779397f43bd + r.int(0, 9999)).toString(16)}`,
      prefix: `172.${17 + 2 * index + i}.0`,
      length: 16,
      containers,
      published: somePublished(r, containers.length, i).map((p) => (r.chance(0.15) ? { ...p, hostIp: own } : p)),
      icc: r.chance(0.85),
      internal: i > 0 && r.chance(0.15),
      masquerade: r.chance(0.9),
    };
  });
}

function someServices(r: Random, nodes: readonly NodePart[]): ServiceSpec[] {
  const pods = nodes.flatMap((n) => n.pods.map((host) => podIp(n, host)));
  return Array.from({ length: r.int(1, 3) }, (_, i): ServiceSpec => {
    const udp = r.chance(0.25);
    const targets = r.some(pods, r.pick([0, 1, 1, 2, 3]));
    if (targets.length > 0 && r.chance(0.1)) targets[0] = `${targets[0]!.slice(0, targets[0]!.lastIndexOf('.'))}.99`;
    return {
      name: `default/svc-${i}:p`,
      clusterIp: `10.96.0.${20 + i}`,
      port: udp ? 53 : 80,
      proto: udp ? 'udp' : 'tcp',
      ...(r.chance(0.5) ? { nodePort: udp ? 30053 + i : 30080 + i } : {}),
      endpoints: targets.map((ip) => `${ip}:${udp ? 53 : 80}`),
    };
  });
}

/** What programs write on one node, in the order in which they happened to start. */
function producerSteps(r: Random, g: Ground, services: Plan['services']): Step[] {
  const tool = `iptables-${g.node.iptables}`;
  const at = g.node.name;
  const steps: Step[] = [];
  const restore = (rules: string) => `${tool}-restore --noflush <<'EOF'\n${rules.trimEnd()}\nEOF`;
  if (g.base.backend !== 'none') {
    if (services !== null) steps.push({ at, what: 'kube-proxy', sh: restore(kubeProxyRules(CLUSTER, services)) });
    steps.push(flannelStep(r, g, r.chance(0.1) ? 'iptables-legacy' : tool));
    if (r.chance(0.2)) steps.push(cniStep(r, g, tool));
  }
  if (g.node.bridges.length > 0) steps.push({ at, what: 'docker', sh: restore(dockerRules(g.node.bridges)) });
  return r.chance(0.5) ? steps : r.shuffle(steps);
}

function adminSteps(r: Random, g: Ground, amount: number): Step[] {
  const tool = () => `iptables-${r.chance(0.85) ? g.node.iptables : g.node.iptables === 'nft' ? 'legacy' : 'nft'}`;
  const steps: Step[] = [];
  for (let i = 0; i < amount; i++) {
    switch (r.weighted({ rules: 7, nft: 2.5, low: 0.25, policy: 1.5, ufw: 0.6, firewalld: 0.6, firewall: 0.8 })) {
      case 'rules':
        steps.push(...adminRules(r, g, r.int(1, 4), tool()));
        break;
      case 'nft':
        steps.push(nftTable(r, g, i));
        break;
      case 'low':
        steps.push(lowTable(r, g));
        break;
      case 'policy':
        steps.push(forwardPolicyStep(r, g, tool()));
        break;
      case 'ufw':
        steps.push(ufwStep(r, g, tool()));
        break;
      case 'firewalld':
        steps.push(firewalldStep(r, g));
        break;
      case 'firewall':
        steps.push(hostFirewallStep(r, g, tool()));
        break;
    }
  }
  return steps;
}

/** The lab of a seed. About one in ten is healthy: nobody changed anything. */
export function generate(seed: number): Plan {
  const r = new Random(seed);
  const backend = r.weighted({ vxlan: 5, 'host-gw': 3, none: 1.5 });
  const count = backend === 'none' ? r.int(1, 2) : r.pick([1, 2, 2, 2, 3, 3, 4]);
  const nodes = Array.from({ length: count }, (_, index): NodePart => {
    const own = nodeIp({ index });
    return {
      name: `node-${'abcd'[index]}`,
      index,
      pods: backend === 'none' ? [] : count > 2 ? [10] : r.pick([[10], [10, 11], [10, 11]]),
      iptables: r.chance(0.75) ? 'nft' : 'legacy',
      bridges: backend === 'none' || r.chance(0.15) ? someBridges(r, index, own) : [],
      macvlans: r.chance(0.1) ? r.pick([[200 + 10 * index], [200 + 10 * index, 201 + 10 * index]]) : [],
      proxies: r.chance(0.15),
      collected: count < 3 || r.chance(0.95),
    };
  });
  const services = backend !== 'none' && r.chance(0.5) ? someServices(r, nodes) : null;
  const twoNetworks = count > 1 && r.chance(0.25);
  const base = { backend, nodes, services, twoNetworks };
  const outsideCollected = r.chance(0.5);
  const ipv6 = r.chance(0.15);
  const grounds = nodes.map((node) => groundOf(base, node));
  const steps = grounds.flatMap((g) => producerSteps(r, g, services));
  const services6 = ipv6 && backend !== 'none' ? someServices6(r, base) : [];
  if (ipv6 && backend !== 'none') steps.push(...grounds.flatMap((g) => producerSteps6(r, g, services6)));
  if (!r.chance(0.1)) {
    // most of what goes wrong goes wrong on one node
    const [first, ...others] = r.shuffle(grounds);
    for (const [g, amount] of [[first!, r.pick([1, 2, 3, 5])], ...others.map((o) => [o, r.chance(0.3) ? 1 : 0])] as [
      Ground,
      number,
    ][])
      steps.push(...adminSteps(r, g, r.chance(0.75) ? amount : 0));
    const faults = r.pick([0, 0, 1, 1, 1, 2, 3]);
    for (let i = 0; i < faults; i++) {
      const step = someFault(r, r.pick(grounds));
      if (step !== null) steps.push(step);
    }
    if (ipv6) for (const g of grounds) steps.push(...ipv6Steps(r, g, r.pick([0, 1, 2])));
    if (outsideCollected && r.chance(0.3)) steps.push(outsideFault(r, grounds[0]!));
  }
  const plan = { seed, ...base, services6, ipv6, outsideCollected, collectFirst: r.chance(0.4), steps };
  // what happens on a node that nobody collected is not asked of anybody
  const probes = [...probesFor(r, plan), ...(ipv6 ? ipv6Probes(r, plan) : [])].filter(
    (probe) => nodes.find((n) => n.name === probe.from.split('/')[0])?.collected !== false,
  );
  return { ...plan, probes: probes.length > 200 ? r.some(probes, 200) : probes };
}
