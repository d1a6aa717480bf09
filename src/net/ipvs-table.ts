import type { Fact, IpvsService } from '../facts/index.ts';
import { type Addr, parseAddr } from './addr.ts';
import { type Cite, cite, missingReason, type Reason } from './doubt.ts';
import { endpoint, type Packet, protocolNumber, TCP } from './packet.ts';
import type { Space } from './space.ts';

export interface RealServer {
  readonly addr: Addr;
  /** 0: that of the packet. */
  readonly port: number;
  readonly mode: IpvsService['servers'][number]['mode'];
  readonly weight: number;
  readonly cite: Cite;
}

export interface VirtualServer {
  /** `10.96.0.1:443/tcp`, `firewall mark 5`. */
  readonly name: string;
  /** null: of a firewall mark. */
  readonly port: number | null;
  readonly scheduler: string;
  readonly persistent: boolean;
  readonly onePacket: boolean;
  readonly servers: readonly RealServer[];
  readonly cite: Cite;
  /** Set: what it does with packets is not known. */
  readonly odd: Reason | null;
}

/** The services of a namespace. */
export interface IpvsTable {
  /** Set: there may be others. */
  readonly gap: Reason | null;
  /** ip_vs_service_find(): by firewall mark, by address and port, by address alone. */
  find(packet: Packet): VirtualServer | null;
  /** Addresses of services that differ from the packet's in nothing but the address. */
  addressesLike(packet: Packet): readonly Addr[];
}

const FTP = 21;

/** ipvs of a namespace; null: it has none. Of namespaces of pods nothing is collected, and kube-proxy puts nothing there. */
export function ipvsOf(space: Space): IpvsTable | null {
  return space.inode === null ? space.once('ipvs', () => readTable(space)) : null;
}

function readTable(space: Space): IpvsTable | null {
  const fact = space.node.facts.get('ipvs');
  if (fact.missing) {
    // the collector does not ask ipvsadm where the kernel has no such table
    const none = fact.lookedFor && /no \/proc\/net\/ip_vs/.test(fact.because);
    if (none || !showsIpvs(space)) return null;
    return new Table(missingReason(`the ipvs services of ${space.label} are not known`, fact), []);
  }
  const gap = fact.closed
    ? null
    : {
        because: `${fact.path} was not collected or understood whole: which ipvs services ${space.label} has is not known`,
        evidence: [fact.evidence],
      };
  if (gap === null && fact.value.services.length === 0) return null;
  return new Table(gap, entriesOf(fact));
}

/** Something else tells that ipvs is in use: kube-proxy's device, the module, its settings. */
function showsIpvs(space: Space): boolean {
  if (space.device(KUBE_DEVICE) !== undefined || space.text('net/ipv4/vs/conntrack') !== undefined) return true;
  const modules = space.node.facts.get('modules');
  return !modules.missing && modules.value.modules.some((m) => m.name === 'ip_vs');
}

/** kube-proxy gives all its service addresses to this device. */
export const KUBE_DEVICE = 'kube-ipvs0';

interface Entry {
  readonly proto: number | null;
  readonly mark: number;
  /** null: not known; then the mark decides alone. */
  readonly family: 4 | 6 | null;
  readonly addr: Addr | null;
  readonly server: VirtualServer;
}

class Table implements IpvsTable {
  readonly gap: Reason | null;
  readonly #marks: readonly Entry[];
  readonly #byAddress = new Map<string, VirtualServer>();
  readonly #byPort = new Map<string, Addr[]>();

  constructor(gap: Reason | null, entries: readonly Entry[]) {
    this.gap = gap;
    this.#marks = entries.filter((e) => e.proto === null);
    for (const { proto, addr, server } of entries) {
      if (proto === null || addr === null || server.port === null) continue;
      this.#byAddress.set(`${proto} ${addr} ${server.port}`, server);
      const key = `${proto} ${server.port}`;
      this.#byPort.set(key, [...(this.#byPort.get(key) ?? []), addr]);
    }
  }

