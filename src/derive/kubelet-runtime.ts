import type { Span } from '../core/span.ts';
import type { Fact, FactKind, MissingFact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { elements, flag, flags, setting, variable } from './settings.ts';

export const RUNTIME_KINDS = [
  'kubeletArgs',
  'kubeletConfig',
  'kubeadmFlags',
  'kubeletUnit',
  'containerdConfig',
  'containerdArgs',
  'crioArgs',
  'criDockerdArgs',
  'dockerdArgs',
  'criInfo',
] as const satisfies readonly FactKind[];

type Kinds = (typeof RUNTIME_KINDS)[number];

/** Where the kubelet looks for its runtime: `docker` is the dockershim that kubelets had in them until 1.23. */
export interface RuntimeChoice {
  readonly endpoint: string;
  /** null: nothing that was collected names it, and the kubelet has a default from 1.24 on. */
  readonly told: Told | null;
}

/** Flags by the release that no longer knows them: CHANGELOG-1.24 (#106907), CHANGELOG-1.27 (#114017), and 1.35. */
const REMOVED: Readonly<Record<string, number>> = {
  'experimental-dockershim-root-directory': 24,
  'docker-endpoint': 24,
  'image-pull-progress-deadline': 24,
  'network-plugin': 24,
  'network-plugin-mtu': 24,
  'cni-conf-dir': 24,
  'cni-bin-dir': 24,
  'cni-cache-dir': 24,
  'container-runtime': 27,
  'pod-infra-container-image': 35,
};

const DEFAULT = 'unix:///run/containerd/containerd.sock';
const SHIM = ['network-plugin', 'cni-bin-dir', 'cni-conf-dir', 'docker-endpoint'];

/** Of a running kubelet: its own arguments and file; of one that does not run: what would start it. null: not known. */
export function runtimeChoice(source: Source<Kinds>): RuntimeChoice | null {
  const args = source.get('kubeletArgs');
  const config = source.get('kubeletConfig');
  const configured = config.missing ? undefined : setting(config.value, 'containerRuntimeEndpoint');
  const byFile =
    config.missing || typeof configured?.value !== 'string' || configured.value === ''
      ? null
      : { endpoint: configured.value, told: { fact: config, span: configured } };
  if (!args.missing) {
    const endpoint = flag(args.value, 'container-runtime-endpoint');
    if (endpoint !== undefined) return { endpoint: endpoint.value, told: { fact: args, span: endpoint } };
    const docker = flags(args.value, 'container-runtime').find((f) => f.value === 'docker');
    const shim = docker ?? flag(args.value, ...SHIM);
    if (shim !== undefined) return { endpoint: 'docker', told: { fact: args, span: shim } };
    if (byFile !== null) return byFile;
    const whole = args.closed && flag(args.value, 'config-dir') === undefined && !config.missing && config.closed;
    return whole ? { endpoint: DEFAULT, told: null } : null;
  }
  const kubeadm = source.get('kubeadmFlags');
  const line = kubeadm.missing ? undefined : variable(kubeadm.value, 'KUBELET_KUBEADM_ARGS');
  const value = /--container-runtime-endpoint[= ]([^\s"]+)/.exec(line?.value ?? '')?.[1];
  return kubeadm.missing || line === undefined || value === undefined
    ? byFile
    : { endpoint: value, told: { fact: kubeadm, span: line } };
}

export const socketOf = (endpoint: string): string =>
  endpoint.replace(/^unix:(\/\/)?/, '').replace(/^\/var\/run\//, '/run/');

/** The daemon that listens on a socket, and whether it runs; null: it is none that is known. */
export function daemonBehind(
  source: Source<Kinds>,
  endpoint: string,
): {
  readonly name: string;
  readonly process: Fact<FactKind> | MissingFact<FactKind>;
  readonly span: Span | null;
} | null {
  const socket = socketOf(endpoint);
  const of = (name: string, kind: 'containerdArgs' | 'crioArgs' | 'criDockerdArgs' | 'dockerdArgs') => {
    const process = source.get(kind);
    if (process.missing) return { name, process, span: null };
    // dockerd starts a containerd of its own where there is none, with a socket of its own
    const own = process.value.processes.find(
      (p) => kind !== 'containerdArgs' || !p.flags.some((f) => f.name === 'config' && /\/docker\//.test(f.value)),
    );
    return { name, process, span: own ?? null };
  };
  if (socket === 'docker') return of('dockerd', 'dockerdArgs');
  if (socket === '/run/containerd/containerd.sock') return of('containerd', 'containerdArgs');
  const containerd = source.get('containerdArgs');
  const there = containerd.missing
    ? undefined
    : containerd.value.processes.find((p) =>
        p.flags.some((f) => (f.name === 'address' || f.name === 'a') && socketOf(f.value) === socket),
      );
  if (there !== undefined) return { name: 'containerd', process: containerd, span: there };
  if (/\/crio\.sock$/.test(socket)) return of('crio', 'crioArgs');
  return /\/cri-dockerd\.sock$/.test(socket) ? of('cri-dockerd', 'criDockerdArgs') : null;
}

/**
 * The line that turns the CRI of containerd off. Measured on containerd 1.6: a file without a version means `cri`, one of version 2 the whole name;
 * of version 2 `cri` is an error, and containerd does not start.
 */
export function criDisabled(source: Source<Kinds>): (Told & { readonly sure: boolean }) | null {
  const file = source.get('containerdConfig');
  const args = source.get('containerdArgs');
  if (file.missing) return null;
  const other = args.missing ? undefined : flag(args.value, 'config', 'c')?.value;
  if (other !== undefined && other !== '/etc/containerd/config.toml') return null;
  const version = Number(setting(file.value, 'version')?.value ?? 1);
  const list = elements(file.value, 'disabled_plugins');
  const right = version === 1 ? 'cri' : 'io.containerd.grpc.v1.cri';
  const off = list.find(({ value }) => value === right) ?? list.find(({ value }) => /(^|\.)cri$/.test(String(value)));
  return off === undefined ? null : { fact: file, span: off, sure: off.value === right };
}

/** A flag that the kubelet is started with, in the files that say so. */
export function startedWith(source: Source<Kinds>, name: string): (Told & { readonly file: string }) | null {
  const word = new RegExp(`--${name}(?=[= "']|$)`);
  const kubeadm = source.get('kubeadmFlags');
  const line = kubeadm.missing ? undefined : kubeadm.value.variables.find((v) => word.test(v.value));
  if (!kubeadm.missing && line !== undefined)
    return { fact: kubeadm, span: line, file: '/var/lib/kubelet/kubeadm-flags.env' };
  const unit = source.get('kubeletUnit');
  const entry = unit.missing ? undefined : unit.value.entries.find((e) => word.test(e.value));
  return unit.missing || entry === undefined ? null : { fact: unit, span: entry, file: entry.file };
}

/** Of the flags that a kubelet of some release refuses, those that this one is started with. */
export function removedFlags(
  source: Source<Kinds>,
): readonly (Told & { readonly name: string; readonly since: number; readonly file: string })[] {
  return Object.entries(REMOVED).flatMap(([name, since]) => {
    const found = startedWith(source, name);
    return found === null ? [] : [{ ...found, name, since }];
  });
}
