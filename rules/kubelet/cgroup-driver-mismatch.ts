import {
  behindCriDockerd,
  isOldKubelet,
  kubeletDriver,
  mayFollowRuntime,
  runtimeDriver,
} from '../../src/derive/cgroup.ts';
import { BOTH_SYSTEMD, driverRemedy } from '../../src/derive/cgroup-remedy.ts';
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
    const kubelet = kubeletDriver(source);
    const runtime = runtimeDriver(source);
    if ('because' in kubelet) return unknown(node.id, kubelet.because, kubelet.evidence);
    if ('because' in runtime) return unknown(node.id, runtime.because, runtime.evidence);
    const cites = [...kubelet.cites, ...runtime.cites] as const;
    const [first, ...rest] = cites.map((c) => ('fact' in c ? cite(c.fact, c.span) : c.absence));
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
    const follows = mayFollowRuntime(source, runtime);
    if (follows !== null) {
      return unknown(
        node.id,
        `kubelet is set to ${kubelet.driver} and ${runtime.name} to ${runtime.driver}, but ${follows}`,
        ['k8s.node'],
      );
    }
    const dockershim = runtime.name === 'docker' && !behindCriDockerd(source);
    const remedy = driverRemedy(source, kubelet, runtime);
    return findings([
      {
        key: 'driver',
        severity: dockershim ? 'critical' : 'high',
        // containerd 2 takes a file of the first one's format, too: a new kubelet would then follow it
        confidence: kubelet.sure && runtime.sure && (dockershim || isOldKubelet(source)) ? 'proven' : 'likely',
        nodes: [node.id],
        message: `kubelet uses the ${kubelet.driver} cgroup driver, ${runtime.name} uses ${runtime.driver} on ${node.id}`,
        cites: [first, ...rest],
        disprove: 'a kubelet >= 1.31 whose runtime tells it the driver (RuntimeConfig)',
        ...(remedy === null ? {} : { remediation: [remedy] }),
      },
    ]);
  },
});
