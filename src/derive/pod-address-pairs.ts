import type { Source } from './devices.ts';
import { isOneMachine } from './one-machine.ts';
import { type PodAddress, unpackedAddresses } from './pod-addresses.ts';

/** A node of a cluster, with the packed addresses of its pods. */
interface Member {
  readonly node: string;
  readonly machineIdSha256: string | null;
  readonly bootId: string | null;
  readonly digest: { readonly pods: string };
}

/** Two nodes of one cluster, and the addresses that pods of both have. */
export interface SharedAddresses<M> {
  readonly a: M;
  readonly b: M;
  readonly values: readonly number[];
}

/** Containers of one node that share an address. */
export function sameAddress(list: readonly PodAddress[]): readonly (readonly PodAddress[])[] {
  const first = new Map<string, PodAddress>();
  const groups = new Map<string, PodAddress[]>();
  for (const p of list) {
    const known = first.get(p.address);
    if (known === undefined) first.set(p.address, p);
    else if (known.link.inode !== p.link.inode) groups.set(p.address, [...(groups.get(p.address) ?? [known]), p]);
  }
  return [...groups.values()];
}

/** Pairs of nodes of one cluster whose pods share addresses; of more than two with one address each pair has the first. Linear in the number of pods. */
export function sharedAddresses<M extends Member>(
  all: readonly M[],
  groups: ReadonlyMap<string, string | null>,
): readonly SharedAddresses<M>[] {
  const holders = new Map<string, Map<number, M>>();
  const found = new Map<string, { readonly a: M; readonly b: M; readonly values: number[] }>();
  for (const b of all) {
    const group = groups.get(b.node) ?? null;
    if (group === null || b.digest.pods === '') continue;
    const known = holders.get(group) ?? new Map<number, M>();
    holders.set(group, known);
    for (const value of unpackedAddresses(b.digest.pods)) {
      const a = known.get(value);
      if (a === undefined) known.set(value, b);
      else if (!isOneMachine(a, b)) {
        const pair = found.get(`${a.node} ${b.node}`) ?? { a, b, values: [] };
        pair.values.push(value);
        found.set(`${a.node} ${b.node}`, pair);
      }
    }
  }
  return [...found.values()];
}

/** The one of two that has no process any more, where those of others are seen. */
export function leftBehind(source: Source<'netnsIndex'>, group: readonly PodAddress[]): PodAddress | undefined {
  const index = source.get('netnsIndex');
  if (index.missing || group.length !== 2) return undefined;
  const alive = new Map(index.value.namespaces.map((n) => [n.inode, n.pid !== undefined]));
  const [left, more] = group.filter((p) => alive.get(p.link.inode) === false);
  const other = group.some((p) => alive.get(p.link.inode) === true);
  return more === undefined && other ? left : undefined;
}
