import type { IptChain } from '../facts/firewall.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import { hostPortRules } from './docker-published.ts';
import type { Saved } from './service-hooks.ts';

/** A port of the node that rules of nat lead to somebody. */
export interface PortClaim {
  readonly kind: 'published' | 'hostPort' | 'nodePort' | 'external';
  readonly fact: Fact<FactKind>;
  readonly chain: IptChain;
  readonly index: number;
  readonly proto: string;
  readonly port: number;
  /** null: every address of the node. */
  readonly address: string | null;
  /** `172.17.0.2:9000`; of services, and of hostPorts of CRI-O and the old kubenet, their name: `default/web:http`. */
  readonly target: string;
}

/** Programs that keep a port open for the very thing that the rule leads to, as `comm` has them: 15 characters. */
const KEEPERS: Readonly<Record<PortClaim['kind'], RegExp>> = {
  published: /^(docker|rootless)/,
  hostPort: /^(kubelet|kubelite|cri-docker|hyperkube|crio|conmon|containerd|nerdctl|rootless|k3s|rke2)/,
  nodePort: /^(kube-prox|kube-router|kubelite|hyperkube|openshift|k3s|rke2)/,
  external: /^(kube-prox|kube-router|kubelite|hyperkube|openshift|k3s|rke2)/,
};

/** The listener is part of what has the port by this rule. */
export const keepsFor = ({ kind }: PortClaim, process: string): boolean => KEEPERS[kind].test(process);

const OF_SERVICE =
  / -p (tcp|udp) .*--comment (?:"([^"\\]*)"|(\S+)) .*--dport (\d+) .*-j KUBE-(?:EXT|SVC|XLB|HP|FW)-\S+$/;

/**
 * Ports that rules of Docker, of the CNI plugin portmap (CRI-O, kubenet) and of kube-proxy's iptables mode claim. `own`: the address by which
 * the node is known; a service that has it for an external one claims the port too. Not loopback's.
 */
export function portClaims(rulesets: readonly Saved[], own: string | null): readonly PortClaim[] {
  const led = hostPortRules(rulesets).map((r): PortClaim => {
    const { fact, chain, index, proto, port, address, target } = r;
    return {
      kind: chain.name === 'DOCKER' ? 'published' : 'hostPort',
      fact,
      chain,
      index,
      proto,
      port,
      address,
      target,
    };
  });
  const services = rulesets.flatMap(({ fact, ruleset }) => {
    const chains = ruleset.tables.get('nat')?.chains;
    const read = (name: string, kind: PortClaim['kind'], address: string | null, starts: string) => {
      const chain = chains?.get(name);
      return (chain?.texts() ?? []).flatMap((text, index): readonly PortClaim[] => {
        const m = text.startsWith(starts) && !text.includes(' -d 127.') ? OF_SERVICE.exec(text) : null;
        if (m === null || chain === undefined) return [];
        const [, proto = '', quoted, plain = '', port] = m;
        const target = (quoted ?? plain).replace(/ (?:external|loadbalancer) IP$/, '');
        return [{ kind, fact, chain, index, proto, port: Number(port), address, target }];
      });
    };
    return [
      ...read('KUBE-NODEPORTS', 'nodePort', null, '-A KUBE-NODEPORTS -p '),
      ...read('KUBE-HOSTPORTS', 'hostPort', null, '-A KUBE-HOSTPORTS -p '),
      ...(own === null ? [] : read('KUBE-SERVICES', 'external', own, `-A KUBE-SERVICES -d ${own}/32 `)),
    ];
  });
  return [...led, ...services].filter((c) => c.address?.startsWith('127.') !== true);
}

/** Those that want one port, by `80/tcp`. */
export function byPort(claims: readonly PortClaim[]): ReadonlyMap<string, readonly PortClaim[]> {
  const found = new Map<string, PortClaim[]>();
  for (const claim of claims) {
    const key = `${claim.port}/${claim.proto}`;
    const same = found.get(key);
    if (same === undefined) found.set(key, [claim]);
    // a chain of a service has a rule to mark, and one to lead
    else if (!same.some((c) => c.kind === claim.kind && c.target === claim.target && c.fact === claim.fact))
      same.push(claim);
  }
  return found;
}

export interface PortListener {
  /** null: who it is was not told, which takes root. */
  readonly process: string | null;
  readonly address: string;
  readonly wildcard: boolean;
  readonly line: number;
}

/** Programs that listen on the port for IPv4 by other addresses than loopback's. */
export function listenersOn(sockets: Fact<'sockets'>, port: number, proto: string): readonly PortListener[] {
  return sockets.value.listeners.flatMap((l): readonly PortListener[] => {
    if (l.port !== port || l.proto !== proto) return [];
    const wildcard = isWild(l);
    if (!wildcard && (l.address.includes(':') || l.address.startsWith('127.'))) return [];
    return [{ process: l.processes[0]?.name ?? null, address: l.address, wildcard, line: l.line }];
  });
}

/** Programs that take what comes to this IPv4 address. */
export function listenersAt(
  sockets: Fact<'sockets'>,
  address: string,
  port: number,
  proto: string,
): readonly PortListener[] {
  return sockets.value.listeners.flatMap((l): readonly PortListener[] => {
    const wildcard = isWild(l);
    if (l.port !== port || l.proto !== proto || (!wildcard && l.address !== address)) return [];
    return [{ process: l.processes[0]?.name ?? null, address: l.address, wildcard, line: l.line }];
  });
}

const isWild = (l: { readonly address: string; readonly v6only?: boolean }): boolean =>
  l.address === '0.0.0.0' || (l.address === '::' && l.v6only !== true);

/** A container that dockerd could not start because its port was taken. */
export interface Refused {
  readonly name: string;
  readonly line: number;
  readonly port: number;
  readonly proto: string;
  /** It has run before. */
  readonly ran: boolean;
}

/** As dockerd 1.13 to 28 say it. */
const TAKEN =
  /(?:Bind for \S*:(\d+) failed: port is already allocated|listen (?:tcp|udp)[46]? \S*:(\d+): bind: address already in use|failed to bind host port[^\d]*\S*?:(\d+)[:/ ].*address already in use)/;

export function refusedContainers(containers: Fact<'dockerContainers'>): readonly Refused[] {
  return containers.value.containers.flatMap(({ name, line, state, error = '', ports, finishedAt }) => {
    const m = state === 'running' ? null : TAKEN.exec(error);
    const port = Number(m?.[1] ?? m?.[2] ?? m?.[3]);
    if (m === null || !Number.isInteger(port)) return [];
    const proto = ports.find((p) => p.hostPort === port)?.proto ?? 'tcp';
    return [{ name, line, port, proto, ran: finishedAt !== undefined && !finishedAt.startsWith('0001-') }];
  });
}
