import {
  bridgeSubnet,
  nodeIp,
  OUTSIDE_IP,
  type Plan,
  type PlannedPlace,
  type PlannedProbe,
  placesOf,
  podPrefix,
  secondIp,
} from './plan.ts';
import type { Random } from './random.ts';

type Want = Omit<PlannedProbe, 'from'>;

/** Addresses that nobody has; an outside host that was not collected would be taken for the way to them. */
const EVERYWHERE = ['192.168.50.77', '10.244.9.9', '203.0.113.7', '10.99.0.1'] as const;

const balanced = (plan: Pick<Plan, 'steps'>): boolean =>
  plan.steps.some((step) => /statistic|numgen|nexthop .*nexthop/.test(step.sh));

/** Everything that can be asked of a lab: every place to every address, the services and ports that it offers. */
export function probesFor(r: Random, plan: Omit<Plan, 'probes'>): PlannedProbe[] {
  const places = placesOf(plan);
  const probes: PlannedProbe[] = [];
  const add = (from: PlannedPlace, want: Want) => probes.push({ from: from.id, ...want });
  for (const from of places) {
    for (const to of places) {
      if (from === to) continue;
      // a container's network exists on its own node only
      if (to.kind === 'container' && from.node !== to.node && from.kind !== 'outside') continue;
      add(from, { to: to.ip, proto: 'icmp' });
      add(from, { to: to.ip, proto: 'tcp', port: 80 });
      if (r.chance(0.6)) add(from, { to: to.ip, proto: 'udp', port: 53 });
      if (r.chance(0.15)) add(from, { to: to.ip, proto: 'tcp', port: r.pick([81, 22]) });
      if (r.chance(0.2)) add(from, { to: to.ip, proto: 'icmp', size: r.pick([1200, 1372, 1422, 1472]), df: true });
      if (r.chance(0.08)) add(from, { to: to.ip, proto: 'icmp', size: r.pick([1460, 2000, 4000]), df: false });
      if (r.chance(0.08)) add(from, { to: to.ip, proto: 'udp', port: 53, size: r.pick([1440, 3000]), df: false });
    }
    if (plan.twoNetworks)
      for (const node of plan.nodes)
        if (node.name !== from.id) add(from, { to: secondIp(node), proto: r.pick(['icmp', 'tcp'] as const), port: 80 });
    for (const want of offers(r, plan, from)) add(from, want);
  }
  const all = balanced(plan);
  const kept = probes.length > 160 ? r.some(probes, 160) : probes;
  return kept.map((probe) => (all ? { ...probe, tries: 4 } : probe));
}

/** Services, node ports, published ports, gateways and redirected ports, as this place sees them. */
function offers(r: Random, plan: Omit<Plan, 'probes'>, from: PlannedPlace): Want[] {
  const wants: Want[] = [];
  const nodes = plan.nodes.map(nodeIp);
  for (const service of plan.services ?? []) {
    const proto = service.proto ?? 'tcp';
    if (from.kind !== 'outside' || plan.outsideCollected)
      wants.push({ to: service.clusterIp, proto, port: service.port, tries: service.endpoints.length > 1 ? 4 : 1 });
    if (service.nodePort !== undefined)
      for (const to of r.some(nodes, 2))
        wants.push({ to, proto, port: service.nodePort, tries: service.endpoints.length > 1 ? 4 : 1 });
  }
  for (const node of plan.nodes)
    for (const bridge of node.bridges)
      for (const p of bridge.published) {
        wants.push({ to: nodeIp(node), proto: p.proto, port: p.hostPort });
        if (from.id === node.name && p.proto === 'tcp')
          wants.push({ to: r.pick(['127.0.0.1', `${bridge.prefix}.1`]), proto: p.proto, port: p.hostPort });
      }
  const own = plan.nodes.find((n) => n.name === from.node);
  if (own !== undefined) {
    if (plan.backend !== 'none') wants.push({ to: `${podPrefix(own)}.1`, proto: 'icmp' });
    for (const bridge of own.bridges)
      if (bridgeSubnet(bridge) !== '')
        wants.push({ to: `${bridge.prefix}.1`, proto: r.pick(['icmp', 'tcp'] as const), port: 80 });
  }
  for (const port of [8080, 30081, 9001, 9002])
    if (r.chance(0.15)) wants.push({ to: r.pick([...nodes, OUTSIDE_IP]), proto: 'tcp', port });
  if (r.chance(0.2))
    wants.push({
      to: r.pick(plan.outsideCollected ? EVERYWHERE : EVERYWHERE.slice(0, 1)),
      proto: r.pick(['icmp', 'tcp'] as const),
      port: 80,
    });
  return wants;
}