  find(packet: Packet): VirtualServer | null {
    const { proto, dst, dport, mark } = packet;
    const family = typeof dst === 'number' ? 4 : 6;
    const marked = mark === 0 ? undefined : this.#marks.find((e) => e.mark === mark && (e.family ?? family) === family);
    if (marked !== undefined) return marked.server;
    if (typeof dport !== 'number') return null;
    const at = (port: number) => this.#byAddress.get(`${proto} ${dst} ${port}`);
    const own = at(dport);
    if (own !== undefined) return own;
    const ftp = proto === TCP ? at(FTP) : undefined;
    if (ftp === undefined) return at(0) ?? null;
    const because = `whether ${endpoint(dst, dport)} belongs to a connection of the FTP service ${ftp.name} is not followed`;
    return { ...ftp, odd: { because, evidence: [] } };
  }

  addressesLike({ proto, dport }: Packet): readonly Addr[] {
    if (typeof dport !== 'number') return [];
    const ports = proto === TCP ? [dport, FTP, 0] : [dport, 0];
    return ports.flatMap((port) => this.#byPort.get(`${proto} ${port}`) ?? []);
  }
}

function entriesOf(fact: Fact<'ipvs'>): readonly Entry[] {
  const groups = new Map<string, IpvsService[]>();
  for (const s of fact.value.services) {
    const key =
      s.proto === null ? `mark ${s.mark} ${familyOf(s)}` : `${s.proto} ${parseAddr(s.address ?? '')} ${s.port}`;
    groups.set(key, [...(groups.get(key) ?? []), s]);
  }
  const forms = new Set(fact.value.services.map((s) => s.form));
  return [...groups.values()].flatMap((same) => entryOf(fact, same, forms.size));
}

/** /proc says no family of a firewall mark; its real servers have one. */
const familyOf = (s: IpvsService): 4 | 6 | null =>
  s.family ?? (s.servers[0] === undefined ? null : s.servers[0].address.includes(':') ? 6 : 4);

function entryOf(fact: Fact<'ipvs'>, same: readonly IpvsService[], forms: number): readonly Entry[] {
  const [s] = same;
  const addr = s?.address === undefined ? null : parseAddr(s.address);
  if (s === undefined || (s.proto !== null && addr === null)) return [];
  const proto = s.proto === null ? null : protocolNumber(s.proto);
  const name =
    s.proto === null || addr === null ? `firewall mark ${s.mark}` : `${endpoint(addr, s.port ?? 0)}/${s.proto}`;
  const servers = s.servers.flatMap((r): RealServer[] => {
    const real = parseAddr(r.address);
    return real === null ? [] : [{ addr: real, port: r.port, mode: r.mode, weight: r.weight, cite: cite(fact, r) }];
  });
  const server = {
    name,
    port: s.proto === null ? null : (s.port ?? 0),
    scheduler: s.scheduler,
    persistent: s.persistent,
    onePacket: s.onePacket,
    servers,
    cite: cite(fact, { line: s.line }),
    odd: oddOf(fact, name, same, forms),
  };
  return [{ proto, mark: s.mark ?? 0, family: familyOf(s), addr, server }];
}

/** ipvsadm and /proc are read one after the other: what they say differently changed meanwhile. */
function oddOf(fact: Fact<'ipvs'>, name: string, same: readonly IpvsService[], forms: number): Reason | null {
  const because = (what: string): Reason => ({
    because: `the ipvs service ${name} ${what}`,
    evidence: [fact.evidence],
  });
  const said = new Set(same.map((s) => serversKey(s)));
  if (said.size > 1 || (same.length !== forms && familyOf(same[0]!) !== null))
    return because(`stands differently in the two halves of ${fact.path}: it was being changed`);
  if (same.some((s) => s.engine)) return because('has a persistence engine, which is not followed');
  if (same.some((s) => s.servers.some((r) => parseAddr(r.address) === null)))
    return because(`has a real server whose address cannot be read (${fact.path})`);
  return null;
}

const serversKey = (s: IpvsService): string =>
  s.servers
    .map((r) => `${parseAddr(r.address)} ${r.port} ${r.mode} ${r.weight}`)
    .sort()
    .join(', ');
