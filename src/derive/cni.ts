import type { CniConf, Fact } from '../facts/index.ts';

export type CniPlugin = CniConf['plugins'][number];

/** Of several files the runtime takes the first by name: what another program left behind there decides nothing. */
export function effectiveConf(confs: readonly Fact<'cniConf'>[]): Fact<'cniConf'> | undefined {
  const [first] = confs.filter((conf) => conf.value.plugins.length > 0).sort((a, b) => (a.path < b.path ? -1 : 1));
  return first;
}

/** Makes the pods' links itself, without a bridge. */
export const isForeign = ({ type }: CniPlugin): boolean => /calico|cilium|weave|kube-router|antrea|ovn/.test(type);

/** Routes pods itself as well. In Canal Calico makes the links only: addresses are host-local's, of the subnet that flannel routes. */
export const isOtherNetwork = (plugin: CniPlugin): boolean =>
  isForeign(plugin) && !(plugin.type === 'calico' && plugin.settings['ipam.type'] === 'host-local');
