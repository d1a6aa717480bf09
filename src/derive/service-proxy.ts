import type { Fact, FactKind, MissingFact, Ruleset } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { reachedInNft, reachedInNftText } from './reachable.ts';
import { flag } from './settings.ts';

/** What tells of kube-proxy beside the rulesets of IPv4. */
export const PROXY_KINDS = [
  'ip6tables',
  'ip6tablesNft',
  'ip6tablesLegacy',
  'ipvs',
  'kubeletArgs',
  'k3sArgs',
  'kubeProxyArgs',
] as const satisfies readonly FactKind[];

/** A line that tells something. */
interface Sign {
  readonly fact: Fact<FactKind>;
  readonly line: number;
}

/** The kubelet or k3s/rke2 (which have it in them) runs; 'none': the collector looked, and none does; 'unknown': nobody looked. */
export function kubeletOf(source: Source<'kubeletArgs' | 'k3sArgs'>): Sign | 'none' | 'unknown' {
  const facts = [source.get('kubeletArgs'), source.get('k3sArgs')] as const;
  for (const fact of facts) {
    const process = fact.missing ? undefined : fact.value.processes[0];
    if (!fact.missing && process !== undefined) return { fact, line: process.line };
  }
  return facts.every((f) => f.missing && f.lookedFor) ? 'none' : 'unknown';
}

/** A kubelet of static pods alone. Its kubeconfig is a flag, and in no file. */
export function standsAlone(source: Source<'kubeletArgs'>): boolean {
  const args = source.get('kubeletArgs');
  return !args.missing && args.closed && flag(args.value, 'kubeconfig') === undefined;
}

/** Devices of programs that serve services themselves, or may be told to. */
const AGENTS: readonly (readonly [name: string, device: RegExp])[] = [
  ['Cilium', /^(cilium_|lxc_health$|lxc[0-9a-f]{12}$)/],
  ['Calico’s eBPF dataplane', /^bpf(in|out)\.cali$/],
  ['kube-router', /^kube-(dummy-if|bridge)$/],
  ['Antrea', /^antrea-(gw0|tun0)$/],
  ['OVN', /^(ovn-k8s-mp\d|ovn0|ovs-system)$/],
];

export interface Agent extends Sign {
  readonly name: string;
}

/** Whoever may be in kube-proxy's place; null: nobody that shows. */
export function otherProxy(source: Source<'addresses' | 'k3sArgs'>): Agent | null {
  const k3s = source.get('k3sArgs');
  const off = k3s.missing ? undefined : flag(k3s.value, 'disable-kube-proxy');
  if (!k3s.missing && off !== undefined && off.value !== 'false')
    return { name: 'another program (k3s is told --disable-kube-proxy)', fact: k3s, line: off.line };
  const addresses = source.get('addresses');
  if (addresses.missing) return null;
  for (const [name, device] of AGENTS) {
    const found = addresses.value.devices.find((d) => device.test(d.name));
    if (found !== undefined) return { name, fact: addresses, line: found.line };
  }
  return null;
}

/** What one of kube-proxy's modes beside iptables has on the node. */
export type Mode =
  | { readonly kind: 'none' }
  | { readonly kind: 'serves'; readonly signs: readonly Sign[] }
  /** Its traces are there, and no service is; `lacks`: what, for the cite of an absence in `looked`. */
  | { readonly kind: 'empty'; readonly signs: readonly Sign[]; readonly looked: Fact<FactKind>; readonly lacks: string }
  | { readonly kind: 'unknown'; readonly because: string; readonly evidence: readonly string[] };

const unknown = (because: string, evidence: readonly string[]): Mode => ({ kind: 'unknown', because, evidence });

/** kube-proxy's device of ipvs mode, with an address for every service. */
const KUBE_DEVICE = 'kube-ipvs0';

/** ipvs mode: services of ipvs alone prove nothing (keepalived has some), kube-proxy's device beside them does. */
export function ipvsMode(source: Source<'addresses' | 'ipvs'>): Mode {
  const addresses = source.get('addresses');
  const ipvs = source.get('ipvs');
  if (addresses.missing) return ipvsAlone(ipvs, addresses);
  const device = addresses.value.devices.find((d) => d.name === KUBE_DEVICE);
  if (device === undefined)
    return addresses.closed
      ? { kind: 'none' }
      : unknown('the list of the node’s devices was not collected whole', [addresses.evidence]);
  const sign = { fact: addresses, line: device.line };
  if (ipvs.missing)
    return ipvs.lookedFor && /^(absent|skipped: no \/proc\/net\/ip_vs)/.test(ipvs.because) && four(device) > 0
      ? {
          kind: 'empty',
          signs: [sign],
          looked: addresses,
          lacks: 'a service of ipvs (the kernel has no /proc/net/ip_vs)',
        }
      : unknown(`${KUBE_DEVICE} is there, but the services of ipvs are not known: fw.ipvs ${ipvs.because}`, [
          'fw.ipvs',
        ]);
  const [service] = ipvs.value.services;
  if (service !== undefined) return { kind: 'serves', signs: [sign, { fact: ipvs, line: service.line }] };
  if (!ipvs.closed) return unknown(`${ipvs.path} was not collected whole`, [ipvs.evidence]);
  return { kind: 'empty', signs: [sign], looked: ipvs, lacks: 'a service of ipvs' };
}

