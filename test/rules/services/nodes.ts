import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type OverlayNode, overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { NO_NFT, podAddr } from '../forwarding/nodes.ts';

const text = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');

/** iptables 1.8.9 over what kube-proxy 1.27 and flannel write for four services (test/support/lab/producers.ts), of node 1. */
export const SAVE = text('kube-proxy-save.txt');
/** nft 1.0.6 over what kube-proxy's nftables mode writes for two services and one without endpoints. */
export const NFT_JSON = text('kube-proxy-nft-json.txt');
export const NFT_TEXT = text('kube-proxy-nft.txt');

export const KUBELET =
  '/usr/bin/kubelet\n--kubeconfig=/etc/kubernetes/kubelet.conf\n--config=/var/lib/kubelet/config.yaml\n';
export const KUBE_PROXY = '/usr/local/bin/kube-proxy\n--config=/var/lib/kube-proxy/config.conf\n';
const gone = (name: string) => ({ status: 'absent', reason: `no process ${name}` }) as const;

/** `edit` changes iptables-save; `more` the files beside it. */
export function kubeNode(
  n: number,
  edit: (save: string) => string = (t) => t,
  more: NodeFiles['files'] = {},
  rest: Partial<OverlayNode> = {},
): NodeFiles {
  const save = edit(SAVE).replaceAll('10.244.1.0/24', `10.244.${n}.0/24`);
  return overlayNode({
    n,
    peers: [1, 2, 3].filter((p) => p !== n),
    ...rest,
    files: {
      'host/fw/iptables-save.txt': save,
      'host/fw/nft.json': NO_NFT,
      'host/fw/iptables-legacy-save.txt': '',
      'host/fw/ip_tables_names.txt': '',
      'host/fw/ipset-save.txt': '',
      'host/fw/ipvs.txt': { status: 'skipped', reason: 'no /proc/net/ip_vs, ipvsadm would load ip_vs' },
      'cmdline/kubelet.txt': KUBELET,
      'cmdline/kube-proxy.txt': KUBE_PROXY,
      'cmdline/k3s.txt': gone('k3s'),
      'cmdline/rke2.txt': gone('rke2'),
      'netns/4026532001/addr.json': podAddr(`10.244.${n}.10`),
      ...more,
    },
  });
}

export const NO_PROXY = { 'cmdline/kube-proxy.txt': gone('kube-proxy') } as const;
export const NO_KUBELET = { 'cmdline/kubelet.txt': gone('kubelet') } as const;

/** Whole lines that hold one of these. */
export const without =
  (...words: string[]) =>
  (save: string): string =>
    save
      .split('\n')
      .filter((line) => !words.some((word) => line.includes(word)))
      .join('\n');

/** `iptables -t nat -F` and `-t filter -F`: chains stay, rules go. */
export const flushed = (save: string): string => without('] -A ')(save);
/** And `-X`. */
export const emptied = (save: string): string => without('] -A ', ':KUBE-', ':FLANNEL-')(save);
