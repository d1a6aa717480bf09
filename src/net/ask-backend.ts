import type { NetNode } from './model.ts';
import type { RuleSources } from './rulesets.ts';
import { Space } from './space.ts';

/** The host as it would be without what iptables of one backend holds there. */
class OneSided extends Space {
  readonly #hidden: 'nft' | 'legacy';

  constructor(node: NetNode, hidden: 'nft' | 'legacy') {
    super(node, null);
    this.#hidden = hidden;
  }

  override rules(family: 4 | 6): RuleSources {
    const all = super.rules(family);
    const owner = `iptables-${this.#hidden}`;
    return {
      ...all,
      rulesets: all.rulesets.filter((r) => r.backend !== this.#hidden),
      chains: (hook) => all.chains(hook).filter((c) => c.owner !== owner),
    };
  }
}

/** A node whose host has no rules of this backend of iptables: what the other alone would do. */
export function withoutBackend(node: NetNode, hidden: 'nft' | 'legacy'): NetNode {
  const host = new OneSided(node, hidden);
  return { id: node.id, facts: node.facts, host, spaces: [host], space: () => undefined };
}
