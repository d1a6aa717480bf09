import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { flag, flags, setting } from './settings.ts';

export type DockerPortKinds = 'daemonJson' | 'dockerdArgs' | 'dockerInfo' | 'dockerContainers';
type Ports = Source<DockerPortKinds>;

/** A ruleset of iptables that is live. */
interface Saved {
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** What dockerd has a TCP port for that nobody asked it to have its API on; null: none of these. */
export type PortUse =
  | { readonly use: 'other' }
  | { readonly use: 'published'; readonly told: Told | null }
  | { readonly use: 'unknown'; readonly because: string; readonly evidence: readonly string[] }
  | null;

/** 2377 (swarm management) and 7946 (gossip) belong to dockerd too, with their own mutual TLS. */
const SWARM = [2377, 7946];

const portOf = (text: unknown) => Number(/(\d+)$/.exec(String(text))?.[1] ?? 0);

/** Ports that dockerd opens for something else: metrics, the network's diagnostics, the swarm's managers wherever they listen. */
function otherPorts(source: Ports): Set<number> {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const info = source.get('dockerInfo');
  const ports = new Set<number>(SWARM);
  for (const name of ['metrics-addr', 'network-diagnostic-port']) {
    if (!args.missing) for (const f of flags(args.value, name)) ports.add(portOf(f.value));
    const written = daemonJson.missing ? undefined : setting(daemonJson.value, name);
    if (written !== undefined) ports.add(portOf(written.value));
  }
  // docker swarm init --listen-addr (measured on 20.10)
  if (!info.missing)
    for (const s of info.value.settings)
      if (/^Swarm\.RemoteManagers\.\d+\.Addr$/.test(s.path)) ports.add(portOf(s.value));
  return ports;
}

/** Published ports, which dockerd itself listens on where no docker-proxy does, to keep others off them; null: it does, and they are not known. */
function keptPorts(source: Ports): Set<number> | null {
  const containers = source.get('dockerContainers');
  if (!containers.missing) {
    const ports = containers.value.containers.flatMap((c) =>
      c.ports.flatMap((p) => (p.proto === 'tcp' ? (p.hostPort ?? []) : [])),
    );
    if (containers.closed || !withoutProxy(source)) return new Set(ports);
  }
  return withoutProxy(source) ? null : new Set();
}

const FALSE = /^(0|f|false)$/i;

export function withoutProxy(source: Source<'daemonJson' | 'dockerdArgs'>): boolean {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const given = args.missing ? undefined : flag(args.value, 'userland-proxy');
  if (given !== undefined) return FALSE.test(given.value);
  return !daemonJson.missing && setting(daemonJson.value, 'userland-proxy')?.value === false;
}

/** dockerd of a swarm listens on every port that a service publishes, on every node (libnetwork/service_linux.go, plumbProxy). */
function servicePort(port: number, rulesets: readonly Saved[]): Told | 'none' | null {
  let seen = false;
  for (const { fact, ruleset } of rulesets) {
    const chain = ruleset.tables.get('nat')?.chains.get('DOCKER-INGRESS');
    if (chain === undefined) continue;
    const rule = chain.rules().find((r) => r.text.includes(' -p tcp ') && r.text.includes(` --dport ${port} `));
    if (rule !== undefined) return { fact, span: { line: rule.line } };
    seen ||= fact.closed;
  }
  return seen ? 'none' : null;
}

/** What a port that no -H names is for. `rulesets` are looked at only for one that nothing else explains. */
export function portUse(source: Ports, rulesets: () => readonly Saved[], swarms: boolean): (port: number) => PortUse {
  let other: Set<number> | undefined;
  return (port) => {
    other ??= otherPorts(source);
    const kept = keptPorts(source);
    const info = source.get('dockerInfo');
    const state = info.missing ? undefined : setting(info.value, 'Swarm.LocalNodeState')?.value;
    if (other.has(port)) return { use: 'other' };
    if (kept?.has(port) === true) return { use: 'published', told: null };
    if (kept === null) {
      const because = `whether dockerd has port ${port} for its API: with userland-proxy off it also keeps the ports that containers publish, and which those are was not collected`;
      return { use: 'unknown', because, evidence: ['docker.containers'] };
    }
    // by custom the API's own
    if (port === 2375 || port === 2376 || (state === undefined ? !swarms : state !== 'active')) return null;
    const told = servicePort(port, rulesets());
    if (told === 'none') return null;
    if (told !== null) return { use: 'published', told };
    const because = `whether dockerd has port ${port} for its API: in a swarm it also listens on the ports that services publish, and no rule of DOCKER-INGRESS for it was collected`;
    return { use: 'unknown', because, evidence: ['fw.iptables-save'] };
  };
}
