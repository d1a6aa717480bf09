import { behindCriDockerd, kubeletDriver, runtimeDriver } from '../../src/derive/cgroup.ts';
import type { Statement } from '../../src/derive/cgroup-driver.ts';
import { followsRuntime } from '../../src/derive/cgroup-follow.ts';
import { BOTH_SYSTEMD, driverRemedy } from '../../src/derive/cgroup-remedy.ts';
import type { Told } from '../../src/derive/docker-daemon.ts';
import { kubeletNode } from '../../src/derive/kubelet-node.ts';
import type { Cite, NodeVerdict } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'cgroup-driver-mismatch',
  title: {
    bad: 'kubelet and container runtime manage cgroups in different ways',
    good: 'kubelet and runtime use one cgroup driver',
  },
  severity: 'critical',
  explanation:
    'Two managers then write the same hierarchy, or (with dockershim) the kubelet refuses to start. ' +
    'Under memory pressure such nodes kill the wrong processes.',
  remediation: [BOTH_SYSTEMD],
  references: [REF.kubeRuntimes, REF.kubeCgroup],
  needs: [],
  needsAny: ['kubeletArgs', 'kubeletConfig'],
  wants: [
    'kubeletArgs',
    'kubeletConfig',
    'kubeadmFlags',
    'dockerInfo',
    'daemonJson',
    'dockerdArgs',
    'containerdConfig',
    'containerdArgs',
    'criInfo',
    'k3sArgs',
    'k8sNodes',
  ],
  evaluate({ node, wants, source }) {
    if (wants.kubeletArgs.missing && wants.kubeletConfig.missing)
      return notApplicable('no kubelet runs or is configured on this node');
    if (wants.kubeletArgs.missing && !wants.k3sArgs.missing) {
      return unknown(
        node.id,
        'this node runs k3s, whose own kubelet and containerd read neither /var/lib/kubelet/config.yaml nor /etc/containerd/config.toml',
        ['kubelet.k3s-config', 'cri.info'],
      );
    }
    const reported = kubeletNode(source, node.hostname);
    const kubelet = kubeletDriver(source);
    const runtime = runtimeDriver(source, reported);
    if ('because' in runtime) {
      const open = 'because' in kubelet ? kubelet : runtime;
      return unknown(node.id, open.because, open.evidence);
    }
    if ('because' in kubelet) {
      const follows = reported === null ? null : followsRuntime(source, runtime, reported);
      if (follows?.answer === 'yes' && runtime.sure) return agreed(runtime.cites, follows.by);
      const others = kubelet.evidence.filter((e) => reported === null || e !== 'k8s.node');
      return unknown(node.id, kubelet.because, others);
    }
    const cites = [...kubelet.cites, ...runtime.cites] as const;
    const [first, ...rest] = cites.map(cited);
    if (first === undefined)
      return unknown(node.id, 'no line states either driver', ['kubelet.config', 'docker.info-json']);
    if (kubelet.driver === runtime.driver) {
      if (wants.kubeletArgs.missing && !wants.kubeletArgs.lookedFor && wants.kubeadmFlags.missing)
        return unknown(
          node.id,
          `both sides are set to ${kubelet.driver} in their files, but the kubelet’s command line, which wins over its file, was not collected`,
          ['kubelet.cmdline'],
        );
      return pass(first, ...rest);
    }
    const follows = followsRuntime(source, runtime, reported);
    const set = `kubelet is set to ${kubelet.driver} and ${runtime.name} to ${runtime.driver}`;
    if (follows.answer === 'unknown') return unknown(node.id, `${set}, but ${follows.because}`, follows.evidence);
    if (follows.answer === 'yes') {
      if (runtime.sure) return agreed(runtime.cites, follows.by);
      const because = `${set}, but the kubelet takes the driver that its runtime reports, and which one that is was not seen`;
      return unknown(node.id, because, ['cri.info']);
    }
    const dockershim = runtime.name === 'docker' && !behindCriDockerd(source, reported);
    const remedy = driverRemedy(source, kubelet, runtime);
    // one that does not run may be another than the one that reported
    const current = reported === null || !wants.kubeletArgs.missing;
    return findings([
      {
        key: 'driver',
        severity: dockershim ? 'critical' : 'high',
        // containerd 2 takes a file of the first one's format, too: a new kubelet would then follow it
        confidence: kubelet.sure && runtime.sure && follows.sure && current ? 'proven' : 'likely',
        nodes: [node.id],
        message: `kubelet uses the ${kubelet.driver} cgroup driver, ${runtime.name} uses ${runtime.driver} on ${node.id}`,
        cites: [first, ...rest, ...follows.by.map(({ fact, span }) => cite(fact, span))],
        disprove: 'a kubelet >= 1.31 whose runtime tells it the driver (RuntimeConfig)',
        ...(remedy === null ? {} : { remediation: [remedy] }),
      },
    ]);
  },
});

const cited = (c: Statement): Cite => ('fact' in c ? cite(c.fact, c.span) : c.absence);

/** The kubelet has its driver from the runtime, whatever it is set to itself. */
function agreed(runtime: readonly Statement[], by: readonly Told[]): NodeVerdict {
  const [first, ...rest] = [...runtime.map(cited), ...by.map(({ fact, span }) => cite(fact, span))];
  return first === undefined ? notApplicable('no line states a driver') : pass(first, ...rest);
}
