import type { Fact, FactKind } from '../facts/index.ts';
import { behindCriDockerd, reportedEndpoint, runtimeEndpoint } from './cgroup.ts';
import { CONTAINERD_FILE, CRI_TABLE, OWN_CONTAINERD, OWN_SOCKET, socketPath } from './cgroup-containerd.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { kubeletNode } from './kubelet-node.ts';
import { elements, flag, setting } from './settings.ts';

export const CNI_RUNTIME_KINDS = [
  'kubeletArgs',
  'kubeadmFlags',
  'kubeletConfig',
  'k3sArgs',
  'k8sNodes',
  'containerdConfig',
  'containerdArgs',
  'criInfo',
  'criDockerdArgs',
] as const satisfies readonly FactKind[];
type Kinds = (typeof CNI_RUNTIME_KINDS)[number];

export const CONF_DIR = '/etc/cni/net.d';
export const BIN_DIR = '/opt/cni/bin';

/** How the runtime of a node's kubelet takes its CNI configuration. */
export interface CniRuntime {
  readonly name: 'containerd' | 'CRI-O' | 'dockershim' | 'cri-dockerd';
  readonly confDir: string;
  /** null: not known. */
  readonly binDirs: readonly string[] | null;
  /** A setting names the directory of plugins: what is built in, a distribution may have built in otherwise. */
  readonly named: boolean;
  /** So many files of the directory are used, each for one more interface of a pod; 0: all. */
  readonly files: number;
  /** It passes over a file that it cannot use, and takes the next; containerd stops there. */
  readonly passesOver: boolean;
  /** It calls the plugin loopback for every pod. */
  readonly loopback: boolean;
}

/** Why the pods of a node have no CNI, or why it is not known where its runtime looks. */
export type NoCniRuntime =
  | { readonly kind: 'none'; readonly because: string; readonly told?: Told }
  | { readonly kind: 'unknown'; readonly because: string; readonly evidence: readonly string[] };

export type CniRuntimeAnswer = ({ readonly kind: 'known' } & CniRuntime) | NoCniRuntime;

const bare = (dir: string): string => dir.replace(/(.)\/+$/, '$1');
const OF_K3S = '/run/k3s/containerd/containerd.sock';

/** The socket that the kubelet of a node talks to; null: nothing tells. */
export function cniEndpoint(source: Source<Kinds>, hostname: string | null): string | null {
  const args = source.get('kubeletArgs');
  const k3s = source.get('k3sArgs');
  if (args.missing && !k3s.missing) return OF_K3S;
  return runtimeEndpoint(source) ?? reportedEndpoint(kubeletNode(source, hostname));
}

export function cniRuntime(source: Source<Kinds>, hostname: string | null): CniRuntimeAnswer {
  const args = source.get('kubeletArgs');
  const k3s = source.get('k3sArgs');
  if (args.missing && k3s.missing) {
    if (args.lookedFor && k3s.lookedFor) return { kind: 'none', because: 'no kubelet runs on this node' };
    return unclear(`whether a kubelet runs here is not known: its command line ${args.because}`, 'kubelet.cmdline');
  }
  const endpoint = cniEndpoint(source, hostname);
  if (endpoint === null)
    return unclear('which runtime the kubelet uses is not known: no --container-runtime-endpoint', 'kubelet.config');
  const info = ofInfo(source, endpoint);
  if (info !== null) return info;
  const path = socketPath(endpoint);
  if (/crio\.sock$|^cri-o$/.test(path))
    return {
      kind: 'known',
      name: 'CRI-O',
      confDir: CONF_DIR,
      binDirs: null,
      named: false,
      files: 1,
      passesOver: true,
      loopback: false,
    };
  if (/docker/.test(path))
    return behindCriDockerd(source, kubeletNode(source, hostname)) ? ofCriDockerd(source) : ofDockershim(source);
  if (path === OWN_SOCKET || endpoint === OWN_CONTAINERD) return ofContainerdFile(source);
  const whose = path === OF_K3S ? 'k3s or RKE2 gives its containerd' : `the runtime behind ${path} has`;
  return unclear(`${whose} directories of CNI files of its own, and which they are was not collected`, 'cri.info');
}

