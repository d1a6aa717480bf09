import { shellWord } from '../core/shell.ts';
import type { Fact, MissingFact } from '../facts/index.ts';
import type { Needed, Presence } from './cni-files.ts';
import { BIN_DIR, CONF_DIR } from './cni-runtime.ts';
import { restartFlannel } from './flannel-remedy.ts';

type K3s = Fact<'k3sArgs'> | MissingFact<'k3sArgs'>;

const READY = 'crictl info | grep -A3 NetworkReady   # "status": true';
const LISTED = `ls ${CONF_DIR} | LC_ALL=C grep -E '\\.(conf|conflist|json)$' | LC_ALL=C sort | head -1`;

/** kube-flannel's init container copies its file there whenever its pod starts. */
export function writeConfAgain(node: string, k3s: K3s, why: string) {
  return {
    step: `${why} The pod of flannel writes 10-flannel.conflist when it starts (from the ConfigMap kube-flannel-cfg): make it anew; where another plugin is the cluster’s network, the pod of that one.`,
    run: restartFlannel(node, k3s),
    verify: `${LISTED}; ${READY}`,
    undo: 'none needed: it is the file that flannel writes at every start',
    risk: 'none known: routes and pods stay as they are while the pod of flannel is made anew',
  };
}

/** Takes a file out of the directory without losing it: what ends in .off no runtime reads. */
export function putAway(name: string, why: string) {
  const file = shellWord(`${CONF_DIR}/${name}`);
  const away = shellWord(`${CONF_DIR}/${name}.off`);
  return {
    step: why,
    run: `mv ${file} ${away}`,
    verify: LISTED,
    undo: `mv ${away} ${file}`,
    risk: 'Pods that were made with this file keep their addresses until they are made anew.',
  };
}

/** containerd goes on watching a directory that was removed and made again (containerd issues 7196 and 11209). */
export function loadConfAgain(unit: string) {
  return {
    step: `The files are right, but the runtime has not loaded them: it may still watch a directory that was removed meanwhile. Restart it; containers go on running.`,
    run: `systemctl restart ${shellWord(unit)}`,
    verify: READY,
    undo: 'none needed: it reads the same files again',
    risk: 'Pods are neither started nor stopped for some seconds.',
  };
}

/** What releases of containernetworking/plugins hold, 0.8 to 1.7, flannel’s own beside them. */
const STANDARD =
  /^(bandwidth|bridge|dhcp|dummy|firewall|flannel|host-device|host-local|ipvlan|loopback|macvlan|portmap|ptp|sbr|static|tap|tuning|vlan|vrf)$/;

/** How to get the programs that are missing or cannot be run. */
export function installPlugins(
  lost: readonly { readonly needed: Needed; readonly at: Presence }[],
  node: string,
  k3s: K3s,
) {
  const names = lost.map((l) => l.needed.program);
  const verify = `ls -l ${names.map((name) => shellWord(`${BIN_DIR}/${name}`)).join(' ')}`;
  const blocked = lost.filter(({ at }) => at.kind === 'unusable' && at.what === 'is not executable');
  if (blocked.length === lost.length) {
    const files = names.map((name) => shellWord(`${BIN_DIR}/${name}`)).join(' ');
    return {
      step: 'Let the programs be run again, and look what took that from them: a hardening script, an unpacking with another umask.',
      run: `chmod 755 ${files}`,
      verify,
      undo: `chmod 644 ${files}`,
      risk: 'none known',
    };
  }
  if (names.every((name) => name === 'flannel'))
    return {
      step: 'The pod of flannel copies its program there when it starts: make it anew.',
      run: restartFlannel(node, k3s),
      verify,
      undo: 'none needed: it is the program that flannel copies at every start',
      risk: 'none known',
    };
  const own = names.filter((name) => !STANDARD.test(name));
  if (own.length > 0)
    return {
      step: `${own.join(', ')} is in no package of plugins: the pods of that network put it there when they start (calico-node, cilium, kube-multus ...). See whether one runs on ${node}, and make it anew; where that network is not wanted any more, take its file out of ${CONF_DIR}.`,
      run: `kubectl get pods -A -o wide --field-selector spec.nodeName=${shellWord(node)}; ls -l ${CONF_DIR}`,
      verify,
      undo: 'nothing was changed: the commands only show what is there',
    };
  const rest = names.includes('flannel') ? ' flannel’s own program comes with its pod: make that anew as well.' : '';
  return {
    step: `Install the standard plugins into ${BIN_DIR}: the package kubernetes-cni has them there, or unpack a release of containernetworking/plugins. A distribution’s containernetworking-plugins lies in a directory of its own, which the runtime would have to be told of.${rest}`,
    run: 'if command -v apt-get >/dev/null; then apt-get install -y --reinstall kubernetes-cni; else dnf install -y kubernetes-cni && dnf reinstall -y kubernetes-cni; fi',
    verify,
    undo: 'none needed: what is added was missing',
    risk: 'none known',
  };
}
