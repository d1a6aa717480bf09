import { shellWord } from '../core/shell.ts';
import type { Source } from './devices.ts';

/** kube-proxy writes all its rules when it starts. */
export function restartProxy(source: Source<'k3sArgs'> | null, hostname: string | null) {
  const k3s = source?.get('k3sArgs');
  const verify = "iptables-save | grep -c -- '-j KUBE-SVC-'   # more than 0 some seconds later (iptables mode)";
  const risk =
    'Connections that are open stay; a kube-proxy that is busy with thousands of services needs some seconds.';
  if (k3s !== undefined && !k3s.missing) {
    const words = k3s.value.processes.flatMap((p) => p.argv.map((a) => a.text));
    if (words.some((w) => /rke2/.test(w)))
      return {
        step: 'kube-proxy is a static pod of rke2: look for errors in its log; end it, and the kubelet starts it again:',
        run: 'pkill -x kube-proxy',
        verify,
        undo: 'none needed',
        risk,
      };
    const unit = words.includes('agent') ? 'k3s-agent' : 'k3s';
    return {
      step: `kube-proxy is part of k3s: look for its errors (journalctl -u ${unit}); restart it:`,
      run: `systemctl restart ${unit}`,
      verify,
      undo: 'none needed',
      risk,
    };
  }
  const node = hostname === null ? '<node>' : shellWord(hostname.toLowerCase());
  return {
    step: 'Look for errors in the log of the node’s kube-proxy (it cannot reach the API, iptables-restore fails); restart it:',
    run: `kubectl -n kube-system delete pod -l k8s-app=kube-proxy --field-selector spec.nodeName=${node}`,
    verify,
    undo: 'none needed: its DaemonSet starts another one',
    risk,
  };
}

/** A restart lasts until the next time. */
export const EMPTIED = {
  step: 'Find out who emptied or replaced the tables (iptables-restore, nftables.service, firewalld, a script), and keep it off these tables.',
  run: "systemctl list-units --all 'firewalld*' 'iptables*' 'nftables*' 'netfilter-persistent*' 'ufw*'",
  verify: 'restart that unit: the rules of kube-proxy are still there',
} as const;
