import { parseAddr } from './addr.ts';
import { bad, type HookAnswer, hookAnswer, MAX_WAYS, packetOf, type Sample, tracked } from './ask.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';
import type { HookWay } from './step.ts';
import { Watch } from './watch.ts';

/** Does a new connection from outside get to a socket of the host: PREROUTING and INPUT of every ruleset that is live? */
export function askInput(node: NetNode, sample: Omit<Sample, 'oif'>, watch?: Watch): HookAnswer {
  const packet = packetOf({ ...sample, oif: '' });
  if (packet === null) return bad('the packet has no readable addresses');
  const context = { track: tracked, maxWays: MAX_WAYS, watch };
  const ways = runHook(node.host, 'prerouting', packet, [], context).flatMap((w): readonly HookWay[] => {
    if (w.verdict !== 'accept') return [w];
    return after(w, runHook(node.host, 'input', { ...w.packet, iif: sample.iif }, w.doubts, context));
  });
  return hookAnswer(ways);
}

/** Does what the host itself sends get out: OUTPUT and POSTROUTING of every ruleset that is live? */
export function askOutput(node: NetNode, sample: Omit<Sample, 'iif'>, watch?: Watch): HookAnswer {
  const packet = packetOf({ ...sample, iif: '' });
  if (packet === null) return bad('the packet has no readable addresses');
  const context = { track: tracked, maxWays: MAX_WAYS, watch };
  const going = { ...packet, oif: sample.oif, nexthop: packet.dst };
  const ways = runHook(node.host, 'output', going, [], context).flatMap((w): readonly HookWay[] => {
    if (w.verdict !== 'accept') return [w];
    if (w.reroute) return [rerouted(w, node)];
    return after(w, runHook(node.host, 'postrouting', w.packet, w.doubts, context));
  });
  return hookAnswer(ways);
}

/** By which device it leaves then is not followed. */
function rerouted(way: HookWay, { id }: NetNode): HookWay {
  const because = 'a rule at OUTPUT changes what routing asks for, and it is routed anew';
  const doubt = { key: `${id} output reroute`, holds: true, because, evidence: ['ip.rule4'] };
  return { ...way, verdict: 'unknown', because, doubts: [...way.doubts, doubt] };
}

const after = (first: HookWay, next: readonly HookWay[]): HookWay[] =>
  next.map((n) => ({ ...n, probability: n.probability * first.probability, steps: [...first.steps, ...n.steps] }));

interface Alike {
  readonly addresses: readonly string[];
  readonly answer: HookAnswer;
}

/**
 * One question about many addresses, at most `most` times: those that no rule tells apart from one that was asked have its answer. `unasked`:
 * what is left.
 */
export function askAlike(
  node: NetNode,
  addresses: readonly string[],
  most: number,
  ask: (address: string, watch: Watch) => HookAnswer,
): { readonly groups: readonly Alike[]; readonly unasked: readonly string[] } {
  const groups: Alike[] = [];
  let open = addresses.flatMap((text) => {
    const addr = parseAddr(text);
    return addr === null ? [] : [{ text, addr }];
  });
  // what the rules tell apart elsewhere does not matter
  const numbers = open.flatMap(({ addr }) => (typeof addr === 'number' ? addr : [])).sort((a, b) => a - b);
  const [low, high] = [numbers[0] ?? 0, numbers.at(-1) ?? 0];
  while (groups.length < most) {
    const [first] = open;
    if (first === undefined) break;
    const watch = new Watch([[low, high]]);
    const answer = ask(first.text, watch);
    const covers = watch.coverer(
      first.addr,
      (a) => node.host.routing(typeof a === 'number' ? 4 : 6).typeOf(a).type ?? '',
    );
    const same = new Set(open.filter(({ addr }) => covers(addr)));
    groups.push({ addresses: [...same].map(({ text }) => text), answer });
    open = open.filter((o) => !same.has(o));
  }
  return { groups, unasked: open.map(({ text }) => text) };
}
