import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { elements, flag, setting, variable } from './settings.ts';

export type Driver = 'systemd' | 'cgroupfs';

/** A line that states something, or the file that was read whole and does not. */
export type Statement =
  | { readonly fact: Fact<FactKind>; readonly span: Span }
  | {
      readonly absence: {
        readonly kind: 'absent';
        readonly node: string;
        readonly evidence: string;
        readonly path: string;
        readonly absent: string;
      };
    };

export interface DriverChoice {
  readonly driver: Driver;
  readonly name: string;
  readonly cites: readonly Statement[];
  /** False when the driver is a program's default rather than something written. */
  readonly sure: boolean;
}

type KubeletKinds = 'kubeletArgs' | 'kubeletConfig' | 'kubeadmFlags' | 'k3sArgs';
type RuntimeKinds =
  | 'dockerInfo'
  | 'daemonJson'
  | 'dockerdArgs'
  | 'containerdConfig'
  | 'criInfo'
  | 'kubeletArgs'
  | 'kubeadmFlags'
  | 'kubeletConfig';

const isDriver = (text: unknown): text is Driver => text === 'systemd' || text === 'cgroupfs';

function absence(fact: Fact<FactKind>, what: string): Statement {
  return { absence: { kind: 'absent', node: fact.node, evidence: fact.evidence, path: fact.path, absent: what } };
}

/** The kubelet's driver: flag, else config file, else its built-in default (cgroupfs) when the config was read whole. */
export function kubeletDriver(source: Source<KubeletKinds>): DriverChoice | null {
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
  const config = source.get('kubeletConfig');
  if (config.missing) return null;
  const configured = setting(config.value, 'cgroupDriver');
  if (configured !== undefined && isDriver(configured.value)) {
    return { driver: configured.value, name: 'kubelet', cites: [{ fact: config, span: configured }], sure: true };
  }
  if (configured !== undefined || !config.closed) return null;
  return {
    driver: 'cgroupfs',
    name: 'kubelet',
    cites: [absence(config, 'cgroupDriver (the kubelet’s default is cgroupfs)')],
    sure: false,
  };
}

/**
 * The driver of the runtime that the kubelet talks to. Its endpoint names the runtime; where none is named, both docker (dockershim) and
 * containerd may be meant, and only an answer that both give is one.
 */
export function runtimeDriver(source: Source<RuntimeKinds>): DriverChoice | null {
  const endpoint = runtimeEndpoint(source);
  if (endpoint !== null && /docker/.test(endpoint)) return dockerDriver(source);
  if (endpoint !== null) return OWN_CONTAINERD.test(endpoint) ? containerdDriver(source) : null;
  const docker = dockerDriver(source);
  const containerd = containerdDriver(source);
  const only = docker === null || containerd === null ? (docker ?? containerd) : null;
  // that this is the one which the kubelet talks to is assumed
  if (only !== null) return { ...only, sure: false };
  return docker?.driver === containerd?.driver ? docker : null;
}

/** The containerd that reads /etc/containerd/config.toml: those of k3s, k0s and microk8s have files of their own. */
const OWN_CONTAINERD = /^(unix:\/\/)?(\/var)?\/run\/containerd\/containerd\.sock$/;

/** runc's options of the runtime that pods get by default; null where containerd's file does not decide (its CRI is off, it imports others). */
function containerdDriver(source: Source<'containerdConfig'>): DriverChoice | null {
  const containerd = source.get('containerdConfig');
  if (containerd.missing) return null;
  const all = containerd.value.settings;
  if (all.some((s) => /^disabled_plugins(\.|$)/.test(s.path) && /(^|\.)cri$/.test(String(s.value)))) return null;
  const byDefault = all.find((s) => s.path.endsWith('.default_runtime_name'))?.value;
  const runtime = typeof byDefault === 'string' && byDefault !== '' ? byDefault : 'runc';
  const setting = all.find((s) => s.path.endsWith(`.runtimes.${runtime}.options.SystemdCgroup`));
  if (setting !== undefined && typeof setting.value === 'boolean') {
    return {
      driver: setting.value ? 'systemd' : 'cgroupfs',
      name: 'containerd',
      cites: [{ fact: containerd, span: setting }],
      sure: true,
    };
  }
  if (!containerd.closed || all.some((s) => /^imports\.\d/.test(s.path))) return null;
  return {
    driver: 'cgroupfs',
    name: 'containerd',
    cites: [absence(containerd, 'SystemdCgroup (unset means cgroupfs)')],
    sure: false,
  };
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
function runtimeEndpoint(source: Source<'kubeletArgs' | 'kubeadmFlags' | 'kubeletConfig'>): string | null {
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

/** Flags that a kubelet of 1.27 or later refuses to start with: this one is older, and cannot ask the runtime for its driver. */
const REMOVED_FLAGS = ['container-runtime', 'network-plugin', 'cni-bin-dir', 'docker-endpoint'];

/** An old kubelet, which no runtime tells a driver. */
export function isOldKubelet(source: Source<'kubeletArgs'>): boolean {
  const args = source.get('kubeletArgs');
  return !args.missing && flag(args.value, ...REMOVED_FLAGS) !== undefined;
}

/**
 * Why the kubelet may take the driver from the runtime in spite of its own setting (RuntimeConfig of the CRI: kubelet 1.31, or 1.28 with
 * the gate, and containerd 2 or CRI-O 1.28), else null. A bundle does not say the kubelet's version.
 */
export function mayFollowRuntime(source: Source<'criInfo' | 'kubeletArgs' | 'containerdConfig'>): string | null {
  if (isOldKubelet(source)) return null;
  const info = source.get('criInfo');
  const told =
    !info.missing &&
    info.value.settings.some((s) => /(^|\.)cgroupDriver$/i.test(s.path) && /runtimeConfig|linux/i.test(s.path));
  const containerd = source.get('containerdConfig');
  const second = !containerd.missing && Number(setting(containerd.value, 'version')?.value ?? 0) >= 3;
  if (!told && !second) return null;
  const how = told
    ? 'the runtime reports its driver over the CRI'
    : 'this is containerd 2, which reports its driver over the CRI';
  return `${how}: kubelet 1.31 and later follows it, an older one does not, and the kubelet’s version is not in the bundle`;
}
