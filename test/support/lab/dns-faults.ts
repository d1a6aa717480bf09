import { type Effect, paths } from './faults.ts';
import type { Lab } from './lab.ts';
import { rootOf } from './node-files.ts';
import type { LabSpec } from './spec.ts';

const STUB = 'nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n';

/** A new pod of the first node, and the node itself, have the stub of systemd-resolved; no server runs in that pod. */
export async function containerDnsLoopback(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const pod = await a.startPod(20);
  a.write(`${rootOf(pod.plan.netns)}/etc/resolv.conf`, STUB);
  a.write('/etc/resolv.conf', STUB);
  return { rule: 'container-dns-loopback', nodes: [a.id], breaks: [], keeps: [icmp(pa, pb), icmp(pa, b)] };
}

/** A lab with kube-proxy and cluster DNS, which the first pod of the second node serves. */
export const WITH_DNS: LabSpec = {
  services: [
    { name: 'default/kubernetes:https', clusterIp: '10.96.0.1', port: 443, endpoints: ['192.168.50.11:6443'] },
    {
      name: 'kube-system/kube-dns:dns',
      clusterIp: '10.96.0.10',
      port: 53,
      proto: 'udp',
      endpoints: ['10.244.2.10:53'],
    },
  ],
};

/** The first node's kubelet has an address of another day. */
export async function clusterDnsAddressWrong(lab: Lab): Promise<Effect> {
  const { a, pa } = paths(lab);
  const config = '/var/lib/kubelet/config.yaml';
  a.write(config, a.read(config).replace('- 10.96.0.10', '- 10.96.0.7'));
  const ask = (to: string) => ({ from: pa, to, proto: 'udp', port: 53 }) as const;
  return {
    rule: 'cluster-dns-address-wrong',
    nodes: [a.id],
    breaks: [{ ...ask('10.96.0.7'), outcome: 'timeout' }],
    keeps: [ask('10.96.0.10')],
  };
}
