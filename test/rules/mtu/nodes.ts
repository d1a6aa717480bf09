import { type OverlayNode, overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';

export interface Mtus {
  readonly eth0?: number;
  readonly flannel?: number;
  /** cni0 and the pods' devices. */
  readonly pods?: number;
  readonly env?: number;
}

/** An overlay node whose devices have these MTUs, in `ip addr`, `ip link` and subnet.env. */
export function mtuNode(node: OverlayNode, m: Mtus, edit: (text: string) => string = (t) => t): NodeFiles {
  const made = overlayNode(node);
  const set = (text: string, dev: string, mtu: number | undefined) =>
    mtu === undefined ? text : text.replace(new RegExp(`(: ${dev}(?:@\\S+)?: <[^>]*> mtu) \\d+`), `$1 ${mtu}`);
  const changed = Object.entries(made.files).map(([path, content]): [string, NodeFiles['files'][string]] => {
    if (typeof content !== 'string') return [path, content];
    if (path.endsWith('subnet.env'))
      return [path, m.env === undefined ? content : content.replace(/FLANNEL_MTU=\d+/, `FLANNEL_MTU=${m.env}`)];
    if (!/ip\/(addr|link)\.txt$/.test(path)) return [path, content];
    const devices = [
      ['eth0', m.eth0],
      ['flannel\\.1', m.flannel],
      ['cni0', m.pods],
      ['veth1', m.pods],
    ] as const;
    return [path, edit(devices.reduce((text, [dev, mtu]) => set(text, dev, mtu), content))];
  });
  return { ...made, files: Object.fromEntries(changed) };
}

/** The same node without some files, or with others. */
export const withFiles = (node: NodeFiles, files: NodeFiles['files']): NodeFiles => ({
  ...node,
  files: { ...node.files, ...files },
});
