import { type Effect, paths, timeout } from './faults.ts';
import type { Lab } from './lab.ts';
import type { LabSpec } from './spec.ts';

const WEB = '10.96.0.20';
const NODE_PORT = 30080;

/** A service with a NodePort, whose backend is a pod of the second node. */
export const WEB_SERVICE: LabSpec = {
  services: [
    { name: 'default/web:http', clusterIp: WEB, port: 80, nodePort: NODE_PORT, endpoints: ['10.244.2.10:80'] },
  ],
};

export type ServiceProxyFault =
  | 'flushed'
  | 'gone'
  | 'prerouting'
  | 'output'
  | 'postrouting'
  | 'node-ports'
  | 'one-service';

/** kube-proxy's rules: `flushed`: its chains are empty; `gone`: it was never there; else one jump, or one service, is missing. */
export async function serviceProxyNotProgrammed(lab: Lab, how: ServiceProxyFault): Promise<Effect> {
  const { a, b, pa, pb, tcp, icmp } = paths(lab);
  const at = how === 'postrouting' ? b : a;
  const drop = (chain: string, target: string) =>
    `iptables-save -t nat | sed -n 's/^-A ${chain} .*-j ${target}$/&/p' | sed 's/^-A/-t nat -D/' | xargs -r -L1 iptables`;
  const flush =
    "for c in $(iptables-save -t nat | sed -n 's/^:\\(KUBE-[^ ]*\\) .*/\\1/p'); do iptables -t nat -F $c; done";
  const commands: Record<ServiceProxyFault, string> = {
    flushed: flush,
    gone: `${flush}
for table in nat filter mangle; do
  iptables-save -t $table | sed -n '/^-A [A-Z]* .*-j KUBE-/s/^-A/-D/p' | xargs -r -L1 iptables -t $table
  for c in $(iptables-save -t $table | sed -n 's/^:\\(KUBE-[^ ]*\\) .*/\\1/p'); do iptables -t $table -F $c; done
  for c in $(iptables-save -t $table | sed -n 's/^:\\(KUBE-[^ ]*\\) .*/\\1/p'); do iptables -t $table -X $c; done
done`,
    prerouting: drop('PREROUTING', 'KUBE-SERVICES'),
    output: drop('OUTPUT', 'KUBE-SERVICES'),
    postrouting: drop('POSTROUTING', 'KUBE-POSTROUTING'),
    'node-ports': drop('KUBE-SERVICES', 'KUBE-NODEPORTS'),
    'one-service': `iptables-save -t nat | sed -n '/^-A KUBE-SERVICES -d 10.96.0.20/s/^-A/-D/p' | xargs -r -L1 iptables -t nat`,
  };
  await at.sh(commands[how]);
  if (how === 'gone') await a.stopProcess('kube-proxy');
  const all = [timeout(tcp(pa, WEB)), timeout(tcp(a, WEB))];
  const port = { ...tcp('outside', a, NODE_PORT), outcome: 'refused' };
  const breaks: Record<ServiceProxyFault, Effect['breaks']> = {
    flushed: [...all, port],
    gone: [...all, port],
    prerouting: [timeout(tcp(pa, WEB)), port],
    output: [timeout(tcp(a, WEB))],
    postrouting: [timeout(tcp(pb, WEB))],
    'node-ports': [port],
    'one-service': all,
  };
  const keeps: Record<ServiceProxyFault, Effect['keeps']> = {
    flushed: [tcp(pb, WEB)],
    gone: [tcp(pb, WEB)],
    prerouting: [tcp(a, WEB), tcp(pb, WEB)],
    output: [tcp(pa, WEB), tcp(b, WEB)],
    postrouting: [tcp(pa, WEB)],
    'node-ports': [tcp(pa, WEB), tcp(a, WEB)],
    'one-service': [tcp(pb, WEB)],
  };
  return {
    rule: 'service-proxy-not-programmed',
    nodes: [at.id],
    breaks: breaks[how],
    keeps: [icmp(pa, pb), tcp(pa, pb), ...keeps[how]],
  };
}

const DNS = '10.96.0.10';
const dns = (...endpoints: string[]) => ({
  name: 'kube-system/kube-dns:dns-tcp',
  clusterIp: DNS,
  port: 53,
  endpoints,
});

/** Cluster DNS has no ready pod; another service has. */
export const NO_DNS: LabSpec = { services: [dns(), ...(WEB_SERVICE.services ?? [])] };

/** What kube-proxy writes for a service without endpoints. */
export async function serviceHasNoEndpoints(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, tcp } = paths(lab);
  const refused = [pa, pb, a].map((from) => ({ ...tcp(from, DNS, 53), outcome: 'refused' }));
  return { rule: 'service-has-no-endpoints', nodes: [a.id, b.id], breaks: refused, keeps: [tcp(pa, WEB), tcp(a, WEB)] };
}

/** A service of two endpoints on the second node, of which one is no pod; and one with a port that its pod does not listen on. */
export const DEAD_ENDPOINT: LabSpec = {
  services: [
    { name: 'default/web:http', clusterIp: WEB, port: 80, endpoints: ['10.244.2.10:80', '10.244.2.77:80'] },
    { name: 'default/wrong:http', clusterIp: '10.96.0.21', port: 80, endpoints: ['10.244.1.10:8088'] },
  ],
};

/** S15: half of the connections time out; all of those to the wrong port are refused. */
export async function serviceEndpointDead(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, tcp } = paths(lab);
  return {
    rule: 'service-endpoint-dead',
    nodes: [a.id, b.id],
    breaks: [{ ...tcp(pb, '10.96.0.21'), outcome: 'refused' }],
    keeps: [tcp(pa, pb)],
  };
}
