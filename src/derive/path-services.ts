import { parsePrefix, prefixCovers } from '../core/address.ts';
import type { IptChain } from '../facts/firewall.ts';
import { clusterDns } from './cluster-dns.ts';
import { attachedBridges, type Source, uplinks } from './devices.ts';
import { youngOf } from './docker-published.ts';
import { type PathPod, type PathPodKinds, type PathPodSource, type PathPods, pathPods } from './path-pods.ts';
import { serviceRules } from './service-rules.ts';

export type PathServiceKinds =
  | PathPodKinds
  | 'iptables'
  | 'iptablesNft'
  | 'iptablesLegacy'
  | 'kubeletConfig'
  | 'kubeletArgs'
  | 'dockerContainers';
export type PathServiceSource = PathPodSource & Source<Exclude<PathServiceKinds, 'netnsAddresses'>>;

/** A service that every pod of a cluster needs. */
export interface Vip {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly proto: 'tcp' | 'udp';
  /** Pods and nodes that serve it: each is a way that a packet may take. */
  readonly backends: number;
}

/** A port of the node that docker forwards to a container. */
export interface Published {
  readonly container: string;
  /** The container's own addresses: it is no client of its own port here. */
  readonly own: readonly string[];
  readonly address: string;
  readonly port: number;
  readonly proto: 'tcp' | 'udp';
  /** `address` is loopback: only the node itself may use it. */
  readonly local: boolean;
}

export interface PathServices extends PathPods {
  /** One container or pod of each network that may leave the node; a pod of the cluster first. */
  readonly clients: readonly (PathPod & { readonly clustered: boolean })[];
  /** The node has a default route: without one nobody expects to get out. */
  readonly leads: boolean;
  readonly vips: readonly Vip[];
  readonly published: readonly Published[];
}

const MOST_CLIENTS = 4;
const MOST_PORTS = 6;

/** `collectedAt`: what was started since is not asked, for rules were read before. */
export function pathServices(source: PathServiceSource, collectedAt: string | null): PathServices {
  const about = pathPods(source);
  const [pod] = about.pods;
  const clients = pod === undefined ? [] : [{ ...pod, clustered: true }];
  const found = source
    .all('netnsAddresses')
    .flatMap((f) =>
      f.value.devices.flatMap((d) => d.addresses.map((a) => ({ inode: f.instance ?? '', address: a.address }))),
    );
  for (const bridge of attachedBridges(source).bridges) {
    const inside = (address: string) => {
      const at = parsePrefix(`${address}/32`);
      return at !== null && bridge.prefixes.some((p) => p.address !== address && prefixCovers(p.prefix, at));
    };
    if (clients.some((c) => inside(c.address)) || clients.length >= MOST_CLIENTS) continue;
    const client = found.find((c) => inside(c.address));
    if (client !== undefined) clients.push({ ...client, clustered: false });
  }
  const leads = uplinks(source).some((u) => u.why === 'default route');
  return { ...about, clients, leads, vips: vips(source), published: published(source, collectedAt) };
}

/** Cluster DNS and the API, as kube-proxy wrote them: an address that no node's rules know is only configured. */
function vips(source: PathServiceSource): readonly Vip[] {
  const dns = clusterDns(source);
  for (const kind of ['iptables', 'iptablesNft', 'iptablesLegacy'] as const) {
    const fact = source.get(kind);
    const tables = fact.missing ? undefined : fact.value.tables;
    const chains = tables?.get('nat')?.chains;
    const chain = chains?.get('KUBE-SERVICES');
    if (chain === undefined) continue;
    const found = [...vipsOf(chain), ...deadVips(tables?.get('filter')?.chains.get('KUBE-SERVICES'))].filter(
      (vip) => vip.name.startsWith('default/kubernetes') || (vip.port === 53 && isDns(vip, dns)),
    );
    if (found.length > 0)
      return found.map(({ chain: own, ...vip }) => ({ ...vip, backends: backendsOf(chains?.get(own)) }));
  }
  return [];
}

const DEAD =
  /^-A KUBE-SERVICES -d (\d[\d.]*)\/32 -p (tcp|udp) -m comment --comment "([^" ]+) has no endpoints" -m (?:tcp|udp) --dport (\d+) -j REJECT/;

/** Services without a backend, which kube-proxy has in the filter table alone. */
function deadVips(chain: IptChain | undefined): readonly VipRule[] {
  return (chain?.texts() ?? []).flatMap((text): VipRule[] => {
    const [, address, proto, name, port] = DEAD.exec(text) ?? [];
    if (address === undefined || name === undefined || (proto !== 'tcp' && proto !== 'udp')) return [];
    return [{ name, address, port: Number(port), proto, chain: '' }];
  });
}

/** With session affinity the chain jumps to each twice. */
function backendsOf(chain: IptChain | undefined): number {
  const jumps = (chain?.shared() ?? []).flatMap((rule) => rule.target?.name ?? []);
  return new Set(jumps.filter((name) => name.startsWith('KUBE-SEP-'))).size;
}

/** A service as one rule tells of it. */
type VipRule = Omit<Vip, 'backends'> & { readonly chain: string };

const isDns = (vip: VipRule, dns: readonly string[]) =>
  dns.includes(vip.address) || /^kube-system\/(kube-dns|coredns|rke2-coredns)/.test(vip.name);

function vipsOf(chain: IptChain): readonly VipRule[] {
  return serviceRules(chain).flatMap(({ address, proto, port, comment, chain: own }) => {
    if (proto === null || port === null) return [];
    return [{ name: (comment ?? '').replace(/ cluster IP$/, ''), address, port, proto, chain: own }];
  });
}

function published(source: PathServiceSource, collectedAt: string | null): readonly Published[] {
  const docker = source.get('dockerContainers');
  if (docker.missing) return [];
  const own = nodeAddress(source);
  const found = docker.value.containers.flatMap((c): Published[] =>
    c.state !== 'running' || c.networkMode === 'host' || isYoung(c, collectedAt)
      ? []
      : c.ports.flatMap((p): Published[] => {
          const wild = p.hostIp === undefined || p.hostIp === '' || p.hostIp === '0.0.0.0';
          const address = wild ? own : p.hostIp;
          if (p.hostPort === undefined || address === null || address === undefined || address.includes(':')) return [];
          if (p.proto !== 'tcp' && p.proto !== 'udp') return [];
          return [
            {
              container: c.name.replace(/^\//, ''),
              own: c.networks.flatMap((n) => n.ip ?? []),
              address,
              port: p.hostPort,
              proto: p.proto,
              local: address.startsWith('127.'),
            },
          ];
        }),
  );
  const seen = new Set<string>();
  return found
    .filter((p) => {
      const key = `${p.address} ${p.port} ${p.proto}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .slice(0, MOST_PORTS);
}

/** A container that comes and goes has its rules only at times. */
const isYoung = (c: { startedAt?: string; restarts?: number }, collectedAt: string | null): boolean =>
  c.startedAt !== undefined && youngOf(c.startedAt, c.restarts, collectedAt) !== null;

/** The node's address on the device of its default route. */
function nodeAddress(source: PathServiceSource): string | null {
  const [up] = uplinks(source);
  const addresses = source.get('addresses');
  const device = addresses.missing ? undefined : addresses.value.devices.find((d) => d.name === up?.dev);
  return device?.addresses.find((a) => a.family === 4 && a.scope === 'global')?.address ?? null;
}
