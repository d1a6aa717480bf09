import type { Fact, FactKind } from '../facts/index.ts';
import type { NetFacts } from './model.ts';
import { type Change, ChangeError, type Draft, type Edit, type SingleKind } from './what-if-changes.ts';
import { changeAddress, changeLink, changePort } from './what-if-links.ts';
import { changePolicy, changeRoute } from './what-if-routes.ts';
import { changeRuleset } from './what-if-ruleset.ts';
import { changeFdb, changeNeighbour, changeSysctl } from './what-if-tables.ts';

export * from './what-if-changes.ts';

/** A map whose facts are of the kind that is their key, which the type of Map cannot say. */
interface Written {
  get<K extends FactKind>(kind: K): Fact<K> | undefined;
  set<K extends FactKind>(kind: K, fact: Fact<K>): void;
}

/** The facts of a node as they would be after the change, in the node's own namespace. Throws ChangeError. */
export function applyChange(facts: NetFacts, change: Change): NetFacts {
  const written: Written = new Map();
  const read = <K extends SingleKind>(kind: K): Fact<K> | null => {
    const own = written.get(kind);
    if (own !== undefined) return own;
    const fact = facts.get(kind);
    return fact.missing ? null : fact;
  };
  const draft: Draft = {
    node: facts.node,
    mark: change.mark,
    read,
    need(kind, what) {
      const fact = read(kind);
      if (fact !== null) return fact;
      const missing = facts.get(kind);
      const why = missing.missing ? `${missing.evidence[0]} ${missing.because}` : '';
      throw new ChangeError(
        `${what} of ${facts.node} are not known (${why}), so what the command does is not known either`,
      );
    },
    write(kind, value) {
      const fact = read(kind);
      if (fact !== null) written.set(kind, { ...fact, value });
    },
  };
  work(draft, change.edit);
  return {
    node: facts.node,
    get: (kind) => written.get(kind) ?? facts.get(kind),
    all: (kind) => facts.all(kind),
  };
}

const WORK: { readonly [K in Edit['kind']]: (draft: Draft, edit: Extract<Edit, { kind: K }>) => void } = {
  sysctl: changeSysctl,
  ruleset: changeRuleset,
  link: changeLink,
  port: (draft, edit) => changePort(draft, edit.dev, edit.set),
  address: changeAddress,
  route: changeRoute,
  policy: changePolicy,
  neighbour: changeNeighbour,
  fdb: changeFdb,
};

function work(draft: Draft, edit: Edit): void {
  (WORK[edit.kind] as (draft: Draft, edit: Edit) => void)(draft, edit);
}
