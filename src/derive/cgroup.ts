import type { ProcessArgs } from '../facts/index.ts';
import { type ContainerdKinds, containerdDriver, OWN_CONTAINERD } from './cgroup-containerd.ts';
import { type Driver, type DriverAnswer, type DriverChoice, silence } from './cgroup-driver.ts';
import type { Source } from './devices.ts';
import type { KubeletNode } from './kubelet-node.ts';
import { elements, flag, setting, variable } from './settings.ts';

type KubeletKinds = 'kubeletArgs' | 'kubeletConfig' | 'kubeadmFlags' | 'k3sArgs';
type RuntimeKinds =
  | 'dockerInfo'
  | 'daemonJson'
  | 'dockerdArgs'
  | ContainerdKinds
  | 'kubeletArgs'
  | 'kubeadmFlags'
  | 'kubeletConfig';

const isDriver = (text: unknown): text is Driver => text === 'systemd' || text === 'cgroupfs';

const KUBELET_UNKNOWN = {
  because: 'the kubelet’s cgroup driver is not known: no --cgroup-driver flag and its config.yaml was not collected',
  evidence: ['kubelet.config', 'kubelet.cmdline'],
};

/** The kubelet's driver: flag, else config file, else its built-in default (cgroupfs) when the config was read whole. */
export function kubeletDriver(source: Source<KubeletKinds>): DriverAnswer {
  const args = source.get('kubeletArgs');
  const flagged = args.missing ? undefined : flag(args.value, 'cgroup-driver');
  if (!args.missing && flagged !== undefined && isDriver(flagged.value)) {
    return { driver: flagged.value, name: 'kubelet', cites: [{ fact: args, span: flagged }], sure: true };
  }
  const kubeadm = source.get('kubeadmFlags');
  if (args.missing && !kubeadm.missing) {
    // not running: what the unit would start it with
    const line = variable(kubeadm.value, 'KUBELET_KUBEADM_ARGS');
    const value = /--cgroup-driver[= ](\S+)/.exec(line?.value ?? '')?.[1]?.replace(/"$/, '');
    if (line !== undefined && isDriver(value))
      return { driver: value, name: 'kubelet', cites: [{ fact: kubeadm, span: line }], sure: true };
  }
  const dropIns = args.missing ? undefined : flag(args.value, 'config-dir')?.value;
  if (dropIns !== undefined)
    return {
      because: `the kubelet’s cgroup driver is not known: files in ${dropIns} (--config-dir) win over its config.yaml and were not collected`,
      evidence: ['k8s.node'],
    };
  const config = source.get('kubeletConfig');
  if (!args.missing && isPlainKubelet(args.value) && flag(args.value, 'config') === undefined) {
    if (!config.missing || !args.closed)
      return {
        because:
          'the kubelet’s cgroup driver is not known: it runs without --config, so that it reads no config.yaml, and without --cgroup-driver; or its command line was cut',
        evidence: ['kubelet.cmdline'],
      };
    if (config.lookedFor)
      return {
        driver: 'cgroupfs',
        name: 'kubelet',
        cites: [silence(args, '--cgroup-driver and --config (the kubelet’s default is cgroupfs)')],
        sure: false,
      };
  }
  if (config.missing) return KUBELET_UNKNOWN;
  const configured = setting(config.value, 'cgroupDriver');
  if (configured !== undefined && isDriver(configured.value)) {
    return { driver: configured.value, name: 'kubelet', cites: [{ fact: config, span: configured }], sure: true };
  }
  if (configured !== undefined || !config.closed) return KUBELET_UNKNOWN;
  return {
    driver: 'cgroupfs',
    name: 'kubelet',
    cites: [silence(config, 'cgroupDriver (the kubelet’s default is cgroupfs)')],
    sure: false,
  };
}

/** Not one inside another program (kubelite of microk8s), which has its flags in a file. */
const isPlainKubelet = (args: ProcessArgs) =>
  args.processes.some((p) => /(^|\/)(kubelet|hyperkube)$/.test(p.argv[0]?.text ?? ''));

const RUNTIME_UNKNOWN = {
  because:
    'the runtime’s cgroup driver is not known: no setting of the runtime that the kubelet uses was collected, or docker and containerd differ and nothing says which one it uses',
  evidence: ['docker.info-json', 'cri.containerd-config', 'cri.info'],
};

/**
 * The driver of the runtime that the kubelet talks to. Its endpoint names the runtime, else what it reported to the API; where neither does,
 * both docker (dockershim) and containerd may be meant, and only an answer that both give is one.
 */
export function runtimeDriver(source: Source<RuntimeKinds>, node: KubeletNode | null): DriverAnswer {
  const endpoint = runtimeEndpoint(source) ?? reportedEndpoint(node);
  if (endpoint !== null && /docker/.test(endpoint)) return dockerDriver(source) ?? RUNTIME_UNKNOWN;
  if (endpoint !== null) return containerdDriver(source, endpoint) ?? RUNTIME_UNKNOWN;
  const docker = dockerDriver(source);
  const containerd = containerdDriver(source, OWN_CONTAINERD);
  if (containerd !== null && 'because' in containerd) return containerd;
  const only = docker === null || containerd === null ? (docker ?? containerd) : null;
  // that this is the one which the kubelet talks to is assumed
  if (only !== null) return { ...only, sure: false };
  return docker !== null && docker.driver === containerd?.driver ? docker : RUNTIME_UNKNOWN;
}

/** `cri-o` is the runtime of no file that is read here. */
export function reportedEndpoint(node: KubeletNode | null): string | null {
  const name = node?.runtime?.name;
  return name === undefined ? null : name === 'containerd' ? OWN_CONTAINERD : name;
}

/** Docker behind cri-dockerd, not behind the dockershim that kubelets had in them until 1.23. */
export function behindCriDockerd(
  source: Source<'kubeletArgs' | 'kubeadmFlags' | 'kubeletConfig'>,
  node: KubeletNode | null,
): boolean {
  return (node !== null && node.minor >= 24) || /cri-?docker/.test(runtimeEndpoint(source) ?? '');
}

function dockerDriver(source: Source<RuntimeKinds>): DriverChoice | null {
  const info = source.get('dockerInfo');
  if (!info.missing) {
    const reported = setting(info.value, 'CgroupDriver');
    if (reported !== undefined && isDriver(reported.value)) {
      return { driver: reported.value, name: 'docker', cites: [{ fact: info, span: reported }], sure: true };
    }
  }
  const args = source.get('dockerdArgs');
  const opt = args.missing
    ? undefined
    : args.value.processes
        .flatMap((p) => p.flags)
        .findLast((f) => f.name === 'exec-opt' && f.value.startsWith('native.cgroupdriver='));
  const flagged = opt?.value.slice('native.cgroupdriver='.length);
  if (!args.missing && opt !== undefined && isDriver(flagged))
    return { driver: flagged, name: 'docker', cites: [{ fact: args, span: opt }], sure: true };
  const daemon = source.get('daemonJson');
  if (daemon.missing) return null;
  for (const element of elements(daemon.value, 'exec-opts')) {
    const value =
      typeof element.value === 'string' ? /^native\.cgroupdriver=(\w+)$/.exec(element.value)?.[1] : undefined;
    // the file is what the next start will use; docker info would have said what runs now
    if (isDriver(value))
      return { driver: value, name: 'docker', cites: [{ fact: daemon, span: element }], sure: false };
  }
  return null;
}

/** A running kubelet's own arguments and config decide; kubeadm's file only says what a stopped one would be started with. */
export function runtimeEndpoint(source: Source<'kubeletArgs' | 'kubeadmFlags' | 'kubeletConfig'>): string | null {
  const config = source.get('kubeletConfig');
  const configured = config.missing ? undefined : setting(config.value, 'containerRuntimeEndpoint')?.value;
  const args = source.get('kubeletArgs');
  if (!args.missing) {
    const endpoint = flag(args.value, 'container-runtime-endpoint');
    if (endpoint !== undefined) return endpoint.value;
    const runtime = flag(args.value, 'container-runtime')?.value;
    if (runtime === 'docker') return 'docker';
    // flags of dockershim, gone with it in 1.24: without an endpoint they mean docker
    if (runtime === undefined && flag(args.value, 'network-plugin', 'cni-bin-dir', 'docker-endpoint') !== undefined)
      return 'docker';
    return typeof configured === 'string' && configured !== '' ? configured : null;
  }
  if (typeof configured === 'string' && configured !== '') return configured;
  const kubeadm = source.get('kubeadmFlags');
  if (kubeadm.missing) return null;
  const value = variable(kubeadm.value, 'KUBELET_KUBEADM_ARGS')?.value ?? '';
  return /--container-runtime-endpoint[= ]([^\s"]+)/.exec(value)?.[1] ?? null;
}
