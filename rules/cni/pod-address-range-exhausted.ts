import { formatPrefix, type Prefix, parseIp, parsePrefix, prefixContains, samePrefix } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty, type Span } from '../../src/core/span.ts';
import { effectiveConf } from '../../src/derive/cni.ts';
import { containerBridges, tellsPorts } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import type { CniLeases, Fact, FactKind } from '../../src/facts/index.ts';
import {
  type Cite,
  cite,
  defineNodeRule,
  type Finding,
  findings,
  isClosed,
  notApplicable,
  pass,
  type Remediation,
  type Undecided,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Share of the addresses that is left when it gets tight. */
const TIGHT = 0.05;
/** Leases without a pod beyond this number are no pods that come or go just now. */
const MANY = 10;

export const rule = defineNodeRule({
  id: 'pod-address-range-exhausted',
  title: {
    bad: 'The node has no addresses left for pods, or nearly none',
    good: 'The node has addresses left for pods',
  },
  severity: 'critical',
  explanation:
    'The plugin host-local keeps a file for every address that it gave, and takes it back when the runtime deletes the pod. After a crash, a reboot or a forced removal files of pods that are gone stay. ' +
    'Once all are taken new pods stay in ContainerCreating: “no IP addresses available in range set”.',
  remediation: [
    {
      step: 'Move the leases away whose containers the runtime no longer knows.',
      run: staleRun('<network>', 'mv -- "$f" "$d.stale/"'),
      verify: 'ls /var/lib/cni/networks/<network> | wc -l',
      undo: 'mv /var/lib/cni/networks/<network>.stale/* /var/lib/cni/networks/<network>/',
    },
  ],
  references: [REF.cniHostLocal],
  needs: [],
  wants: ['cniLeases', 'cniConf', 'flannelEnv', 'addresses', 'links', 'bridges', 'sysfs', 'dockerNetworks'],
  needsAny: ['cniLeases'],
  evaluate({ node, wants, source }) {
    const { cniLeases, cniConf } = wants;
    if (cniLeases.missing)
      return cniLeases.lookedFor
        ? notApplicable('the plugin host-local has given no address here')
        : unknown(node.id, 'the leases of host-local were not collected', ['cni.ipam']);
    const lease = flannelLease(source);
    const found: Finding[] = [];
    const proofs: Cite[] = [];
    const open: Undecided[] = [];
    const ask = (because: string, evidence: readonly string[]) => open.push({ nodes: [node.id], because, evidence });
    const effective = effectiveConf(cniConf);
    for (const [network, leases] of Map.groupBy(cniLeases.value.leases, (l) => l.network)) {
      const conf = cniConf.find((c) => c.value.name === network);
      // what another configuration left behind gives no addresses
      if (conf !== undefined && effective !== undefined && conf !== effective) continue;
      const plugin = conf?.value.plugins.find((p) => p.type === 'flannel' || p.subnets.length > 0);
      if (Object.keys(plugin?.settings ?? {}).some((k) => /range(Start|End)$|exclude/i.test(k))) {
        ask(`the configuration of ${network} gives a part of its subnet only, which was not counted`, ['cni.conf']);
        continue;
      }
      const own = plugin === undefined || plugin.type === 'flannel';
      if (own && conf === undefined && network !== 'cbr0') continue;
      const four = plugin?.subnets.map(parsePrefix).filter((p) => p?.family === 4) ?? [];
      const range: Range | null = own
        ? lease?.subnet == null
          ? null
          : { prefix: lease.subnet.prefix, fact: lease.fact, span: lease.subnet }
        : four.length === 1 && four[0] != null && conf !== undefined && plugin !== undefined
          ? { prefix: four[0], fact: conf, span: plugin }
          : null;
      if (range === null) {
        ask(`which range the pods of ${network} have is not known`, ['flannel.subnet-env', 'cni.conf']);
        continue;
      }
      const taken = leases.filter((l) => isIn(range.prefix, l.ip));
      const [first] = taken;
      if (first === undefined) continue;
      const total = 2 ** (32 - range.prefix.length) - RESERVED;
      const free = Math.max(0, total - taken.length);
      const bridge = containerBridges(source).find((b) => b.prefixes.some((p) => samePrefix(p.prefix, range.prefix)));
      const live = bridge === undefined || !tellsPorts(source, bridge.name) ? null : bridge.ports.length;
      const gone = live === null ? null : Math.max(0, taken.length - live);
      const of = { node: node.id, network, leases: cniLeases, taken, range, gone };
      const text = `${taken.length} of ${total} addresses of ${formatPrefix(range.prefix)} are taken${gone === null || live === null ? '' : `, and ${bridge?.name} has ${live} ${live === 1 ? 'pod' : 'pods'}`}`;
      if (free === 0)
        found.push(
          finding(of, 'exhausted', 'critical', 'proven', `${node.id} has no address left for a new pod: ${text}`),
        );
      else if (free < total * TIGHT)
        found.push(finding(of, 'tight', 'high', 'likely', `${node.id} has ${free} addresses left for pods: ${text}`));
      else if (gone !== null && gone > MANY)
        found.push(
          finding(
            of,
            'leaked',
            'low',
            'likely',
            `${node.id} keeps leases of pods that are gone, at least ${gone}: ${text}`,
          ),
        );
      else if (isClosed(cniLeases)) proofs.push(cite(cniLeases, first), cite(range.fact, range.span));
      else ask(`how many addresses of ${network} are taken: the leases were not collected whole`, ['cni.ipam']);
    }
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    const [first, ...more] = proofs;
    return first === undefined
      ? notApplicable('the plugin host-local has given no IPv4 address of a known range')
      : pass(first, ...more);
  },
});

/** The network's own address, the bridge's and the last one are given to nobody. */
const RESERVED = 3;

interface Range {
  readonly prefix: Prefix;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

function isIn(prefix: Prefix, text: string): boolean {
  const ip = parseIp(text);
  return ip !== null && prefixContains(prefix, ip);
}

function finding(
  of: {
    readonly node: string;
    readonly network: string;
    readonly leases: Fact<'cniLeases'>;
    readonly taken: CniLeases['leases'];
    readonly range: Range;
    readonly gone: number | null;
  },
  key: string,
  severity: Finding['severity'],
  confidence: Finding['confidence'],
  message: string,
): Finding {
  const { node, network, leases, taken, range, gone } = of;
  const [first, last] = [taken[0] as Span, taken.at(-1) as Span];
  return {
    key: `${key} ${network}`,
    severity,
    confidence,
    nodes: [node],
    message,
    cites: [cite(leases, { line: first.line, endLine: last.endLine ?? last.line }), cite(range.fact, range.span)],
    ...(key === 'exhausted' ? {} : { latent: true }),
    disprove: 'another program than the plugin host-local gives the pods of this node their addresses',
    remediation: gone === 0 ? [LARGER] : [stale(network), ...(key === 'exhausted' ? [LARGER] : [])],
  };
}

/** `DO` runs for each file `$f` of a container that the runtime does not know; without an answer of the runtime nothing is touched. */
function staleRun(network: string, act: string): string {
  return `d=/var/lib/cni/networks/${network}; mkdir -p "$d.stale"; ids=$(crictl pods -q --no-trunc 2>/dev/null; docker ps -aq --no-trunc 2>/dev/null); [ -n "$ids" ] && for f in "$d"/*.*.*.*; do echo "$ids" | grep -qx "$(head -n 1 "$f" | tr -d '\\r')" || ${act}; done`;
}

function stale(network: string): Remediation {
  const name = shellWord(network);
  return {
    step: `Cordon the node, then move the leases of ${network} away whose containers the runtime no longer knows; list them first with ‘echo "$f"’ in place of mv.`,
    run: staleRun(name, 'mv -- "$f" "$d.stale/"'),
    verify: `ls /var/lib/cni/networks/${name} | wc -l`,
    undo: `mv /var/lib/cni/networks/${name}.stale/* /var/lib/cni/networks/${name}/`,
    risk: 'A pod that is being made in this moment may lose its lease, and its address is given twice: that is why the node is cordoned.',
  };
}

const LARGER: Remediation = {
  step: 'Where all addresses have pods: let fewer run here (maxPods of the kubelet below the size of the subnet), or give nodes larger subnets (--node-cidr-mask-size of the controller manager, SubnetLen of flannel) and let this one join anew.',
};
