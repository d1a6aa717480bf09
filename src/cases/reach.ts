import type { ReachJson } from '../core/trace.ts';
import { reach } from '../net/index.ts';
import { withNetCase } from './net-case.ts';
import { assumed, citer, presented } from './trace.ts';

/** Every node's pods to every other node's, from the newest bundle of each. */
export function reachCase(caseFile: string, changes: readonly string[]): ReachJson {
  return withNetCase(caseFile, changes, (net, understood) => {
    const { groups, ...rest } = reach(net.cluster);
    const cited = citer(net, understood);
    return {
      ...rest,
      groups: groups.map((g) => ({
        ...g,
        example: g.example === null ? null : presented(g.example, net, understood),
        cites: g.cites.map(cited),
      })),
      ...assumed(understood),
    };
  });
}
