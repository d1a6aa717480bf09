import { parsePrefix, prefixCovers, prefixesOverlap } from '../../src/core/address.ts';
import { type ContainerRange, containerRanges } from '../../src/derive/container-ranges.ts';
import type { DeviceKinds, Source } from '../../src/derive/devices.ts';
import { hiddenByOverlays, moveOverlay, overlayNetworks } from '../../src/derive/swarm-networks.ts';
import type { Fact, MissingFact } from '../../src/facts/index.ts';
import type { Finding, LineCite, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

type Range = Omit<ContainerRange, 'fact' | 'span'> & { readonly cite: LineCite };

/** A network of the node that an overlay network of docker lies over. */
interface OverNode {
  readonly name: string;
  readonly range: string;
  readonly dev: string;
  readonly dst: string;
  readonly sure: boolean;
  readonly used: boolean;
  readonly cites: readonly [LineCite, LineCite];
}

interface Ranges {
  readonly pod: string | null;
  readonly lease: string | null;
  readonly ranges: readonly Range[];
  readonly overNode: readonly OverNode[];
  readonly kubernetes: boolean;
  /** Why docker may have networks here that are not in `ranges`; else null. */
  readonly unread: string | null;
}

export const rule = defineClusterRule({
  id: 'container-networks-overlap',
  title: { bad: 'Two container networks share addresses', good: 'Container, pod and service networks are apart' },
  severity: 'critical',
  explanation:
    'Two owners of one range means that the longest prefix or the DNAT rule wins, not the network that was meant. ' +
    'A service range inside the pod range makes kube-proxy rewrite packets for real pods.',
  remediation: [
    {
      step: 'Plan ranges that are apart. Recreate the docker network with another subnet; a service range cannot be changed in place.',
      run: 'docker network rm <network> && docker network create --subnet 10.210.0.0/24 <network>',
      verify: 'docker network inspect <network> --format "{{json .IPAM.Config}}"',
      undo: 'docker network rm <network> && docker network create --subnet <old subnet> <network>',
      risk: 'Containers of the network must be reconnected.',
    },
  ],
  references: [REF.dockerSubnets, REF.kubeVips],
  needs: ['addresses'],
  wants: [
    'dockerNetworks',
    'flannelEnv',
    'flannelNetConf',
    'staticPods',
    'kubeProxyArgs',
    'kubeProxyConfig',
    'daemonJson',
    'iptables',
    'kubeletArgs',
    'routes4',
    'links',
    'bridges',
    'sysfs',
  ],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, wants, source }): Ranges {
    const { pod, lease, ranges } = containerRanges(source);
    const kubernetes =
      !wants.kubeletArgs.missing ||
      !wants.kubeProxyArgs.missing ||
      (!wants.flannelEnv.missing && !wants.staticPods.missing);
    const overlay = facts.addresses.value.devices.some((d) => /^(flannel[.-]|cni0$)/.test(d.name));
    return {
      pod,
      lease,
      ranges: ranges.map(({ fact, span, ...range }) => ({ ...range, cite: cite(fact, span) })),
      overNode:
        wants.dockerNetworks.missing || wants.routes4.missing
          ? []
          : overNode(source, wants.dockerNetworks, wants.routes4, facts.addresses),
      kubernetes,
      unread:
        unreadNetworks(wants.dockerNetworks, facts.addresses) ??
        unreadRoutes(wants.dockerNetworks, wants.routes4) ??
        unreadPods(wants.flannelEnv, pod, overlay || kubernetes),
    };
  },
  evaluate(digests) {
    const findings: Finding[] = [];
    const passes = [];
    const unknown: Undecided[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    // a worker's bundle seldom knows the service range: the control plane's does, within one pod network; two clusters may have the same one
    const services = new Map<string, Range | null>();
    for (const d of digests) {
      const service = d.digest.ranges.find((r) => r.what === 'service network');
      if (service === undefined || d.digest.pod === null) continue;
      const known = services.get(d.digest.pod);
      if (known === undefined) services.set(d.digest.pod, service);
      else if (known !== null && !mayBeOne(known, service)) services.set(d.digest.pod, null);
    }
    for (const d of digests) {
      const { ranges, pod, lease, kubernetes, unread } = d.digest;
      const borrowed = pod === null || ranges.some((r) => r.what === 'service network') ? undefined : services.get(pod);
      const all = borrowed == null ? ranges : [...ranges, borrowed];
      const owned = all.filter((r) => r.what !== 'node network' && r.what !== 'container bridge');
      const [first] = owned;
      const before = findings.length;
      for (const over of d.digest.overNode) findings.push(overNodeFinding(d.node, over));
      let reach: string | null = null;
      for (let i = 0; i < all.length; i += 1) {
        for (let j = i + 1; j < all.length; j += 1) {
          const [a, b] = [all[i] as Range, all[j] as Range];
          if (clash(a, b, lease)) findings.push(finding(d.node, a, b));
          else reach ??= mayReach(a, b, lease);
        }
      }
      if (first === undefined) {
        if (unread !== null) {
          unknown.push({ nodes: [d.node], because: unread, evidence: ['docker.network-inspect', 'ip.addr'] });
          continue;
        }
        if (findings.length > before) continue;
        notApplicable.push({ nodes: [d.node], because: 'no docker, pod or service network is known on this node' });
        continue;
      }
      const open = kubernetes && !all.some((r) => r.what === 'service network');
      if (open) {
        const because =
          'the service range is not known: no --service-cluster-ip-range and no ClusterIP rule was collected';
        unknown.push({ nodes: [d.node], because, evidence: ['kubelet.staticpods', 'fw.iptables-save'] });
      }
      if (unread !== null)
        unknown.push({ nodes: [d.node], because: unread, evidence: ['docker.network-inspect', 'ip.addr'] });
      if (reach !== null) unknown.push({ nodes: [d.node], because: reach, evidence: ['kubelet.staticpods'] });
      if (!open && unread === null && reach === null && findings.length === before)
        passes.push({ node: d.node, cites: [first.cite, ...owned.slice(1).map((r) => r.cite)] as const });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

/** Docker's networks are known from its own list; without that, only a whole device list without docker's bridges says that there are none. */
function unreadNetworks(
  networks: Fact<'dockerNetworks'> | MissingFact<'dockerNetworks'>,
  addresses: Fact<'addresses'>,
): string | null {
  if (!networks.missing) return networks.closed ? null : 'docker’s list of networks was not collected whole';
  if (networks.lookedFor) return null;
  const bridge = addresses.value.devices.find((d) => /^(docker0|docker_gwbridge|br-[0-9a-f]{12})$/.test(d.name));
  if (bridge !== undefined)
    return `docker has networks here (${bridge.name}), but their list is not there (${networks.because})`;
  return addresses.closed ? null : `docker’s networks are not known (${networks.because})`;
}

/** Docker's overlay networks are compared with the node's routes. */
function unreadRoutes(
  networks: Fact<'dockerNetworks'> | MissingFact<'dockerNetworks'>,
  routes: Fact<'routes4'> | MissingFact<'routes4'>,
): string | null {
  const [overlay] = networks.missing ? [] : overlayNetworks(networks);
  if (overlay === undefined || (!routes.missing && routes.closed)) return null;
  const why = routes.missing ? `its routes ${routes.because}` : 'its routes were not collected whole';
  return `whether docker’s overlay network ${overlay.name} lies over a network of the node is not known: ${why}`;
}

const overNode = (
  source: Source<DeviceKinds>,
  networks: Fact<'dockerNetworks'>,
  routes: Fact<'routes4'>,
  addresses: Fact<'addresses'>,
): readonly OverNode[] =>
  hiddenByOverlays(source, networks, routes, addresses).map(({ network, pool, route, sure, used }) => ({
    name: network.name,
    range: pool.subnet,
    dev: route.dev ?? '',
    dst: route.dst,
    sure,
    used,
    cites: [cite(networks, pool), cite(routes, route)],
  }));

function overNodeFinding(node: string, { name, range, dev, dst, sure, used, cites }: OverNode): Finding {
  const lost =
    name === 'ingress'
      ? `published ports do not answer clients in ${range}, and tasks that publish ports do not reach hosts there`
      : `its containers do not reach hosts in ${range}`;
  return {
    key: `docker network ${name} / node network ${dev} ${dst}`,
    severity: used ? 'high' : 'medium',
    confidence: sure ? 'proven' : 'likely',
    nodes: [node],
    ...(used ? {} : { latent: true }),
    message: `docker overlay network ${name} (${range}) lies over ${dst} on ${dev} of ${node}: ${lost}${used ? '' : '; nothing here is attached to it yet'}`,
    cites,
    disprove: `no container needs a host of ${dst}, and none of them is a client of a published port`,
    remediation: [moveOverlay(name)],
  };
}

function unreadPods(
  lease: Fact<'flannelEnv'> | MissingFact<'flannelEnv'>,
  pod: string | null,
  kubernetes: boolean,
): string | null {
  if (pod !== null || !lease.missing || lease.lookedFor || !kubernetes) return null;
  return `whether there is a pod network is not known: flannel’s subnet.env ${lease.because}`;
}

/** Ranges that are known by their services only are as wide as what was seen of them. */
function mayBeOne(a: Range, b: Range): boolean {
  const [x, y] = [parsePrefix(a.widest ?? a.prefix), parsePrefix(b.widest ?? b.prefix)];
  return x !== null && y !== null && prefixesOverlap(x, y);
}

function clash(a: Range, b: Range, lease: string | null): boolean {
  const [pa, pb] = [parsePrefix(a.prefix), parsePrefix(b.prefix)];
  if (pa === null || pb === null || !prefixesOverlap(pa, pb)) return false;
  const kinds = [a.what, b.what];
  if (kinds.includes('container bridge'))
    return a.what === b.what && a.name !== b.name && !(a.docker === true && b.docker === true);
  if (a.what === b.what) return a.what === 'docker network' && a.name !== b.name;
  // networks come out of their own pool; the node's own routes are subnet-overlaps-node-network's subject
  if (kinds.includes('docker network') && kinds.includes('docker address pool')) return false;
  if (kinds.includes('node network')) return kinds.includes('service network');
  // docker0 on the flannel lease is the way of docker + flannel without CNI
  if (kinds.includes('docker network') && kinds.includes('pod network')) {
    const docker = a.what === 'docker network' ? pa : pb;
    const own = lease === null ? null : parsePrefix(lease);
    // with no lease to compare, docker's default bridge inside the pod network may be just that
    if (own === null) return (a.what === 'docker network' ? a : b).name !== 'bridge';
    return !prefixCovers(own, docker);
  }
  return true;
}

/** The services that were seen are apart from the other range, but theirs may be wider; else null. */
function mayReach(a: Range, b: Range, lease: string | null): string | null {
  const [service, other] = a.widest === undefined ? [b, a] : [a, b];
  const { widest, prefix } = service;
  if (widest === undefined || widest === prefix || !clash({ ...service, prefix: widest }, other, lease)) return null;
  return `whether the service network reaches ${other.what} ${other.name} (${other.prefix}): services were seen in ${prefix}, its range may be as wide as ${widest}`;
}

function finding(node: string, a: Range, b: Range): Finding {
  const service = a.what === 'service network' || b.what === 'service network';
  return {
    key: `${a.what} ${a.name} / ${b.what} ${b.name}`,
    severity: service
      ? 'critical'
      : a.what === 'docker address pool' || b.what === 'docker address pool'
        ? 'medium'
        : 'high',
    confidence: 'proven',
    nodes: [node],
    message: `${a.what} ${a.name} (${a.prefix}) overlaps ${b.what} ${b.name} (${b.prefix}) on ${node}`,
    cites: [a.cite, b.cite],
    disprove: 'one of the two networks is declared but never used',
    ...(a.what === 'container bridge' ? { remediation: apart(a.name, b.name, a.prefix) } : {}),
  };
}

const apart = (a: string, b: string, range: string): NonNullable<Finding['remediation']> => [
  {
    step: `Give ${a} or ${b} another range, or remove the one that nobody uses: docker0 has its range from "bip" in /etc/docker/daemon.json, a CNI bridge from the node’s lease.`,
    verify: `ip -4 route show root ${range}   # names one of the two`,
  },
];
