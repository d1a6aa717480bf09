import { parsePrefix, prefixCovers } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { SERVICE_KINDS } from './local-services.ts';
import { serviceRulesAt } from './service-rules.ts';
import { serviceRange } from './services.ts';

/** A service that answers on port 53, and the line that says so. */
export interface DnsService {
  /** `kube-system/kube-dns:dns`; null: ipvs names none. */
  readonly name: string | null;
  readonly address: string;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

/** What an address is that pods are told to ask. */
export type DnsAnswer =
  | { readonly kind: 'right'; readonly fact: Fact<FactKind>; readonly span: Span }
  /** `sure`: inside the range of services, where no address is anything else. */
  | { readonly kind: 'wrong'; readonly services: readonly DnsService[]; readonly sure: boolean }
  /** The node itself has it, and nobody listens. */
  | { readonly kind: 'deaf'; readonly fact: Fact<'addresses'>; readonly span: Span; readonly sockets: Fact<'sockets'> }
  | { readonly kind: 'open'; readonly because: string; readonly evidence: readonly string[] };

export const DNS_SERVICE_KINDS = [
  ...SERVICE_KINDS,
  'addresses',
  'ipvs',
  'sockets',
  'staticPods',
  'k8sServices',
  'kubeProxyArgs',
  'k3sArgs',
  'resolvConf',
] as const satisfies readonly FactKind[];

type DnsSource = Source<(typeof DNS_SERVICE_KINDS)[number]>;

/** Programs of Cilium and Calico answer for services in the place of rules. */
const WITHOUT_RULES = /^(cilium_|lxc_health|bpf(in|out)\.cali)/;
/** Devices that have the addresses of services: kube-proxy in ipvs mode, kube-router. */
const PROXYS = /^kube-(ipvs0|dummy-if)$/;
const DNS_PORT = 53;
const DEAD =
  /^-A KUBE-SERVICES -d (\d[\d.]*)\/32 -p udp -m comment --comment "([^" ]+) has no endpoints" .*--dport 53 /;

/** Services of UDP port 53 in the rules of kube-proxy, those without a backend as well; its ruleset; null: it has none. */
function ruleServices(
  source: DnsSource,
): { readonly fact: Fact<(typeof SERVICE_KINDS)[number]>; readonly found: DnsService[] }[] {
  return SERVICE_KINDS.flatMap((kind) => {
    const fact = source.get(kind);
    const tables = fact.missing ? undefined : fact.value.tables;
    const chain = tables?.get('nat')?.chains.get('KUBE-SERVICES');
    if (fact.missing || chain === undefined || chain.ruleCount === 0) return [];
    const found = serviceRulesAt(chain, DNS_PORT).flatMap(({ address, proto, comment, index }): DnsService[] =>
      proto === 'udp'
        ? [{ name: comment?.replace(/ cluster IP$/, '') ?? null, address, fact, span: chain.rule(index) }]
        : [],
    );
    const dead = tables?.get('filter')?.chains.get('KUBE-SERVICES');
    for (const [i, text] of (dead?.texts() ?? []).entries()) {
      const [, address, name] = text.includes(` --dport ${DNS_PORT} `) ? (DEAD.exec(text) ?? []) : [];
      if (dead !== undefined && address !== undefined)
        found.push({ name: name ?? null, address, fact, span: dead.rule(i) });
    }
    return [{ fact, found }];
  });
}

function ipvsServices(source: DnsSource): readonly DnsService[] {
  const ipvs = source.get('ipvs');
  return ipvs.missing
    ? []
    : ipvs.value.services
        .filter((s) => s.proto === 'udp' && s.port === 53 && s.address !== undefined)
        .map((s) => ({ name: null, address: s.address as string, fact: ipvs, span: s }));
}

const ADD_ON = /^kube-system\/(kube-dns|coredns|rke2-coredns)/;

/** The DNS service of the cluster by its usual name, as this node's rules have it. */
export const usualDns = (source: DnsSource): DnsService | undefined =>
  ruleServices(source)
    .flatMap((r) => r.found)
    .find((s) => ADD_ON.test(s.name ?? ''));

