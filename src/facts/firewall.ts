import type { Span } from '../core/span.ts';

/** A value that may stand behind `!`. */
export interface Negatable<T> {
  readonly negated: boolean;
  readonly value: T;
}

/** `--dports 80,443` -> { flag: '--dports', negated: false, values: ['80,443'] }. Values are unquoted tokens. */
export interface IptOption {
  readonly flag: string;
  readonly negated: boolean;
  readonly values: readonly string[];
  /** The values as they stand in the file, where that is not how iptables-save would quote them. */
  readonly written?: readonly string[];
}

export interface IptMatch {
  readonly name: string;
  readonly options: readonly IptOption[];
}

/** One `-A` line, lossless: printing its parts in order gives iptables-save's own text. */
export interface IptRule {
  readonly line: number;
  readonly chain: string;
  /** The line without its counters. */
  readonly text: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly source?: Negatable<string>;
  readonly destination?: Negatable<string>;
  /** Device name; a trailing `+` is a prefix match. */
  readonly inDevice?: Negatable<string>;
  readonly outDevice?: Negatable<string>;
  /** As printed: tcp, udp, icmp, a number ... ; absent = any. */
  readonly protocol?: Negatable<string>;
  /** `-f`: second and further fragments. */
  readonly fragment?: Negatable<true>;
  /** In order; a protocol's own options (`-p tcp --dport`) are under its `-m tcp`. */
  readonly matches: readonly IptMatch[];
  /** Absent: a rule without `-j` (counts only). */
  readonly target?: { readonly kind: 'jump' | 'goto'; readonly name: string; readonly options: readonly IptOption[] };
  readonly comment?: string;
  /** Tokens the tokenizer could not place (never empty when present): the rule must be judged unknown. */
  readonly unplaced?: readonly string[];
}

export interface IptChain {
  readonly name: string;
  /** Built-in chains have a policy; user chains null. */
  readonly policy: string | null;
  /** Line of `:NAME POLICY [..]`. */
  readonly line: number;
  readonly packets?: number;
  readonly bytes?: number;
  readonly ruleCount: number;
  /** Tokenised on first call and kept. */
  rules(): readonly IptRule[];
  /** One of `rules()`. */
  rule(index: number): IptRule;
  /** The rules as they were written, from `-A` on, not tokenised; nodes that have the same rules may have the same array. */
  texts(): readonly string[];
  /** `rules()` with lines that may be those of another node's file: the same for all nodes that have them. */
  shared(): readonly IptRule[];
}

export interface IptTable {
  readonly name: string;
  /** Line of `*name`. */
  readonly line: number;
  readonly chains: ReadonlyMap<string, IptChain>;
  /** Line of `COMMIT`; null = the table was cut. */
  readonly commitLine: number | null;
}

/** One backend's saved ruleset. Chains are indexed; rules are tokenised on demand (20,000-rule files are normal). */
export interface Ruleset {
  readonly backend: 'nft' | 'legacy' | 'unknown';
  readonly version?: string;
  readonly tables: ReadonlyMap<string, IptTable>;
  /** "# Table `x' is incompatible", "# Warning: iptables-legacy tables present": what makes absence unknown. */
  readonly markers: readonly (Span & {
    readonly kind: 'incompatible-table' | 'legacy-tables-present' | 'other';
    readonly table?: string;
    readonly text: string;
  })[];
}

/** /proc/net/ip_tables_names: the legacy tables that the kernel has. */
export interface TableNames {
  readonly tables: readonly (Span & { readonly name: string })[];
}

/** `nft list tables`. */
export interface NftTables {
  readonly tables: readonly (Span & { readonly family: string; readonly name: string })[];
}

export interface IptablesVersion {
  /** What the plain `iptables` is. */
  readonly backend: 'nft' | 'legacy' | 'unknown';
  readonly version: string;
  readonly line: number;
}

/** `nft -j list ruleset`, kept as nft prints it; expressions stay JSON for src/net. */
export interface NftJson {
  readonly tables: readonly {
    readonly family: string;
    readonly name: string;
    readonly handle: number;
    /** Its base chains are not called. null: it has a flag, which nft 1.0.6 and older print as any word of their memory. */
    readonly dormant?: true | null;
  }[];
  readonly chains: readonly {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly handle: number;
    /** Base chains only. */
    readonly type?: string;
    readonly hook?: string;
    readonly priority?: number;
    readonly policy?: string;
    readonly dev?: string;
  }[];
  readonly rules: readonly {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly handle: number;
    readonly comment?: string;
    readonly expr: readonly unknown[];
  }[];
  readonly sets: readonly {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly map: boolean;
    readonly type: unknown;
    readonly flags: readonly string[];
    readonly elements: readonly unknown[];
  }[];
}

/** `nft -a list ruleset`: lines for citing, found by handle; verdict words for the case that JSON is missing. */
export interface NftText {
  readonly tables: readonly (Span & {
    readonly family: string;
    readonly name: string;
    readonly handle?: number;
    readonly dormant?: true;
  })[];
  readonly chains: readonly (Span & {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly handle?: number;
    readonly type?: string;
    readonly hook?: string;
    readonly priority?: number;
    readonly policy?: string;
    /** netdev: its devices, with commas. */
    readonly dev?: string;
    /** Line of `type ... hook ... policy`. */
    readonly hookLine?: number;
  })[];
  readonly rules: readonly (Span & {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly handle?: number;
    readonly text: string;
  })[];
  /** Where a map stands; what is in it only JSON tells. */
  readonly maps: readonly (Span & { readonly family: string; readonly table: string; readonly name: string })[];
}

export interface IpSets {
  readonly sets: readonly (Span & {
    readonly name: string;
    /** hash:ip, hash:net, hash:ip,port, bitmap:port, list:set ... */
    readonly type: string;
    readonly family: 4 | 6;
    /** `netmask 24`, `bitmask ..`, `markmask ..`: what an address or mark is masked with before it is looked up. */
    readonly masks?: string;
    /** `text` is the element alone; `timeout` in seconds, as left at the time of the dump. */
    readonly entries: readonly {
      readonly text: string;
      readonly nomatch: boolean;
      readonly line: number;
      readonly timeout?: number;
    }[];
  })[];
}

/** A real server of an ipvs service. */
export interface IpvsServer extends Span {
  readonly address: string;
  /** 0: that of the packet. */
  readonly port: number;
  readonly mode: 'masq' | 'route' | 'tunnel' | 'local';
  readonly weight: number;
}

/** A service of ipvs; the same one may stand in several forms in one file. */
export interface IpvsService extends Span {
  /** `ipvsadm -Sn`, /proc/net/ip_vs, `ipvsadm -Ln`. */
  readonly form: 'save' | 'proc' | 'list';
  /** null: of a firewall mark, for every protocol. */
  readonly proto: 'tcp' | 'udp' | 'sctp' | null;
  readonly mark?: number;
  readonly address?: string;
  /** 0: every port. */
  readonly port?: number;
  /** null: /proc does not say it of a firewall mark. */
  readonly family: 4 | 6 | null;
  /** rr, wrr, sh ...; with its variant: `sh sh-port`. */
  readonly scheduler: string;
  readonly persistent: boolean;
  readonly onePacket: boolean;
  /** A persistence engine (`--pe sip`) looks into the packets. */
  readonly engine: boolean;
  readonly servers: readonly IpvsServer[];
}

export interface IpvsServices {
  readonly services: readonly IpvsService[];
}