const four = ({ addresses }: { readonly addresses: readonly { readonly family: number }[] }): number =>
  addresses.filter((a) => a.family === 4).length;

function ipvsAlone(ipvs: Fact<'ipvs'> | MissingFact<'ipvs'>, addresses: MissingFact<'addresses'>): Mode {
  if (ipvs.missing ? ipvs.lookedFor : ipvs.closed && ipvs.value.services.length === 0) return { kind: 'none' };
  return unknown(`whether kube-proxy has its device of ipvs: ip.addr ${addresses.because}`, ['ip.addr']);
}

const own = (c: { readonly family: string; readonly table: string }) => c.family === 'ip' && c.table === 'kube-proxy';

/** nftables mode: table ip kube-proxy, whose map of services is not empty and is asked where packets are routed. */
export function nftMode(source: Source<'nftJson' | 'nftText'>): Mode {
  const json = source.get('nftJson');
  const text = source.get('nftText');
  if (json.missing && text.missing)
    return json.lookedFor && text.lookedFor
      ? { kind: 'none' }
      : unknown(`the native nft tables are not known: fw.nft-json ${json.because}`, ['fw.nft-json']);
  const listed = json.missing ? text : json;
  if (listed.missing) return { kind: 'none' };
  const table = listed.value.tables.find((t) => t.family === 'ip' && t.name === 'kube-proxy');
  if (table === undefined)
    return listed.closed ? { kind: 'none' } : unknown(`${listed.path} was not collected whole`, [listed.evidence]);
  const shown = text.missing ? undefined : text.value.tables.find((t) => t.family === 'ip' && t.name === 'kube-proxy');
  const signs = [text.missing || shown === undefined ? { fact: listed, line: 1 } : { fact: text, line: shown.line }];
  if (table.dormant !== undefined)
    return unknown('table ip kube-proxy has a flag: whether it is dormant is not told for sure', []);
  if (!listed.closed) return unknown(`${listed.path} was not collected whole`, [listed.evidence]);
  const base = listed.value.chains.find((c) => own(c) && c.hook === 'prerouting' && c.type === 'nat')?.name;
  const from = base ?? 'nat-prerouting';
  const jumps = json.missing
    ? text.missing
      ? []
      : reachedInNftText(text, 'kube-proxy', from, /^services$/)
    : reachedInNft(json, text.missing ? null : text, 'kube-proxy', from, /^services$/);
  if (base === undefined || jumps.length === 0)
    return {
      kind: 'empty',
      signs,
      looked: listed,
      lacks: 'a jump from nat prerouting to the chain services of table ip kube-proxy',
    };
  if (json.missing) {
    // the elements of maps are not read from text: each service has a chain, too
    const service = listed.value.chains.some((c) => own(c) && c.name.startsWith('service-'));
    return service
      ? { kind: 'serves', signs }
      : unknown('the services of table ip kube-proxy were collected only as text', ['fw.nft-json']);
  }
  const map = json.value.sets.find((s) => own(s) && s.name === 'service-ips');
  return (map?.elements.length ?? 0) > 0
    ? { kind: 'serves', signs }
    : { kind: 'empty', signs, looked: json, lacks: 'an element of the map service-ips of table ip kube-proxy' };
}

interface Saved {
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** kube-proxy itself is or was here: its process, or a chain of it. */
export function proxyTrace(
  source: Source<'kubeProxyArgs'>,
  rulesets: readonly Saved[],
): (Sign & { readonly runs: boolean }) | null {
  const args = source.get('kubeProxyArgs');
  const process = args.missing ? undefined : args.value.processes[0];
  if (!args.missing && process !== undefined) return { fact: args, line: process.line, runs: true };
  const chain = proxyChain(rulesets);
  return chain === null ? null : { ...chain, runs: false };
}

/** A chain that only kube-proxy makes. */
export function proxyChain(rulesets: readonly Saved[]): Sign | null {
  for (const { fact, ruleset } of rulesets)
    for (const [table, name] of TRACES) {
      const chain = ruleset.tables.get(table)?.chains.get(name);
      if (chain !== undefined) return { fact, line: chain.line };
    }
  return null;
}

const TRACES = [
  ['nat', 'KUBE-SERVICES'],
  ['mangle', 'KUBE-PROXY-CANARY'],
  ['nat', 'KUBE-PROXY-CANARY'],
  ['filter', 'KUBE-SERVICES'],
  ['filter', 'KUBE-PROXY-CANARY'],
] as const;
