import { parsePrefix } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { cniFiles, notItsFiles, seesAll } from '../../src/derive/cni-files.ts';
import { CNI_RUNTIME_KINDS, cniRuntime } from '../../src/derive/cni-runtime.ts';
import { flannelPlugin, usedConf } from '../../src/derive/cni-used.ts';
import { isFlannel } from '../../src/derive/devices.ts';
import { restartFlannel } from '../../src/derive/flannel-remedy.ts';
import { flag, variable } from '../../src/derive/settings.ts';
import type { EnvFile } from '../../src/facts/index.ts';
import type { Cite, Finding } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  citeRecord,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const DEFAULT_FILE = '/run/flannel/subnet.env';

export const rule = defineNodeRule({
  id: 'flannel-subnet-env-missing',
  title: {
    bad: 'flannel’s subnet.env is missing or incomplete: its CNI plugin refuses every pod',
    good: 'flannel’s subnet.env has all that its CNI plugin reads',
  },
  severity: 'critical',
  explanation:
    'The CNI plugin of flannel reads the node’s pod subnet from a file that flanneld writes once it has a lease. /run is emptied at every boot, so until flanneld has started again new pods fail with ' +
    '“loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory”. flanneld does not get so far without its API server or etcd, a podCIDR, a default route (without --iface) or, since 0.26, br_netfilter.',
  remediation: [
    {
      step: 'Read in the log of flanneld on that node why it does not start (“pod cidr not assigned”, “Failed to find any valid interface”, “br_netfilter”), mend that, and restart it. Do not write the file by hand: a wrong subnet breaks other nodes’ pods too.',
      run: restartFlannel('<node>'),
      verify: `cat ${DEFAULT_FILE}`,
      undo: 'none needed: flanneld writes the file from its lease',
    },
  ],
  references: [REF.flannelCni, REF.flannelKubernetes, REF.flannelTroubleshooting],
  needs: [],
  needsAny: ['flannelEnv'],
  wants: [...CNI_RUNTIME_KINDS, 'flannelEnv', 'flanneldArgs', 'cniConf', 'cniBin', 'addresses'],
  explains: [
    'vxlan-device-missing',
    'pod-route-missing-or-wrong',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, wants, source }) {
    const env = wants.flannelEnv;
    const elsewhere = notItsFiles(node);
    if (elsewhere !== null) return unknown(node.id, elsewhere, ['cni.conf']);
    const runtime = cniRuntime(source, node.hostname);
    if (runtime.kind === 'none')
      return notApplicable(
        runtime.because,
        runtime.told === undefined ? [] : [cite(runtime.told.fact, runtime.told.span)],
      );
    const used = usedConf(node, runtime, cniFiles(node, source), wants.cniBin);
    if (used.kind === 'unknown')
      return unknown(
        node.id,
        `whether pods here get their network by the CNI plugin flannel: ${used.because}`,
        used.evidence,
      );
    if (used.kind !== 'used') return notApplicable(used.because);
    const plugin = flannelPlugin(used.fact);
    if (plugin === undefined) return notApplicable(`the CNI configuration ${used.file.name} does not call flannel`);
    const read = plugin.settings['subnetFile'] ?? DEFAULT_FILE;
    const flanneld = wants.flanneldArgs;
    const runs = !flanneld.missing && flanneld.value.processes.length > 0;
    const written = flanneld.missing ? DEFAULT_FILE : (flag(flanneld.value, 'subnet-file')?.value ?? DEFAULT_FILE);
    if (read !== written)
      return unknown(
        node.id,
        `the CNI plugin flannel reads ${read}, and flanneld writes ${written}: only the latter was collected`,
        ['flannel.subnet-env'],
      );
    const line = cite(used.fact, plugin);
    if (env.missing) {
      const record = node.evidence.find((r) => r.id === 'flannel.subnet-env');
      if (!env.lookedFor || record === undefined || !seesAll(node))
        return unknown(node.id, `whether ${read} is there: ${env.because}`, ['flannel.subnet-env']);
      return findings([finding('missing', 'is missing', [citeRecord(node.id, record), line])]);
    }
    const problem = problemOf(env.value);
    if (problem === null) {
      const shown = env.value.variables.find((v) => /^FLANNEL_(IPV6_)?SUBNET$/.test(v.name));
      if (!isClosed(env)) return unknown(node.id, `${read} was not collected whole`, ['flannel.subnet-env']);
      return shown === undefined ? pass(line) : pass(cite(env, shown), line);
    }
    if (problem.kind === 'unreadable')
      return findings([finding('unreadable', problem.what, [cite(env, { line: problem.line }), line])]);
    // a copy by hand may lack a line
    if (!isClosed(env) || node.format === 'loose-files')
      return unknown(node.id, `${read} ${problem.what}, but it was not collected whole`, ['flannel.subnet-env']);
    return findings([finding('incomplete', problem.what, [absent(env, problem.lacks), line])]);

    function finding(key: string, what: string, cites: readonly Cite[]): Finding {
      const device =
        wants.addresses.missing ||
        wants.addresses.value.devices.some((d) => isFlannel(d.name) || d.name === 'flannel0');
      const idle =
        !runs && !flanneld.missing
          ? '; flanneld does not run there'
          : !runs && flanneld.missing && flanneld.lookedFor
            ? '; no flanneld runs there'
            : '';
      return {
        key,
        severity: 'critical',
        confidence: key === 'missing' ? 'likely' : 'proven',
        nodes: [node.id],
        message: `${read} on ${node.id} ${what}${idle}: the CNI plugin flannel refuses every new pod`,
        cites: isNonEmpty(cites) ? cites : [line],
        // with flannel’s device the node went on from an earlier start: what was made then works
        ...(device ? { latent: true } : {}),
        disprove:
          'a collection within the first two minutes after a boot: flanneld writes the file when it has its lease',
        remediation: [
          {
            step: `Read in flanneld’s log on ${node.id} why it ${runs ? 'did not write the file' : 'does not run'} (“pod cidr not assigned”: the controller manager needs --allocate-node-cidrs; “Failed to find any valid interface”: --iface; br_netfilter), mend that, and restart it. Do not write the file by hand.`,
            run: restartFlannel(node.id, wants.k3sArgs),
            verify: `cat ${DEFAULT_FILE}`,
            undo: 'none needed: flanneld writes the file from its lease',
            risk: 'none known',
          },
        ],
      };
    }
  },
});

