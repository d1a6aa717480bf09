import { type Effect, paths } from './faults.ts';
import type { Lab } from './lab.ts';
import { rootOf } from './node-files.ts';

const STUB = 'nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n';

/** A new pod of the first node, and the node itself, have the stub of systemd-resolved; no server runs in that pod. */
export async function containerDnsLoopback(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const pod = await a.startPod(20);
  a.write(`${rootOf(pod.plan.netns)}/etc/resolv.conf`, STUB);
  a.write('/etc/resolv.conf', STUB);
  return { rule: 'container-dns-loopback', nodes: [a.id], breaks: [], keeps: [icmp(pa, pb), icmp(pa, b)] };
}
