import type { IpvsServer, IpvsService, IpvsServices } from '../facts/firewall.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type Draft, type Endpoint, port, readEndpoint, Saved } from './ipvs-save.ts';
import { filledLines } from './line-index.ts';

/** As in /proc/net/ip_vs: `0A600001:01BB`, `[fd00:0000:0000:0000:0000:0000:0000:0001]:01BB`. */
function readHexEndpoint(text: string): Endpoint | null {
  const four = /^([0-9A-F]{8}):([0-9A-F]{4})$/.exec(text);
  if (four !== null) {
    const bytes = [0, 2, 4, 6].map((at) => Number.parseInt(four[1]!.slice(at, at + 2), 16));
    return { address: bytes.join('.'), port: port(four[2]!, 16)! };
  }
  const six = /^\[([0-9a-f]{4}(?::[0-9a-f]{4}){7})\]:([0-9A-F]{4})$/.exec(text);
  return six === null ? null : { address: six[1]!, port: port(six[2]!, 16)! };
}

const MODES: Readonly<Record<string, IpvsServer['mode']>> = {
  Masq: 'masq',
  Route: 'route',
  Tunnel: 'tunnel',
  Local: 'local',
};

/** What follows a service in a table: `rr persistent 10800 FFFFFFFF`, `rr ops`; null: something else does. */
function readFlags(words: readonly string[]): Pick<IpvsService, 'persistent' | 'onePacket' | 'engine'> | null {
  let [persistent, onePacket, engine] = [false, false, false];
  for (let i = 0; i < words.length; i += 1) {
    if (words[i] === 'ops') onePacket = true;
    else if (words[i] === 'persistent' && /^\d+$/.test(words[i + 1] ?? '')) {
      persistent = true;
      i += /^[0-9A-F]{8}$/.test(words[i + 2] ?? '') ? 2 : 1;
    } else if (persistent && /^(mask|pe)$/.test(words[i] ?? '') && words[i + 1] !== undefined) {
      engine ||= words[i] === 'pe';
      i += 1;
    } else return null;
  }
  return { persistent, onePacket, engine };
}

const familyOf = ({ address }: Endpoint): 4 | 6 => (address.includes(':') ? 6 : 4);

/** `ipvsadm -Ln` and /proc/net/ip_vs: the same table, with decimal or hexadecimal numbers. */
class Tables {
  readonly services: Draft[] = [];
  /** The kernel's own header has one space where ipvsadm's has many: only that tells two IPv6 forms apart. */
  #wide = false;
  #current: Draft | null = null;

  /** Why the line is not understood; null: it is. */
  read(raw: string, line: number): string | null {
    const words = raw.trim().split(/\s+/);
    if (words[0] === 'IP' && words[1] === 'Virtual' && words[2] === 'Server') return this.#begin();
    if (words[0] === 'Prot' && words[1] === 'LocalAddress:Port') return null;
    if (words[0] !== '->') return this.#service(words, line);
    if (words[1] !== 'RemoteAddress:Port') return this.#server(words, line);
    this.#wide = /RemoteAddress:Port {2,}Forward/.test(raw);
    return words[2] === 'Forward' && words[3] === 'Weight' ? null : 'no table of services';
  }

  #begin(): null {
    this.#current = null;
    this.#wide = false;
    return null;
  }

  #endpoint(text: string): (Endpoint & { readonly hex: boolean }) | null {
    const hex = this.#wide ? null : readHexEndpoint(text);
    const found = hex ?? readEndpoint(text);
    return found === null ? null : { ...found, hex: hex !== null };
  }

  #service(words: readonly string[], line: number): string | null {
    this.#current = null;
    const [proto = '', where = '', ...rest] = words;
    const six = proto === 'FWM' && rest[0] === 'IPv6';
    const [scheduler = '', ...options] = six ? rest.slice(1) : rest;
    const flags = readFlags(options);
    if (flags === null || !/^[a-z][\w-]*$/.test(scheduler)) return 'no ipvs service';
    const common = { line, endLine: line, scheduler, ...flags, servers: [] };
    if (proto === 'FWM') {
      // the kernel prints eight digits, ipvsadm as many as there are and the family of IPv6 only
      const hex = /^[0-9A-F]{8}$/.test(where) && !six && !this.#wide;
      if (!hex && !/^\d{1,10}$/.test(where)) return 'no firewall mark';
      const mark = Number.parseInt(where, hex ? 16 : 10);
      return this.#open({
        ...common,
        form: hex ? 'proc' : 'list',
        proto: null,
        mark,
        family: hex ? null : six ? 6 : 4,
      });
    }
    const at = this.#endpoint(where);
    if (at === null || !/^(TCP|UDP|SCTP)$/.test(proto)) return 'no ipvs service';
    const { address, port, hex } = at;
    const name = proto.toLowerCase() as 'tcp' | 'udp' | 'sctp';
    const form = hex ? 'proc' : 'list';
    return this.#open({ ...common, form, proto: name, address, port, family: familyOf(at) });
  }

  #open(service: Draft): null {
    this.#current = service;
    this.services.push(service);
    return null;
  }

  #server(words: readonly string[], line: number): string | null {
    const [, where = '', forward = '', weight = ''] = words;
    const at = this.#endpoint(where);
    const mode = Object.hasOwn(MODES, forward) ? MODES[forward] : undefined;
    const service = this.#current;
    if (service === null) return 'a real server of no service';
    if (at === null || mode === undefined || !/^\d{1,10}$/.test(weight)) return 'no real server';
    service.servers.push({ line, address: at.address, port: at.port, mode, weight: Number(weight) });
    Object.assign(service, { endLine: line });
    return null;
  }
}

/** `ipvsadm -Sn`, then /proc/net/ip_vs; also either alone, or `ipvsadm -Ln`. */
function readIpvs(text: string): Parsed<IpvsServices> {
  const skipped: Skipped[] = [];
  const saved = new Saved();
  const tables = new Tables();
  let understood = 0;
  for (const { line, text: raw } of filledLines(text)) {
    const why = /^\s*-/.test(raw) && !/^\s*->/.test(raw) ? saved.read(raw, line) : tables.read(raw, line);
    if (why === null) understood += 1;
    else skipped.push({ line, why });
  }
  if (understood === 0 && skipped.length > 0) return { ok: false, why: 'no output of ipvsadm and no ip_vs table' };
  return { ok: true, value: { services: [...saved.services, ...tables.services] }, skipped };
}

export const parsers = [defineParser({ fact: 'ipvs', evidence: ['fw.ipvs'], version: 2, parse: readIpvs })];
