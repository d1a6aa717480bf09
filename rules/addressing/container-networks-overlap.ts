import { formatPrefix, parsePrefix, prefixCovers, prefixesOverlap } from '../../src/core/address.ts';
import { containerBridges, isUp } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { serviceRange } from '../../src/derive/services.ts';
import { elements, flag, setting } from '../../src/derive/settings.ts';
import type { Fact, MissingFact } from '../../src/facts/index.ts';
import type { Finding, LineCite, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Range {
  readonly what:
    | 'docker network'
    | 'pod network'
    | 'service network'
    | 'docker address pool'
    | 'node network'
    | 'container bridge';
  readonly name: string;
  readonly prefix: string;
  /** Of a bridge: docker's own list has it. */
  readonly docker?: boolean;
  /** Of the service network, where it is only known by its services. */
  readonly widest?: string;
  readonly cite: LineCite;
}

interface Ranges {
  readonly pod: string | null;
  readonly lease: string | null;
  readonly ranges: readonly Range[];
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
    const ranges: Range[] = [];
    const lease = flannelLease(source);
    let pod: string | null = null;
    if (lease?.network != null) {
      pod = formatPrefix(lease.network.prefix);
      ranges.push({ what: 'pod network', name: 'FLANNEL_NETWORK', prefix: pod, cite: cite(lease.fact, lease.network) });
    } else if (!wants.flannelNetConf.missing) {
      const network = setting(wants.flannelNetConf.value, 'Network');
      const prefix = typeof network?.value === 'string' ? parsePrefix(network.value) : null;
      if (network !== undefined && prefix !== null) {
        pod = formatPrefix(prefix);
        ranges.push({
          what: 'pod network',
          name: 'net-conf.json Network',
          prefix: pod,
          cite: cite(wants.flannelNetConf, network),
        });
      }
    }
    if (!wants.dockerNetworks.missing) {
      // --config-only: nothing but settings for the networks that are made --config-from it
      for (const network of wants.dockerNetworks.value.networks.filter((n) => n.driver !== 'null')) {
        for (const pool of network.ipam) {
          const prefix = parsePrefix(pool.subnet);
          if (prefix !== null && prefix.family === 4) {
            ranges.push({
              what: 'docker network',
              name: network.name,
              prefix: formatPrefix(prefix),
              cite: cite(wants.dockerNetworks, pool),
            });
          }
        }
      }
    }
    if (!wants.daemonJson.missing) {
      const { value } = wants.daemonJson;
      for (const s of value.settings) {
        const match = /^default-address-pools\.(\d+)\.base$/.exec(s.path);
        const prefix = match !== null && typeof s.value === 'string' ? parsePrefix(s.value) : null;
        if (prefix !== null && elements(value, 'default-address-pools').length > 0) {
          ranges.push({
            what: 'docker address pool',
            name: `pool ${match?.[1]}`,
            prefix: formatPrefix(prefix),
            cite: cite(wants.daemonJson, s),
          });
        }
      }
    }
    // docker keeps its own networks apart from each other; another owner's bridge it does not know
    const dockers = new Set(
      wants.dockerNetworks.missing ? [] : wants.dockerNetworks.value.networks.map((n) => n.bridge),
    );
    for (const bridge of containerBridges(source)) {
      if (!isUp(bridge.device)) continue;
      for (const p of bridge.prefixes)
        if (p.prefix.length < 32)
          ranges.push({
            what: 'container bridge',
            name: bridge.name,
            prefix: formatPrefix(p.prefix),
            docker: dockers.has(bridge.name),
            cite: cite(bridge.fact, p),
          });
    }
    const service = serviceRange(source);
    if (service !== null)
      ranges.push({
        what: 'service network',
        name: service.name,
        prefix: service.prefix,
        widest: service.widest,
        cite: cite(service.fact as Fact<'iptables'>, service.span),
      });
    if (!wants.routes4.missing) {
      const uplink = wants.routes4.value.routes.find((r) => r.dst === '0.0.0.0/0' && r.table === 'main')?.dev;
      for (const a of facts.addresses.value.devices.find((d) => d.name === uplink)?.addresses ?? []) {
        const prefix = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        if (prefix !== null)
          ranges.push({
            what: 'node network',
            name: uplink ?? '',
            prefix: formatPrefix(prefix),
            cite: cite(facts.addresses, a),
          });
      }
    }
    const kubernetes =
      !wants.kubeletArgs.missing ||
      !wants.kubeProxyArgs.missing ||
      (!wants.flannelEnv.missing && !wants.staticPods.missing);
    if (!wants.kubeProxyArgs.missing && pod === null) {
      const cidr = flag(wants.kubeProxyArgs.value, 'cluster-cidr');
      const prefix = cidr === undefined ? null : parsePrefix(cidr.value);
      if (cidr !== undefined && prefix !== null) {
        ranges.push({
          what: 'pod network',
          name: '--cluster-cidr',
          prefix: formatPrefix(prefix),
          cite: cite(wants.kubeProxyArgs, cidr),
        });
      }
    }
    const overlay = facts.addresses.value.devices.some((d) => /^(flannel[.-]|cni0$)/.test(d.name));
    return {
      pod,
      lease: lease?.subnet == null ? null : formatPrefix(lease.subnet.prefix),
      ranges,
      kubernetes,
      unread:
        unreadNetworks(wants.dockerNetworks, facts.addresses) ??
        unreadPods(wants.flannelEnv, pod, overlay || kubernetes),
    };
  },
  evaluate(digests) {
    const findings: Finding[] = [];
    const passes = [];
    const unknown: Undecided[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    // a worker's bundle seldom knows the service range: the control plane's does, within one pod network
    const services = new Map<string, Range>();
    for (const d of digests) {
      const service = d.digest.ranges.find((r) => r.what === 'service network');
      if (service !== undefined && d.digest.pod !== null && !services.has(d.digest.pod))
        services.set(d.digest.pod, service);
    }
    for (const d of digests) {
      const { ranges, pod, lease, kubernetes, unread } = d.digest;
      const borrowed = pod === null || ranges.some((r) => r.what === 'service network') ? undefined : services.get(pod);
      const all = borrowed === undefined ? ranges : [...ranges, borrowed];
      const owned = all.filter((r) => r.what !== 'node network' && r.what !== 'container bridge');
      const [first] = owned;
      const before = findings.length;
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

function unreadPods(
  lease: Fact<'flannelEnv'> | MissingFact<'flannelEnv'>,
  pod: string | null,
  kubernetes: boolean,
): string | null {
  if (pod !== null || !lease.missing || lease.lookedFor || !kubernetes) return null;
  return `whether there is a pod network is not known: flannel’s subnet.env ${lease.because}`;
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
