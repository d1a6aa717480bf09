import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

/** Raw tar headers, honest or hostile: what a real archiver would refuse to write. */
export interface RawHeader {
  readonly name?: string | Buffer;
  readonly mode?: number;
  /** Claimed size in bytes; a Buffer is written as it is. */
  readonly size?: number | Buffer;
  /** One character; '\0' for the old kind. */
  readonly type?: string;
  readonly link?: string;
  readonly prefix?: string | Buffer;
  /** 8 bytes at 257; default ustar. */
  readonly magic?: string;
  readonly checksum?: number;
}

export function header(h: RawHeader): Buffer {
  const b = Buffer.alloc(512);
  const put = (value: string | Buffer, at: number, length: number) =>
    (typeof value === 'string' ? Buffer.from(value) : value).copy(b, at, 0, length);
  put(h.name ?? 'x', 0, 100);
  put(`${(h.mode ?? 0o600).toString(8).padStart(7, '0')}\0`, 100, 8);
  put('0000000\0', 108, 8);
  put('0000000\0', 116, 8);
  const size = h.size ?? 0;
  put(typeof size === 'number' ? `${size.toString(8).padStart(11, '0')}\0` : size, 124, 12);
  put('15000000000\0', 136, 12);
  put(h.type ?? '0', 156, 1);
  put(h.link ?? '', 157, 100);
  put(h.magic ?? 'ustar\u000000', 257, 8);
  put(h.prefix ?? '', 345, 155);
  b.fill(0x20, 148, 156);
  const sum = h.checksum ?? b.reduce((a, c) => a + c, 0);
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
  return b;
}

export function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** A member: header and data. Fields of `more` replace the honest ones. */
export function member(name: string, data: string | Buffer = '', more: RawHeader = {}): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  return Buffer.concat([header({ name, size: bytes.length, ...more }), padded(bytes)]);
}

export function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(body) + 1;
  while (Buffer.byteLength(`${length}${body}`) !== length) length = Buffer.byteLength(`${length}${body}`);
  return `${length}${body}`;
}

export function pax(records: Readonly<Record<string, string>> | string, type = 'x'): Buffer {
  const body =
    typeof records === 'string'
      ? records
      : Object.entries(records)
          .map(([k, v]) => paxRecord(k, v))
          .join('');
  return member('PaxHeader/x', body, { type });
}

export function gnuLong(name: string, type = 'L'): Buffer {
  return member('././@LongLink', `${name}\0`, { type, magic: 'ustar  \0' });
}

export const END: Buffer = Buffer.alloc(1024);

export function tar(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([...parts, END]);
}

export const sha = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

type Json = Record<string, unknown>;

export interface BundleSpec {
  readonly root?: string;
  readonly files?: Readonly<Record<string, string | Buffer>>;
  /** Evidence id of a path; default `x.<path>`. */
  readonly ids?: Readonly<Record<string, string>>;
  /** Records without a file. */
  readonly records?: readonly Json[];
  readonly bundleJson?: Json;
  readonly end?: Json;
  /** Changes a record before it is written. */
  readonly record?: (record: Json) => Json;
  /** Changes manifest.json after its hash was written down. */
  readonly manifest?: (text: string) => string;
  readonly sums?: ((text: string) => string) | null;
  readonly noManifest?: boolean;
  readonly noBundleJson?: boolean;
  /** Members before bundle.json, after the evidence, and after SHA256SUMS. */
  readonly first?: readonly Buffer[];
  readonly extra?: readonly Buffer[];
  readonly last?: readonly Buffer[];
}

export const FILES: Readonly<Record<string, string>> = {
  'host/sys/hostname.txt': 'node-a\n',
  'host/ip/addr.txt': '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n',
  'host/fw/iptables-save.txt': '*filter\n:FORWARD DROP [0:0]\nCOMMIT\n',
};
export const IDS: Readonly<Record<string, string>> = {
  'host/sys/hostname.txt': 'sys.hostname',
  'host/ip/addr.txt': 'ip.addr',
  'host/fw/iptables-save.txt': 'fw.iptables-save',
};

export function bundleJson(more: Json = {}): Json {
  return {
    format: 'netcase-bundle',
    version: 1,
    minReader: 1,
    id: '0123456789abcdef0123456789abcdef',
    collector: { name: 'netcase-collect.sh', version: '0.1.0', sha256: null },
    node: {
      hostname: 'node-a',
      fqdn: 'node-a.example',
      machineIdSha256: 'a'.repeat(64),
      bootId: 'boot-1',
      kernel: '6.1',
      os: 'Debian',
    },
    clock: { epoch: 1795342939, uptimeCs: 1, tz: 'UTC', refEpoch: null },
    context: { uid: 0, caps: 'ff', netns: '4026531833', pid1netns: '4026531833', mode: 'host' },
    options: [],
    ...more,
  };
}

/** A bundle of format v1 (docs/collector.md), uncompressed; honest unless the spec says otherwise. */
export function bundleTar(spec: BundleSpec = {}): Buffer {
  const files = spec.files ?? FILES;
  const root = spec.root ?? 'netcase_node-a_20261124T120000Z_abcdef/';
  const parts: Buffer[] = [...(spec.first ?? [])];
  const sums: string[] = [];
  const put = (path: string, data: string | Buffer) => {
    sums.push(`${sha(data)}  ${path}\n`);
    parts.push(member(`${root}${path}`, data));
  };
  if (!spec.noBundleJson) put('bundle.json', `${JSON.stringify(bundleJson(spec.bundleJson))}\n`);
  const records: Json[] = [];
  for (const [path, data] of Object.entries(files)) {
    put(path, data);
    const id = spec.ids?.[path] ?? IDS[path] ?? `x.${path}`;
    const more = { t: 1, ms: 2, bytes: Buffer.byteLength(data), sha256: sha(data), redactions: 0 };
    if (!path.endsWith('.err')) records.push({ id, path, kind: 'cmd', argv: ['a', 'b'], status: 'ok', rc: 0, ...more });
  }
  records.push(...(spec.records ?? []));
  parts.push(...(spec.extra ?? []));
  if (!spec.noManifest) {
    const lines = records.map((r) => JSON.stringify(spec.record?.(r) ?? r)).join(',\n');
    const end = { records: records.length, ok: records.length, t1: 1795342948, deadline: false, complete: true };
    const text = `{"format":"netcase-bundle","version":1,"id":"0123456789abcdef0123456789abcdef","t0":1795342939,"evidence":[\n${lines}\n],"end":${JSON.stringify({ ...end, ...spec.end })}}\n`;
    const shown = spec.manifest?.(text) ?? text;
    sums.push(`${sha(text)}  manifest.json\n`);
    parts.push(member(`${root}manifest.json`, shown));
  }
  if (spec.sums !== null) parts.push(member(`${root}SHA256SUMS`, (spec.sums ?? ((t: string) => t))(sums.join(''))));
  return tar(...parts, ...(spec.last ?? []));
}

export function bundleGz(spec: BundleSpec = {}): Buffer {
  return gzipSync(bundleTar(spec));
}
