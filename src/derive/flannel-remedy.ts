import { shellWord } from '../core/shell.ts';

/** Restarts flannel on one node, as a DaemonSet or as a service; `<node>` where the node is not told yet. */
export const restartFlannel = (node: string): string =>
  `kubectl -n kube-flannel delete pod -l app=flannel --field-selector ${node === '<node>' ? `spec.nodeName=${node}` : shellWord(`spec.nodeName=${node}`)}   # or: systemctl restart flanneld`;

/** What flannel writes comes from its leases. */
export const NOTHING_TO_UNDO = 'none needed: the routes are derived from the leases';
