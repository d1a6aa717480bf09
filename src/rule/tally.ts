import { isNonEmpty, type NonEmpty } from '../core/span.ts';
import type { Cite, ClusterVerdict, Finding, Undecided } from './verdict.ts';

/** A fault that was met on one or more paths. */
export interface Fault extends Omit<Finding, 'nodes' | 'blame' | 'message'> {
  /** The node where it ends first, then the ends of the path. */
  readonly nodes: NonEmpty<string>;
  readonly blame: readonly string[];
  /** One sentence about one path, without its full stop. */
  readonly message: string;
}

/** What a rule learnt of many paths, put together node by node: nothing that was not followed passes. */
export class Tally {
  readonly #faults = new Map<
    string,
    { readonly first: Fault; nodes: Set<string>; blame: Set<string>; paths: number }
  >();
  readonly #reached = new Map<string, Cite[]>();
  readonly #partly = new Map<string, string>();
  readonly #unknown = new Map<string, { readonly u: Undecided; nodes: Set<string> }>();

  /** Faults with one key on one node are one finding. */
  fault(fault: Fault): void {
    const key = `${fault.nodes[0]} ${fault.key}`;
    const known = this.#faults.get(key);
    if (known === undefined) {
      this.#faults.set(key, {
        first: fault,
        nodes: new Set(fault.nodes),
        blame: new Set(fault.blame),
        paths: 1,
      });
      return;
    }
    for (const n of fault.nodes) known.nodes.add(n);
    // where every path that ends here can have its cause
    for (const n of known.blame) if (!fault.blame.includes(n)) known.blame.delete(n);
    known.paths += 1;
  }

  reached(nodes: readonly string[], cites: readonly Cite[]): void {
    for (const node of nodes) {
      const list = this.#reached.get(node) ?? [];
      if (list.length > 0 || cites.length === 0) continue;
      const own = cites.filter((c) => c.node === node);
      this.#reached.set(node, (own.length > 0 ? own : [...cites]).slice(-4));
    }
  }

  /** Only a sample of the node's paths was followed: what was reached is no pass. */
  partly(node: string, because: string): void {
    this.#partly.set(node, because);
  }

  unknown(nodes: readonly string[], because: string, evidence: readonly string[]): void {
    if (!isNonEmpty(nodes)) return;
    const key = JSON.stringify([because, evidence]);
    const known = this.#unknown.get(key);
    if (known === undefined) this.#unknown.set(key, { u: { nodes, because, evidence }, nodes: new Set(nodes) });
    else for (const n of nodes) known.nodes.add(n);
  }

  /** `silent` says of a node that none of these was told of why the question does not arise. */
  verdict(nodes: readonly string[], silent: (node: string) => string): ClusterVerdict {
    const findings = [...this.#faults.values()].map(({ first, nodes: all, blame, paths }): Finding => {
      const more =
        paths === 1 ? '' : paths === 2 ? '; one more path ends there' : `; ${paths - 1} more paths end there`;
      return {
        ...first,
        nodes: [first.nodes[0], ...[...all].filter((n) => n !== first.nodes[0]).sort()],
        blame: [...blame],
        message: `${first.message}${more}`,
      };
    });
    const unknown = [...this.#unknown.values()].flatMap(({ u, nodes: all }): Undecided[] => {
      const sorted = [...all].sort();
      return isNonEmpty(sorted) ? [{ ...u, nodes: sorted }] : [];
    });
    const named = new Set([...findings, ...unknown].flatMap((f) => [...f.nodes]));
    const passes = [...this.#reached].flatMap(([node, cites]) =>
      !named.has(node) && !this.#partly.has(node) && isNonEmpty(cites) ? [{ node, cites }] : [],
    );
    for (const p of passes) named.add(p.node);
    const notApplicable = nodes
      .filter((n) => !named.has(n))
      .map((n): ClusterVerdict['notApplicable'][number] => ({ nodes: [n], because: this.#partly.get(n) ?? silent(n) }));
    return { findings, passes, unknown, notApplicable };
  }
}
