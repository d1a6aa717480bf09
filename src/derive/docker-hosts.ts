import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { dockerStart, startValues } from './docker-start.ts';
import { elements, flag, flags, setting } from './settings.ts';

type DockerHostKinds = 'daemonJson' | 'dockerdArgs' | 'dockerUnit' | 'dockerDefault';

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
  const start = args.missing ? dockerStart(source) : null;
  for (const { text, ...told } of start === null ? [] : startValues(start, 'H', 'host'))
    hosts.push({ ...told, value: text });
  return [...hosts, ...(hosts.some((h) => h.value.startsWith('fd://')) ? activatedHosts(source) : [])];
}

/** Hosts may be in a variable that nothing collected gives a value, where dockerd does not run; null: none. */
export function openHosts(source: Hosts): { readonly because: string; readonly evidence: readonly string[] } | null {
  const open = source.get('dockerdArgs').missing ? (dockerStart(source)?.open ?? []) : [];
  if (open.length === 0) return null;
  const because = `what ${open.join(', ')} of docker’s unit stands for was not collected: it may hold a -H of TCP`;
  return { because, evidence: ['docker.cmdline', 'docker.default', 'docker.sysconfig'] };
}

/** What systemd listens on for dockerd (`-H fd://`), and hands over: the first connection starts it. */
export function activatedHosts(source: Source<'dockerUnit'>): (Told & { readonly value: string })[] {
  const unit = source.get('dockerUnit');
  if (unit.missing) return [];
  const streams = unit.value.entries.filter((e) => e.section === 'Socket' && e.key === 'ListenStream');
  return streams.slice(streams.findLastIndex((e) => e.value === '') + 1).flatMap((span) => {
    const tcp = tcpOf(span.value);
    return tcp === null ? [] : [{ value: tcp, fact: unit, span }];
  });
}

/** systemd.socket(5): a number is a port on all addresses; the rest is no TCP (`/run/docker.sock`, `%t/docker.sock`, `@name`, `vsock:...`). */
function tcpOf(stream: string): string | null {
  if (/^\d+$/.test(stream)) return `tcp://0.0.0.0:${stream}`;
  return /^(\[[\da-f:.]+\]|[\d.]+):\d+$/i.test(stream) ? `tcp://${stream}` : null;
}

/** Where on TCP a host of dockerd is; one without a scheme is one of TCP, and one without an address is on loopback alone (measured on 20.10). */
export function tcpHost(value: string): { readonly address: string; readonly port: number } | null {
  const match = /^(?:tcp:\/\/|(?!.*:\/\/)(?=.))(\[[^\]]*\]|[^:/]*)(?::(\d+))?/.exec(value);
  return match === null ? null : { address: match[1] || '127.0.0.1', port: Number(match[2] ?? 2375) };
}

/** What makes dockerd ask its clients for a certificate. */
export function tlsVerify(source: Hosts): Told | null {
  const daemonJson = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  if (!args.missing) {
    const on = flag(args.value, 'tlsverify');
    if (on !== undefined && !FALSE.test(on.value)) return { fact: args, span: on };
  }
  if (!daemonJson.missing) {
    const on = setting(daemonJson.value, 'tlsverify');
    if (on?.value === true) return { fact: daemonJson, span: on };
  }
  // not running: what the unit would start it with
  const start = args.missing ? dockerStart(source) : null;
  const on = start === null ? undefined : startValues(start, 'tlsverify').at(-1);
  return on === undefined || FALSE.test(on.text) ? null : on;
}

const FALSE = /^(0|f|false)$/i;
