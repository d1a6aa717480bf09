import type { Span } from '../core/span.ts';

/** A file of settings of any syntax, flattened: `exec-opts.0`, `cgroupDriver`, `plugins.x.SystemdCgroup`. */
export interface Setting extends Span {
  /** Keys from the root joined by `.`; array elements by their index. */
  readonly path: string;
  /** Scalars as JavaScript values; containers as 'object' or 'array' in `type` with value null. */
  readonly value: string | number | boolean | null;
  readonly type: 'string' | 'number' | 'boolean' | 'null' | 'object' | 'array';
  /** Of a JSON file: a number as it is written, where JavaScript would write it in another way (`10.0`, `1e1`, `99999999999999999999`). */
  readonly written?: string;
}

export interface Settings {
  readonly settings: readonly Setting[];
}

/** A JSON file read leniently: what a strict reader objects to, beside what could be read. */
export interface JsonSettings extends Settings {
  /** Empty: a strict JSON reader accepts the file. */
  readonly errors: readonly (Span & { readonly message: string })[];
  readonly duplicateKeys: readonly (Span & { readonly path: string })[];
  readonly bom: boolean;
  /** 'object' for a usable daemon.json. */
  readonly rootType: string;
}

/** `KEY=value` lines of an environment or sysconfig file. */
export interface EnvFile {
  readonly variables: readonly (Span & { readonly name: string; readonly value: string })[];
}

/** sysctl values; `key` in path form as under /proc/sys: `net/ipv4/conf/flannel.1/rp_filter`. */
export interface Sysctls {
  readonly values: readonly (Span & { readonly key: string; readonly value: string })[];
}

/** systemctl cat + show. A `value` of '' resets a list setting, as systemd does. */
export interface UnitFiles {
  readonly entries: readonly (Span & {
    /** The `# /path` header above it. */
    readonly file: string;
    readonly section: string;
    readonly key: string;
    readonly value: string;
  })[];
  /** `systemctl show -p` lines. */
  readonly properties: readonly (Span & { readonly key: string; readonly value: string })[];
}

/** Command lines of one daemon, one argument a line; processes apart by an empty line or `# pid N`. */
export interface ProcessArgs {
  readonly processes: readonly (Span & {
    readonly pid?: number;
    readonly argv: readonly (Span & { readonly text: string })[];
    /** `--name=value`, `--name value`, `-H value`; name without dashes; a bare switch has value 'true'. */
    readonly flags: readonly (Span & { readonly name: string; readonly value: string })[];
  })[];
}

/** Listening sockets. */
export interface Sockets {
  readonly listeners: readonly (Span & {
    readonly proto: 'tcp' | 'udp';
    readonly family: 4 | 6;
    /** 0.0.0.0 and :: for wildcards; `*` is read as :: (dual stack). */
    readonly address: string;
    readonly port: number;
    readonly dev?: string;
    readonly processes: readonly { readonly name: string; readonly pid?: number }[];
    readonly v6only?: boolean;
  })[];
}

/** Counters of the kernel, a row for every processor: `/proc/net/stat/...` or `conntrack -S`, which shows the same ones. */
export interface KernelCounters {
  readonly rows: readonly (Span & {
    readonly form: 'proc' | 'tool';
    readonly values: Readonly<Record<string, number>>;
  })[];
}

/** One line of text with its place: hostname, uname, uptime ... */
export interface TextLine extends Span {
  readonly text: string;
}

export interface TextLines {
  readonly lines: readonly TextLine[];
}

export interface Modules {
  readonly modules: readonly (Span & { readonly name: string })[];
}

export interface Cgroup {
  /** 2 = unified, 1 = legacy, 'hybrid'; null when the text does not say. */
  readonly version: 1 | 2 | 'hybrid' | null;
  readonly line: number;
}
