// What kube-proxy 1.31 (iptables mode) writes, in the form in which iptables-save 1.8.9 prints it.
import { endpointChain, portName, readyPods, serviceChain } from './cluster.mjs';
import { chainHash } from './random.mjs';

/** iptables keeps probabilities as 31 bit fractions and prints eleven digits. */
const probability = (n) => (Math.round((1 / n) * 0x80000000) / 0x80000000).toFixed(11);

/** Chains of the nat and filter tables as maps of name to rule texts without "-A name ". */
export function kubeRules(cluster, options, version, node) {
  const nat = new Map();
  const filter = new Map([
    ['KUBE-SERVICES', []],
    ['KUBE-EXTERNAL-SERVICES', []],
  ]);
  const services = [];
  const nodePorts = [];
  nat.set('KUBE-SERVICES', services);
  nat.set('KUBE-NODEPORTS', nodePorts);
  const ctx = { cluster, nat, filter, services, nodePorts, node, large: options.largecluster };
  apiServer(ctx);
  for (const s of cluster.services) {
    const pods = readyPods(s, version);
    for (const p of s.ports) pods.length === 0 ? refuse(ctx, s, p) : servicePort(ctx, s, p, pods);
  }
  services.push(
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
  );
  nat.set('KUBE-MARK-MASQ', ['-j MARK --set-xmark 0x4000/0x4000']);
  nat.set('KUBE-POSTROUTING', [
    '-m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-j MARK --set-xmark 0x4000/0x0',
    '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
  ]);
  nat.set('KUBE-PROXY-CANARY', []);
  nat.set('KUBE-KUBELET-CANARY', []);
  return { nat, filter };
}

function apiServer(ctx) {
  const s = { ns: 'default', name: 'kubernetes', clusterIp: '10.96.0.1', type: 'ClusterIP' };
  const p = { name: 'https', proto: 'tcp', port: 443, target: 6443 };
  servicePort(ctx, s, p, [{ ip: ctx.cluster.underlay(0) }]);
}

const to = (proto, comment, number) => `-p ${proto} -m comment --comment "${comment}" -m ${proto} --dport ${number}`;

function refuse({ filter }, s, p) {
  filter
    .get('KUBE-SERVICES')
    .push(
      `-d ${s.clusterIp}/32 ${to(p.proto, `${portName(s, p)} has no endpoints`, p.port)} -j REJECT --reject-with icmp-port-unreachable`,
    );
}

function servicePort(ctx, s, p, pods) {
  const { nat, services, cluster, large } = ctx;
  const name = portName(s, p);
  const svc = serviceChain('KUBE-SVC', s, p);
  services.push(`-d ${s.clusterIp}/32 ${to(p.proto, `${name} cluster IP`, p.port)} -j ${svc}`);
  const rules = [
    `! -s ${cluster.network} -d ${s.clusterIp}/32 ${to(p.proto, `${name} cluster IP`, p.port)} -j KUBE-MARK-MASQ`,
  ];
  balance(rules, s, p, pods, large);
  nat.set(svc, rules);
  for (const pod of pods) nat.set(endpointChain(s, p, pod.ip), endpoint(s, p, pod.ip, large));
  if (p.nodePort !== undefined) external(ctx, s, p, pods, svc);
}

function balance(rules, s, p, pods, large) {
  const name = portName(s, p);
  const chains = pods.map((pod) => endpointChain(s, p, pod.ip));
  const comment = (i) => (large ? '' : `-m comment --comment "${name} -> ${pods[i].ip}:${p.target}" `);
  if (s.affinity) {
    chains.forEach((c, i) => {
      rules.push(
        `${comment(i)}-m recent --rcheck --seconds 10800 --reap --name ${c} --mask 255.255.255.255 --rsource -j ${c}`,
      );
    });
  }
  chains.forEach((c, i) => {
    const left = chains.length - i;
    const random = left === 1 ? '' : `-m statistic --mode random --probability ${probability(left)} `;
    rules.push(`${comment(i)}${random}-j ${c}`);
  });
}

function endpoint(s, p, ip, large) {
  const comment = large ? '' : `-m comment --comment "${portName(s, p)}" `;
  const recent = s.affinity
    ? `-m recent --set --name ${endpointChain(s, p, ip)} --mask 255.255.255.255 --rsource `
    : '';
  return [
    `-s ${ip}/32 ${comment}-j KUBE-MARK-MASQ`,
    `-p ${p.proto} ${comment}${recent}-m ${p.proto} -j DNAT --to-destination ${ip}:${p.target}`,
  ];
}

function external(ctx, s, p, pods, svc) {
  const { nat, filter, services, nodePorts, cluster, node, large } = ctx;
  const name = portName(s, p);
  const ext = serviceChain('KUBE-EXT', s, p);
  const local = s.localPolicy ? pods.filter((pod) => pod.node === node) : pods;
  const doors = [];
  if (s.balancerIp !== undefined) doors.push(`-d ${s.balancerIp}/32 ${to(p.proto, `${name} loadbalancer IP`, p.port)}`);
  services.push(...doors.map((d) => `${d} -j ${ext}`));
  nodePorts.push(`${to(p.proto, name, p.nodePort)} -j ${ext}`);
  if (!s.localPolicy) {
    nat.set(ext, [
      `-m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ`,
      `-j ${svc}`,
    ]);
    return;
  }
  const rules = [
    `-s ${cluster.network} -m comment --comment "pod traffic for ${name} external destinations" -j ${svc}`,
    `-m comment --comment "masquerade LOCAL traffic for ${name} external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    `-m comment --comment "route LOCAL traffic for ${name} external destinations" -m addrtype --src-type LOCAL -j ${svc}`,
  ];
  nat.set(ext, rules);
  if (local.length > 0) {
    const svl = serviceChain('KUBE-SVL', s, p);
    rules.push(`-j ${svl}`);
    const locals = [];
    balance(locals, s, p, local, large);
    nat.set(svl, locals);
    return;
  }
  const none = `${name} has no local endpoints`;
  for (const d of doors) filter.get('KUBE-EXTERNAL-SERVICES').push(`${d.replace(/"[^"]*"/, `"${none}"`)} -j DROP`);
  filter
    .get('KUBE-EXTERNAL-SERVICES')
    .push(
      `-p ${p.proto} -m comment --comment "${none}" -m addrtype --dst-type LOCAL -m ${p.proto} --dport ${p.nodePort} -j DROP`,
    );
}

/** libcni's chain names: "CNI-DN-" and 21 hex digits of a hash. */
export const portmapChain = (id) => `CNI-DN-${chainHash(id).toLowerCase()}abcde`.slice(0, 28);
