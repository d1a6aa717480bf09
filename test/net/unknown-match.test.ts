import { describe, expect, it } from 'vitest';
import { formatAddr } from '../../src/net/addr.ts';
import { clusterOf, type NetNode, representativeOf, trace } from '../../src/net/index.ts';
import { recordedLabs, recordedNodes } from '../support/bundle-nodes.ts';

const RULESET = 'host/fw/iptables-save.txt';
const LABS = recordedLabs().filter((lab) => /^(healthy-(vxlan|legacy|host-gw)|demo|forward-drops|egress)/.test(lab));

/** Request and answer of every ordered pair of pods, and of every pod to the outside. */
function answers(nodes: readonly NetNode[]): ReadonlyMap<string, string> {
  const cluster = clusterOf(nodes);
  const pods = nodes.map(representativeOf).flatMap((p) => (typeof p === 'string' ? [] : [p]));
  const found = new Map<string, string>();
  for (const from of pods) {
    for (const to of [...pods.filter((p) => p !== from).map((p) => formatAddr(p.addr)), '192.168.50.100']) {
      for (const proto of ['tcp', 'icmp'] as const) {
        const { verdict, reply, arrived } = trace(cluster, { from: from.place, to, proto });
        const source = verdict === 'delivered' ? ` from ${arrived?.src ?? '?'}` : '';
        found.set(`${from.place} -> ${to} ${proto}`, `${verdict}${source}/${reply?.verdict ?? '-'}`);
      }
    }
  }
  return found;
}

/** Is `now` what was said before, or less? */
function weaker(before: string, now: string): boolean {
  if (now === before) return true;
  const [request, answer] = now.split('/') as [string, string];
  const [requestBefore, answerBefore] = before.split('/') as [string, string];
  if (request === 'unknown') return true;
  const open = request === requestBefore || (request === 'delivered from ?' && requestBefore.startsWith('delivered'));
  return open && (answer === answerBefore || answer === 'unknown');
}

describe('a match that nobody understands', () => {
  it.each(LABS)('%s: makes an answer unknown and never another one', async (lab) => {
    const before = answers(await recordedNodes(lab));
    const texts = new Map<string, string>();
    await recordedNodes(lab, (node, path, text) => {
      if (path === RULESET) texts.set(node, text);
      return text;
    }).then((nodes) => answers(nodes));
    const flipped: string[] = [];
    let unknown = 0;
    for (const [node, text] of texts) {
      const lines = text.split('\n');
      for (const [i, line] of lines.entries()) {
        const at = line.search(/ -[jg] /);
        if (!/(^|\] )-A /.test(line) || at < 0) continue;
        const edited = [...lines];
        edited[i] = `${line.slice(0, at)} -m notours --whatever 7${line.slice(at)}`;
        const now = answers(
          await recordedNodes(lab, (n, p, t) => (n === node && p === RULESET ? edited.join('\n') : t)),
        );
        for (const [probe, said] of now) {
          const was = before.get(probe) ?? '';
          if (said !== was) unknown += 1;
          if (!weaker(was, said)) flipped.push(`${node}:${i + 1} ${line}: ${probe} was ${was}, is ${said}`);
        }
      }
    }
    expect(flipped).toEqual([]);
    // the rules that let pods through decide: without them the answer has to be open
    if (/healthy-(vxlan|legacy)/.test(lab)) expect(unknown).toBeGreaterThan(0);
  });
});
