import type { Setting } from '../facts/index.ts';
import { type DriverAnswer, silence } from './cgroup-driver.ts';
import type { Source } from './devices.ts';
import { flag, setting } from './settings.ts';

export type ContainerdKinds = 'containerdConfig' | 'containerdArgs' | 'criInfo';

/** The containerd that reads /etc/containerd/config.toml: those of k3s, k0s and microk8s have files of their own. */
export const OWN_SOCKET = '/run/containerd/containerd.sock';
export const CONTAINERD_FILE = '/etc/containerd/config.toml';

export const socketPath = (endpoint: string) => endpoint.replace(/^unix:\/\//, '').replace(/^\/var\/run\//, '/run/');

/** Where a file of each version has the settings of the CRI (measured: containerd 1.6 takes no notice of version 2's names in a file of version 1). */
export const CRI_TABLE = [
  '',
  'plugins.cri.',
  'plugins.io.containerd.grpc.v1.cri.',
  'plugins.io.containerd.cri.v1.runtime.',
];

/** Only the shims of runc have SystemdCgroup among their options. */
const OF_RUNC = /^(|io\.containerd\.runc\.v[12])$/;

/**
 * The driver of the containerd behind a socket: what `crictl info` of it says, else what its file says. null: nothing of it was collected.
 */
export function containerdDriver(source: Source<ContainerdKinds>, endpoint: string): DriverAnswer | null {
  const info = infoDriver(source, endpoint);
  if (info !== null || socketPath(endpoint) !== OWN_SOCKET) return info;
  return fileDriver(source);
}

export const OWN_CONTAINERD = `unix://${OWN_SOCKET}`;

/** The configuration that containerd runs with, all files merged: `config` of `crictl info`. */
function infoDriver(source: Source<ContainerdKinds>, endpoint: string): DriverAnswer | null {
  const info = source.get('criInfo');
  if (info.missing) return null;
  const says = setting(info.value, 'config.containerdEndpoint')?.value;
  if (typeof says !== 'string' || socketPath(says) !== socketPath(endpoint)) return null;
  const named = setting(info.value, 'config.containerd.defaultRuntimeName')?.value;
  const runtime = `config.containerd.runtimes.${typeof named === 'string' && named !== '' ? named : 'runc'}`;
  const type = setting(info.value, `${runtime}.runtimeType`)?.value;
  const on = setting(info.value, `${runtime}.options.SystemdCgroup`);
  if (setting(info.value, 'config.systemdCgroup')?.value === true || typeof on?.value !== 'boolean') return null;
  if (typeof type === 'string' && !OF_RUNC.test(type)) return notRunc(type);
  return {
    driver: on.value ? 'systemd' : 'cgroupfs',
    name: 'containerd',
    cites: [{ fact: info, span: on }],
    sure: true,
  };
}

/** runc's options of the runtime that pods get by default; null where the CRI of this containerd is off. */
function fileDriver(source: Source<ContainerdKinds>): DriverAnswer | null {
  const containerd = source.get('containerdConfig');
  if (containerd.missing) return null;
  const args = source.get('containerdArgs');
  const other = args.missing ? undefined : flag(args.value, 'config', 'c')?.value;
  if (other !== undefined && other !== CONTAINERD_FILE)
    return unclear(`containerd reads ${other}, which was not collected`);
  const all = containerd.value.settings;
  if (all.some((s) => /^disabled_plugins(\.|$)/.test(s.path) && /(^|\.)cri$/.test(String(s.value)))) return null;
  // measured on 1.6: an imported file wins over this one
  if (all.some((s) => /^imports\.\d/.test(s.path)))
    return unclear('containerd’s config.toml imports other files, which win over it and were not collected');
  const version = Number(setting(containerd.value, 'version')?.value ?? 1);
  const cri = CRI_TABLE[version] ?? '';
  const astray = all.find((s) => SPEAKS_OF_CGROUPS.test(s.path) && !s.path.startsWith(cri));
  if (cri === '' || astray !== undefined) return unclear(otherTable(version, astray));
  if (all.some((s) => s.path === `${cri}systemd_cgroup` && s.value === true))
    return unclear('systemd_cgroup of containerd’s config.toml is for runtimes of containerd 1.2 and before only');
  if (all.some((s) => s.path === `${cri}containerd.default_runtime.runtime_type` && s.value !== ''))
    return unclear('containerd’s config.toml has a default_runtime, which only containerd 1.2 and before prefer');
  const named = setting(containerd.value, `${cri}containerd.default_runtime_name`)?.value;
  const runtime = `${cri}containerd.runtimes.${typeof named === 'string' && named !== '' ? named : 'runc'}`;
  const type = setting(containerd.value, `${runtime}.runtime_type`)?.value;
  if (typeof type === 'string' && !OF_RUNC.test(type)) return notRunc(type);
  const [on, twice] = all.filter((s) => s.path === `${runtime}.options.SystemdCgroup`);
  if (twice !== undefined)
    return unclear(`lines ${on?.line} and ${twice.line} of containerd’s config.toml set the same, which TOML forbids`);
  if (typeof on?.value === 'boolean')
    return {
      driver: on.value ? 'systemd' : 'cgroupfs',
      name: 'containerd',
      cites: [{ fact: containerd, span: on }],
      sure: true,
    };
  if (!containerd.closed) return unclear('containerd’s config.toml was not read whole');
  return {
    driver: 'cgroupfs',
    name: 'containerd',
    cites: [silence(containerd, 'SystemdCgroup (unset means cgroupfs)')],
    sure: false,
  };
}

/** Settings that would decide it, in whatever table. */
const SPEAKS_OF_CGROUPS =
  /^plugins\..*\.(runtimes\.[^.]+\.options\.SystemdCgroup|default_runtime_name)$|^plugins\.[^=]*cri\.systemd_cgroup$/;

function otherTable(version: number, astray: Setting | undefined): string {
  const where = astray === undefined ? '' : `line ${astray.line} of `;
  return `${where}containerd’s config.toml has its runtimes under a name that files of version ${version} do not have: what containerd makes of that depends on its release`;
}

const notRunc = (type: string) =>
  unclear(`the runtime that containerd gives to pods is ${type}, which has its cgroup driver from elsewhere`);

function unclear(because: string): DriverAnswer {
  return { because: `the runtime’s cgroup driver is not known: ${because}`, evidence: ['cri.info'] };
}
