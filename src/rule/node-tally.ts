import { isNonEmpty, type NonEmpty } from '../core/span.ts';
import { type Cite, type Finding, findings, type NodeVerdict, type Undecided } from './verdict.ts';

/** So many lines prove a pass: of a node with hundreds of peers, one for each would be most of what is kept of it. */
const MOST_PROOFS = 8;

/** What a rule learnt of several packets on one node: a fault is told once a key, a question once, and nothing passes beside an open question. */
export class NodeTally {
  readonly #node: string;
  readonly #faults = new Map<string, Finding>();
  readonly #unknown = new Map<string, Undecided>();
  readonly #proofs = new Map<string, Cite>();

  constructor(node: string) {
    this.#node = node;
  }

  fault(finding: Finding): void {
    if (!this.#faults.has(finding.key)) this.#faults.set(finding.key, finding);
  }

  unknown(because: string, evidence: readonly string[]): void {
    this.#unknown.set(because, { nodes: [this.#node], because, evidence });
  }

  /** Some of `all` things of a kind (`published ports`) were too many to be asked about: what was asked of the others says nothing of them. */
  left(count: number, all: number, what: string): void {
    if (count > 0) this.unknown(`${count} of ${all} ${what} were not asked about: so many are not`, []);
  }

  passed(cites: readonly Cite[]): void {
    for (const c of cites) if (this.#proofs.size < MOST_PROOFS) this.#proofs.set(JSON.stringify(c), c);
  }

  /** `otherwise`: what proves a pass when no line does. */
  verdict(otherwise: NonEmpty<Cite>): NodeVerdict {
    const faults = [...this.#faults.values()];
    const unknown = [...this.#unknown.values()];
    const proofs = [...this.#proofs.values()];
    if (isNonEmpty(faults)) return findings(faults, unknown);
    if (isNonEmpty(unknown)) return { kind: 'unknown', unknown };
    return { kind: 'pass', cites: isNonEmpty(proofs) ? proofs : otherwise };
  }
}
