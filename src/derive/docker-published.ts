import type { Fact, FactKind, IptChain, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { ForwardedNetwork } from './docker-networks.ts';

/** A ruleset of iptables that is live. */
interface Saved {
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** A port of the node, IPv4, that dockerd has to lead to a running container. */
export interface RuledPort {
  readonly container: string;
  /** Line of the container. */
  readonly line: number;
  /** null: every address of the node. */
  readonly hostIp: string | null;
  readonly hostPort: number;
  readonly proto: string;
  readonly containerPort: number;
  /** The container's addresses on bridges of Docker: one of them has the port. */
  readonly targets: readonly { readonly ip: string; readonly bridge: string }[];
  /** It has networks of other sorts, by which the port may lead instead. */
  readonly elsewhere: boolean;
  /** Set: it may have been started while the node was looked at, so that its rules came later. */
  readonly young: string | null;
}

/**
 * Published ports of running containers on these networks. Not loopback's, which docker-proxy takes, nor IPv6's; docker inspect leaves
 * NetworkSettings.Ports empty for host, macvlan and internal networks, and then HostConfig.PortBindings has no HostIp (measured on 20.10).
 */
export const ruledPorts = (
  containers: Fact<'dockerContainers'>,
  networks: readonly ForwardedNetwork[],
  collectedAt: string | null,
): readonly RuledPort[] =>
  publishedOn(containers, networks, collectedAt).filter((p) => p.hostIp?.startsWith('127.') !== true);

/** Those of loopback with them. */
export function publishedOn(
  containers: Fact<'dockerContainers'>,
  networks: readonly ForwardedNetwork[],
  collectedAt: string | null,
): readonly RuledPort[] {
  return containers.value.containers.flatMap((c): readonly RuledPort[] => {
    if (c.state !== 'running' || c.ports.length === 0) return [];
    const targets: { ip: string; bridge: string }[] = [];
    for (const { name, ip } of c.networks) {
      const network = networks.find((n) => n.name === name && n.translates);
      if (network !== undefined && ip !== undefined && ip !== '') targets.push({ ip, bridge: network.bridge });
    }
    if (targets.length === 0) return [];
    const elsewhere = targets.length < c.networks.length;
    const young = youngOf(c.startedAt, c.restarts, collectedAt);
    return c.ports.flatMap(({ hostIp, hostPort, proto, containerPort }): readonly RuledPort[] => {
      if (!hostPort || hostIp === undefined || !/^\d+\.\d+\.\d+\.\d+$/.test(hostIp)) return [];
      const address = hostIp === '0.0.0.0' ? null : hostIp;
      return [
        {
          container: c.name,
          line: c.line,
          hostIp: address,
          hostPort,
          proto,
          containerPort,
          targets,
          elsewhere,
          young,
        },
      ];
    });
  });
}

/** The rulesets are read before Docker is asked: of a container that was started in between the rules are not in them. */
export function youngOf(startedAt: string | undefined, restarts = 0, collectedAt: string | null): string | null {
  if (startedAt !== undefined && collectedAt !== null) {
    // the collector tells its first moment in whole seconds; one that comes and goes gets none of them
    const begun = Date.parse(collectedAt) + (restarts > 0 ? 0 : 1000);
    return Date.parse(startedAt) < begun ? null : `it was started at ${startedAt}`;
  }
  return restarts > 0 && startedAt === undefined ? `it was started again ${restarts} times` : null;
}

/** A rule of one of Docker's chains for one port. */
export interface PortRule {
  readonly fact: Fact<FactKind>;
  readonly chain: IptChain;
  readonly index: number;
  readonly proto: string;
  readonly port: number;
  /** nat: the only address of the node that it is for. */
  readonly address: string | null;
  /** nat: `172.17.0.2:9000`; filter: the container's address. */
  readonly target: string;
}

const TRANSLATES = / -p (\S+) .*--dport (\d+) .*-j DNAT --to-destination (\S+)/;
const ACCEPTS = / -d ([\d.]+)\/32 .*-p (\S+) .*--dport (\d+) -j ACCEPT$/;
const OTHERS = / -s |! (?:-d|-p|--dport) /;

/** `-A DOCKER [-d H/32] ! -i b -p tcp -m tcp --dport P -j DNAT --to-destination c:p`, in every ruleset. */
export function translations(rulesets: readonly Saved[]): readonly PortRule[] {
  return rulesets.flatMap(({ fact, ruleset }) => {
    const chain = ruleset.tables.get('nat')?.chains.get('DOCKER');
    return chain === undefined ? [] : translationsIn(fact, chain);
  });
}

const translationsIn = (fact: Fact<FactKind>, chain: IptChain): readonly PortRule[] =>
  chain.texts().flatMap((text, index): readonly PortRule[] => {
    const m = OTHERS.test(text) ? null : TRANSLATES.exec(text);
    if (m === null) return [];
    const address = / -d ([\d.]+)\/32 /.exec(text)?.[1] ?? null;
    return [{ fact, chain, index, proto: m[1] ?? '', port: Number(m[2]), address, target: m[3] ?? '' }];
  });

/** `-A CNI-DN-<hash> -p tcp -m tcp --dport P -j DNAT --to-destination c:p` of the CNI plugin portmap, the same of Docker, and by hand in PREROUTING. */
export function hostPortRules(rulesets: readonly Saved[]): readonly PortRule[] {
  return rulesets.flatMap(({ fact, ruleset }) => {
    const chains = ruleset.tables.get('nat')?.chains;
    // what nothing leads to does nothing; and to list all chains of a node is to read all of its services
    const ports = chains?.get('CNI-HOSTPORT-DNAT')?.texts() ?? [];
    const names = new Set(ports.flatMap((text) => / -j (CNI-DN-\S+)$/.exec(text)?.[1] ?? []));
    return ['PREROUTING', 'DOCKER', ...names].flatMap((name) => {
      const chain = chains?.get(name);
      return chain === undefined ? [] : translationsIn(fact, chain);
    });
  });
}

/** `-A DOCKER -d c/32 ! -i b -o b -p tcp -m tcp --dport p -j ACCEPT`, in every ruleset. */
export function acceptances(rulesets: readonly Saved[]): readonly PortRule[] {
  return rulesets.flatMap(({ fact, ruleset }) => {
    const chain = ruleset.tables.get('filter')?.chains.get('DOCKER');
    return (chain?.texts() ?? []).flatMap((text, index): readonly PortRule[] => {
      const m = OTHERS.test(text) ? null : ACCEPTS.exec(text);
      if (m === null || chain === undefined) return [];
      return [{ fact, chain, index, proto: m[2] ?? '', port: Number(m[3]), address: null, target: m[1] ?? '' }];
    });
  });
}

/** The rule of dockerd that leads the port to its container. */
export function translationOf(port: RuledPort, rules: readonly PortRule[]): PortRule | undefined {
  return rules.find(
    (r) =>
      r.proto === port.proto &&
      r.port === port.hostPort &&
      (r.address === null || r.address === port.hostIp) &&
      (port.elsewhere || port.targets.some((t) => r.target === `${t.ip}:${port.containerPort}`)),
  );
}

/** The rule of dockerd that lets it into the container. */
export function acceptanceOf(port: RuledPort, rules: readonly PortRule[]): PortRule | undefined {
  return rules.find(
    (r) => r.proto === port.proto && r.port === port.containerPort && port.targets.some((t) => t.ip === r.target),
  );
}

/** An address of the node that packets from outside are for, and the device that they come in by; null: none is known. */
export function doorOf(
  source: Source<'addresses'>,
  hostIp: string | null,
  uplink: string | null,
): { readonly address: string; readonly device: string } | null {
  const addresses = source.get('addresses');
  if (addresses.missing) return null;
  for (const { name, addresses: own } of addresses.value.devices) {
    if (hostIp === null && name !== uplink) continue;
    const found = own.find((a) => a.family === 4 && (hostIp === null || a.address === hostIp));
    if (found !== undefined) return { address: found.address, device: hostIp === null ? name : (uplink ?? name) };
  }
  return null;
}

/** `9001/tcp of web`, five at most. */
export function portNames(ports: readonly RuledPort[]): string {
  const names = [...new Set(ports.map((p) => `${p.hostPort}/${p.proto} of ${p.container}`))];
  return names.slice(0, 5).join(', ') + (names.length > 5 ? ' …' : '');
}
