import type { Fact } from '../facts/index.ts';

/** A server of Kubernetes that others than the node itself have to reach. */
export interface ControlPort {
  readonly component: 'api' | 'kubelet';
  readonly name: string;
  readonly port: number;
  /** null: every address of the node. */
  readonly address: string | null;
  readonly line: number;
  /** Its program was told; else it is known by its port alone, for to see programs takes root. */
  readonly sure: boolean;
}

/** Programs that hold several servers (k3s, rke2, microk8s, the old hyperkube), as `comm` has them. */
const ALL_IN_ONE = /^(k3s|rke2|kubelite|hyperkube)/;
const API_PORTS = [6443, 16443];
const KUBELET_PORT = 10250;

/** API server and kubelet, where they listen on IPv4 for others. */
export function controlPorts(sockets: Fact<'sockets'>): readonly ControlPort[] {
  const found = new Map<string, ControlPort>();
  for (const l of sockets.value.listeners) {
    const wild = l.address === '0.0.0.0' || (l.address === '::' && l.v6only !== true);
    if (l.proto !== 'tcp' || (!wild && (l.address.includes(':') || l.address.startsWith('127.')))) continue;
    const [program] = l.processes;
    const isOne = (name: RegExp) => program !== undefined && name.test(program.name);
    const shared = program === undefined || ALL_IN_ONE.test(program.name);
    const at = { port: l.port, address: wild ? null : l.address, line: l.line, sure: program !== undefined };
    if (isOne(/^kube-apiserver/) || (shared && API_PORTS.includes(l.port)))
      found.set(`api ${l.port}`, { component: 'api', name: 'the API server', ...at });
    else if (l.port === KUBELET_PORT && (shared || isOne(/^kubelet/)))
      found.set('kubelet', { component: 'kubelet', name: 'the kubelet', ...at });
  }
  return [...found.values()];
}
