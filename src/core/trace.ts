interface InFile {
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
}

export interface TraceLines extends InFile {
  readonly line: number;
  readonly endLine: number;
  readonly text?: string;
}

/** The file was collected and does not hold it. */
export interface TraceAbsence extends InFile {
  readonly absent: string;
}

/** A command of `--if` made it: it stands in no file. */
export interface TraceAssumed extends InFile {
  readonly whatIf: string;
}

/** Where a step of a traced packet stands in the evidence. */
export type TraceCite = TraceLines | TraceAbsence | TraceAssumed;

export interface TraceHop<C = TraceCite> {
  readonly node: string;
  /** `host`, or the address of the pod or container whose namespace it is. */
  readonly at: string;
  readonly place: string;
  readonly action: string;
  readonly text: string;
  readonly cites: readonly C[];
}

export type TraceVerdict = 'delivered' | 'dropped' | 'rejected' | 'unknown';

export interface TraceHalf<C = TraceCite> {
  readonly verdict: TraceVerdict;
  readonly because: string;
  readonly hops: readonly TraceHop<C>[];
}

/** One way of a packet. */
export interface TraceWay<C = TraceCite> extends TraceHalf<C> {
  readonly packet: {
    /** '' when the sender's address is not known. */
    readonly src: string;
    readonly dst: string;
    readonly proto: string;
    readonly sport: number | null;
    readonly dport: number | null;
  };
  readonly arrived: {
    readonly node: string;
    readonly at: string;
    readonly src: string;
    readonly dst: string;
    readonly dport: number | null;
  } | null;
  readonly reply: TraceHalf<C> | null;
  /** What the verdict, or the answer's, would need; with the commands that collect it. */
  readonly missing: readonly {
    readonly because: string;
    readonly evidence: readonly string[];
    readonly collect?: readonly string[];
  }[];
}

/** The Trace JSON (schema/trace.v1.json). */
export interface TraceJson<C = TraceCite> extends TraceWay<C> {
  readonly schemaVersion: 1;
  /** Changes that were assumed, in order. */
  readonly assuming?: readonly { readonly node: string; readonly command: string }[];
  /** Ways between which the rules choose by chance; the share is null when it is not known. */
  readonly branches: readonly (TraceWay<C> & { readonly probability: number | null })[];
}

/** Pairs of nodes that behave alike. */
export interface ReachGroup<C = TraceCite> {
  readonly verdict: TraceVerdict;
  readonly because: string;
  /** Ordered pairs of different nodes. */
  readonly pairs: number;
  /** Every node of `from` to every other node of `to`. */
  readonly blocks: readonly { readonly from: readonly string[]; readonly to: readonly string[] }[];
  /** One of the pairs, followed in full; null: they were not followed. */
  readonly example: TraceJson<C> | null;
  readonly cites: readonly C[];
}

/** Output of `netcase reach --format json` (schema/reach.v1.json): every node's pods to every other node's, the worst group first. */
export interface ReachJson<C = TraceCite> {
  readonly schemaVersion: 1;
  /** Who stands for which node. */
  readonly pods: readonly { readonly node: string; readonly pod: string }[];
  /** Nodes of which no pod is in the evidence. */
  readonly skipped: readonly { readonly node: string; readonly because: string }[];
  /** How many packets were followed in full; the other pairs are like one of them in all that rules and tables look at. */
  readonly followed: number;
  readonly groups: readonly ReachGroup<C>[];
  readonly assuming?: readonly { readonly node: string; readonly command: string }[];
}
