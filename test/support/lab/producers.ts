import { createHash } from 'node:crypto';
import type { LabPlan, NodePlan, ServiceSpec } from './spec.ts';

/** flannel >= 0.21.3, iptables mode, as iptables-restore --noflush text. */
export function flannelRules(cluster: string, subnet: string): string {
  const masq = '-m comment --comment "flanneld masq"';
  const fwd = '-m comment --comment "flanneld forward"';
  return `*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING ${masq} -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} -j RETURN
-A FLANNEL-POSTRTG -s ${subnet} -d ${cluster} ${masq} -j RETURN
-A FLANNEL-POSTRTG -s ${cluster} -d ${subnet} ${masq} -j RETURN
-A FLANNEL-POSTRTG ! -s ${cluster} -d ${subnet} ${masq} -j RETURN
-A FLANNEL-POSTRTG -s ${cluster} ! -d ${cluster.includes(':') ? 'ff00::/8' : '224.0.0.0/4'} ${masq} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${cluster} -d ${cluster} ${masq} -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD ${fwd} -j FLANNEL-FWD
-A FLANNEL-FWD -s ${cluster} ${fwd} -j ACCEPT
-A FLANNEL-FWD -d ${cluster} ${fwd} -j ACCEPT
COMMIT
`;
}

/** 16 base32 characters of a text's sha256, as in the names of kube-proxy's chains. */
function chainHash(text: string): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...createHash('sha256').update(text).digest()]
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
  return Array.from({ length: 16 }, (_, i) => letters[Number.parseInt(bits.slice(5 * i, 5 * i + 5), 2)]).join('');
}

/** kube-proxy, iptables mode, around 1.27: base chains and one block a service; of IPv6 where the cluster's network is. */
export function kubeProxyRules(clusterCidr: string, services: readonly ServiceSpec[]): string {
  const six = clusterCidr.includes(':');
  const host = six ? 128 : 32;
  const localnet =
    '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n';
  const nat: string[] = [];
  const chains = new Set([
    'KUBE-SERVICES',
    'KUBE-POSTROUTING',
    'KUBE-MARK-MASQ',
    'KUBE-NODEPORTS',
    'KUBE-PROXY-CANARY',
  ]);
  const reject: string[] = [];
  for (const { name, clusterIp, port, proto = 'tcp', nodePort, endpoints } of services) {
    const at = `-d ${clusterIp}/${host} -p ${proto} -m comment --comment "${name} cluster IP" -m ${proto} --dport ${port}`;
    if (endpoints.length === 0) {
      const why = `-m comment --comment "${name} has no endpoints"`;
      reject.push(
        `-A KUBE-SERVICES -d ${clusterIp}/${host} -p ${proto} ${why} -m ${proto} --dport ${port} -j REJECT --reject-with ${six ? 'icmp6' : 'icmp'}-port-unreachable`,
      );
      continue;
    }
    const svc = `KUBE-SVC-${chainHash(name)}`;
    chains.add(svc);
    nat.push(`-A KUBE-SERVICES ${at} -j ${svc}`);
    if (nodePort !== undefined) {
      const ext = `KUBE-EXT-${chainHash(name)}`;
      chains.add(ext);
      nat.push(
        `-A KUBE-NODEPORTS -p ${proto} -m comment --comment "${name}" -m ${proto} --dport ${nodePort} -j ${ext}`,
      );
      nat.push(
        `-A ${ext} -m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ`,
      );
      nat.push(`-A ${ext} -j ${svc}`);
    }
    nat.push(`-A ${svc} ! -s ${clusterCidr} ${at} -j KUBE-MARK-MASQ`);
    endpoints.forEach((endpoint, i) => {
      const sep = `KUBE-SEP-${chainHash(`${name}${endpoint}`)}`;
      chains.add(sep);
      const left = endpoints.length - i;
      const chance = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(11)}`;
      nat.push(`-A ${svc} -m comment --comment "${name} -> ${endpoint}"${chance} -j ${sep}`);
      nat.push(`-A ${sep} -s ${hostOf(endpoint)}/${host} -m comment --comment "${name}" -j KUBE-MARK-MASQ`);
      nat.push(`-A ${sep} -p ${proto} -m comment --comment "${name}" -m ${proto} -j DNAT --to-destination ${endpoint}`);
    });
  }
  const portals = '-m comment --comment "kubernetes service portals"';
  const last =
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL';
  const filterPortals = `-m conntrack --ctstate NEW ${portals} -j KUBE-SERVICES`;
  const snat = '-m comment --comment "kubernetes service traffic requiring SNAT"';
  return `*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
${[...chains].map((chain) => `:${chain} - [0:0]`).join('\n')}
-A PREROUTING ${portals} -j KUBE-SERVICES
-A OUTPUT ${portals} -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING ${snat} -j MASQUERADE --random-fully
${nat.join('\n')}
-A KUBE-SERVICES ${last} -j KUBE-NODEPORTS
COMMIT
*filter
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT ${filterPortals}
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD ${filterPortals}
-A OUTPUT ${filterPortals}
-A OUTPUT -j KUBE-FIREWALL
${six ? '' : localnet}-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
${reject.join('\n')}
COMMIT
`;
}

const hostOf = (endpoint: string): string => endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '');

/** Everything the producers of a healthy node write, for iptables-restore --noflush; kube-proxy starts first. */
export function producerRules(plan: LabPlan, node: NodePlan): string {
  if (plan.backend === 'none') return '';
  const apiServer: ServiceSpec = {
    name: 'default/kubernetes:https',
    clusterIp: `${plan.serviceCidr.split('.').slice(0, 3).join('.')}.1`,
    port: 443,
    endpoints: [`${plan.nodes[0]?.address ?? node.address}:6443`],
  };
  const proxy = plan.services === null ? '' : kubeProxyRules(plan.clusterCidr, [apiServer, ...plan.services]);
  return proxy + (plan.flannelRules ? flannelRules(plan.clusterCidr, node.podSubnet) : '');
}
