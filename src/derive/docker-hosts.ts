import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { elements, flag, flags, setting } from './settings.ts';

export type DockerHostKinds = 'daemonJson' | 'dockerdArgs' | 'dockerUnit' | 'dockerContainers';

type Hosts = Source<DockerHostKinds>;

/** Where dockerd was told to listen: its options, daemon.json, or the unit that would start it. */
export function configuredHosts(source: Hosts): (Told & { readonly value: string })[] {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const hosts: (Told & { readonly value: string })[] = [];
  if (!args.missing)
    for (const h of flags(args.value, 'H', 'host')) hosts.push({ value: h.value, fact: args, span: h });
  if (!daemonJson.missing) {
    for (const h of elements(daemonJson.value, 'hosts'))
      if (typeof h.value === 'string') hosts.push({ value: h.value, fact: daemonJson, span: h });
  }
  const start = args.missing ? startLine(source) : null;
  for (const m of start?.value.matchAll(/(?:\s-H|--host)[= ]?\s*"?([^\s"]+)/g) ?? [])
    if (start !== null) hosts.push({ ...start, value: m[1] ?? '' });
  return [...hosts, ...(hosts.some((h) => h.value.startsWith('fd://')) ? activatedHosts(source) : [])];
}

/** What systemd listens on for dockerd (`-H fd://`), and hands over: the first connection starts it. */
export function activatedHosts(source: Source<'dockerUnit'>): (Told & { readonly value: string })[] {
  const unit = source.get('dockerUnit');
  if (unit.missing) return [];
  const streams = unit.value.entries.filter((e) => e.section === 'Socket' && e.key === 'ListenStream');
  return streams
    .slice(streams.findLastIndex((e) => e.value === '') + 1)
    .flatMap((span) => (/^[/@]/.test(span.value) ? [] : [{ value: tcpOf(span.value), fact: unit, span }]));
}

const tcpOf = (stream: string) => `tcp://${/^\d+$/.test(stream) ? `0.0.0.0:${stream}` : stream}`;

/** Where on TCP a host of dockerd is; one without a scheme is one of TCP. */
export function tcpHost(value: string): { readonly address: string; readonly port: number } | null {
  const match = /^(?:tcp:\/\/|(?!.*:\/\/)(?=.))(\[[^\]]*\]|[^:/]*)(?::(\d+))?/.exec(value);
  return match === null ? null : { address: match[1] || '0.0.0.0', port: Number(match[2] ?? 2375) };
}

/** What makes dockerd ask its clients for a certificate. */
export function tlsVerify(source: Hosts): Told | null {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  if (!args.missing) {
    const on = flag(args.value, 'tlsverify');
    if (on !== undefined && !/^(0|f|false)$/i.test(on.value)) return { fact: args, span: on };
  }
  if (!daemonJson.missing) {
    const on = setting(daemonJson.value, 'tlsverify');
    if (on?.value === true) return { fact: daemonJson, span: on };
  }
  // not running: what the unit would start it with
  const start = args.missing ? startLine(source) : null;
  return start !== null && /\s--?tlsverify(=true)?(\s|$)/.test(start.value) ? start : null;
}

function startLine(source: Hosts): (Told & { readonly value: string }) | null {
  const unit = source.get('dockerUnit');
  if (unit.missing) return null;
  const start = unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
  return start === undefined ? null : { value: start.value, fact: unit, span: start };
}

/** Ports that dockerd opens for something else: metrics, the network's diagnostics. */
export function otherPorts(source: Hosts): Set<number> {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const ports = new Set<number>();
  const take = (text: unknown) => ports.add(Number(/(\d+)$/.exec(String(text))?.[1] ?? 0));
  for (const name of ['metrics-addr', 'network-diagnostic-port']) {
    if (!args.missing) for (const f of flags(args.value, name)) take(f.value);
    const written = daemonJson.missing ? undefined : setting(daemonJson.value, name);
    if (written !== undefined) take(written.value);
  }
  return ports;
}

/** Published ports, which dockerd itself listens on where no docker-proxy does, to keep others off them; null: it does, and they are not known. */
export function keptPorts(source: Hosts): Set<number> | null {
  const containers = source.get('dockerContainers');
  if (!containers.missing) {
    const ports = containers.value.containers.flatMap((c) =>
      c.ports.flatMap((p) => (p.proto === 'tcp' ? (p.hostPort ?? []) : [])),
    );
    if (containers.closed || !withoutProxy(source)) return new Set(ports);
  }
  return withoutProxy(source) ? null : new Set();
}

function withoutProxy(source: Hosts): boolean {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  if (!args.missing && flag(args.value, 'userland-proxy')?.value === 'false') return true;
  return !daemonJson.missing && setting(daemonJson.value, 'userland-proxy')?.value === false;
}
