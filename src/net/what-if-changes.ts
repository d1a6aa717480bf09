import type {
  BridgePortAttributes,
  Fact,
  FactKind,
  FactTypes,
  Fdb,
  IptRule,
  ManyKind,
  Neighbours,
  PolicyRule,
  Route,
} from '../facts/index.ts';

/**
 * One command of `trace --if`, understood. Lines that it makes have `mark` or less for a number: below zero, because they stand in no file.
 */
export interface Change {
  readonly text: string;
  readonly mark: number;
  readonly edit: Edit;
}

export type Edit =
  | SysctlEdit
  | RulesetEdit
  | LinkEdit
  | PortEdit
  | AddressEdit
  | RouteEdit
  | PolicyEdit
  | NeighbourEdit
  | FdbEdit;

export interface SysctlEdit {
  readonly kind: 'sysctl';
  /** As under /proc/sys. */
  readonly key: string;
  readonly value: string;
}

/** `plain`: what `iptables` is on that node. */
export interface RulesetEdit {
  readonly kind: 'ruleset';
  readonly family: 4 | 6;
  readonly backend: 'plain' | 'nft' | 'legacy';
  readonly table: string;
  readonly act: RulesetAct;
}

export type RulesetAct =
  | { readonly op: 'append'; readonly chain: string; readonly rules: readonly IptRule[] }
  /** `at` counts from 1. */
  | {
      readonly op: 'insert' | 'replace';
      readonly chain: string;
      readonly rules: readonly IptRule[];
      readonly at: number;
    }
  | { readonly op: 'delete'; readonly chain: string; readonly rules: readonly IptRule[] }
  | { readonly op: 'delete-at'; readonly chain: string; readonly at: number }
  | { readonly op: 'policy'; readonly chain: string; readonly policy: string }
  | { readonly op: 'flush'; readonly chain: string | null }
  | { readonly op: 'delete-chain'; readonly chain: string | null }
  | { readonly op: 'new-chain'; readonly chain: string };

export interface LinkEdit {
  readonly kind: 'link';
  readonly dev: string;
  readonly mtu?: number;
  readonly up?: boolean;
  /** null: nomaster. */
  readonly master?: string | null;
}

export interface PortEdit {
  readonly kind: 'port';
  readonly dev: string;
  readonly set: BridgePortAttributes;
}

export interface AddressEdit {
  readonly kind: 'address';
  readonly op: 'add' | 'replace' | 'del';
  readonly dev: string;
  readonly family: 4 | 6;
  readonly address: string;
  readonly prefixLength: number;
  readonly scope: string;
  readonly prefixRoute: boolean;
}

export interface RouteEdit {
  readonly kind: 'route';
  readonly op: 'add' | 'replace' | 'change' | 'append' | 'prepend' | 'del';
  readonly route: Route;
  /** What the command names beside the destination: `del` takes the first route that has all of it. */
  readonly named: readonly (keyof Route)[];
}

export interface PolicyEdit {
  readonly kind: 'policy';
  readonly op: 'add' | 'del';
  readonly family: 4 | 6;
  readonly rule: PolicyRule;
  readonly named: readonly (keyof PolicyRule)[];
}

export interface NeighbourEdit {
  readonly kind: 'neighbour';
  readonly op: 'add' | 'replace' | 'change' | 'del';
  readonly entry: Neighbours['entries'][number];
}

export interface FdbEdit {
  readonly kind: 'fdb';
  readonly op: 'add' | 'append' | 'replace' | 'del';
  readonly entry: Fdb['entries'][number];
}

/** The kernel would refuse the change, or the evidence does not tell what it would do. */
export class ChangeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ChangeError';
  }
}

export type SingleKind = Exclude<FactKind, ManyKind>;

/** A node's facts while a change is worked into them. */
export interface Draft {
  readonly node: string;
  readonly mark: number;
  /** null: the fact is missing. */
  read<K extends SingleKind>(kind: K): Fact<K> | null;
  /** The fact, or a refusal: `what` says what is not known without it. */
  need<K extends SingleKind>(kind: K, what: string): Fact<K>;
  write<K extends SingleKind>(kind: K, value: FactTypes[K]): void;
}
