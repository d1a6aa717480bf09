import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { setting } from './settings.ts';

/** How flannel carries packets to other nodes, and what says so. */
export interface FlannelBackend {
  /** As in net-conf.json: vxlan, host-gw ... */
  readonly type: string;
  readonly fact: Fact<'flannelNetConf'> | Fact<'links'> | Fact<'addresses'>;
  readonly span: Span;
}

const DEVICES: readonly (readonly [RegExp, string])[] = [
  [/^flannel\.\d+$/, 'vxlan'],
  [/^flannel0$/, 'udp'],
  [/^flannel-wg/, 'wireguard'],
  [/^flannel\.ipip$/, 'ipip'],
];

/** Backends that write a route to the pod subnet of every other node into the node's table. The others leave it to a cloud or to IPsec policies. */
export const writesRoutes = (type: string): boolean => /^(vxlan|host-gw|udp|wireguard|ipip)$/.test(type);

/** By its configuration, else by its device; host-gw has none. null: nothing tells. */
export function flannelBackend(source: Source<'flannelNetConf' | 'links' | 'addresses'>): FlannelBackend | null {
  const conf = source.get('flannelNetConf');
  const type = conf.missing ? undefined : setting(conf.value, 'Backend.Type');
  if (!conf.missing && typeof type?.value === 'string')
    return { type: type.value.toLowerCase(), fact: conf, span: type };
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

/**
 * The plugin of another network that the container runtime uses: it routes pods its own way, and what flannel left behind says nothing.
 * Where flanneld runs beside it (Canal) the routes are flannel's.
 */
export function otherNetwork(
  source: Source<'flanneldArgs'> & { all(kind: 'cniConf'): readonly Fact<'cniConf'>[] },
): { readonly type: string; readonly fact: Fact<'cniConf'>; readonly span: Span } | null {
  const flanneld = source.get('flanneldArgs');
  if (!flanneld.missing && flanneld.value.processes.length > 0) return null;
  // of several files the runtime takes the first by name
  const [fact] = source
    .all('cniConf')
    .filter((c) => c.value.plugins.length > 0)
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const plugin = fact?.value.plugins.find((p) => /calico|cilium|weave|kube-router|antrea|ovn/.test(p.type));
  return fact === undefined || plugin === undefined ? null : { type: plugin.type, fact, span: plugin };
}
