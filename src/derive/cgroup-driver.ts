import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';

export type Driver = 'systemd' | 'cgroupfs';

/** A line that states something, or the file that was read whole and does not. */
export type Statement =
  | { readonly fact: Fact<FactKind>; readonly span: Span }
  | {
      readonly absence: {
        readonly kind: 'absent';
        readonly node: string;
        readonly evidence: string;
        readonly path: string;
        readonly absent: string;
      };
    };

export interface DriverChoice {
  readonly driver: Driver;
  readonly name: string;
  readonly cites: readonly Statement[];
  /** False when the driver is a program's default rather than something written. */
  readonly sure: boolean;
}

/** A driver, or why it is not known and what would tell. */
export type DriverAnswer = DriverChoice | { readonly because: string; readonly evidence: readonly string[] };

export function silence(fact: Fact<FactKind>, what: string): Statement {
  return { absence: { kind: 'absent', node: fact.node, evidence: fact.evidence, path: fact.path, absent: what } };
}