function unclear(because: string, ...evidence: string[]): NoCniRuntime {
  return { kind: 'unknown', because, evidence };
}

/** `crictl info` of containerd: the configuration that it runs with, all files merged. */
export function containerdInfo(source: Source<'criInfo'>, endpoint: string | null): Fact<'criInfo'> | null {
  const info = source.get('criInfo');
  if (info.missing || endpoint === null) return null;
  const says = setting(info.value, 'config.containerdEndpoint')?.value;
  return typeof says === 'string' && socketPath(says) === socketPath(endpoint) ? info : null;
}

function ofInfo(source: Source<'criInfo'>, endpoint: string): CniRuntimeAnswer | null {
  const info = containerdInfo(source, endpoint);
  if (info === null) return null;
  const text = (path: string) => {
    const value = setting(info.value, path)?.value;
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const conf = text('cniconfig.PluginConfDir') ?? text('config.cni.confDir');
  const dirs = [...elements(info.value, 'cniconfig.PluginDirs'), ...elements(info.value, 'config.cni.binDirs')];
  const old = text('config.cni.binDir');
  const all = dirs.length > 0 ? dirs.map((d) => String(d.value)) : old === null ? [] : [old];
  const max = setting(info.value, 'cniconfig.PluginMaxConfNum') ?? setting(info.value, 'config.cni.maxConfNum');
  if (conf === null || all.length === 0) return null;
  return {
    kind: 'known',
    ...CONTAINERD,
    confDir: bare(conf),
    binDirs: [...new Set(all.map(bare))],
    named: true,
    files: typeof max?.value === 'number' ? max.value : 1,
    loopback: setting(info.value, 'config.cni.useInternalLoopback')?.value !== true,
  };
}

/** containerd, pkg/cri/config: its defaults, and that it stops at the first file that it cannot use (go-cni, loadFromConfDir). */
const CONTAINERD: CniRuntime = {
  name: 'containerd',
  confDir: CONF_DIR,
  binDirs: [BIN_DIR],
  named: false,
  files: 1,
  passesOver: false,
  loopback: true,
};

const SPEAKS_OF_CNI = /^plugins\..*\.cni\.(conf_dir|bin_dir|bin_dirs(\.\d+)?|max_conf_num|use_internal_loopback)$/;

function ofContainerdFile(source: Source<'containerdConfig' | 'containerdArgs'>): CniRuntimeAnswer {
  const args = source.get('containerdArgs');
  const lost = (why: string, evidence = 'cri.info') =>
    unclear(`where containerd looks for CNI files and plugins is not known: ${why}`, evidence);
  const other = args.missing ? undefined : flag(args.value, 'config', 'c')?.value;
  if (other !== undefined && other !== CONTAINERD_FILE) return lost(`it reads ${other}, which was not collected`);
  if (args.missing) return lost(`its command line ${args.because}`, 'cri.cmdline-containerd');
  const file = source.get('containerdConfig');
  if (file.missing)
    return file.lookedFor
      ? { kind: 'known', ...CONTAINERD }
      : lost(`its config.toml ${file.because}`, 'cri.containerd-config');
  if (!file.closed) return lost('its config.toml was not read whole');
  const all = file.value.settings;
  if (all.some((s) => /^disabled_plugins(\.|$)/.test(s.path) && /(^|\.)cri$/.test(String(s.value))))
    return lost('its config.toml turns its CRI off');
  if (all.some((s) => /^imports\.\d/.test(s.path)))
    return lost('its config.toml imports other files, which were not collected');
  const cri = CRI_TABLE[Number(setting(file.value, 'version')?.value ?? 1)] ?? '';
  const astray = all.find((s) => SPEAKS_OF_CNI.test(s.path) && (cri === '' || !s.path.startsWith(`${cri}cni.`)));
  if (astray !== undefined)
    return lost(`line ${astray.line} of its config.toml is in a table that files of this version do not have`);
  if (cri === '') return { kind: 'known', ...CONTAINERD };
  const at = (key: string) => setting(file.value, `${cri}cni.${key}`)?.value;
  const [conf, dir, max] = [at('conf_dir'), at('bin_dir'), at('max_conf_num')];
  const dirs = elements(file.value, `${cri}cni.bin_dirs`).map((d) => String(d.value));
  const given = [...dirs, ...(typeof dir === 'string' && dir !== '' ? [dir] : [])].map(bare);
  return {
    kind: 'known',
    ...CONTAINERD,
    confDir: typeof conf === 'string' && conf !== '' ? bare(conf) : CONF_DIR,
    binDirs: given.length > 0 ? given : [BIN_DIR],
    named: given.length > 0,
    files: typeof max === 'number' ? max : 1,
    loopback: at('use_internal_loopback') !== true,
  };
}

/** The network plugins that kubelets had in them until 1.23; without the flag they used none. */
function ofDockershim(source: Source<'kubeletArgs'>): CniRuntimeAnswer {
  const args = source.get('kubeletArgs');
  if (args.missing)
    return unclear(`the kubelet’s network plugin is not known: its command line ${args.because}`, 'kubelet.cmdline');
  const plugin = flag(args.value, 'network-plugin');
  if (plugin === undefined || plugin.value === '') {
    if (args.closed) return { kind: 'none', because: 'the kubelet uses docker’s own networks: no --network-plugin' };
    return unclear('the kubelet’s network plugin is not known: its command line was cut', 'kubelet.cmdline');
  }
  if (plugin.value !== 'cni')
    return {
      kind: 'none',
      because: `the kubelet’s network plugin is ${plugin.value}, not CNI`,
      told: { fact: args, span: plugin },
    };
  return { kind: 'known', name: 'dockershim', ...byFlags(args.value) };
}

/** cri-dockerd has the same flags. Releases differ in what they do without --network-plugin. */
function ofCriDockerd(source: Source<'criDockerdArgs'>): CniRuntimeAnswer {
  const args = source.get('criDockerdArgs');
  if (args.missing)
    return unclear(
      `where cri-dockerd looks for CNI files is not known: its command line ${args.because}`,
      'cri.cmdline-cri-dockerd',
    );
  const plugin = flag(args.value, 'network-plugin');
  if (plugin === undefined)
    return unclear('whether cri-dockerd uses CNI depends on its release: it has no --network-plugin', 'cri.info');
  if (plugin.value !== 'cni')
    return {
      kind: 'none',
      because: `cri-dockerd’s network plugin is ${plugin.value === '' ? 'none' : plugin.value}, not CNI`,
      told: { fact: args, span: plugin },
    };
  return { kind: 'known', name: 'cri-dockerd', ...byFlags(args.value) };
}

function byFlags(args: Fact<'kubeletArgs'>['value']): Omit<CniRuntime, 'name'> {
  // the image hyperkube has plugins of its own in that directory
  const image = args.processes.some((p) => /(^|\/)hyperkube$/.test(p.argv[0]?.text ?? ''));
  const conf = flag(args, 'cni-conf-dir')?.value ?? '';
  const bin = flag(args, 'cni-bin-dir')?.value ?? '';
  const dirs = bin.split(',').filter((dir) => dir !== '');
  return {
    confDir: conf === '' ? CONF_DIR : bare(conf),
    binDirs: dirs.length > 0 ? dirs.map(bare) : image ? null : [BIN_DIR],
    named: dirs.length > 0,
    files: 1,
    passesOver: true,
    loopback: true,
  };
}
