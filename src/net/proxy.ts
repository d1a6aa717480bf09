import { type Addr, parseAddr } from './addr.ts';
import type { Reason } from './doubt.ts';
import { type Packet, protocolName } from './packet.ts';
import type { Space } from './space.ts';

/** Where docker-proxy connects to for a published port: the container's address and port, from `docker inspect`. */
export function proxyTarget(space: Space, packet: Packet): { readonly addr: Addr; readonly port: number } | Reason {
  const fact = space.node.facts.get('dockerContainers');
  const unknown = (because: string): Reason => ({ because, evidence: ['docker.containers'] });
  if (fact.missing)
    return unknown(
      `which container docker-proxy of ${space.label} leads to is not known: docker.containers ${fact.because}`,
    );
  const proto = protocolName(packet.proto);
  const family = typeof packet.dst;
  for (const c of fact.value.containers) {
    for (const p of c.ports) {
      if (p.hostPort !== packet.dport || p.proto !== proto) continue;
      const host = p.hostIp === undefined || p.hostIp === '' ? null : parseAddr(p.hostIp);
      const any = host === null || host === 0 || host === 0n;
      if (!any && host !== packet.dst) continue;
      const targets = c.networks.flatMap((n) =>
        [n.ip, n.ipv6].flatMap((t) => (t === undefined ? [] : (parseAddr(t) ?? []))),
      );
      // a container without IPv6 is reached over IPv4 from an IPv6 port
      const addr = targets.find((t) => typeof t === family) ?? targets[0];
      if (addr !== undefined) return { addr, port: p.containerPort };
    }
  }
  return unknown(`no container of ${fact.path} publishes ${proto}/${String(packet.dport)}`);
}
