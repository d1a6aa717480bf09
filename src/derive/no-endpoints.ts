import type { Fact, FactKind, IptChain, NftJson } from '../facts/index.ts';
import { clusterDns } from './cluster-dns.ts';
import type { Source } from './devices.ts';
import { SERVICE_KINDS } from './local-services.ts';
import { hasServices, isBacked } from './service-keys.ts';
import { ipvsMode, nftMode } from './service-proxy.ts';

/** A service that a node's kube-proxy knows no backend of. */
export interface Unbacked {
  /** `default/web:http`; '' in ipvs, which has no names. */
  readonly name: string;
  readonly address: string;
  readonly proto: string;
  readonly port: number;
  readonly fact: Fact<FactKind>;
  readonly line: number;
  readonly endLine?: number;
  /** There are none on any node; else none on this one, and the service asks for those alone. */
  readonly everywhere: boolean;
}

export interface NoEndpoints {
  readonly services: readonly Unbacked[];
  /** A line of the list in which services without backends stand, or would. */
  readonly list: { readonly fact: Fact<FactKind>; readonly line: number };
  /** The list is whole. */
  readonly whole: boolean;
}

type Kinds = (typeof SERVICE_KINDS)[number] | 'addresses' | 'ipvs' | 'nftJson' | 'nftText';

/** In whichever of its modes kube-proxy has services here; null: in none that was collected. */
export function noEndpoints(source: Source<Kinds>): NoEndpoints | null {
  return ofIpvs(source) ?? ofNft(source) ?? ofIptables(source);
}

const REFUSED =
  /^-A KUBE-SERVICES -d (\d[\d.]*)(?:\/32)? -p (tcp|udp|sctp) -m comment --comment "([^"]+) has no (local )?endpoints" -m (?:tcp|udp|sctp) --dport (\d+) -j (?:REJECT|DROP)/;

interface Refused extends Pick<Unbacked, 'name' | 'address' | 'proto' | 'port' | 'everywhere'> {
  readonly index: number;
}

/** Nodes of one cluster share the rules of a chain: each array is read once. */
const known = new WeakMap<readonly string[], readonly Refused[]>();

function refusedIn(chain: IptChain | undefined): readonly Refused[] {
  if (chain === undefined) return [];
  const texts = chain.texts();
  let found = known.get(texts);
  if (found === undefined) {
    found = texts.flatMap((text, index): Refused[] => {
      const [, address, proto = '', name = '', local, port] = REFUSED.exec(text) ?? [];
      return address === undefined
        ? []
        : [{ name, address, proto, port: Number(port), everywhere: local === undefined, index }];
    });
    known.set(texts, found);
  }
  return found;
}

/** iptables mode: rules of the filter table that say so in their comments. */
function ofIptables(source: Source<Kinds>): NoEndpoints | null {
  for (const kind of SERVICE_KINDS) {
    const fact = source.get(kind);
    if (fact.missing || !hasServices(fact.value)) continue;
    const filter = fact.value.tables.get('filter');
    const chain = filter?.chains.get('KUBE-SERVICES');
    // a refusal of before, in the other backend of iptables perhaps: translated packets do not come to it
    const all = SERVICE_KINDS.flatMap((k) => {
      const other = source.get(k);
      return other.missing ? [] : [other.value];
    });
    const services = refusedIn(chain)
      .filter((r) => !all.some((ruleset) => isBacked(ruleset, `${r.address} ${r.proto} ${r.port}`)))
      .map((r) => ({ ...r, fact, line: chain?.rule(r.index).line ?? 1 }));
    const line = chain?.line ?? filter?.line ?? 1;
    return { services, list: { fact, line }, whole: fact.closed && filter !== undefined };
  }
  return null;
}

/** ipvs mode: services of kube-proxy's device without a real server. Of ClusterIPs and NodePorts alike only the former are told. */
function ofIpvs(source: Source<Kinds>): NoEndpoints | null {
  const ipvs = source.get('ipvs');
  const addresses = source.get('addresses');
  if (ipvsMode(source).kind !== 'serves' || ipvs.missing || addresses.missing) return null;
  const device = addresses.value.devices.find((d) => d.name === 'kube-ipvs0');
  const own = new Set(device?.addresses.map((a) => a.address));
  const [first] = ipvs.value.services;
  const services = ipvs.value.services.flatMap((s): Unbacked[] =>
    s.form !== first?.form || s.servers.length > 0 || s.address === undefined || !own.has(s.address) || s.proto === null
      ? []
      : [
          {
            name: '',
            address: s.address,
            proto: s.proto,
            port: s.port ?? 0,
            fact: ipvs,
            line: s.line,
            // a service may ask for backends on the node alone
            everywhere: false,
          },
        ],
  );
  return { services, list: { fact: ipvs, line: first?.line ?? 1 }, whole: ipvs.closed };
}

/** nftables mode: elements of the map no-endpoint-services; those of LoadBalancers and NodePorts of policy Local are dropped there. */
function ofNft(source: Source<Kinds>): NoEndpoints | null {
  const json = source.get('nftJson');
  if (json.missing || nftMode(source).kind !== 'serves') return null;
  const text = source.get('nftText');
  const own = (m: { family: string; table: string; name: string }) =>
    m.family === 'ip' && m.table === 'kube-proxy' && m.name === 'no-endpoint-services';
  const shown = text.missing ? undefined : text.value.maps.find(own);
  const at =
    text.missing || shown === undefined
      ? { fact: json, line: 1 }
      : { fact: text, line: shown.line, ...(shown.endLine === undefined ? {} : { endLine: shown.endLine }) };
  const map = json.value.sets.find(own);
  const services = (map?.elements ?? []).flatMap((e): Unbacked[] => {
    const found = elementOf(e);
    return found === null ? [] : [{ ...found, ...at }];
  });
  return { services, list: at, whole: json.closed };
}

type Element = NftJson['sets'][number]['elements'][number];

/** `[{"elem": {"val": {"concat": ["10.96.0.30", "tcp", 80]}, "comment": "default/idle:http"}}, {"goto": {"target": "reject-chain"}}]` */
function elementOf(element: Element): Pick<Unbacked, 'name' | 'address' | 'proto' | 'port' | 'everywhere'> | null {
  if (!Array.isArray(element)) return null;
  const [key, verdict] = element as [unknown, unknown];
  const outer = (key as { elem?: { val?: unknown; comment?: unknown } } | null)?.elem;
  const value = (outer === undefined ? key : outer.val) as { concat?: unknown } | null;
  const parts = value?.concat;
  if (!Array.isArray(parts)) return null;
  const [address, proto, port] = parts as unknown[];
  if (typeof address !== 'string' || typeof proto !== 'string' || typeof port !== 'number') return null;
  const everywhere = JSON.stringify(verdict)?.includes('reject') === true;
  return { name: typeof outer?.comment === 'string' ? outer.comment : '', address, proto, port, everywhere };
}

/** The API, or cluster DNS: every pod needs them. */
export function isVital(service: Unbacked, source: Source<'kubeletConfig' | 'kubeletArgs'>): 'API' | 'DNS' | null {
  if (service.name.startsWith('default/kubernetes:')) return 'API';
  if (service.port !== 53) return null;
  const named = /^kube-system\/(kube-dns|coredns|rke2-coredns[\w-]*):/.test(service.name);
  return named || clusterDns(source).includes(service.address) ? 'DNS' : null;
}
