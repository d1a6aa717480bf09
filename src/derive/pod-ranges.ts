import { formatPrefix, type Prefix, parsePrefix } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { ownNode } from './kubelet-node.ts';
import { flag, setting } from './settings.ts';

/** What podRanges reads: a rule that asks it declares these kinds. */
export const POD_RANGE_KINDS = [
  'flannelEnv',
  'flannelNetConf',
  'flanneldArgs',
  'k8sNodes',
  'kubeletArgs',
  'kubeProxyArgs',
  'kubeProxyConfig',
  'staticPods',
] as const satisfies readonly FactKind[];
type RangeSource = Source<(typeof POD_RANGE_KINDS)[number]>;

/** An IPv4 range of pods, with the line that says so. */
export interface PodRange {
  readonly prefix: Prefix;
  readonly text: string;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

/** Who says which range pods have; null: not told. */
export interface PodRanges {
  /** What flanneld runs with. */
  readonly running: PodRange | null;
  /** What flanneld reads when it starts. */
  readonly configured: PodRange | null;
  /** The node's part, as flanneld wrote it. */
  readonly lease: PodRange | null;
  /** The node's part in the API, where flanneld has it from; null also where it has its own (etcd). */
  readonly podCidr: PodRange | null;
  /** What the controller manager cuts the nodes' parts out of; null also where it does not. */
  readonly cut: PodRange | null;
  /** What kube-proxy takes for pods of the cluster; null also where it tells them in another way. */
  readonly proxy: PodRange | null;
}

export function podRanges(source: RangeSource, hostname: string | null): PodRanges {
  const lease = flannelLease(source);
  const conf = source.get('flannelNetConf');
  const network = conf.missing ? undefined : setting(conf.value, 'Network');
  const args = source.get('flanneldArgs');
  const subnetManager = args.missing ? undefined : flag(args.value, 'kube-subnet-mgr');
  const ofKubernetes = args.missing || (subnetManager !== undefined && subnetManager.value !== 'false');
  const node = ofKubernetes ? ownNode(source, hostname) : null;
  return {
    running: lease?.network == null ? null : rangeOf(formatPrefix(lease.network.prefix), lease.fact, lease.network),
    configured: conf.missing || network === undefined ? null : rangeOf(network.value, conf, network),
    lease: lease?.subnet == null ? null : rangeOf(formatPrefix(lease.subnet.prefix), lease.fact, lease.subnet),
    podCidr: node === null ? null : rangeOf(node.own.podCidrs.join(','), node.fact, node.own.podCidrsAt ?? node.own),
    cut: ofKubernetes ? cutRange(source) : null,
    proxy: proxyRange(source),
  };
}

/** The first IPv4 range of a list. */
function rangeOf(said: unknown, fact: Fact<FactKind>, span: Span): PodRange | null {
  if (typeof said !== 'string') return null;
  for (const word of said.split(',')) {
    const text = word.trim().replaceAll('"', '');
    const prefix = text.includes('/') ? parsePrefix(text) : null;
    if (prefix?.family === 4) return { prefix, text, fact, span };
  }
  return null;
}

/** Flags in the manifest of kube-controller-manager: without --allocate-node-cidrs it hands out none. */
function cutRange(source: RangeSource): PodRange | null {
  const pods = source.get('staticPods');
  if (pods.missing) return null;
  const own = pods.value.lines.filter((l) => /kube-controller-manager\.ya?ml:/.test(l.text));
  if (!own.some((l) => /--allocate-node-cidrs(=true|"?$|\s*$)/.test(l.text))) return null;
  for (const line of own) {
    const said = /--cluster-cidr[= ]"?([0-9a-f.:/,]+)/.exec(line.text)?.[1];
    if (said !== undefined) return rangeOf(said, pods, line);
  }
  return null;
}

function proxyRange(source: RangeSource): PodRange | null {
  const [config, args] = [source.get('kubeProxyConfig'), source.get('kubeProxyArgs')];
  const mode = config.missing ? undefined : setting(config.value, 'detectLocalMode')?.value;
  const flagged = args.missing ? undefined : flag(args.value, 'detect-local-mode')?.value;
  const how = mode ?? flagged ?? '';
  if (how !== '' && how !== 'ClusterCIDR') return null;
  const written = config.missing ? undefined : setting(config.value, 'clusterCIDR');
  if (!config.missing && written !== undefined) return rangeOf(written.value, config, written);
  const given = args.missing ? undefined : flag(args.value, 'cluster-cidr');
  return args.missing || given === undefined ? null : rangeOf(given.value, args, given);
}
