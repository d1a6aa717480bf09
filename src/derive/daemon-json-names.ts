import { parseIp, parsePrefix } from '../core/address.ts';
import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { elements, setting } from './settings.ts';

/** Names of hosts, registries and listeners that dockerd refuses; each was measured on dockerd 20.10.24. */
export function daemonJsonNameFaults(value: JsonSettings, at: At, major: number | null): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, s: Setting, reason: string, sure = true) =>
    faults.push({ key, reason, at: at(s), sure, ...(sure ? {} : { severity: 'medium' as const }) });
  for (const [name, what, key, whyNot] of [
    ['registry-mirrors', 'registry mirror', 'mirror', notMirror],
    ['insecure-registries', 'insecure registry', 'registry', notInsecure],
    ['allow-nondistributable-artifacts', 'registry', 'artifacts', notRegistry],
    ['hosts', 'host', 'host', notHost],
  ] as const)
    for (const e of elements(value, name)) {
      const why = textOf(e) === null ? null : whyNot(textOf(e) ?? '');
      if (why !== null) refuse(key, e, `${what} "${textOf(e)}" ${why}`);
    }
  for (const e of elements(value, 'dns-search')) {
    const domain = textOf(e)?.trim();
    // a later one may take a name with _
    const plain = major !== null && major < 23 ? domain : domain?.replaceAll('_', 'x');
    if (plain !== undefined && !DOMAIN.test(plain) && plain !== '.')
      refuse(`dns ${e.path}`, e, `"${textOf(e)}" of "dns-search" is no domain`);
  }
  const metrics = setting(value, 'metrics-addr');
  const where = metrics?.type === 'string' ? textOf(metrics) : null;
  if (metrics !== undefined && where) {
    const [, host, port] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(where) ?? [];
    const why =
      port === undefined
        ? 'is no address with a port number'
        : Number(port) > 65535
          ? 'has a port above 65535'
          : host === ''
            ? 'has no address before its port'
            : null;
    const later = host === '' && (major === null || major >= 23);
    if (why !== null) refuse('metrics-addr', metrics, `"metrics-addr" ${where} ${why}`, !later);
  }
  return faults;
}

/** A word of a list; dockerd takes null for an empty one. null: it is none. */
export function textOf({ type, value }: Setting): string | null {
  return type === 'null' ? '' : typeof value === 'string' ? value : null;
}

const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DOMAIN = new RegExp(`^(?=.*[a-zA-Z])${LABEL}(?:\\.${LABEL})*\\.?$`);
const HOST_PORT = new RegExp(`^${LABEL}(?:\\.${LABEL})*(?::[0-9]+)?$`);

/** Why dockerd refuses a mirror, else null. */
function notMirror(url: string): string | null {
  const parts = /^https?:\/\/([^/?#]*)(\/[^?#]*)?([?#].*)?$/i.exec(url);
  if (parts === null) return 'is no http or https URL';
  const host = parts[1] ?? '';
  if (host.includes('@')) return 'has a user name';
  if (/[\s\\%]/.test(host) || /:[^:\]]*[^\d:\]][^:\]]*$/.test(host)) return 'is no http or https URL';
  return (parts[2] ?? '/') === '/' && (parts[3] ?? '').length < 2 ? null : 'has more behind the host';
}

/** Why dockerd refuses an insecure registry, else null: it takes http:// off. */
const notInsecure = (written: string) => notRegistry(written.replace(/^https?:\/\//i, ''));

/** A registry is a host, with or without a port, or a network. */
function notRegistry(host: string): string | null {
  if (host.includes('://')) return 'has a scheme';
  if (host.includes('/') && parsePrefix(host) !== null) return null;
  const port = /^[^:[\]]*:([^:]+)$/.exec(host)?.[1];
  if (port !== undefined && (!/^\d+$/.test(port) || Number(port) > 65535)) return 'has no port number behind its colon';
  const address = /^\[([^\]]*)\]:\d*$/.exec(host)?.[1] ?? host.replace(/^([^:]*):$/, '$1');
  return HOST_PORT.test(host) || parseIp(address) !== null ? null : 'is no host, host:port or network';
}

/** Why dockerd cannot listen there, else null. One without a scheme is of TCP. */
function notHost(written: string): string | null {
  const host = written.trim().replace(/[?#].*/s, '');
  const scheme = /^([a-z]+):\/\//i.exec(host)?.[1];
  if (scheme === 'unix' || scheme === 'fd' || host === '') return null;
  if (scheme !== undefined && scheme !== 'tcp') return `has the scheme ${scheme}: dockerd listens on tcp, unix and fd`;
  const rest = scheme === undefined ? host : host.slice(scheme.length + 3);
  if (rest.includes('/'))
    return scheme === undefined ? 'is a path: that of a socket begins with unix://' : 'has a path behind its port';
  const [, port] = /^(?:\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(rest) ?? [];
  if (port === undefined || port === '') return null;
  return /^\d+$/.test(port) && Number(port) <= 65535 ? null : 'has no port number behind its colon';
}
