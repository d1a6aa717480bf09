import type { CniConf, Fact } from '../facts/index.ts';

export type CniPlugin = CniConf['plugins'][number];

/** Names that runtimes take for a configuration (libcni, ConfFiles); what has another end, as `.bak`, decides nothing. */
export const isConfName = (name: string): boolean => /\.(conf|conflist|json)$/.test(name);

/** Of several files the runtime takes the first by name: what another program left behind there decides nothing. */
export function effectiveConf(confs: readonly Fact<'cniConf'>[]): Fact<'cniConf'> | undefined {
  const [first] = confs
    .filter((conf) => conf.value.plugins.length > 0 && isConfName(conf.path))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return first;
}

/** Makes the pods' links itself, without a bridge. */
export const isForeign = ({ type }: CniPlugin): boolean => /calico|cilium|weave|kube-router|antrea|ovn/.test(type);

/** Routes pods itself as well. In Canal Calico makes the links only: addresses are host-local's, of the subnet that flannel routes. */
export const isOtherNetwork = (plugin: CniPlugin): boolean =>
  isForeign(plugin) && !(plugin.type === 'calico' && plugin.settings['ipam.type'] === 'host-local');

/** Hands on to other configurations, which annotations of a pod or files of its own choose. */
export const isMeta = ({ type }: CniPlugin): boolean =>
  /^(multus|multus-shim|genie|danm|cni-genie|knitter)$/.test(type);

/**
 * Programs that a runtime calls for one plugin: flannel's calls a second one (bridge where `delegate` names none), and that one a third for
 * the addresses (flannel-io/cni-plugin, flannel_linux.go).
 */
export function programsOf({ type, settings }: CniPlugin): string[] {
  const said = (key: string, otherwise: string[]) => {
    const value = settings[key];
    return typeof value === 'string' && value !== '' ? [value] : otherwise;
  };
  if (type !== 'flannel') return [type, ...said('ipam.type', [])];
  return [type, ...said('delegate.type', ['bridge']), ...said('ipam.type', ['host-local'])];
}