/** Does anything of the cluster or of the node answer for names on this IPv4 address? */
export function dnsAt(source: DnsSource, address: string): DnsAnswer {
  const rules = ruleServices(source);
  const ipvs = ipvsServices(source);
  const own = [...rules.flatMap((r) => r.found), ...ipvs];
  const right = own.find((s) => s.address === address);
  const stale = rules.length > 1 && !rules.every((r) => r.found.some((s) => s.address === address));
  if (right !== undefined)
    return stale && ipvs.length === 0
      ? open('kube-proxy has rules in two backends of iptables, which do not agree on it', ['fw.iptables-nft-save'])
      : { kind: 'right', fact: right.fact, span: right.span };
  const elsewhere = mentioned(source, address);
  if (elsewhere !== null)
    return elsewhere.dns
      ? { kind: 'right', ...elsewhere }
      : open('a rule that is not of a ClusterIP names it', [elsewhere.fact.evidence]);
  const local = onNode(source, address);
  if (local !== null) return local;
  const api = source.get('k8sServices');
  if (!api.missing) {
    const dns = api.value.services.filter((s) => s.ports.some((p) => p.port === 53 && p.proto === 'udp'));
    const at = dns.find((s) => s.addresses.includes(address));
    if (at !== undefined)
      return rules.length === 0 && ipvs.length === 0
        ? { kind: 'right', fact: api, span: at }
        : open(`it is ${at.name} of the API, which this node’s rules do not have`, ['fw.iptables-save']);
    if (rules.length === 0 && ipvs.length === 0 && api.closed && dns.length > 0) {
      const services = dns.flatMap((s) => s.addresses.map((a) => ({ name: s.name, address: a, fact: api, span: s })));
      return wrong(source, address, services);
    }
  }
  if (hasPrograms(source))
    return open('programs of Cilium or Calico answer for services here, which rules do not show', ['k8s.services']);
  const [only] = rules;
  if (rules.length === 0 && ipvs.length === 0)
    return open('neither rules of kube-proxy nor services of the API were collected', [
      'fw.iptables-save',
      'k8s.services',
    ]);
  if (rules.length > 1) return open('kube-proxy has rules in two backends of iptables', ['fw.iptables-nft-save']);
  const whole = only === undefined ? source.get('ipvs') : only.fact;
  if (whole.missing || !whole.closed || only?.fact.value.markers.some((m) => m.kind === 'incompatible-table') === true)
    return open('the rules of kube-proxy were not collected whole', [only?.fact.evidence ?? 'fw.ipvs']);
  if (only !== undefined && ipvs.length === 0 && onIpvs(source))
    return open('services of ipvs were not collected', ['fw.ipvs']);
  if (own.length === 0) return open('no service of this cluster answers on port 53', ['k8s.services']);
  return wrong(source, address, own);
}

const open = (because: string, evidence: readonly string[]): DnsAnswer => ({ kind: 'open', because, evidence });

/** A server elsewhere in the network is nobody's business here: of addresses outside the services only what is surely none is wrong. */
function wrong(source: DnsSource, address: string, services: readonly DnsService[]): DnsAnswer {
  const ip = parsePrefix(address);
  const range = serviceRange(source);
  const inside = (text: string) => {
    const prefix = parsePrefix(text);
    return ip !== null && prefix !== null && prefixCovers(prefix, ip);
  };
  if (range !== null && inside(range.prefix)) return { kind: 'wrong', services, sure: true };
  const addresses = source.get('addresses');
  if (inside('169.254.0.0/16') && !addresses.missing && addresses.closed && !hasPrograms(source))
    return { kind: 'wrong', services, sure: true };
  const host = source.get('resolvConf');
  const given = !host.missing && host.value.lines.some((l) => l.text.split(/\s+/)[1] === address);
  const home = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'].some(inside);
  const near =
    !addresses.missing &&
    addresses.value.devices.some((d) =>
      d.addresses.some((a) => a.family === 4 && inside(`${a.address}/${a.prefixLength}`)),
    );
  if (given || !home || near)
    return open('it is not of the cluster’s services: a server elsewhere in the network may answer there', [
      'k8s.services',
    ]);
  return { kind: 'wrong', services, sure: false };
}

/** Node-local DNS has its address on a device of the node; kube-proxy in ipvs mode has those of all services on kube-ipvs0. */
function onNode(source: DnsSource, address: string): DnsAnswer | null {
  const addresses = source.get('addresses');
  if (addresses.missing) return null;
  for (const device of addresses.value.devices)
    for (const span of device.addresses) {
      if (span.address !== address) continue;
      if (PROXYS.test(device.name))
        return open(`it is on ${device.name}, but which ports its service has was not collected`, ['fw.ipvs']);
      const sockets = source.get('sockets');
      if (sockets.missing || !sockets.closed)
        return open(`${device.name} of the node has it, but what listens there was not collected`, ['sock.ss-listen']);
      const hears = sockets.value.listeners.some(
        (l) =>
          l.proto === 'udp' &&
          l.port === 53 &&
          (l.address === address || l.address === '0.0.0.0' || (l.address === '::' && l.v6only !== true)),
      );
      return hears ? { kind: 'right', fact: addresses, span } : { kind: 'deaf', fact: addresses, span, sockets };
    }
  return null;
}

/** Another rule of the table nat for the address: an external one of a service, somebody's DNAT. */
function mentioned(
  source: DnsSource,
  address: string,
): { readonly fact: Fact<FactKind>; readonly span: Span; readonly dns: boolean } | null {
  const word = `-d ${address}/32 `;
  for (const kind of SERVICE_KINDS) {
    const fact = source.get(kind);
    if (fact.missing) continue;
    for (const chain of fact.value.tables.get('nat')?.chains.values() ?? []) {
      const at = chain.texts().findIndex((text) => text.includes(word));
      if (at < 0) continue;
      const text = chain.texts()[at] ?? '';
      return { fact, span: chain.rule(at), dns: /-p udp .*--dport 53 /.test(text) };
    }
  }
  return null;
}

function hasPrograms(source: DnsSource): boolean {
  const addresses = source.get('addresses');
  return !addresses.missing && addresses.value.devices.some((d) => WITHOUT_RULES.test(d.name));
}

function onIpvs(source: DnsSource): boolean {
  const addresses = source.get('addresses');
  return !addresses.missing && addresses.value.devices.some((d) => PROXYS.test(d.name));
}

/** Nothing on the node answers for services: then no address of one means anything here. */
export function hasNoProxy(source: DnsSource): boolean {
  const [proxy, k3s] = [source.get('kubeProxyArgs'), source.get('k3sArgs')];
  const seen = !proxy.missing || !k3s.missing || hasPrograms(source) || onIpvs(source);
  return !seen && proxy.missing && proxy.lookedFor && ruleServices(source).length === 0;
}
