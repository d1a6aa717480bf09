import type { Span } from '../core/span.ts';
import type { Fact, Setting } from '../facts/index.ts';
import { effectiveConf, isOtherNetwork } from './cni.ts';
import type { Source } from './devices.ts';
import { flag } from './settings.ts';

/** What flanneld was told to carry pod traffic with: net-conf.json. */
export interface FlannelBackend {
  readonly fact: Fact<'flannelNetConf'>;
  /** Lower case, as flanneld compares it: vxlan, host-gw, wireguard, udp ... */
  readonly type: string;
  /** The line that says so; without a Backend (udp then) the whole file does. */
  readonly span: Span;
  readonly vni: number;
  readonly directRouting: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

const MOUNTED = '/etc/kube-flannel/net-conf.json';

/** The backend, or why it is not known. flanneld's JSON reader takes keys in any case. */
export function flannelBackend(source: Source<'flannelNetConf' | 'flanneldArgs'>): FlannelBackend | string {
  const fact = source.get('flannelNetConf');
  if (fact.missing) return `net-conf.json ${fact.because}`;
  const args = source.get('flanneldArgs');
  if (!args.missing) {
    const etcd = flag(args.value, 'etcd-endpoints', 'etcd-prefix');
    if (etcd !== undefined && flag(args.value, 'kube-subnet-mgr') === undefined)
      return 'flanneld reads its configuration from etcd';
    const path = flag(args.value, 'net-config-path')?.value;
    if (path !== undefined && path !== MOUNTED) return `flanneld reads its configuration from ${path}`;
  }
  const { settings, errors, rootType } = fact.value;
  if (errors.length > 0 || rootType !== 'object') return 'net-conf.json is not valid JSON';
  const at = (path: string): Setting | undefined => settings.findLast((s) => s.path.toLowerCase() === path);
  const type = at('backend.type');
  const enabled = (path: string, otherwise: boolean) => {
    const value = at(path)?.value;
    return typeof value === 'boolean' ? value : otherwise;
  };
  if (at('backend') !== undefined && typeof type?.value !== 'string')
    return 'net-conf.json has a Backend without a Type';
  const vni = at('backend.vni')?.value;
  const [first] = settings;
  return {
    fact,
    type: typeof type?.value === 'string' ? type.value.toLowerCase() : 'udp',
    span: type ?? at('network') ?? first ?? { line: 1 },
    vni: typeof vni === 'number' ? vni : 1,
    directRouting: enabled('backend.directrouting', false),
    ipv4: enabled('enableipv4', true),
    ipv6: enabled('enableipv6', false),
  };
}

const DEVICES: readonly (readonly [RegExp, string])[] = [
  [/^flannel\.\d+$/, 'vxlan'],
  [/^flannel0$/, 'udp'],
  [/^flannel-wg/, 'wireguard'],
  [/^flannel\.ipip$/, 'ipip'],
];

/** Its type by its configuration, else by its device; host-gw has none. null: nothing tells. */
export function backendType(source: Source<'flannelNetConf' | 'flanneldArgs' | 'links' | 'addresses'>): {
  readonly type: string;
  readonly fact: Fact<'flannelNetConf' | 'links' | 'addresses'>;
  readonly span: Span;
} | null {
  const configured = flannelBackend(source);
  if (typeof configured !== 'string') return configured;
  for (const kind of ['links', 'addresses'] as const) {
    const fact = source.get(kind);
    if (fact.missing) continue;
    for (const device of fact.value.devices) {
      const known = DEVICES.find(([name]) => name.test(device.name));
      if (known !== undefined) return { type: known[1], fact, span: device };
    }
  }
  return null;
}

/** Backends that write a route to the pod subnet of every other node into the node's table. The others leave it to a cloud or to IPsec policies. */
export const writesRoutes = (type: string): boolean => /^(vxlan|host-gw|udp|wireguard|ipip)$/.test(type);

/**
 * The plugin of another network that the container runtime uses: it routes pods its own way, and what flannel left behind says nothing.
 * Where flanneld runs beside it (Canal) the routes are flannel's.
 */
export function otherNetwork(
  source: Source<'flanneldArgs'> & { all(kind: 'cniConf'): readonly Fact<'cniConf'>[] },
): { readonly type: string; readonly fact: Fact<'cniConf'>; readonly span: Span } | null {
  const flanneld = source.get('flanneldArgs');
  if (!flanneld.missing && flanneld.value.processes.length > 0) return null;
  const fact = effectiveConf(source.all('cniConf'));
  const plugin = fact?.value.plugins.find(isOtherNetwork);
  return fact === undefined || plugin === undefined ? null : { type: plugin.type, fact, span: plugin };
}
