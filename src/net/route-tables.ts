import type { Fact } from '../facts/index.ts';
import { type Addr, formatAddr } from './addr.ts';
import type { Absence, Reason } from './doubt.ts';
import { type FibTable, readTables } from './fib.ts';
import { factOf } from './instance.ts';
import { localTable } from './local-table.ts';
import type { Space } from './space.ts';

export interface LoadedTables {
  /** null: not collected. */
  readonly fact: RoutesFact | null;
  readonly tables: ReadonlyMap<string, FibTable>;
  /** Set: routes are missing or not all known. */
  readonly gap: Reason | null;
  /** The local table is made of the addresses: the dump does not show it. */
  readonly localMade: boolean;
  /** May a longer prefix than those that it shows be missing of a table? Of a dump that was cut off only of the one where that was. */
  readonly mayLack: (table: string) => boolean;
}

/** Which evidence tells of routes or policy rules of a namespace. */
export function evidenceOf(space: Space, family: 4 | 6, what: 'route' | 'rule'): string {
  if (space.inode === null) return `ip.${what}${family}`;
  return what === 'route' ? (family === 6 ? 'netns.route6-json' : 'netns.route4') : 'netns.rule4-json';
}

/** The tables of a namespace; `custom`: has it policy rules beyond the usual, so that the main table alone says nothing? */
export function loadTables(space: Space, family: 4 | 6, custom: () => boolean): LoadedTables {
  const fact = routesFact(space, family);
  let tables = new Map<string, FibTable>();
  let gap: Reason | null = null;
  const evidence = [evidenceOf(space, family, 'route')];
  if (fact === null) gap = { because: `routes of ${space.label} were not collected`, evidence };
  else {
    const read = readTables(fact);
    tables = read.tables;
    if (read.odd !== null)
      gap = {
        because: `${fact.path}:${read.odd.line} has a route of a kind that is not followed`,
        evidence: [fact.evidence],
      };
    else if (!fact.closed) gap = { because: `${fact.path} was not collected whole`, evidence: [fact.evidence] };
    else if (!fact.value.allTables && custom()) gap = { because: `${fact.path} shows the main table only`, evidence };
  }
  const localMade = !tables.has('local');
  if (localMade) tables.set('local', localTable(space.devices.addresses, family));
  const last = fact?.value.routes.at(-1)?.table;
  const mayLack = (table: string) =>
    !(localMade && table === 'local') && (fact?.lacks === 'lines' || (fact?.lacks === 'end' && table === last));
  return { fact, tables, gap, localMade, mayLack };
}

type RoutesFact = Fact<'routes4'> | Fact<'routes6'> | Fact<'netnsRoutes4'> | Fact<'netnsRoutes6'>;

function routesFact({ node, inode }: Space, family: 4 | 6): RoutesFact | null {
  const { facts } = node;
  if (inode === null) {
    const fact = family === 4 ? facts.get('routes4') : facts.get('routes6');
    return fact.missing ? null : fact;
  }
  return (family === 4 ? factOf(facts, 'netnsRoutes4', inode) : factOf(facts, 'netnsRoutes6', inode)) ?? null;
}

/** The list that holds no route to an address. */
export function routeAbsence(space: Space, dst: Addr): readonly Absence[] {
  const fact = routesFact(space, typeof dst === 'number' ? 4 : 6);
  if (fact === null) return [];
  const { evidence, path } = fact;
  return [{ node: space.node.id, evidence, path, absent: `a route to ${formatAddr(dst)}` }];
}