type Problem =
  | { readonly kind: 'incomplete'; readonly what: string; readonly lacks: string }
  | { readonly kind: 'unreadable'; readonly what: string; readonly line: number };

/** What the plugin objects to (flannel-io/cni-plugin, loadFlannelSubnetEnv): of the subnets and networks one family is enough. */
function problemOf(env: EnvFile): Problem | null {
  const either = (...names: string[]) => names.map((name) => variable(env, name)).filter((v) => v !== undefined);
  const lacks: string[] = [];
  for (const names of [
    ['FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK'],
    ['FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET'],
  ]) {
    const found = either(...names);
    if (found.length === 0) lacks.push(names[0] ?? '');
    // newer flannels may have several networks
    const odd = found.find((v) =>
      v.value.split(',').some((part) => !part.includes('/') || parsePrefix(part.trim()) === null),
    );
    if (odd !== undefined)
      return {
        kind: 'unreadable',
        what: `holds “${odd.value}” in the place of a network (line ${odd.line})`,
        line: odd.line,
      };
  }
  const [mtu] = either('FLANNEL_MTU');
  if (mtu === undefined) lacks.push('FLANNEL_MTU');
  else if (!/^\d+$/.test(mtu.value))
    return {
      kind: 'unreadable',
      what: `holds “${mtu.value}” in the place of an MTU (line ${mtu.line})`,
      line: mtu.line,
    };
  if (either('FLANNEL_IPMASQ').length === 0) lacks.push('FLANNEL_IPMASQ');
  if (lacks.length === 0) return null;
  const what = env.variables.length === 0 ? 'is empty' : `lacks ${lacks.join(', ')}`;
  return { kind: 'incomplete', what, lacks: lacks.join(', ') };
}
