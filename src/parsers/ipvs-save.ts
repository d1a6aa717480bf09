import type { IpvsServer, IpvsService } from '../facts/firewall.ts';

/** A service whose real servers are still being read. */
export type Draft = Omit<IpvsService, 'servers'> & { readonly servers: IpvsServer[] };
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export function port(text: string, base: 10 | 16): number | null {
  const value = Number.parseInt(text, base);
  return value <= 0xffff ? value : null;
}

/** `10.96.0.1:443`, `[fd00::1]:443`. */
export function readEndpoint(text: string): Endpoint | null {
  const m = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-fA-F:.]{2,45})\]):(\d{1,5})$/.exec(text);
  const number = m === null ? null : port(m[3]!, 10);
  return m === null || number === null ? null : { address: m[1] ?? m[2]!, port: number };
}

const PROTOS: Readonly<Record<string, 'tcp' | 'udp' | 'sctp'>> = {
  '-t': 'tcp',
  '-u': 'udp',
  '--tcp-service': 'tcp',
  '--udp-service': 'udp',
  '--sctp-service': 'sctp',
};
/** Options with a value that change nothing of what is modelled, and those that only say it. */
const WITH_VALUE = new Set(['-M', '--netmask', '-x', '-y', '--tun-type', '--tun-port']);
const MODES: Readonly<Record<string, IpvsServer['mode']>> = { '-m': 'masq', '-g': 'route', '-i': 'tunnel' };

interface Line {
  /** The service as it is named in all its lines. */
  readonly key: string;
  readonly service: Pick<IpvsService, 'proto' | 'mark' | 'address' | 'port' | 'family'>;
  readonly options: ReadonlyMap<string, string>;
}

/** The words behind `-A` or `-a`; null: one of them is not known. */
function readLine(words: readonly string[]): Line | null {
  const options = new Map<string, string>();
  const six = words.includes('-6');
  let service: Line['service'] | null = null;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    const value = words[i + 1] ?? '';
    const proto = Object.hasOwn(PROTOS, word) ? PROTOS[word] : undefined;
    if (proto !== undefined) {
      const at = readEndpoint(value);
      if (at === null) return null;
      service = { proto, ...at, family: at.address.includes(':') ? 6 : 4 };
    } else if (word === '-f' && /^\d{1,10}$/.test(value))
      service = { proto: null, mark: Number(value), family: six ? 6 : 4 };
    else if (/^(-[mgi6o]|--ops|--tun-(nocsum|csum|remcsum))$/.test(word)) {
      options.set(word, '');
      continue;
    } else if (WITH_VALUE.has(word) || /^(-[rwspb]|--pe)$/.test(word)) options.set(word, value);
    else return null;
    if (value === '') return null;
    i += 1;
  }
  if (service === null) return null;
  const { proto, mark, address, port: number, family } = service;
  return { key: `${proto} ${mark} ${address} ${number} ${family}`, service, options };
}

/** `ipvsadm -Sn`: one `-A` line a service, then one `-a` line a real server. */
export class Saved {
  readonly #services = new Map<string, Draft>();

  get services(): readonly Draft[] {
    return [...this.#services.values()];
  }

  /** Why the line is not understood; null: it is. */
  read(raw: string, line: number): string | null {
    const [verb, ...words] = raw.trim().split(/\s+/);
    if (verb !== '-A' && verb !== '-a') return 'no line of ipvsadm -Sn';
    const found = readLine(words);
    if (found === null) return 'an option of ipvsadm that is not known';
    return verb === '-A' ? this.#open(found, line) : this.#add(found, line);
  }

  #open({ key, service, options }: Line, line: number): string | null {
    const scheduler = options.get('-s');
    if (scheduler === undefined) return 'a service without a scheduler';
    // `-b` chooses a variant of the scheduler
    const variant = options.has('-b') ? ` ${options.get('-b')}` : '';
    this.#services.set(key, {
      line,
      endLine: line,
      form: 'save',
      ...service,
      scheduler: `${scheduler}${variant}`,
      persistent: options.has('-p'),
      onePacket: options.has('-o') || options.has('--ops'),
      engine: options.has('--pe'),
      servers: [],
    });
    return null;
  }

  #add({ key, options }: Line, line: number): string | null {
    const service = this.#services.get(key);
    if (service === undefined) return 'a real server of an unknown service';
    const at = readEndpoint(options.get('-r') ?? '');
    const mode = Object.entries(MODES).find(([flag]) => options.has(flag))?.[1];
    const weight = options.get('-w') ?? '1';
    if (at === null || mode === undefined || !/^\d{1,10}$/.test(weight)) return 'no real server';
    service.servers.push({ line, ...at, mode, weight: Number(weight) });
    Object.assign(service, { endLine: line });
    return null;
  }
}
