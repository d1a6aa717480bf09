import { behindCriDockerd } from './cgroup.ts';
import type { DriverChoice } from './cgroup-driver.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { featureGate, type KubeletNode } from './kubelet-node.ts';
import { flag, setting } from './settings.ts';

type Kinds = 'criInfo' | 'kubeletArgs' | 'containerdConfig' | 'kubeadmFlags' | 'kubeletConfig';

interface Open {
  readonly answer: 'unknown';
  readonly because: string;
  readonly evidence: readonly string[];
}

interface Known<A> {
  readonly answer: A;
  readonly by: readonly Told[];
  readonly sure: boolean;
}

/** Whether the kubelet takes its driver from the runtime in spite of its own setting. */
type Follows = Known<'yes' | 'no'> | Open;

/** Flags that a kubelet of 1.27 or later refuses to start with: this one is older, and cannot ask the runtime for its driver. */
const REMOVED_FLAGS = ['container-runtime', 'network-plugin', 'cni-bin-dir', 'docker-endpoint'];

const known = <A>(answer: A, by: readonly Told[] = [], sure = true): Known<A> => ({ answer, by, sure });

/**
 * RuntimeConfig of the CRI (KEP-4033): the kubelet has to ask, and the runtime has to tell. One that does not tell leaves the kubelet its own
 * setting (kubelet until 1.37 at least).
 */
export function followsRuntime(source: Source<Kinds>, runtime: DriverChoice, node: KubeletNode | null): Follows {
  const asks = asksRuntime(source, node);
  if (asks.answer === 'no') return known('no', asks.by);
  const tells = runtimeTells(source, runtime, node);
  if (tells.answer === 'no' && (asks.answer === 'unknown' || tells.sure)) return known('no', tells.by, tells.sure);
  const { how } = tells;
  if (asks.answer === 'unknown') return { ...asks, because: `${how}: ${asks.because}` };
  if (tells.answer === 'yes') return known('yes', [...asks.by, ...tells.by]);
  const because = `this kubelet asks the runtime for its driver, and whether that tells it is not known: ${how}`;
  return { answer: 'unknown', because, evidence: ['cri.info', ...(node === null ? ['k8s.node'] : [])] };
}

/** The gate of the kubelet: off by default from 1.28, on from 1.31, locked from 1.34 (kubernetes/pkg/features/kube_features.go). */
const GATE = 'KubeletCgroupDriverFromCRI';

function asksRuntime(source: Source<Kinds>, node: KubeletNode | null): Known<'yes' | 'no'> | Open {
  const args = source.get('kubeletArgs');
  if (!args.missing && flag(args.value, ...REMOVED_FLAGS) !== undefined) return known('no');
  const version = node === null ? [] : [node];
  if (node !== null && node.minor < 28) return known('no', version);
  if (node !== null && node.minor >= 34) return known('yes', version);
  // only a kubelet that knows the gate starts with it
  const written = featureGate(source, [GATE]);
  if (typeof written === 'object') return known(written.on ? 'yes' : 'no', [...version, written]);
  if (node === null)
    return {
      answer: 'unknown',
      because:
        'kubelet 1.31 and later follows it, an older one does not, and the kubelet’s version is not in the bundle',
      evidence: ['k8s.node'],
    };
  const gate = featureGate(source, [node.minor < 31 ? 'AllAlpha' : 'AllBeta']);
  if (gate === 'unknown')
    return {
      answer: 'unknown',
      because: `this kubelet of 1.${node.minor} follows it if its feature gate ${GATE} is on, and not all of its flags and files were collected`,
      evidence: ['kubelet.cmdline', 'kubelet.config'],
    };
  const on = gate === 'unset' ? node.minor >= 31 : gate.on;
  return known(on ? 'yes' : 'no', [...version, ...(gate === 'unset' ? [] : [gate])]);
}

type Tells = (Known<'yes' | 'no'> & { readonly how: string }) | { readonly answer: 'unknown'; readonly how: string };

/**
 * containerd 2 tells its driver, containerd 1 does not (Kubernetes blog, 2024-08-21; containerd pull request 11346, for 1.7, was not merged), and
 * cri-dockerd since 0.3.17 (its pull request 425). Dockershim has the kubelet compare the drivers, and refuse.
 */
function runtimeTells(source: Source<Kinds>, runtime: DriverChoice, node: KubeletNode | null): Tells {
  const info = source.get('criInfo');
  const told = info.missing
    ? undefined
    : info.value.settings.find((s) => /(^|\.)cgroupDriver$/i.test(s.path) && /runtimeConfig|linux/i.test(s.path));
  if (runtime.name === 'docker') {
    const how = 'cri-dockerd reports docker’s driver over the CRI';
    if (!behindCriDockerd(source, node)) return { ...known('no'), how };
    if (!info.missing && told !== undefined) return { ...known('yes', [{ fact: info, span: told }]), how };
    return { answer: 'unknown', how: `${how} from 0.3.17 on, and its version is not in the bundle` };
  }
  if (!info.missing && told !== undefined)
    return { ...known('yes', [{ fact: info, span: told }]), how: 'the runtime reports its driver over the CRI' };
  const said = node?.runtime?.name === 'containerd' ? node.runtime : null;
  if (said !== null && said.major < 2) return { ...known('no', [said]), how: 'this is containerd 1' };
  const containerd = source.get('containerdConfig');
  const version = containerd.missing ? undefined : setting(containerd.value, 'version');
  const how = 'this is containerd 2, which reports its driver over the CRI';
  if (said !== null) return { ...known('yes', [said]), how };
  // only containerd 2 takes a file of version 3, and it takes the older ones too
  if (!containerd.missing && version !== undefined && Number(version.value) >= 3)
    return { ...known('yes', [{ fact: containerd, span: version }]), how };
  return { ...known('no', [], false), how: 'containerd’s version is not in the bundle' };
}
